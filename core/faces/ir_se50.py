"""ArcFace IR-SE50 as facexlib ships it, in plain torch, so that the host moves it like any other network.

Published as recognition_arcface_ir_se50.pth (facexlib 0.1.0, recognition/arcface_arch.py). Batch norms are constant
here, so they are folded into the layer before them; the one that a zero-padded convolution follows stays a scale and
shift per channel, and PReLU needs a slope per channel: both are 1x1 depthwise convolutions, which every host can
cast and move. No module here has parameters outside `ops`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UnsupportedCheckpoint
from ..models.tensors import State

Shapes = dict[str, tuple[int, ...]]

CROP = 112
_WIDTH = 512
_GRID = 7
_EPS = 1e-5
# (channels in, channels out, stride) of the 24 residual units.
_UNITS = tuple(
    (before if unit == 0 else channels, channels, 2 if unit == 0 else 1)
    for before, channels, units in ((64, 64, 3), (64, 128, 4), (128, 256, 14), (256, 512, 3))
    for unit in range(units)
)


class IRSE50(nn.Module):
    """ops: a module with Conv2d and Linear (torch.nn, comfy.ops.manual_cast). Weights come from `fold`."""

    def __init__(self, ops: Any, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        place = {"device": device, "dtype": dtype}
        self.layers = nn.ModuleDict()
        for name, _, shape, norm, stride in _layers():
            channels, before, side = shape[:3] if len(shape) > 1 else (*shape, 1, 1)
            groups = channels if len(shape) == 1 else 1
            how = {"padding": side // 2, "groups": groups, "bias": bool(norm)}
            self.layers[name] = ops.Conv2d(before * groups, channels, side, stride, **how, **place)
        self.embed = ops.Linear(_WIDTH * _GRID * _GRID, _WIDTH, **place)

    def forward(self, crops: Tensor) -> Tensor:
        """crops: (n, 3, 112, 112) BGR, -1..1. Returns (n, 512) of length 1, as facexlib's Backbone does."""
        x = self._sloped("prelu", self.layers["conv"](crops))
        for number, (before, channels, stride) in enumerate(_UNITS):
            x = self._unit(f"unit {number} ", x, stride if before == channels else None)
        return functional.normalize(self.embed(x.flatten(1)), eps=0)

    def _sloped(self, name: str, x: Tensor) -> Tensor:
        """PReLU."""
        return x.clamp(min=0) + self.layers[name](x.clamp(max=0))

    def _unit(self, name: str, x: Tensor, stride: int | None) -> Tensor:
        """A residual unit with squeeze-and-excitation. stride: of a shortcut without weights."""
        y = self.layers[name + "conv1"](self.layers[name + "norm"](x))
        y = self.layers[name + "conv2"](self._sloped(name + "prelu", y))
        gate = self.layers[name + "squeeze"](y.mean(dim=(2, 3), keepdim=True)).relu()
        kept = x[..., ::stride, ::stride] if stride else self.layers[name + "shortcut"](x)
        return y * self.layers[name + "excite"](gate).sigmoid() + kept


def _layers() -> Iterator[tuple[str, str, tuple[int, ...], str, int]]:
    """Of all layers but the last: our name, the published weight's or "", its shape, the published norm's or "", and
    the stride. One number per channel is a 1x1 depthwise convolution."""
    yield "conv", "input_layer.0", (64, 3, 3, 3), "input_layer.1", 1
    yield "prelu", "input_layer.2", (64,), "", 1
    for number, (before, channels, stride) in enumerate(_UNITS):
        ours, theirs, squeezed = f"unit {number} ", f"body.{number}.res_layer", channels // 16
        if before != channels:
            shortcut = f"body.{number}.shortcut_layer"
            yield f"{ours}shortcut", f"{shortcut}.0", (channels, before, 1, 1), f"{shortcut}.1", stride
        yield f"{ours}norm", "", (before,), f"{theirs}.0", 1
        yield f"{ours}conv1", f"{theirs}.1", (channels, before, 3, 3), "", 1
        yield f"{ours}prelu", f"{theirs}.2", (channels,), "", 1
        yield f"{ours}conv2", f"{theirs}.3", (channels, channels, 3, 3), f"{theirs}.4", stride
        yield f"{ours}squeeze", f"{theirs}.5.fc1", (squeezed, channels, 1, 1), "", 1
        yield f"{ours}excite", f"{theirs}.5.fc2", (channels, squeezed, 1, 1), "", 1


def published_shapes() -> Shapes:
    """Every tensor of the published file that matters, by its key."""
    shapes: Shapes = {}
    for _, weight, shape, norm, _ in _layers():
        shapes |= ({f"{weight}.weight": shape} if weight else {}) | (_norm_shapes(norm, shape[0]) if norm else {})
    shapes |= _norm_shapes("output_layer.0", _WIDTH)
    shapes |= {"output_layer.3.weight": (_WIDTH, _WIDTH * _GRID * _GRID), "output_layer.3.bias": (_WIDTH,)}
    return shapes | _norm_shapes("output_layer.4", _WIDTH)


def _norm_shapes(key: str, channels: int) -> Shapes:
    return {f"{key}.{name}": (channels,) for name in ("weight", "bias", "running_mean", "running_var")}


def fold(state: State, path: str) -> dict[str, Tensor]:
    """The published tensors as IRSE50's own, float32. Folding is done in double precision.

    Raises UnsupportedCheckpoint, naming `path`, when a tensor is missing or has another shape.
    """
    for key, shape in published_shapes().items():
        found = tuple(state[key].shape) if key in state else None
        if found != shape:
            what = "without" if found is None else f"of shape {found} for"
            raise UnsupportedCheckpoint(
                path,
                f"a face network {what} {key}",
                f"the ArcFace recogniser of facexlib (IR-SE50) with {key} of shape {shape}",
                "Download recognition_arcface_ir_se50.pth from facexlib's release v0.1.0.",
            )
    double = {key: state[key].double() for key in published_shapes()}
    folded = _fold_output(double)
    for ours, name, _, norm, _ in _layers():
        weight = double[f"{name}.weight"] if name else torch.ones((), dtype=torch.double)
        weight = weight[:, None, None, None] if weight.ndim == 1 else weight
        if norm:
            scale, folded[f"layers.{ours}.bias"] = _affine(double, norm)
            weight = weight * scale[:, None, None, None]
        folded[f"layers.{ours}.weight"] = weight
    return {key: value.float() for key, value in folded.items()}


def _affine(state: State, key: str) -> tuple[Tensor, Tensor]:
    """(scale, shift) of a batch norm at inference."""
    scale = state[f"{key}.weight"] / (state[f"{key}.running_var"] + _EPS).sqrt()
    return scale, state[f"{key}.bias"] - state[f"{key}.running_mean"] * scale


def _fold_output(state: State) -> dict[str, Tensor]:
    """Batch norm, Linear, batch norm as one Linear; each channel covers a 7x7 grid of its inputs."""
    weight = state["output_layer.3.weight"]
    scale, shift = (values.repeat_interleave(_GRID * _GRID) for values in _affine(state, "output_layer.0"))
    bias = state["output_layer.3.bias"] + weight @ shift
    out_scale, out_shift = _affine(state, "output_layer.4")
    return {
        "embed.weight": weight * scale * out_scale[:, None],
        "embed.bias": bias * out_scale + out_shift,
    }


def prepare(crops: Tensor) -> Tensor:
    """(n, 112, 112, 3) 8-bit BGR to the network's input, (n, 3, 112, 112) float32 -1..1."""
    return 2 * (crops.permute(0, 3, 1, 2).contiguous().to(torch.float32) / 255) - 1
