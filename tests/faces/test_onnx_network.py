"""ONNX files run in torch, against onnxruntime: every operator by itself, and networks of them."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from figures import relative
from onnx import TensorProto, helper, numpy_helper
from pack.core.checks.errors import UnsupportedCheckpoint
from pack.core.faces.model import on_cpu
from pack.core.faces.onnx_network import OPERATORS, opened
from pack.core.models.onnx_file import inspect, read
from torch import nn
from torch.nn import functional

node = helper.make_node


def outputs_of_both(path, *pictures):
    """What torch and onnxruntime make of a file, output by output."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    expected = [list(map(torch.from_numpy, session.run(None, {name: picture.numpy()}))) for picture in pictures]
    in_torch = network(path, pictures[0].shape, [output.numel() for output in expected[0]])
    for picture, outputs in zip(pictures, expected, strict=True):
        yield from zip(in_torch(picture), outputs, strict=True)


def network(path, shape, sizes):
    return opened(read(str(path)), on_cpu, shape, sizes)


def picture(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def saved(path, nodes, weights=(), shape=(1, 8, 6, 6), opset=11):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(weights).items()]
    graph = helper.make_graph(nodes, "one", [x], [y], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6), str(path))
    return path


def numbers(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def int64(*values):
    return np.array(values, np.int64)


ONE_NODE = {
    **{name: ({}, {}) for name in ("Relu", "Sigmoid", "Identity", "GlobalAveragePool", "Flatten")},
    "Conv": ({"w": numbers(4, 8, 3, 3), "b": numbers(4)}, {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "Conv, groups": ({"w": numbers(8, 2, 3, 1)}, {"group": 4, "dilations": [2, 1], "pads": [2, 0, 2, 0]}),
    "BatchNormalization": ({"s": numbers(8), "b": numbers(8), "m": numbers(8), "v": numbers(8) ** 2}, {}),
    "Gemm": ({"w": numbers(7, 8), "b": numbers(7)}, {"transB": 1}),
    "Gemm, no bias": ({"w": numbers(7, 8)}, {"transB": 1}),
    "PRelu": ({"s": numbers(8, 1, 1)}, {}), "PRelu, one slope": ({"s": numbers(1)}, {}),
    "Add": ({"b": numbers(8, 1, 1)}, {}), "Sub": ({"b": numbers()}, {}), "Mul": ({"b": numbers(1, 8, 6, 6)}, {}),
    "MaxPool": ({}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "MaxPool, rounded up": ({}, {"kernel_shape": [2, 2], "strides": [4, 4], "ceil_mode": 1}),
    "AveragePool": ({}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "AveragePool, border counted": ({}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    "Flatten, axis 3": ({}, {"axis": 3}), "Reshape": ({"n": int64(0, -1, 4)}, {}),
    "Transpose": ({}, {"perm": [0, 2, 3, 1]}), "Unsqueeze": ({}, {"axes": [0, 3]}),
    "Slice": ({"a": int64(1, 0), "b": int64(-1, 1 << 60), "c": int64(2, 1)}, {}),
    "Gather": ({"n": int64(0, 0)}, {"axis": 0}),
    "Resize": ({"r": numbers(0), "s": numbers(0), "n": int64(1, 8, 12, 18)}, {}),
    "Concat": ({"b": numbers(1, 3, 6, 6)}, {"axis": 1}),
    "Concat, from the end": ({"b": numbers(1, 3, 6, 6)}, {"axis": -3}),
}  # fmt: skip


TENSOR = numpy_helper.from_array(numbers(3))


@pytest.mark.parametrize("case", ONE_NODE)
def test_operator(tmp_path, case):
    weights, attributes = ONE_NODE[case]
    shape = (2, 8) if case.startswith("Gemm") else (1, 8, 6, 6)
    operator = node(case.split(",")[0], ["x", *weights], ["y"], **attributes)
    path = saved(tmp_path / "one.onnx", [operator], weights, shape)
    ((output, expected),) = outputs_of_both(path, picture(*shape))
    assert relative(output, expected) <= 1e-6


class Detector(nn.Module):
    """What exports of SCRFD are made of: averaged shortcuts, sizes that are computed of other values.

    batched: whether outputs keep the batch, as in later exports.
    """

    def __init__(self, batched):
        super().__init__()
        self.batched = batched
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.deeper = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, 2, 0, True, False), nn.Conv2d(16, 32, 1))
        self.lateral = nn.Conv2d(32, 16, 1)
        self.read = nn.Conv2d(16, 20, 3, 1, 1)

    def forward(self, x):
        fine = self.stem(x)
        coarse = (self.deeper(fine) + self.shortcut(fine)).relu()
        fine = fine + functional.interpolate(self.lateral(coarse), size=fine.shape[2:])
        levels = [self.read(level).permute(0, 2, 3, 1) for level in (fine, self.lateral(coarse))]
        points = [level.reshape(*([x.shape[0]] * self.batched), -1, 10) for level in levels]
        return [points[0].sigmoid(), points[1]]


@pytest.mark.parametrize("batched", [False, True])
def test_exported_detectors(tmp_path, batched):
    """By the older exporter, as insightface's were, sizes of the picture left open. Every operator is tried."""
    torch.manual_seed(12)
    path = tmp_path / "made.onnx"
    open_sides = {"input.1": {0: "?", 2: "?", 3: "?"}}
    options = {"opset_version": 11, "dynamo": False, "input_names": ["input.1"], "dynamic_axes": open_sides}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(Detector(batched).eval(), (torch.zeros(1, 3, 64, 64),), str(path), **options)
    for output, expected in outputs_of_both(path, picture(1, 3, 64, 64), picture(1, 3, 96, 160)):
        assert relative(output, expected) <= 1e-4
    whole_numbers = {"Shape", "Cast"}
    assert whole_numbers | {case.split(",")[0] for case in ONE_NODE} == OPERATORS.keys()
    assert whole_numbers <= {entry.operator for entry in read(str(path)).nodes}


def conv(**attributes):
    return node("Conv", ["x", "w"], ["y"], **attributes)


def resize(gives="y", **attributes):
    return node("Resize", ["x", "", "", "n"], [gives], **attributes)


KERNEL = {"w": numbers(4, 8, 3, 3)}
SIZES = {"n": int64(1, 8, 12, 12)}
UNKNOWN = {
    "operator": ([node("Einsum", ["x"], ["y"], equation="abcd->ab")], {}, "the operator Einsum;"),
    "attribute": ([node("Relu", ["x"], ["y"], depth=2)], {}, "the attribute depth of the operator Relu;"),
    "constant": ([node("Constant", [], [], value=TENSOR)], {}, "the operator Constant that makes nothing;"),
    "wide pads": ([conv(pads=[10**6] * 4)], KERNEL, "another pads of the operator Conv"),
    "uneven pads": ([node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 0])], {},
                    "another pads of the operator MaxPool"),
    "dilations": ([conv(dilations=[0, 0])], KERNEL, "another dilations of the operator Conv"),
    "kernel": ([conv()], {"w": numbers(4, 8, 0, 0)}, "another kernel_shape"),
    "five dimensions": ([conv()], {"w": numbers(4, 8, 1, 3, 3)}, "another kernel_shape"),
    "five dimensions unused": ([node("Add", ["x", "w"], ["y"])], {"w": numbers(4, 1, 8, 6, 6)}, r"of \[1152\] numbers"),
    "whole numbers": ([conv()], {"w": np.ones((4, 8, 3, 3), np.int64)}, "another kind of weights of the operator Conv"),
    "whole numbers to normalise": ([node("BatchNormalization", ["x", *"sbmv"], ["y"])],
                                   dict.fromkeys("sbmv", np.ones(8, np.int64)), "another kind of weights"),
    "order of a weight": ([node("Gemm", ["x", "w"], ["y"])], KERNEL, "another transB of the operator Gemm"),
    "factor": ([node("Gemm", ["x", "w"], ["y"], alpha=0.5, transB=1)], KERNEL, "another alpha or beta"),
    "kind of number": ([node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16)], {}, "another to of the operator Cast"),
    "mode": ([resize(mode="linear")], SIZES, "another mode"),
    "rounding": ([resize(nearest_mode="floor")], SIZES, "nearest_mode of the operator Resize"),
    "smaller": ([resize()], {"n": int64(1, 8, 6, 3)}, "another scales of the operator Resize"),
    "by scales": ([node("Resize", ["x", "", "s"], ["y"])], {"s": np.ones(4, np.float32)}, "do not fit together"),
    "shapes": ([conv()], {"w": numbers(4, 5, 3, 3)}, "parts do not fit together"),
    "weight left out": ([node("Conv", ["x", ""], ["y"])], {}, "parts do not fit together"),
    "outputs": ([node("Relu", ["x"], ["y"])], {}, r"outputs are of \[288\] numbers instead of \[512\]"),
    "enlarged": ([resize("z"), node("GlobalAveragePool", ["z"], ["y"])], {"n": int64(1, 8, 18000, 18000)},
                 r"take 10\.4 GB where 2\.1 GB are room for any"),
    "doubled": ([node("Concat", [f"x{n or ''}"] * 2, [f"x{n + 1}"], axis=1) for n in range(30)], {},
                r"values take .* GB where"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_unknown_or_cannot_run_is_told_before_it_runs(tmp_path, case):
    nodes, weights, words = UNKNOWN[case]
    path = saved(tmp_path / "odd.onnx", nodes, weights, opset=10)
    with pytest.raises(UnsupportedCheckpoint, match=rf"odd\.onnx is an ONNX network .*{words}.*Choose another pack"):
        network(path, (1, 8, 6, 6), (512,))


def test_weights_are_no_inputs_where_old_exporters_list_them(tmp_path):
    path = saved(tmp_path / "one.onnx", [conv()], KERNEL)
    model = onnx.load(str(path))
    model.graph.input.insert(0, helper.make_tensor_value_info("w", TensorProto.FLOAT, KERNEL["w"].shape))
    onnx.save(model, str(path))
    assert inspect(str(path)).inputs == ((1, 8, 6, 6),)
    assert read(str(path)).input == "x"


def test_files_that_are_not_read_are_named(tmp_path):
    """Of weights in another file or of whole numbers, and of a million small things."""
    relu = node("Relu", ["x"], ["y"])
    many = tmp_path / "fields.onnx"
    external = saved(tmp_path / "big.onnx", [conv()], {"w": numbers(64, 8, 3, 3)})
    onnx.save(
        onnx.load(str(external)),
        str(external),
        save_as_external_data=True,
        location="big.bin",
        size_threshold=0,
    )
    many.write_bytes(b"\x3a\x80\x9f\x49" + b"\x70\x00" * 600_000)
    for reader, path, words in (
        (read, external, r"another file \(big\.bin\)"),
        (read, saved(tmp_path / "small.onnx", [relu], {"w": np.zeros(4, np.int8)}), r"unknown .*\(3 in onnx\.proto\)"),
        (read, saved(tmp_path / "many.onnx", [relu] * 5001), "an ONNX file of 5001 nodes and 0 weights;"),
        (inspect, many, "an ONNX file of more than 1000000 fields and numbers;"),
    ):
        with pytest.raises(UnsupportedCheckpoint, match=words):
            reader(str(path))
