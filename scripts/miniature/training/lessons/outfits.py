"""Drawn outfits with the pictures of their parts, which the lessons of Parts2Whole and of shared parts have both."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from ... import avatars, garments, places
from ...autoencoder import CELL
from ...garments import Slot
from ...net import Miniature
from ...parts2whole import Pictures
from .cartoons import Cartoon
from .lesson import device_of

OUTFITS = 4
"""Outfits of a batch of Parts2Whole."""
PART_COST = 200.0
"""What errors cost all over a part."""
FEWEST_CELLS = 8.0
"""That cost is spread over so many cells at least."""


class Fitting(NamedTuple):
    """An outfit, and the pictures of its parts."""

    outfit: dict[Slot, garments.Part]
    pictures: Pictures


class Worn(NamedTuple):
    """Pictures of outfits that are worn, and of their parts.

    clean: latents (views, 4, h, w). cost: (views, 1, h, w) of an error. parts: latents of all pictures of parts.
    pictures: these pictures. counts: how many of them each outfit has.
    """

    clean: Tensor
    cost: Tensor
    parts: Tensor
    pictures: Pictures
    counts: list[int]


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


@torch.no_grad()
def worn(
    model: Miniature, rng: random.Random, slots: Sequence[Sequence[Slot]], standing: Sequence[places.Place]
) -> Worn:
    """Outfits, each in as many of the places. slots: of each outfit. standing: the places, outfit by outfit."""
    fittings = [fitting(rng, outfit_slots) for outfit_slots in slots]
    pictures = Pictures(
        torch.cat([entry.pictures.pixels for entry in fittings]),
        torch.cat([entry.pictures.masks for entry in fittings]),
        torch.cat([entry.pictures.labels for entry in fittings]),
    )
    views = len(standing) // len(slots)
    drawings: list[Cartoon] = []
    for number, place in enumerate(standing):
        drawings.append(wearing(place, fittings[number // views].outfit))
    device = device_of(model)
    clean = model.encoder(torch.stack([drawing.pixels for drawing in drawings]).to(device))
    parts = model.encoder(pictures.pixels.to(device))
    cost = torch.stack([drawing.cost for drawing in drawings]).to(clean)
    counts = [len(entry.outfit) for entry in fittings]
    return Worn(clean, cost, parts, pictures, counts)


def wearing(place: places.Place, outfit: garments.Outfit) -> Cartoon:
    """A person in these clothes.

    An error costs 1 on the wall and 4 on a person, and on the parts of which there are pictures the same in all,
    however small a part is.
    """
    pixels, areas = garments.worn(place, outfit)
    masks = [areas != avatars.WALL]
    for slot in outfit:
        masks.append(garments.of_slot(areas, slot))
    as_numbers = torch.from_numpy(np.stack(masks).astype("float32"))  # (1 + parts, H, W)
    cells = pixels.shape[1] // CELL, pixels.shape[2] // CELL
    shares = functional.adaptive_avg_pool2d(as_numbers, cells)
    person = shares[:1]
    parts = shares[1:]
    per_cell = PART_COST / parts.sum((1, 2), keepdim=True).clamp(min=FEWEST_CELLS)
    return Cartoon(pixels, 1 + 3 * person + (parts * per_cell).sum(0, keepdim=True))
