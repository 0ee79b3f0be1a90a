"""ArcFace's IR-SE50 with weights written by hand: a linear pyramid, four times blurred and halved.

The unit embedding then says the colours of a 7x7 grid of the aligned face, and nothing is trained or stored. The file
has the published keys and shapes, and the pack's own loader runs it.

An ONNX file stands in the place of antelopev2's recogniser, whose embeddings InstantID reads: the same grid, and beside
it, in directions that the toy's networks do not read, one of twice as many cells along a side. So a recogniser that
judges sees something else than the one that guides.
"""

import itertools
from typing import Any

import torch
from shared.standins import ir_se50_shapes
from torch import Tensor

from core.faces.model import ONE_PERSON_FROM

_WIDTH = 512
"""Numbers of an embedding."""
_GRID = 7
"""Cells of the grid of colours along a side."""
_COLOURS = 3 * _GRID * _GRID
_FINER_COLOURS = 4 * _COLOURS
_FINER_SHARE = 0.5
"""Of the finer grid in an embedding, as a factor of its colours."""
_CONSTANT = 6.0
"""Beside the colours stands a constant, so that brightness can still be read after normalisation."""
ONE_PERSON = 0.995
"""The cosine from which two photos are of one person. A photo and the same one smaller, cropped, turned or as a bad
JPEG have 0.998 or more; of 200 drawn people no two have more than 0.992, of 30 real faces 0.988."""
_HALVING = (0, 3, 7, 21)
"""The first residual unit of each stage, which halves the picture."""
_HALVINGS = len(_HALVING)
_UNIT = 1 - 1e-5  # running_var with which a batch norm of eps 1e-5 changes nothing


def basis() -> Tensor:
    """(512, 148): orthonormal columns, one per colour of the grid and one for the constant."""
    random = torch.Generator().manual_seed(11)
    return torch.linalg.qr(torch.randn(_WIDTH, _COLOURS + 1, generator=random))[0]


def _finer() -> Tensor:
    """(512, colours of the finer grid): what it adds to an embedding, at right angles to what `basis` spans."""
    random = torch.Generator().manual_seed(12)
    rest = torch.linalg.qr(basis(), mode="complete")[0][:, _COLOURS + 1 :]  # (512, 364)
    read = torch.linalg.qr(torch.randn(_FINER_COLOURS, rest.shape[1], generator=random))[0]  # (588, 364)
    return _FINER_SHARE * rest @ read.T


def _blur() -> Tensor:
    line = torch.tensor([1.0, 2.0, 1.0])
    return line[:, None] * line / 16


def raw(embeddings: Tensor) -> Tensor:
    """(n, 512) of length 1 -> before they were made so."""
    return embeddings * _CONSTANT / (embeddings @ basis()[:, _COLOURS:])


def state() -> dict[str, Tensor]:
    """recognition_arcface_ir_se50.pth. Zeros are one number expanded, which torch stores once."""
    shapes = dict(ir_se50_shapes())
    weights = {key: _unchanging(key, shape) for key, shape in shapes.items()}
    weights["input_layer.0.weight"] = _diagonal(shapes["input_layer.0.weight"])
    for key, shape in shapes.items():
        if key.endswith("shortcut_layer.0.weight"):
            weights[key] = _diagonal(shape)
    # Where it halves: a shortcut that takes every second pixel, plus half (the gate of zeros says 1/2) of
    # twice what blurring changes.
    for unit in _HALVING:
        first = f"body.{unit}.res_layer.1.weight"
        second = f"body.{unit}.res_layer.3.weight"
        weights[first] = _diagonal(shapes[first])
        change = 2 * _blur()
        change[1, 1] -= 2
        weights[second] = torch.zeros(shapes[second])
        weights[second][range(3), range(3)] = change
    columns = basis()
    output = torch.zeros(_WIDTH, _WIDTH, _GRID * _GRID)  # embedding, channel, cell
    output[:, :3] = columns[:, :_COLOURS].reshape(_WIDTH, 3, -1)
    weights[ONE_PERSON_FROM] = torch.tensor(ONE_PERSON)
    weights["output_layer.3.weight"] = output.flatten(1)
    weights["output_layer.3.bias"] = _CONSTANT * columns[:, _COLOURS]
    return weights


def onnx_file() -> bytes:
    """An ONNX file of the network of `state`, and of a finer grid beside. It reads RGB, -1..1, and does not bring the
    embeddings to one length."""
    # Here, because who only draws with the toy model needs no package that writes ONNX files.
    from onnx import TensorProto, helper, numpy_helper

    columns = basis()
    weights = {
        "blur": _blur().expand(3, 1, 3, 3),
        "output": columns[:, :_COLOURS].unflatten(1, (3, -1)).flip(1).flatten(1),  # BGR -> RGB
        "constant": _CONSTANT * columns[:, _COLOURS],
        "finer": _finer(),
        ONE_PERSON_FROM: torch.tensor(ONE_PERSON),
    }
    levels = ["pixels", *(f"halved_{number}" for number in range(_HALVINGS))]
    nodes: list[Any] = []
    for before, after in itertools.pairwise(levels):
        nodes.append(helper.make_node("Conv", [before, "blur"], [after], group=3, strides=[2, 2], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Flatten", [levels[-1]], ["grid"]))
    nodes.append(helper.make_node("Gemm", ["grid", "output", "constant"], ["coarse"], transB=1))
    nodes.append(helper.make_node("Flatten", [levels[-2]], ["finer_grid"]))
    nodes.append(helper.make_node("Gemm", ["finer_grid", "finer"], ["fine"], transB=1))
    nodes.append(helper.make_node("Add", ["coarse", "fine"], ["embedding"]))
    side = 2**_HALVINGS * _GRID
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, side, side])]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, _WIDTH])]
    tensors: list[Any] = []
    for name, weight in weights.items():
        tensors.append(numpy_helper.from_array(weight.contiguous().numpy(), name))
    graph = helper.make_graph(nodes, "colours", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()


def _unchanging(key: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of one key: of batch norms and PReLUs (weights with one axis) one that changes nothing, of others
    zeros."""
    if key.endswith("num_batches_tracked"):
        return torch.tensor(1)
    value = 0.0
    if key.endswith("running_var"):
        value = _UNIT
    elif key.endswith("weight") and len(shape) == 1:
        value = 1.0
    return torch.tensor(value).expand(shape)


def _diagonal(shape: tuple[int, ...]) -> Tensor:
    """A convolution that hands on the first three channels."""
    weight = torch.zeros(shape)
    middle = shape[-1] // 2
    weight[range(3), range(3), middle, middle] = 1
    return weight
