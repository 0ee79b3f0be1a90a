"""Pixels to latents and back: three latent channels are the mean colours of 8x8 cells, a fourth is learned.

The decoder has TAESD's layout at 16 channels; padded with zeros to 64 it is the host's own decoder exactly. The
encoder becomes TAESD's in export_encoder.py.
"""

import itertools

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

CELL = 8
GAIN = 3.2
MIDDLE = 0.62
"""A colour less this, times the gain, is a latent."""
WAVE = 1.5
"""How far the fourth channel goes."""
_CHANNELS = 16


def _conv(before: int, after: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, stride=stride, bias=bias)


class _Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(_CHANNELS, _CHANNELS), nn.ReLU(), _conv(_CHANNELS, _CHANNELS), nn.ReLU(), _conv(_CHANNELS, _CHANNELS)
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv(x) + x)


class Decoder(nn.Sequential):
    """(B, 4, h, w) -> (B, 3, 8h, 8w), about 0..1."""

    def __init__(self) -> None:
        layers: list[nn.Module] = [_Clamp(), _conv(4, _CHANNELS), nn.ReLU()]
        for _ in range(3):
            layers += [_Residual(), _Residual(), _Residual()]
            layers += [nn.Upsample(scale_factor=2), _conv(_CHANNELS, _CHANNELS, bias=False)]
        super().__init__(*layers, _Residual(), _conv(_CHANNELS, 3))


class Encoder(nn.Module):
    """(B, 3, H, W), 0..1 -> (B, 4, H/8, W/8)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 12, 24, 32)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [_conv(before, after, stride=2), nn.ReLU()]
        self.net = nn.Sequential(*layers, _conv(widths[-1], 1))

    def forward(self, pixels: Tensor) -> Tensor:
        colours = (functional.avg_pool2d(pixels, CELL) - MIDDLE) * GAIN
        return torch.cat([colours, WAVE * torch.tanh(self.net(pixels - 0.5))], 1)


def colours(latents: Tensor) -> Tensor:
    """(..., 4, h, w) -> (..., 3, h, w), 0..1: the mean colour of every cell, without decoding."""
    return latents[..., :3, :, :] / GAIN + MIDDLE
