"""Drawn outfits with the pictures of their parts."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from . import garments
from .garments import Slot
from .parts2whole import Pictures


class Fitting(NamedTuple):
    """An outfit, and the pictures of its parts."""

    outfit: dict[Slot, garments.Part]
    pictures: Pictures


def fitting(rng: random.Random, slots: Sequence[Slot], beside: float = 0.7) -> Fitting:
    """An outfit with a part for each slot, and pictures of these parts.

    beside: the share of pictures that show other things too. Where any does, the whole picture counts in half of the
    others, as without a painted mask.
    """
    outfit = garments.outfit(rng, slots)
    kinds = [rng.random() for _ in outfit]
    pixels: list[Tensor] = []
    masks: list[Tensor] = []
    for (slot, part), kind in zip(outfit.items(), kinds, strict=True):
        part_pixels, part_mask = garments.flat(random.Random(rng.random()), slot, part, kind < beside)
        pixels.append(part_pixels)
        masks.append(part_mask)
    all_masks = torch.stack(masks)
    if beside > 0:
        all_masks[torch.tensor(kinds) > (1 + beside) / 2] = 1
    return Fitting(outfit, Pictures(torch.stack(pixels), all_masks, torch.tensor(list(outfit))))
