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
"""The most pixels of padding on a side; networks for faces have 3. `Network` counts the bytes of what a node gives, and
not those of a padded picture inside of a node, so a larger number could fill the memory."""
_FLOATS = (1, 10, 11, 16)
"""TensorProto's numbers of float32, float16, float64 and bfloat16."""


class UnknownValue(ValueError):
    """An attribute has a value for which the operator is not implemented here. The error's text is the attribute's
    name."""


def operator(name: str) -> Callable[[FunctionT], FunctionT]:
    """A decorator that puts a function into OPERATORS under ONNX's name of an operator."""

    def enter(function: FunctionT) -> FunctionT:
        OPERATORS[name] = function
        return function

    return enter


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


def _on_one_device(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors on one device: where one of them is on the CPU, on that of the other.

    Sizes (of `shape_of`) and numbers computed of them are on the CPU, also where the picture is on a GPU.
    """
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
def dropout(x: Tensor, *later_inputs: Tensor, ratio: object = None, seed: object = None) -> Tensor:
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
        """The window of a node's attributes.

        Raises UnknownValue for values that torch accepts on the meta device and then fails or crashes with on a real
        picture. pads: top, left, bottom, right, as ONNX orders them.
        """
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
    """A convolution of x (B, C, H, W).

    weight: (out, C / group, height, width) of the kernel. kernel_shape repeats the last two sizes of the weight and is
    not read. Raises UnknownValue for other values of attributes.
    """
    window = Window.of(kernel_shape, strides, pads, dilations, auto_pad)
    _require(weight.ndim == 4 and all(weight.shape), "kernel_shape")
    _require_floats(weight, bias)
    padding = [window.top, window.left]
    if not window.is_even:
        # conv2d pads opposite sides alike, so the picture is padded here.
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

    scale, shift, mean, variance: (C,). momentum is for training alone, and spatial stands in files before opset 9; both
    are not read.
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
    storage_order: object = None,
    kernel_shape: Ints = (),
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    dilations: Ints = (1, 1),
    auto_pad: str = "NOTSET",
) -> Tensor:
    """The maximum of each window of (B, C, H, W).

    storage_order concerns ONNX's second output alone, the indices of the maxima, which is not made here.
    """
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
    *inputs: Tensor | None,
    mode: str = "nearest",
    scales: Sequence[float] = (),
    coordinate_transformation_mode: str = "",
    nearest_mode: str = "",
    cubic_coeff_a: object = None,
    exclude_outside: object = None,
    extrapolation_value: object = None,
) -> Tensor:
    """x (B, C, H, W) with H and W enlarged to whole multiples, each pixel repeated ("nearest").

    For whole multiples all of ONNX's rules for rounding coordinates give the same picture, so they are not told apart.
    This is Resize and the older Upsample, whose scales were an attribute at first. inputs: those after x, which are
    (scales,), (region, scales) or (region, scales, sizes), one number per dimension each. The last three attributes
    concern other modes. Raises UnknownValue for other multiples and modes.
    """
    factors = _factors(x, inputs, scales)
    _require(mode == "nearest", "mode")
    _require(coordinate_transformation_mode != "align_corners", "coordinate_transformation_mode")
    _require(nearest_mode != "ceil", "nearest_mode")
    whole_multiples = all(factor == int(factor) >= 1 for factor in factors)
    _require(factors[:2] == [1, 1] and whole_multiples, "scales")
    scale_factor = [float(factor) for factor in factors[2:]]  # of height and width
    return functional.interpolate(x, scale_factor=scale_factor, mode="nearest")


def _factors(x: Tensor, inputs: Sequence[Tensor | None], scales: Sequence[float]) -> list[float]:
    """The factor by which each dimension grows: from the inputs of Resize, else from the attribute of Upsample.

    inputs, scales: the arguments of `resize`.
    """
    sizes = inputs[2] if len(inputs) == 3 else None
    if sizes is not None:
        return [new / old for new, old in zip(_numbers(sizes), x.shape, strict=True)]
    if inputs:
        scales_input = inputs[0] if len(inputs) == 1 else inputs[1]
        if scales_input is not None:
            return _numbers(scales_input)
    return list(scales)


# Shapes


@operator("Flatten")
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """x with two dimensions: all dimensions before the axis as one, and the others as one."""
    return x.reshape(math.prod(x.shape[:axis]), -1)


@operator("Reshape")
def reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    """x in another shape.

    shape: (dimensions,). A size of 0 stands for the size that x has in this dimension, and -1 for what is left over.
    """
    _require(not allowzero, "allowzero")
    sizes: list[int] = []
    for dimension, size in enumerate(_numbers(shape)):
        sizes.append(x.shape[dimension] if size == 0 else size)
    return x.reshape(sizes)


@operator("Transpose")
def transpose(x: Tensor, *, perm: Ints) -> Tensor:
    """x with its dimensions in another order. perm: the old number of each new dimension."""
    return x.permute(*perm)


@operator("Concat")
def concatenate(*parts: Tensor, axis: int) -> Tensor:
    """Several tensors joined one after the other, along one dimension."""
    return torch.cat(parts, axis)


@operator("Squeeze")
def squeeze(x: Tensor, axes_input: Tensor | None = None, *, axes: Ints = ()) -> Tensor:
    """x without the dimensions `axes`, which are of size 1; without axes, x without all dimensions of size 1.

    Since opset 13 the axes are an input.
    """
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
    """The entries from `starts` to before `ends`, `steps` apart, of the dimensions `axes`.

    The four have a number for each dimension that is cut. Without axes these are the first dimensions, and without
    steps every entry is taken. Since opset 10 the four are inputs, of which axes and steps may be left out.
    """
    if inputs:
        numbers = [_numbers(tensor) for tensor in inputs]
        # Inputs that are left out become ().
        starts, ends, axes, steps = (*numbers, (), ())[:4]
    parts = [slice(None)] * x.ndim
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = axes[index] if axes else index
        step = steps[index] if steps else 1
        parts[axis] = slice(start, end, step)
    return x[tuple(parts)]


@operator("Gather")
def gather(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    """The entries of x along its first dimension at these indices: (n, ...) and index of any shape -> (*index, ...).

    A negative index counts from the end.
    """
    _require(axis == 0, "axis")
    # On a GPU an index out of range would end the whole process instead of raising.
    _require(all(-len(x) <= entry < len(x) for entry in _numbers(index.flatten())), "indices")
    return x[index]
