"""Face networks as insightface publishes them: the real topologies with random weights, exported as theirs were."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

# SCRFD 2.5G: units of the stages, channels of each, of the neck and of the head.
_UNITS, _WIDTHS, _NECK, _HEAD = (3, 5, 3, 2), (24, 48, 48, 80), 24, 64
_IRESNET = (3, 4, 14, 3)
"""Blocks of the stages of w600k_r50."""


def _seeded(module: nn.Module) -> nn.Module:
    """Random weights that keep the values' size from layer to layer, and norms that do something."""
    torch.manual_seed(12)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
        elif isinstance(part, nn.PReLU):
            nn.init.uniform_(part.weight, 0.1, 0.4)
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.4, 0.8)
            nn.init.normal_(part.bias, std=0.1)
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.8, 1.2)
    return module.eval()


class _Block(nn.Module):
    """A residual unit."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


def iresnet(width: int) -> nn.Module:
    """ArcFace's IResNet: norm first, one slope per channel. width: 64 is the published one."""
    blocks: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)]
    before = width
    for level, count in enumerate(_IRESNET):
        for number in range(count):
            after, stride = width << level, 1 if number else 2
            first = nn.BatchNorm2d(before), nn.Conv2d(before, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
            last = nn.PReLU(after), nn.Conv2d(after, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
            shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
            blocks.append(_Block(nn.Sequential(*first, *last), nn.Identity() if number else shortcut))
            before = after
    last = nn.Flatten(), nn.Dropout(), nn.Linear(before * 49, 512), nn.BatchNorm1d(512)
    return _seeded(nn.Sequential(*blocks, nn.BatchNorm2d(before), *last))


def _conv(before: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


def _basic(before: int, width: int, stride: int) -> nn.Module:
    """A residual unit whose shortcut is averaged before it is made smaller."""
    body = nn.Sequential(*_conv(before, width, stride), *_conv(width, width)[:2])
    smaller = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
    conv = nn.Sequential(smaller, nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width))
    return nn.Sequential(_Block(body, conv if stride > 1 or before != width else nn.Identity()), nn.ReLU())


class _Scrfd(nn.Module):
    """Backbone with a deep stem, path aggregation, and a head that all levels share but for a scale."""

    def __init__(self, batched: bool, group_norm: bool) -> None:
        super().__init__()
        self.batched, before = batched, _WIDTHS[0]
        stem = before // 2
        self.stem = nn.Sequential(_conv(3, stem, 2), _conv(stem, stem), _conv(stem, before), nn.MaxPool2d(3, 2, 1))
        self.stages = nn.ModuleList()
        for level, (count, width) in enumerate(zip(_UNITS, _WIDTHS, strict=True)):
            first = _basic(before, width, 2 if level else 1)
            self.stages.append(nn.Sequential(first, *(_basic(width, width, 1) for _ in range(count - 1))))
            before = width
        self.lateral = nn.ModuleList(nn.Conv2d(width, _NECK, 1) for width in _WIDTHS[1:])
        self.fpn, self.down, self.pafpn = (
            nn.ModuleList(nn.Conv2d(_NECK, _NECK, 3, stride, 1) for _ in range(count))
            for count, stride in ((3, 1), (2, 2), (2, 1))
        )
        self.head = nn.Sequential(*(_conv(_HEAD if n else _NECK, _HEAD) for n in range(3)))
        if group_norm:
            self.head[0][1] = nn.GroupNorm(16, _HEAD)
        self.outputs = nn.ModuleList(nn.Conv2d(_HEAD, 2 * kind, 3, 1, 1) for kind in (1, 4, 10))
        self.scales = nn.ParameterList(torch.tensor(scale) for scale in (0.9, 1.0, 1.2))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        levels = [x := stage(x) for stage in self.stages][1:]
        levels = [lateral(level) for lateral, level in zip(self.lateral, levels, strict=True)]
        for n in (1, 0):
            levels[n] = levels[n] + functional.interpolate(levels[n + 1], size=levels[n].shape[2:])
        levels = [conv(level) for conv, level in zip(self.fpn, levels, strict=True)]
        for n in (0, 1):
            levels[n + 1] = levels[n + 1] + self.down[n](levels[n])
        levels = [levels[0], *(conv(level) for conv, level in zip(self.pafpn, levels[1:], strict=True))]
        found = [self.read(level, scale) for level, scale in zip(levels, self.scales, strict=True)]
        return [level[kind] for kind in range(3) for level in found]

    def read(self, level: Tensor, scale: Tensor) -> list[Tensor]:
        features = self.head(level)
        score, box, points = (
            output(features).permute(0, 2, 3, 1).reshape(*([level.shape[0]] * self.batched), -1, kind)
            for output, kind in zip(self.outputs, (1, 4, 10), strict=True)
        )
        return [score.sigmoid(), box * scale, points]


def detector(batched: bool, group_norm: bool) -> nn.Module:
    """SCRFD. batched: outputs keep the batch, as in later exports; group_norm: as in the first releases."""
    return _seeded(_Scrfd(batched, group_norm))


def export(module: nn.Module, path: Path, side: int, outputs: int = 1, opset: int = 11) -> Path:
    """As insightface's exports: the older exporter, sizes of a detector's picture left open."""
    open_sizes = {"input.1": {0: "?", 2: "?", 3: "?"}} if outputs > 1 else None
    names = [f"out{number}" for number in range(outputs)]
    quiet: Callable[..., object] = torch.onnx.export
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        quiet(
            module, (torch.zeros(1, 3, side, side),), str(path), opset_version=opset, dynamo=False,
            input_names=["input.1"], output_names=names, dynamic_axes=open_sizes,
        )  # fmt: skip
    return path
