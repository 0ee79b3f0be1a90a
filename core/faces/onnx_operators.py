"""The ONNX operators of networks for faces, a function each, in torch.

A function takes a node's inputs by position and its attributes by the names that ONNX gives them, and returns the
node's first output; the others are of no use here. An attribute that is no parameter is unknown, and a file with it is
refused before it runs. A value of an attribute that is not computed here raises UnknownValue.
Pictures and features are (B, C, H, W). Source: docs/Operators.md of github.com/onnx/onnx.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from types import BuiltinFunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Ints = Sequence[int]
_MOST_PADDING = 256
"""The most pixels of padding on a side; networks for faces have 3. `Network` counts the bytes of what a node gives, and
not those of a padded picture inside of a node, so a larger number could fill the memory."""
_INT64 = 7
"""TensorProto's number of int64."""


class UnknownValue(ValueError):
    """An attribute has a value for which the operator is not implemented here. The error's text is the attribute's
    name."""


def _require(is_known: bool, attribute: str) -> None:
    """Raise UnknownValue with the name of the attribute unless its value is one that is computed here."""
    if not is_known:
        raise UnknownValue(attribute)


def _require_floats(*weights: Tensor | None) -> None:
    """Raise UnknownValue where a weight has another dtype than a float; None is a weight that the node leaves out.

    On the meta device, where a network is tried, torch does not check dtypes: it would fail with the first picture.
    """
    floats = all(weight is None or weight.is_floating_point() for weight in weights)
    _require(floats, "kind of weights")


def _numbers(tensor: Tensor) -> list[Any]:
    return tensor.cpu().numpy().tolist()


def identity(x: Tensor) -> Tensor:
    return x


def shape_of(x: Tensor) -> Tensor:
    """The size of every dimension of x, (dimensions,) int64, on the CPU."""
    return torch.tensor(x.shape)


def cast(x: Tensor, *, to: int) -> Tensor:
    """The numbers of x as int64; sizes are cast to nothing else. to: a number of TensorProto's data types."""
    _require(to == _INT64, "to")
    return x.long()


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Every number, multiplied by a slope where it is below 0.

    slope: one number, or one per channel, (C, 1, 1).
    """
    return functional.prelu(x, slope.flatten())


# Layers with weights


# On the meta device, where a network is tried, torch accepts numbers with which it then fails or crashes on a real
# picture: strides and dilations that are not above 0, and any pads.


def _steps(numbers: Ints, attribute: str) -> list[int]:
    """Strides or dilations as torch takes them: (down, right). Raises UnknownValue unless they are above 0."""
    _require(min(numbers) > 0, attribute)
    return list(numbers)


def _padding(pads: Ints) -> list[int]:
    """The padding as torch takes it: [on top and bottom, on left and right].

    pads: (top, left, bottom, right), as ONNX has them. Raises UnknownValue where two opposite sides differ, and for
    more than _MOST_PADDING.
    """
    top, left, bottom, right = pads
    alike = (top, left) == (bottom, right)
    _require(alike and all(0 <= side <= _MOST_PADDING for side in pads), "pads")
    return [top, left]


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    group: int = 1,
    kernel_shape: Ints = (),
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    dilations: Ints = (1, 1),
) -> Tensor:
    """A convolution of x (B, C, H, W).

    weight: (out, C / group, height, width) of the kernel. kernel_shape repeats the last two sizes of the weight and is
    not read. Raises UnknownValue for other values of attributes.
    """
    stride = _steps(strides, "strides")
    dilation = _steps(dilations, "dilations")
    padding = _padding(pads)
    _require(weight.ndim == 4 and all(weight.shape), "kernel_shape")
    _require_floats(weight, bias)
    return functional.conv2d(x, weight, bias, stride, padding, dilation, group)


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803
) -> Tensor:
    """A linear layer: x (B, in) -> x weight.T + bias, (B, out).

    weight: (out, in), which ONNX calls B, so transB must be set. Raises UnknownValue for another order or factor.
    """
    _require(alpha == beta == 1, "alpha or beta")
    _require(not transA, "transA")
    _require(bool(transB), "transB")
    return functional.linear(x, weight, bias)


def batch_normalization(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift, channel by channel.

    scale, shift, mean, variance: (C,). momentum is for training alone and not read.
    """
    _require_floats(scale, shift, mean, variance)
    return functional.batch_norm(x, mean, variance, scale, shift, eps=epsilon)


# Pools, and pictures of another size


def global_average_pool(x: Tensor) -> Tensor:
    """The mean of each channel: (B, C, H, W) -> (B, C, 1, 1)."""
    return x.mean(dim=(2, 3), keepdim=True)


def max_pool(
    x: Tensor,
    *,
    ceil_mode: int = 0,
    kernel_shape: Ints = (),
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    dilations: Ints = (1, 1),
) -> Tensor:
    """The maximum of each window of (B, C, H, W)."""
    stride = _steps(strides, "strides")
    dilation = _steps(dilations, "dilations")
    return functional.max_pool2d(x, list(kernel_shape), stride, _padding(pads), dilation, bool(ceil_mode))


def average_pool(
    x: Tensor,
    *,
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    kernel_shape: Ints = (),
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
) -> Tensor:
    """The mean of each window of (B, C, H, W)."""
    stride = _steps(strides, "strides")
    padding = _padding(pads)
    return functional.avg_pool2d(x, list(kernel_shape), stride, padding, bool(ceil_mode), bool(count_include_pad))


_REPEATS_PIXELS = (("half_pixel", "round_prefer_floor"), ("asymmetric", "floor"))
"""ONNX's default, and what PyTorch writes: the pairs of coordinate_transformation_mode and nearest_mode by which every
pixel is repeated alike. With others the picture lies up to a pixel aside."""


def resize(
    x: Tensor,
    region: Tensor | None,
    scales: Tensor | None,
    sizes: Tensor,
    *,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: object = None,
) -> Tensor:
    """x (B, C, H, W) with H and W enlarged to whole multiples, each pixel repeated ("nearest").

    sizes: the new (B, C, H, W). region, scales and cubic_coeff_a concern other modes or stand in the place of sizes.
    Raises UnknownValue for other multiples and modes.
    """
    _require(mode == "nearest", "mode")
    modes = (coordinate_transformation_mode, nearest_mode)
    _require(modes in _REPEATS_PIXELS, "coordinate_transformation_mode or nearest_mode")
    *batch_and_channels, new_height, new_width = _numbers(sizes)
    height, width = x.shape[2:]
    whole_multiples = new_height % height == 0 and new_width % width == 0 and new_height > 0 and new_width > 0
    _require(batch_and_channels == list(x.shape[:2]) and whole_multiples, "scales")
    return functional.interpolate(x, size=[new_height, new_width], mode="nearest")


# Shapes


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """x with two dimensions: all dimensions before the axis as one, and the others as one."""
    return x.reshape(math.prod(x.shape[:axis]), -1)


def reshape(x: Tensor, shape: Tensor) -> Tensor:
    """x in another shape.

    shape: (dimensions,). A size of 0 stands for the size that x has in this dimension, and -1 for what is left over.
    """
    return x.reshape([x.shape[dimension] if size == 0 else size for dimension, size in enumerate(_numbers(shape))])


def transpose(x: Tensor, *, perm: Ints) -> Tensor:
    """x with its dimensions in another order. perm: the old number of each new dimension."""
    return x.permute(*perm)


def concatenate(*parts: Tensor, axis: int) -> Tensor:
    """Several tensors joined one after the other, along one dimension."""
    return torch.cat(parts, axis)


def unsqueeze(x: Tensor, *, axes: Ints) -> Tensor:
    """x with further dimensions of size 1 at these positions."""
    for dimension in axes:
        x = x.unsqueeze(dimension)
    return x


def cut(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor) -> Tensor:
    """The entries from `starts` to before `ends` of the dimensions `axes`. starts, ends, axes: (n,) each."""
    parts = [slice(None)] * x.ndim
    for start, end, axis in zip(_numbers(starts), _numbers(ends), _numbers(axes), strict=True):
        parts[axis] = slice(start, end)
    return x[tuple(parts)]


def gather(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    """The entries of x along its first dimension at these indices: (n, ...) and index of any shape -> (*index, ...).

    A negative index counts from the end.
    """
    _require(axis == 0, "axis")
    # On a GPU an index out of range would end the whole process instead of raising.
    _require(all(-len(x) <= entry < len(x) for entry in _numbers(index.flatten())), "indices")
    return x[index]


OPERATORS: Mapping[str, Callable[..., Tensor]] = {
    "Identity": identity,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Shape": shape_of,
    "Cast": cast,
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "PRelu": prelu,
    "Conv": convolution,
    "Gemm": linear,
    "BatchNormalization": batch_normalization,
    "GlobalAveragePool": global_average_pool,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "Resize": resize,
    "Flatten": flatten,
    "Reshape": reshape,
    "Transpose": transpose,
    "Concat": concatenate,
    "Unsqueeze": unsqueeze,
    "Slice": cut,
    "Gather": gather,
}
"""ONNX's name of an operator -> its function."""


def attributes_of(name: str) -> set[str]:
    """The attributes that an operator may have: the keyword-only parameters of its function.

    Operators whose function is torch's own (Relu, Add) have no attributes in ONNX.
    """
    function = OPERATORS[name]
    if isinstance(function, BuiltinFunctionType):
        return set()
    parameters = signature(function).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY}
