"""The encoder as TAESD's, so that the host also turns pictures into latents: for a second pass and for inpainting.

TAESD's encoder has the same three strides but no pooling, no tanh and no bias where it strides. Written by hand:
averages are strided convolutions, a bias is the end of the block behind, and tanh is sixty straight pieces.
"""

import torch
from torch import Tensor

from .autoencoder import GAIN, MIDDLE, WAVE

_BELOW = -3.0
_ABOVE = 3.0
"""Below the first and above the second number tanh is straight."""
_PIECES = 60
_STRIDES = {2: 0, 6: 2, 10: 4}
"""TAESD's strided layers: which of the small encoder's each of them is. The block behind adds the bias."""
_BENT = 12
"""The block that bends."""
_OUT = 14
"""The last layer."""
_FIRST = 3
"""The first channel behind the colours."""


def widened_encoder(small: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights of autoencoder.Encoder -> of TAESD's, keys without "taesd_encoder.". shapes: of every such key."""
    large = {key: torch.zeros(shape) for key, shape in shapes.items()}
    _pixels(large["0.weight"], large["0.bias"])
    for layer, small_layer in _STRIDES.items():
        weight = small[f"net.{small_layer}.weight"]
        strided = large[f"{layer}.weight"]
        _colours_halved(strided)
        rows = slice(_FIRST, _FIRST + weight.shape[0])
        columns = slice(_FIRST, _FIRST + weight.shape[1])
        strided[rows, columns] = weight
        if small_layer == 0:  # what is below 0.5 has channels of its own
            strided[rows, _FIRST + 3 : _FIRST + 6] = -weight
        large[f"{layer + 1}.conv.4.bias"][rows] = small[f"net.{small_layer}.bias"]
    channel = _write_tanh(large, small)
    _latents(large[f"{_OUT}.weight"], large[f"{_OUT}.bias"], channel)
    return large


def _pixels(weight: Tensor, bias: Tensor) -> None:
    """Nine channels: colours p, and p - 0.5 as what is above and what is below it, since the block behind keeps
    positive numbers only."""
    for colour in range(3):
        weight[colour, colour, 1, 1] = 1
        weight[3 + colour, colour, 1, 1] = 1
        weight[6 + colour, colour, 1, 1] = -1
    bias[3:6] = -0.5
    bias[6:9] = 0.5


def _colours_halved(weight: Tensor) -> None:
    """The mean of every 2x2: the taps in the middle and behind it."""
    for colour in range(3):
        weight[colour, colour, 1:, 1:] = 0.25


def _write_tanh(large: dict[str, Tensor], small: dict[str, Tensor]) -> int:
    """Write WAVE * tanh of the last layer, raised by WAVE, into a block of TAESD, and return the channel that has it.

    A block is three convolutions with ReLUs between and one behind, which would cut off what is below 0: so it is
    raised.
    """
    weight = small["net.6.weight"]
    bias = small["net.6.bias"]
    knots = torch.linspace(_BELOW, _ABOVE, _PIECES + 1)
    heights = WAVE * torch.tanh(knots)
    slopes = heights.diff() / knots.diff()
    bends = slopes.diff(prepend=torch.zeros(1), append=torch.zeros(1))
    count = len(knots)
    channel = _FIRST + weight.shape[1]
    block = f"{_BENT}.conv"
    # One channel for each knot, which is above zero beyond it; their sum, weighted by the bends, is the curve.
    large[f"{block}.0.weight"][:count, _FIRST:channel] = weight
    large[f"{block}.0.bias"][:count] = bias - knots
    large[f"{block}.2.weight"][range(count), range(count), 1, 1] = 1
    large[f"{block}.4.weight"][channel, :count, 1, 1] = bends
    large[f"{block}.4.bias"][channel] = heights[0] + WAVE
    return channel


def _latents(weight: Tensor, bias: Tensor, channel: int) -> None:
    for colour in range(3):
        weight[colour, colour, 1, 1] = GAIN
    bias[:_FIRST] = -MIDDLE * GAIN
    weight[3, channel, 1, 1] = 1
    bias[3] = -WAVE
