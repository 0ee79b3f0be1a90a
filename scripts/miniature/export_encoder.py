"""The encoder as TAESD's, so that the host also turns pictures into latents: for a second pass and for inpainting.

TAESD's encoder has the same three strides but no pooling, no tanh and no bias where it strides. Written by hand:
averages are strided convolutions, a bias is the end of the block behind, and tanh is sixty straight pieces.
"""

import torch
from torch import Tensor

from .autoencoder import GAIN, MIDDLE, WAVE

_BELOW, _ABOVE = -3.0, 3.0
"""tanh is straight beyond."""
_PIECES = 60
_STRIDES = {2: 0, 6: 2, 10: 4}
"""TAESD's strided layers: which of the small encoder's each of them is. The block behind adds the bias."""
_BENT, _OUT, _FIRST = 12, 14, 3
"""The block that bends, the last layer, and the first channel behind the colours."""


def widened_encoder(small: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights of autoencoder.Encoder -> of TAESD's, keys without "taesd_encoder.". shapes: of every such key."""
    made = {key: torch.zeros(shape) for key, shape in shapes.items()}
    _pixels(made["0.weight"], made["0.bias"])
    for layer, own in _STRIDES.items():
        _colours_halved(made[f"{layer}.weight"])
        weight, bias = small[f"net.{own}.weight"], small[f"net.{own}.bias"]
        rows, columns = (slice(_FIRST, _FIRST + count) for count in weight.shape[:2])
        made[f"{layer}.weight"][rows, columns] = weight
        if own == 0:  # what is below 0.5 has channels of its own
            made[f"{layer}.weight"][rows, _FIRST + 3 : _FIRST + 6] = -weight
        made[f"{layer + 1}.conv.4.bias"][rows] = bias
    _latents(made[f"{_OUT}.weight"], made[f"{_OUT}.bias"], _bent(made, small))
    return made


def _pixels(weight: Tensor, bias: Tensor) -> None:
    """Nine channels: colours p, and p - 0.5 as what is above and what is below it, since the block behind keeps
    positive numbers only."""
    for colour in range(3):
        weight[colour, colour, 1, 1] = weight[3 + colour, colour, 1, 1] = 1
        weight[6 + colour, colour, 1, 1] = -1
    bias[3:6], bias[6:9] = -0.5, 0.5


def _colours_halved(weight: Tensor) -> None:
    """The mean of every 2x2: the taps in the middle and behind it."""
    for colour in range(3):
        weight[colour, colour, 1:, 1:] = 0.25


def _bent(made: dict[str, Tensor], small: dict[str, Tensor]) -> int:
    """WAVE * tanh of the last layer, raised by WAVE, in a free channel, whose number is returned."""
    weight, bias = small["net.6.weight"], small["net.6.bias"]
    knots = torch.linspace(_BELOW, _ABOVE, _PIECES + 1)
    heights = WAVE * torch.tanh(knots)
    slopes = heights.diff() / knots.diff()
    bends = slopes.diff(prepend=torch.zeros(1), append=torch.zeros(1))
    count, channel = len(knots), _FIRST + weight.shape[1]
    block = f"{_BENT}.conv"
    made[f"{block}.0.weight"][:count, _FIRST:channel] = weight
    made[f"{block}.0.bias"][:count] = bias - knots
    made[f"{block}.2.weight"][range(count), range(count), 1, 1] = 1
    made[f"{block}.4.weight"][channel, :count, 1, 1] = bends
    made[f"{block}.4.bias"][channel] = heights[0] + WAVE
    return channel


def _latents(weight: Tensor, bias: Tensor, channel: int) -> None:
    for colour in range(3):
        weight[colour, colour, 1, 1] = GAIN
    bias[:_FIRST] = -MIDDLE * GAIN
    weight[3, channel, 1, 1], bias[3] = 1, -WAVE
