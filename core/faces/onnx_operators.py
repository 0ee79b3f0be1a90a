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
_FLOATS = (1, 10, 11, 16)
"""TensorProto's numbers of float32, float16, float64 and bfloat16."""


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
    """The input as it is."""
    return x


def dropout(x: Tensor, *later_inputs: Tensor, ratio: object = None, seed: object = None) -> Tensor:
    """The input as it is: values are dropped in training alone. Since opset 12 the ratio is an input."""
    return x


def shape_of(x: Tensor) -> Tensor:
    """The size of every dimension of x, (dimensions,) int64, on the CPU."""
    return torch.tensor(x.shape)


def cast(x: Tensor, *, to: int) -> Tensor:
    """The numbers of x in another type: here float32 for any kind of float, and int64 for any whole number.

    to: a number of TensorProto's data types.
    """
    if to in _FLOATS:
        return x.float()
    return x.long()


def on_one_device(compute: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The function of two tensors, which are brought to one device first: from the CPU to that of the other one.

    Sizes (of "Shape") and numbers computed of them are on the CPU, also where the picture is on a GPU.
    """

    def run(a: Tensor, b: Tensor) -> Tensor:
        device = b.device if a.device.type == "cpu" else a.device
        return compute(a.to(device), b.to(device))

    return run


def divided(a: Tensor, b: Tensor) -> Tensor:
    """a / b. Whole numbers, which are sizes here, are cut towards 0."""
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Every number, multiplied by a slope where it is below 0.

    slope: one number, or one per channel, (C, 1, 1).
    """
    return functional.prelu(x, slope.flatten())


# Layers with weights


def _check_window(strides: Ints, pads: Ints, dilations: Ints, auto_pad: str) -> None:
    """Raise UnknownValue for what torch accepts on the meta device and then fails or crashes with on a real picture."""
    _require(auto_pad in ("NOTSET", "VALID"), "auto_pad")
    _require(min(strides) > 0, "strides")
    _require(all(0 <= side <= _MOST_PADDING for side in pads), "pads")
    _require(min(dilations) > 0, "dilations")


def _even(pads: Ints) -> list[int]:
    """The padding on both sides, (height, width), of (top, left, bottom, right). Raises UnknownValue where the sides
    differ."""
    top, left, bottom, right = pads
    _require((top, left) == (bottom, right), "pads")
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
    auto_pad: str = "NOTSET",
) -> Tensor:
    """A convolution of x (B, C, H, W).

    weight: (out, C / group, height, width) of the kernel. kernel_shape repeats the last two sizes of the weight and is
    not read. Raises UnknownValue for other values of attributes.
    """
    _check_window(strides, pads, dilations, auto_pad)
    _require(weight.ndim == 4 and all(weight.shape), "kernel_shape")
    _require_floats(weight, bias)
    top, left, bottom, right = pads
    padding = [top, left]
    if (top, left) != (bottom, right):
        # conv2d pads opposite sides alike, so the picture is padded here.
        x = functional.pad(x, (left, right, top, bottom))
        padding = [0, 0]
    return functional.conv2d(x, weight, bias, list(strides), padding, list(dilations), group)


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


def instance_normalization(x: Tensor, scale: Tensor, shift: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """x with the mean 0 and the variance 1 in each channel of each picture, then times scale, plus shift.

    scale, shift: (C,).
    """
    _require_floats(scale, shift)
    return functional.instance_norm(x, weight=scale, bias=shift, eps=epsilon)


# Pools, and pictures of another size


def global_average_pool(x: Tensor) -> Tensor:
    """The mean of each channel: (B, C, H, W) -> (B, C, 1, 1)."""
    return x.mean(dim=(2, 3), keepdim=True)


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
    _check_window(strides, pads, dilations, auto_pad)
    return functional.max_pool2d(x, list(kernel_shape), list(strides), _even(pads), list(dilations), bool(ceil_mode))


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
    _check_window(strides, pads, dilations, auto_pad)
    _require(all(step == 1 for step in dilations), "dilations")
    size = list(kernel_shape)
    return functional.avg_pool2d(x, size, list(strides), _even(pads), bool(ceil_mode), bool(count_include_pad))


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


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """x with two dimensions: all dimensions before the axis as one, and the others as one."""
    return x.reshape(math.prod(x.shape[:axis]), -1)


def reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    """x in another shape.

    shape: (dimensions,). A size of 0 stands for the size that x has in this dimension, and -1 for what is left over.
    """
    _require(not allowzero, "allowzero")
    sizes: list[int] = []
    for dimension, size in enumerate(_numbers(shape)):
        sizes.append(x.shape[dimension] if size == 0 else size)
    return x.reshape(sizes)


def transpose(x: Tensor, *, perm: Ints) -> Tensor:
    """x with its dimensions in another order. perm: the old number of each new dimension."""
    return x.permute(*perm)


def concatenate(*parts: Tensor, axis: int) -> Tensor:
    """Several tensors joined one after the other, along one dimension."""
    return torch.cat(parts, axis)


def squeeze(x: Tensor, axes_input: Tensor | None = None, *, axes: Ints = ()) -> Tensor:
    """x without the dimensions `axes`, which are of size 1; without axes, x without all dimensions of size 1.

    Since opset 13 the axes are an input.
    """
    dimensions = axes if axes_input is None else _numbers(axes_input)
    if len(dimensions) == 0:
        return x.squeeze()
    return x.squeeze(dim=tuple(dimensions))


def unsqueeze(x: Tensor, axes_input: Tensor | None = None, *, axes: Ints = ()) -> Tensor:
    """x with further dimensions of size 1 at these positions. Since opset 13 the axes are an input."""
    dimensions = axes if axes_input is None else _numbers(axes_input)
    for dimension in dimensions:
        x = x.unsqueeze(dimension)
    return x


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
    "Dropout": dropout,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Shape": shape_of,
    "Cast": cast,
    "Add": on_one_device(torch.add),
    "Sub": on_one_device(torch.sub),
    "Mul": on_one_device(torch.mul),
    "Div": on_one_device(divided),
    "MatMul": torch.matmul,
    "PRelu": prelu,
    "Conv": convolution,
    "Gemm": linear,
    "BatchNormalization": batch_normalization,
    "InstanceNormalization": instance_normalization,
    "GlobalAveragePool": global_average_pool,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "Upsample": resize,
    "Resize": resize,
    "Flatten": flatten,
    "Reshape": reshape,
    "Transpose": transpose,
    "Concat": concatenate,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Slice": cut,
    "Gather": gather,
}
"""ONNX's name of an operator -> its function."""


def attributes_of(name: str) -> set[str]:
    """The attributes that an operator may have: the keyword-only parameters of its function. ONNX knows none of those
    whose function is torch's own."""
    function = OPERATORS[name]
    if isinstance(function, BuiltinFunctionType):
        return set()
    parameters = signature(function).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY}
