"""What the operators of face networks do, in torch: two tables by ONNX's names.

LAYERS are the operators with weights. They become layers of `ops`, so that the host casts and moves them like those of
any other network. FUNCTIONS are the rest, among them what exporters leave where a size depends on the picture. Keyword
arguments are ONNX's attributes: one that is not among them is unknown here, like an operator that is in neither table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..models.tensors import State

Ints = Sequence[int]

_PADS = ("NOTSET", "VALID")
_WIDEST = 256
"""Pixels of padding on a side; networks for faces have 3. What is padded is nowhere counted."""


class UnknownValue(ValueError):
    """An attribute has a value that nothing here computes; the text is its name."""


def _only(known: bool, attribute: str) -> None:
    if not known:
        raise UnknownValue(attribute)


class Layer(NamedTuple):
    """make(ops, **place) builds it, for these weights."""

    make: Callable[..., nn.Module]
    state: State


class _Convolution(nn.Module):
    """ONNX pads each of the four sides as it likes."""

    def __init__(self, pads: Ints, layer: nn.Module) -> None:
        super().__init__()
        self.pads, self.layer = pads, layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(functional.pad(x, self.pads) if self.pads else x)


def _conv(
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel_shape: Ints = (),
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    dilations: Ints = (1, 1),
    group: int = 1,
    auto_pad: str = "NOTSET",
) -> Layer:
    _only(auto_pad in _PADS, "auto_pad")
    _check_window(strides, pads, dilations)
    top, left, bottom, right = pads
    even = (top, left) == (bottom, right)

    def make(ops: Any, **place: Any) -> nn.Module:
        _only(all(weight.shape), "kernel_shape")
        channels_out, channels, *kernel = weight.shape
        padding = (top, left) if even else (0, 0)
        layer = ops.Conv2d(
            channels * group, channels_out, kernel, strides, padding, dilations, group, bias is not None, **place
        )
        return _Convolution(() if even else (left, right, top, bottom), layer)

    return Layer(make, _filled("layer.", weight=weight, bias=bias))


def _gemm(
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803
) -> Layer:
    _only(not transA, "transA")
    weight = (alpha * (weight if transB else weight.t())).contiguous()
    if bias is not None:
        bias = (beta * bias).expand(len(weight))

    def make(ops: Any, **place: Any) -> nn.Module:
        return ops.Linear(weight.shape[1], weight.shape[0], bias is not None, **place)

    return Layer(make, _filled(weight=weight, bias=bias))


def _check_window(strides: Ints, pads: Ints, dilations: Ints = (1,)) -> None:
    """What torch tells on real pictures only, or with a crash."""
    _only(min(strides) > 0, "strides")
    _only(all(0 <= side <= _WIDEST for side in pads), "pads")
    _only(min(dilations) > 0, "dilations")


class _PerChannel(nn.Module):
    """A few numbers per channel, as a Linear layer: that of one is the numbers themselves, where the host put them."""

    def __init__(self, layer: nn.Module, count: int) -> None:
        super().__init__()
        self.layer, self.count = layer, count

    def numbers(self, x: Tensor) -> Tensor:
        """(count, channels, 1, ...), to be used with x of (n, channels, ...)."""
        rows: Tensor = self.layer(torch.eye(self.count, device=x.device, dtype=x.dtype))
        return rows[(..., *[None] * (x.ndim - 2))]


class _BatchNorm(_PerChannel):
    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.numbers(x)
        return torch.addcmul(shift, x, scale)


class _PReLU(_PerChannel):
    def forward(self, x: Tensor) -> Tensor:
        return functional.prelu(x, self.numbers(x).flatten())


def _per_channel(module: Callable[[nn.Module, int], nn.Module], *rows: Tensor) -> Layer:
    weight = torch.stack([row.flatten() for row in rows], dim=1)

    def make(ops: Any, **place: Any) -> nn.Module:
        return module(ops.Linear(len(rows), len(weight), bias=False, **place), len(rows))

    return Layer(make, _filled("layer.", weight=weight))


def _batch_norm(
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
    training_mode: int = 0,
) -> Layer:
    _only(not training_mode, "training_mode")
    factor = scale.double() / (variance.double() + epsilon).sqrt()
    return _per_channel(_BatchNorm, factor.float(), (shift.double() - mean.double() * factor).float())


def _prelu(slope: Tensor) -> Layer:
    return _per_channel(_PReLU, slope)


def _mat_mul(weight: Tensor) -> Layer:
    return _gemm(weight)


def _filled(prefix: str = "", **state: Tensor | None) -> State:
    return {prefix + key: tensor.contiguous() for key, tensor in state.items() if tensor is not None}


LAYERS: Mapping[str, Callable[..., Layer]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _mat_mul,
    "BatchNormalization": _batch_norm,
    "PRelu": _prelu,
}
"""(what the node reads besides its first input, **attributes) -> the layer."""


def _relu(x: Tensor) -> Tensor:
    return x.relu()


def relu_in_place(x: Tensor) -> Tensor:
    return x.relu_()


def _sigmoid(x: Tensor) -> Tensor:
    return x.sigmoid()


def _add(a: Tensor, b: Tensor) -> Tensor:
    return torch.add(*_beside(a, b))


def _sub(a: Tensor, b: Tensor) -> Tensor:
    return torch.sub(*_beside(a, b))


def _mul(a: Tensor, b: Tensor) -> Tensor:
    return torch.mul(*_beside(a, b))


def _div(a: Tensor, b: Tensor) -> Tensor:
    return torch.div(*_beside(a, b), rounding_mode=None if a.is_floating_point() else "trunc")


def _beside(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Sizes and the numbers of the file are on the CPU, where sizes are read; these follow what they meet."""
    device = b.device if a.device.type == "cpu" else a.device
    return a.to(device), b.to(device)


def _instance_norm(x: Tensor, scale: Tensor, shift: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    (x, scale), (_, shift) = _beside(x, scale), _beside(x, shift)
    return functional.instance_norm(x, weight=scale, bias=shift, eps=epsilon)


def _max_pool(
    x: Tensor,
    *,
    kernel_shape: Ints,
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    dilations: Ints = (1, 1),
    ceil_mode: int = 0,
    storage_order: int = 0,
    auto_pad: str = "NOTSET",
) -> Tensor:
    _only(auto_pad in _PADS, "auto_pad")
    _check_window(strides, pads, dilations)
    return functional.max_pool2d(x, list(kernel_shape), list(strides), _even(pads), list(dilations), bool(ceil_mode))


def _average_pool(
    x: Tensor,
    *,
    kernel_shape: Ints,
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    auto_pad: str = "NOTSET",
) -> Tensor:
    _only(auto_pad in _PADS, "auto_pad")
    _check_window(strides, pads)
    counted = bool(count_include_pad)
    return functional.avg_pool2d(x, list(kernel_shape), list(strides), _even(pads), bool(ceil_mode), counted)


def _even(pads: Ints) -> list[int]:
    top, left, bottom, right = pads
    _only((top, left) == (bottom, right), "pads")
    return [top, left]


def _global_average_pool(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3), keepdim=True)


def _resize(
    x: Tensor,
    *given: Tensor | None,
    mode: str = "nearest",
    scales: Sequence[float] = (),
    coordinate_transformation_mode: str = "",
    nearest_mode: str = "",
    cubic_coeff_a: float = 0.0,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
) -> Tensor:
    """Resize and, before it, Upsample: (x, [[roi,] scales[, sizes]]).

    Only to whole multiples, where all the ways to round a coordinate agree.
    """
    factors = list(scales)
    if len(given) == 3 and given[2] is not None:
        factors = [new / old for new, old in zip(_listed(given[2]), x.shape, strict=True)]
    elif given and (tensor := given[0] if len(given) == 1 else given[1]) is not None:
        factors = _listed(tensor)
    _only(mode == "nearest", "mode")
    _only(coordinate_transformation_mode != "align_corners", "coordinate_transformation_mode")
    _only(nearest_mode != "ceil", "nearest_mode")
    _only(factors[:2] == [1, 1] and all(factor == int(factor) >= 1 for factor in factors), "scales")
    return functional.interpolate(x, scale_factor=[float(factor) for factor in factors[2:]], mode="nearest")


def _listed(sizes: Tensor) -> list[Any]:
    return sizes.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    _only(not allowzero, "allowzero")
    return x.reshape([size or x.shape[n] for n, size in enumerate(_listed(shape))])


def _transpose(x: Tensor, *, perm: Ints) -> Tensor:
    return x.permute(*perm)


def _concat(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, axis)


def _squeeze(x: Tensor, given: Tensor | None = None, *, axes: Ints = ()) -> Tensor:
    wanted = axes if given is None else _listed(given)
    return x.squeeze(dim=tuple(wanted)) if len(wanted) else x.squeeze()


def _unsqueeze(x: Tensor, given: Tensor | None = None, *, axes: Ints = ()) -> Tensor:
    for axis in axes if given is None else _listed(given):
        x = x.unsqueeze(axis)
    return x


def _slice(x: Tensor, *given: Tensor, starts: Ints = (), ends: Ints = (), axes: Ints = (), steps: Ints = ()) -> Tensor:
    if given:
        starts, ends, axes, steps = (*map(_listed, given), (), ())[:4]
    parts = [slice(None)] * x.ndim
    for n, (start, end) in enumerate(zip(starts, ends, strict=True)):
        parts[axes[n] if axes else n] = slice(start, end, steps[n] if steps else 1)
    return x[tuple(parts)]


def _shape(x: Tensor) -> Tensor:
    return torch.tensor(x.shape)


def _gather(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    _only(axis == 0, "axis")
    _only(all(-len(x) <= place < len(x) for place in _listed(index.flatten())), "indices")
    return x[index]


def _cast(x: Tensor, *, to: int) -> Tensor:
    """Any kind of float is float32 here, any whole number int64."""
    return x.float() if to in (1, 10, 11, 16) else x.long()


def _identity(x: Tensor) -> Tensor:
    return x


def _dropout(x: Tensor, *given: Tensor, ratio: float = 0.5, seed: int = 0) -> Tensor:
    return x


FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Concat": _concat,
    "Div": _div,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gather": _gather,
    "GlobalAveragePool": _global_average_pool,
    "Identity": _identity,
    "InstanceNormalization": _instance_norm,
    "MaxPool": _max_pool,
    "Mul": _mul,
    "Relu": _relu,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Sigmoid": _sigmoid,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _sub,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
}
"""(*inputs, **attributes) -> the first output; the others are of no use here."""
