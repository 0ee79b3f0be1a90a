"""ONNX files run in torch, against onnxruntime: every operator by itself, and every architecture as a whole."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from face_networks import detector, export, iresnet
from figures import relative
from onnx import TensorProto, helper, numpy_helper
from pack.core.errors import UnsupportedCheckpoint
from pack.core.faces.model import on_cpu
from pack.core.faces.onnx_network import OPERATORS, opened
from pack.core.models.onnx_file import inspect, read

PARITY = 1e-4


def both(path, *pictures):
    """What torch and onnxruntime make of a file, output by output."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    theirs = [list(map(torch.from_numpy, session.run(None, {name: picture.numpy()}))) for picture in pictures]
    ours = network(path, pictures[0].shape, [output.numel() for output in theirs[0]])
    for picture, outputs in zip(pictures, theirs, strict=True):
        yield from zip(ours(picture), outputs, strict=True)


def network(path, shape, sizes):
    return opened(read(str(path)), on_cpu, shape, sizes)


def picture(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def saved(path, nodes, weights=(), shape=(1, 8, 6, 6), opset=11):
    given, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, of) for name, of in (("x", shape), ("y", None))
    )
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(weights).items()]
    graph = helper.make_graph(nodes, "one", [given], [made], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6), str(path))
    return path


def numbers(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def whole(*values):
    return np.array(values, np.int64)


ONE_NODE = {
    "Conv": ({"w": numbers(4, 8, 3, 3), "b": numbers(4)}, {"strides": [2, 2], "pads": [1, 1, 1, 1]}, 11),
    "Conv, groups": ({"w": numbers(8, 2, 3, 1)}, {"group": 4, "dilations": [2, 1]}, 11),
    "Conv, uneven pads": ({"w": numbers(4, 8, 2, 2)}, {"pads": [0, 1, 2, 0]}, 11),
    "BatchNormalization": ({"s": numbers(8), "b": numbers(8), "m": numbers(8), "v": numbers(8) ** 2}, {}, 11),
    "PRelu": ({"s": numbers(8, 1, 1)}, {}, 11),
    "PRelu, one slope": ({"s": numbers(1)}, {}, 11),
    "MatMul": ({"w": numbers(6, 3)}, {}, 11),
    "InstanceNormalization": ({"s": numbers(8), "b": numbers(8)}, {"epsilon": 1e-3}, 11),
    "Relu": ({}, {}, 11),
    "Sigmoid": ({}, {}, 11),
    "Dropout": ({}, {"ratio": 0.4}, 11),
    "Identity": ({}, {}, 11),
    "Add": ({"b": numbers(8, 1, 1)}, {}, 11),
    "Sub": ({"b": numbers()}, {}, 11),
    "Mul": ({"b": numbers(1, 8, 6, 6)}, {}, 11),
    "Div": ({"b": numbers(6)}, {}, 11),
    "MaxPool": ({}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, 11),
    "MaxPool, rounded up": ({}, {"kernel_shape": [2, 2], "strides": [4, 4], "ceil_mode": 1}, 11),
    "AveragePool": ({}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, 11),
    "AveragePool, border counted": ({}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, 11),
    "GlobalAveragePool": ({}, {}, 11),
    "Flatten": ({}, {}, 11),
    "Flatten, axis 3": ({}, {"axis": 3}, 11),
    "Reshape": ({"n": whole(0, -1, 4)}, {}, 11),
    "Transpose": ({}, {"perm": [0, 2, 3, 1]}, 11),
    "Unsqueeze": ({}, {"axes": [0, 3]}, 11),
    "Unsqueeze, later": ({"n": whole(2)}, {}, 13),
    "Squeeze": ({}, {"axes": [0]}, 11),
    "Squeeze, later": ({"n": whole(0)}, {}, 13),
    "Slice": ({"a": whole(1, 0), "b": whole(-1, 1 << 60), "c": whole(2, 1), "d": whole(2, 3)}, {}, 11),
    "Slice, earlier": ({}, {"starts": [1], "ends": [9], "axes": [3]}, 9),
    "Gather": ({"n": whole(0, 0)}, {"axis": 0}, 11),
    "Upsample": ({"s": np.array([1, 1, 2, 3], np.float32)}, {"mode": "nearest"}, 9),
    "Resize": ({"s": np.array([1, 1, 2, 2], np.float32)}, {}, 10),
    "Cast": ({}, {"to": TensorProto.FLOAT}, 11),
    "Concat": ({"b": numbers(1, 3, 6, 6)}, {"axis": 1}, 11),
    "Concat, from the end": ({"b": numbers(1, 3, 6, 6)}, {"axis": -3}, 11),
}


TENSOR = numpy_helper.from_array(numbers(3))


@pytest.mark.parametrize("case", ONE_NODE)
def test_operator(tmp_path, case):
    weights, attributes, opset = ONE_NODE[case]
    node = helper.make_node(case.split(",")[0], ["x", *weights], ["y"], **attributes)
    ((ours, theirs),) = both(saved(tmp_path / "one.onnx", [node], weights, opset=opset), picture(1, 8, 6, 6))
    assert relative(ours, theirs) <= 1e-6


@pytest.mark.parametrize(("turned", "scale"), [(0, 1.0), (1, 0.5)])
def test_gemm(tmp_path, turned, scale):
    weights = {"w": numbers(*((7, 8) if turned else (8, 7))), "b": numbers(7)}
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=turned, alpha=scale, beta=2 * scale)
    ((ours, theirs),) = both(saved(tmp_path / "one.onnx", [node], weights, shape=(2, 8)), picture(2, 8))
    assert relative(ours, theirs) <= 1e-6


def test_every_operator_is_tried():
    shapes = {"Gemm", "Shape"}  # the one above, the other in the detectors below
    assert {case.split(",")[0] for case in ONE_NODE} | shapes == OPERATORS.keys()


@pytest.mark.parametrize(("batched", "group_norm"), [(False, False), (True, True)])
def test_detectors(tmp_path, batched, group_norm):
    path = export(detector(batched, group_norm), tmp_path / "scrfd_2.5g.onnx", 64, outputs=9)
    for ours, theirs in both(path, picture(1, 3, 64, 64), picture(1, 3, 96, 160)):
        assert relative(ours, theirs) <= PARITY


@pytest.mark.parametrize("opset", [11, 14])
def test_recognisers(tmp_path, opset):
    """At a quarter of the published width, which changes no node."""
    path = export(iresnet(16), tmp_path / "w600k_r50.onnx", 112, opset=opset)
    for ours, theirs in both(path, picture(1, 3, 112, 112)):
        assert relative(ours, theirs) <= PARITY


def test_half_precision_files_run_in_single(tmp_path):
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["h", "w"], ["c"]),
        helper.make_node("Cast", ["c"], ["y"], to=TensorProto.FLOAT),
    ]
    path = saved(tmp_path / "half.onnx", nodes, {"w": numbers(4, 8, 3, 3).astype(np.float16)})
    ((ours, theirs),) = both(path, picture(1, 8, 6, 6))
    assert relative(ours, theirs) <= 2e-3


def conv(**attributes):
    return helper.make_node("Conv", ["x", "w"], ["y"], **attributes)


KERNEL = {"w": numbers(4, 8, 3, 3)}
UNKNOWN = {
    "operator": ([helper.make_node("Einsum", ["x"], ["y"], equation="abcd->ab")], {}, "the operator Einsum;"),
    "domain": ([helper.make_node("Relu", ["x"], ["y"], domain="com.odd")], {}, r"the operator com\.odd\.Relu;"),
    "attribute": ([helper.make_node("Relu", ["x"], ["y"], depth=2)], {}, "the attribute depth of the operator Relu;"),
    "no output": ([helper.make_node("Relu", ["x"], [])], {}, "the operator Relu that makes nothing;"),
    "constant": ([helper.make_node("Constant", [], [], value=TENSOR)], {}, "the operator Constant that makes nothing;"),
    "value": ([conv(auto_pad="SAME_UPPER")], KERNEL, "another auto_pad of the operator Conv than is known here;"),
    "negative pads": ([conv(pads=[-5, 0, 0, 0])], KERNEL, "another pads of the operator Conv"),
    "wide pads": ([conv(pads=[10**6] * 4)], KERNEL, "another pads of the operator Conv"),
    "dilations": ([conv(dilations=[0, 0])], KERNEL, "another dilations of the operator Conv"),
    "strides": ([conv(strides=[0, 1])], KERNEL, "another strides of the operator Conv"),
    "kernel": ([conv()], {"w": numbers(4, 8, 0, 0)}, "another kernel_shape"),
    "mode": (
        [helper.make_node("Resize", ["x", "s"], ["y"], mode="linear")], {"s": np.ones(4, np.float32)}, "another mode",
    ),
    "index": ([helper.make_node("Gather", ["x", "n"], ["y"])], {"n": whole(1)}, "another indices"),
    "shapes": ([conv()], {"w": numbers(4, 5, 3, 3)}, "parts do not fit together"),
    "names": ([helper.make_node("Relu", ["z"], ["y"])], {}, "parts do not fit together"),
    "input left out": ([helper.make_node("Add", ["x", ""], ["y"])], {}, "parts do not fit together"),
    "weight left out": ([helper.make_node("Conv", ["x", ""], ["y"])], {}, "parts do not fit together"),
    "no input": ([helper.make_node("Identity", [], ["y"])], {}, "parts do not fit together"),
    "outputs": ([helper.make_node("Relu", ["x"], ["y"])], {}, r"outputs are of \[288\] numbers instead of \[512\]"),
    "enlarged": (
        [helper.make_node("Resize", ["x", "s"], ["z"]), helper.make_node("GlobalAveragePool", ["z"], ["y"])],
        {"s": np.array([1, 1, 3000, 3000], np.float32)},
        r"values take 10\.4 GB where 2\.1 GB are room for any",
    ),
    "doubled": (
        [helper.make_node("Concat", [f"x{n or ''}"] * 2, [f"x{n + 1}"], axis=1) for n in range(30)],
        {},
        r"values take .* GB where 2\.1 GB",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_unknown_or_cannot_run_is_told_before_it_runs(tmp_path, case):
    nodes, weights, found = UNKNOWN[case]
    path = saved(tmp_path / "odd.onnx", nodes, weights, opset=10)
    with pytest.raises(UnsupportedCheckpoint, match=rf"odd\.onnx is an ONNX network .*{found}.*Choose another pack"):
        network(path, (1, 8, 6, 6), (512,))


def test_weights_that_are_computed_or_shared(tmp_path):
    """However many nodes read one, it is held once."""
    nodes = [helper.make_node("Relu", ["w"], ["v"]), helper.make_node("Identity", ["w"], ["u"])]
    nodes += [helper.make_node("Conv", ["x", name], [f"y{name}"]) for name in "uvw"]
    nodes += [helper.make_node("Concat", ["yu", "yv", "yw"], ["y"], axis=1)]
    path = saved(tmp_path / "one.onnx", nodes, KERNEL)
    ((ours, theirs),) = both(path, picture(1, 8, 6, 6))
    assert relative(ours, theirs) <= 1e-6 and len(network(path, (1, 8, 6, 6), (192,)).state_dict()) == 1


def test_weights_are_no_inputs_where_old_exporters_list_them(tmp_path):
    path = saved(tmp_path / "one.onnx", [conv()], KERNEL)
    model = onnx.load(str(path))
    model.graph.input.insert(0, helper.make_tensor_value_info("w", TensorProto.FLOAT, KERNEL["w"].shape))
    onnx.save(model, str(path))
    assert inspect(str(path)).inputs == ((1, 8, 6, 6),) and read(str(path)).input == "x"


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([helper.make_node("Cast", ["x"], ["n"], to=7), helper.make_node("Conv", ["n", "w"], ["y"])], KERNEL),
        ([helper.make_node("Conv", ["x", "w", "b"], ["y"])], {**KERNEL, "b": numbers(5)}),
    ],
    ids=["whole numbers", "bias"],
)
def test_what_no_shape_tells_is_named_when_it_runs(tmp_path, nodes, weights):
    path = saved(tmp_path / "odd.onnx", nodes, weights)
    whole_on_shapes = network(path, (1, 8, 6, 6), (64,))
    with pytest.raises(UnsupportedCheckpoint, match=r"odd\.onnx is an ONNX network whose parts do not fit together"):
        whole_on_shapes(picture(1, 8, 6, 6))


def test_files_that_are_not_read_are_named(tmp_path):
    """Of weights in another file or of whole numbers, and of a million small things."""
    relu, many = helper.make_node("Relu", ["x"], ["y"]), tmp_path / "fields.onnx"
    elsewhere = saved(tmp_path / "big.onnx", [conv()], {"w": numbers(64, 8, 3, 3)})
    onnx.save(
        onnx.load(str(elsewhere)), str(elsewhere), save_as_external_data=True, location="big.bin", size_threshold=0
    )
    many.write_bytes(b"\x3a\x80\x9f\x49" + b"\x70\x00" * 600_000)
    for reads, path, words in (
        (read, elsewhere, r"another file \(big\.bin\)"),
        (read, saved(tmp_path / "small.onnx", [relu], {"w": np.zeros(4, np.int8)}), r"unknown .*\(3 in onnx\.proto\)"),
        (read, saved(tmp_path / "many.onnx", [relu] * 5001), "an ONNX file of 5001 nodes and 0 weights;"),
        (inspect, many, "an ONNX file of more than 1000000 fields and numbers;"),
    ):
        with pytest.raises(UnsupportedCheckpoint, match=words):
            reads(str(path))
