"""The ONNX operators of networks for faces, a function each, in torch.

A function takes a node's inputs by position and its attributes by the names that ONNX gives them, and returns the
node's first output; the others are of no use here. An attribute that is no parameter is unknown, and a file with it is
refused before it runs. A value of an attribute that is not computed here raises UnknownValue.
Pictures and features are (B, C, H, W). Source: docs/Operators.md of github.com/onnx/onnx.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

Ints = Sequence[int]
FunctionT = TypeVar("FunctionT", bound=Callable[..., Tensor])

OPERATORS: dict[str, Callable[..., Tensor]] = {}
"""ONNX's name of an operator -> its function."""
_MOST_PADDING = 256
"""Pixels of padding on a side; networks for faces have 3. What is padded is nowhere counted."""
_FLOATS = (1, 10, 11, 16)
"""TensorProto's numbers of float32, float16, float64 and bfloat16."""


class UnknownValue(ValueError):
    """An attribute has a value that nothing here computes; the text is its name."""


def operator(name: str) -> Callable[[FunctionT], FunctionT]:
    """Enters the function below it as the operator of this name."""

    def enter(function: FunctionT) -> FunctionT:
        OPERATORS[name] = function
        return function

    return enter


def _require(is_known: bool, attribute: str) -> None:
    """Raise UnknownValue with the name of the attribute unless its value is one that is computed here."""
    if not is_known:
        raise UnknownValue(attribute)


def _require_floats(*weights: Tensor | None) -> None:
    """Raise for a number that is no float. On shapes alone torch takes any kind, and raises when a picture comes."""
    floats = all(weight is None or weight.is_floating_point() for weight in weights)
    _require(floats, "kind of weights")


def _on_one_device(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Sizes and what is computed of them are on the CPU, where sizes are read; these follow what they meet."""
    device = b.device if a.device.type == "cpu" else a.device
    return a.to(device), b.to(device)


def _numbers(tensor: Tensor) -> list[Any]:
    """The numbers of a tensor as a list."""
    return tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


# One input


@operator("Identity")
def identity(x: Tensor) -> Tensor:
    """The input as it is."""
    return x


@operator("Dropout")
def dropout(x: Tensor, *later_inputs: Tensor, ratio: float = 0.5, seed: int = 0) -> Tensor:
    """The input as it is: values are dropped in training alone. Since opset 12 the ratio is an input."""
    return x


@operator("Relu")
def relu(x: Tensor) -> Tensor:
    """Every number, 0 where it is below 0."""
    return x.relu()


@operator("Sigmoid")
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)) of every number."""
    return x.sigmoid()


@operator("Shape")
def shape_of(x: Tensor) -> Tensor:
    """The size of every dimension of x, (dimensions,) int64, on the CPU."""
    return torch.tensor(x.shape)


@operator("Cast")
def cast(x: Tensor, *, to: int) -> Tensor:
    """The numbers of x in another type: here float32 for any kind of float, and int64 for any whole number.

    to: a number of TensorProto's data types.
    """
    if to in _FLOATS:
        return x.float()
    return x.long()


# Two inputs


@operator("Add")
def add(a: Tensor, b: Tensor) -> Tensor:
    """a + b."""
    return torch.add(*_on_one_device(a, b))


@operator("Sub")
def subtract(a: Tensor, b: Tensor) -> Tensor:
    """a - b."""
    return torch.sub(*_on_one_device(a, b))


@operator("Mul")
def multiply(a: Tensor, b: Tensor) -> Tensor:
    """a * b."""
    return torch.mul(*_on_one_device(a, b))


@operator("Div")
def divide(a: Tensor, b: Tensor) -> Tensor:
    """a / b. Whole numbers, which are sizes here, are cut towards 0."""
    rounding = None if a.is_floating_point() else "trunc"
    return torch.div(*_on_one_device(a, b), rounding_mode=rounding)


@operator("MatMul")
def matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """The product of two matrices, or of two batches of matrices."""
    return a @ b


@operator("PRelu")
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Every number, multiplied by a slope where it is below 0.

    slope: one number, or one per channel, (C, 1, 1).
    """
    return functional.prelu(x, slope.flatten())


# Layers with weights


@dataclass(frozen=True)
class Window:
    """The attributes of convolutions and pools in torch's form.

    kernel, strides, dilations: of height and width, in this order. top, left, bottom, right: pixels of padding.
    """

    kernel: list[int]
    strides: list[int]
    top: int
    left: int
    bottom: int
    right: int
    dilations: list[int]

    @classmethod
    def of(cls, kernel_shape: Ints, strides: Ints, pads: Ints, dilations: Ints, auto_pad: str) -> "Window":
        """The window of a node's attributes. Raises UnknownValue for values at which torch would fail on real pictures
        alone, or crash."""
        _require(auto_pad in ("NOTSET", "VALID"), "auto_pad")
        _require(min(strides) > 0, "strides")
        _require(all(0 <= side <= _MOST_PADDING for side in pads), "pads")
        _require(min(dilations) > 0, "dilations")
        top, left, bottom, right = pads
        return cls(list(kernel_shape), list(strides), top, left, bottom, right, list(dilations))

    @property
    def is_even(self) -> bool:
        """Whether there is as much padding after the picture as before it."""
        return (self.top, self.left) == (self.bottom, self.right)

    @property
    def even_pads(self) -> list[int]:
        """The padding on both sides, (height, width). Raises UnknownValue where the sides differ."""
        _require(self.is_even, "pads")
        return [self.top, self.left]


@operator("Conv")
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
    auto_pad: str = "NOTSET",
) -> Tensor:
    """A convolution of x (B, C, height, width).

    weight: (out, C / group, height, width). kernel_shape only repeats the last two. Raises UnknownValue for attributes
    that are not computed here.
    """
    window = Window.of(kernel_shape, strides, pads, dilations, auto_pad)
    _require(weight.ndim == 4 and all(weight.shape), "kernel_shape")
    _require_floats(weight, bias)
    padding = [window.top, window.left]
    if not window.is_even:
        # torch pads both sides alike, so the picture is padded before.
        x = functional.pad(x, (window.left, window.right, window.top, window.bottom))
        padding = [0, 0]
    return functional.conv2d(x, weight, bias, window.strides, padding, window.dilations, group)


@operator("Gemm")
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
    """A linear layer: x (B, in) -> alpha * x weight + beta * bias, (B, out).

    weight: (in, out), or (out, in) with transB. Raises UnknownValue for a transposed x.
    """
    _require(not transA, "transA")
    product = alpha * functional.linear(x, weight if transB else weight.t())
    if bias is None:
        return product
    return product + beta * bias


@operator("BatchNormalization")
def batch_normalization(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
    training_mode: int = 0,
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift, channel by channel.

    scale, shift, mean, variance: (C,). momentum is of training, and spatial is of files before opset 9.
    """
    _require(not training_mode, "training_mode")
    _require_floats(scale, shift, mean, variance)
    return functional.batch_norm(x, mean, variance, scale, shift, eps=epsilon)


@operator("InstanceNormalization")
def instance_normalization(x: Tensor, scale: Tensor, shift: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """x with the mean 0 and the variance 1 in each channel of each picture, then times scale, plus shift.

    scale, shift: (C,).
    """
    _require_floats(scale, shift)
    return functional.instance_norm(x, weight=scale, bias=shift, eps=epsilon)


# Pools, and pictures of another size


@operator("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    """The mean of each channel: (B, C, H, W) -> (B, C, 1, 1)."""
    return x.mean(dim=(2, 3), keepdim=True)


@operator("MaxPool")
def max_pool(
    x: Tensor,
    *,
    ceil_mode: int = 0,
    storage_order: int = 0,
    kernel_shape: Ints = (),
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    dilations: Ints = (1, 1),
    auto_pad: str = "NOTSET",
) -> Tensor:
    """The maximum of each window of (B, C, H, W). storage_order is of the second output, which is not made."""
    window = Window.of(kernel_shape, strides, pads, dilations, auto_pad)
    pads = window.even_pads
    return functional.max_pool2d(x, window.kernel, window.strides, pads, window.dilations, bool(ceil_mode))


@operator("AveragePool")
def average_pool(
    x: Tensor,
    *,
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    kernel_shape: Ints = (),
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    dilations: Ints = (1, 1),
    auto_pad: str = "NOTSET",
) -> Tensor:
    """The mean of each window of (B, C, H, W)."""
    window = Window.of(kernel_shape, strides, pads, dilations, auto_pad)
    _require(window.dilations == [1, 1], "dilations")
    pads = window.even_pads
    return functional.avg_pool2d(x, window.kernel, window.strides, pads, bool(ceil_mode), bool(count_include_pad))


@operator("Upsample")
@operator("Resize")
def resize(
    x: Tensor,
    *sizes: Tensor | None,
    mode: str = "nearest",
    scales: Sequence[float] = (),
    coordinate_transformation_mode: str = "",
    nearest_mode: str = "",
    cubic_coeff_a: float = 0.0,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
) -> Tensor:
    """x enlarged to whole multiples of its size, where all the ways to round a coordinate agree.

    This is Resize and the older Upsample, whose scales were an attribute at first. sizes: the inputs behind x, which
    are (scales,), (region, scales) or (region, scales, sizes), one number per dimension each. Raises UnknownValue for
    other multiples and modes.
    """
    factors = _factors(x, sizes, scales)
    _require(mode == "nearest", "mode")
    _require(coordinate_transformation_mode != "align_corners", "coordinate_transformation_mode")
    _require(nearest_mode != "ceil", "nearest_mode")
    whole_multiples = all(factor == int(factor) >= 1 for factor in factors)
    _require(factors[:2] == [1, 1] and whole_multiples, "scales")
    scale_factor = [float(factor) for factor in factors[2:]]  # of height and width
    return functional.interpolate(x, scale_factor=scale_factor, mode="nearest")


def _factors(x: Tensor, sizes: Sequence[Tensor | None], scales: Sequence[float]) -> list[float]:
    """The factor by which each dimension grows: from the inputs of Resize, else from its attribute `scales`."""
    if len(sizes) == 3 and sizes[2] is not None:
        return [new / old for new, old in zip(_numbers(sizes[2]), x.shape, strict=True)]
    if sizes:
        tensor = sizes[0] if len(sizes) == 1 else sizes[1]
        if tensor is not None:
            return _numbers(tensor)
    return list(scales)


# Shapes


@operator("Flatten")
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """x with two dimensions: all dimensions before the axis as one, and the others as one."""
    return x.reshape(math.prod(x.shape[:axis]), -1)


@operator("Reshape")
def reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    """x in another shape.

    shape: (dimensions,). A size of 0 is that of x, and -1 is what is left over.
    """
    _require(not allowzero, "allowzero")
    return x.reshape([size or x.shape[dimension] for dimension, size in enumerate(_numbers(shape))])


@operator("Transpose")
def transpose(x: Tensor, *, perm: Ints) -> Tensor:
    """x with its dimensions in another order. perm: the old number of each new dimension."""
    return x.permute(*perm)


@operator("Concat")
def concatenate(*parts: Tensor, axis: int) -> Tensor:
    """Several tensors behind each other, along one dimension."""
    return torch.cat(parts, axis)


@operator("Squeeze")
def squeeze(x: Tensor, axes_input: Tensor | None = None, *, axes: Ints = ()) -> Tensor:
    """x without these dimensions of size 1, or without all of them. Since opset 13 the axes are an input."""
    dimensions = axes if axes_input is None else _numbers(axes_input)
    if len(dimensions) == 0:
        return x.squeeze()
    return x.squeeze(dim=tuple(dimensions))


@operator("Unsqueeze")
def unsqueeze(x: Tensor, axes_input: Tensor | None = None, *, axes: Ints = ()) -> Tensor:
    """x with further dimensions of size 1 at these positions. Since opset 13 the axes are an input."""
    dimensions = axes if axes_input is None else _numbers(axes_input)
    for dimension in dimensions:
        x = x.unsqueeze(dimension)
    return x


@operator("Slice")
def cut(x: Tensor, *inputs: Tensor, starts: Ints = (), ends: Ints = (), axes: Ints = (), steps: Ints = ()) -> Tensor:
    """The entries from `starts` to `ends` of the dimensions `axes`; without axes, of the first dimensions. Since opset
    10 the four are inputs."""
    if inputs:
        numbers = [_numbers(tensor) for tensor in inputs]
        starts, ends, axes, steps = (*numbers, (), ())[:4]
    parts = [slice(None)] * x.ndim
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = axes[index] if axes else index
        step = steps[index] if steps else 1
        parts[axis] = slice(start, end, step)
    return x[tuple(parts)]


@operator("Gather")
def gather(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    """The entries of the first dimension at these indices, of any shape; negative ones count from the end."""
    _require(axis == 0, "axis")
    # On a GPU an index that is too large would end the process.
    _require(all(-len(x) <= place < len(x) for place in _numbers(index.flatten())), "indices")
    return x[index]
