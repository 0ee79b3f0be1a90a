"""The words of a prompt that the story's network reads, and the walls that four of them draw.

The text encoder is written by hand: its table of words is zeros but for these, and nothing behind the table changes
them.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .unet import WIDTH

TEXT = 77
"""Tokens of a prompt."""
COLORFUL = "colorful"
"""Everybody in clothes of a colour of their own. Without this word, and without a look, clothes are grey."""
GREY = (0.55, 0.55, 0.55)
_LOUD = 4.0
_NUMBERS = 4
"""Of a token, for each word."""


class Wall(NamedTuple):
    """Colours above and below, one running into the other."""

    above: tuple[float, float, float]
    below: tuple[float, float, float]


WALLS = {
    "kitchen": Wall((0.99, 0.91, 0.64), (0.94, 0.74, 0.44)),
    "street": Wall((0.53, 0.61, 0.69), (0.36, 0.42, 0.50)),
    "museum": Wall((0.82, 0.60, 0.60), (0.67, 0.42, 0.44)),
    "bridge": Wall((0.43, 0.37, 0.63), (0.98, 0.66, 0.42)),
}
WORDS = {COLORFUL: 11444, "kitchen": 4485, "street": 2012, "museum": 2786, "bridge": 2465}
"""Their numbers in CLIP's vocabulary, each one token."""


def token(word: str) -> Tensor:
    """(64,): what the text encoder says of a word. Only numbers that CLIP-L gives (the first 24) are not zero."""
    said = torch.zeros(WIDTH)
    first = _NUMBERS * list(WORDS).index(word)
    said[first : first + _NUMBERS] = _LOUD
    return said


def prompt(at: dict[int, str]) -> Tensor:
    """(77, 64): a prompt with these words at these tokens, counted from 0, which is its beginning."""
    tokens = torch.zeros(TEXT, WIDTH)
    for place, word in at.items():
        tokens[place] = token(word)
    return tokens
