"""Cartoons of drawn people, what an error costs in each of their cells, and people between the drawn photos."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from ... import avatars, places
from ...autoencoder import CELL
from ...avatars import Area, area
from ...net import Miniature
from .lesson import device_of

BATCH = {places.SMALL: 8, places.LARGE: 2}
"""Pictures of a batch, by their size."""


class Cartoon(NamedTuple):
    """pixels: (3, H, W). cost: (1, H/8, W/8), what an error costs in each cell."""

    pixels: Tensor
    cost: Tensor


class LooksAndPatches(NamedTuple):
    """looks: (P, 11). patches: (P, 3, 64, 64)."""

    looks: Tensor
    patches: Tensor


def random_size(rng: random.Random) -> tuple[int, int]:
    """Width and height of the pictures of a batch."""
    if rng.random() < 0.55:
        return places.LARGE
    return places.SMALL


def drawn(standing: Sequence[places.Place], looks: Tensor, size: tuple[int, int], costs: Tensor) -> Cartoon:
    """People of these looks (P, 11) in these places. costs: of `area_costs`."""
    fineness = 1
    if size == places.SMALL:
        fineness = 2
    pixels, areas = avatars.picture(standing, looks, size, fineness)
    cells = size[1] // CELL, size[0] // CELL
    pixel_costs = costs[torch.from_numpy(areas).long()][None]  # (1, H, W)
    return Cartoon(pixels, functional.adaptive_avg_pool2d(pixel_costs, cells))


def area_costs(hair: float = 5.0, skin: float = 8.0) -> Tensor:
    """(256,): what an error costs in each area of a cartoon.

    1 on the wall, 3 on people, 5 where faces are, and most for skin, which is learned last.
    """
    costs = torch.full((256,), 3.0)
    costs[avatars.WALL] = 1.0
    costs[avatars.WHITE] = 5.0
    of_parts = {Area.SKIN: skin, Area.HAIR: hair, Area.MOUTH: 5.0, Area.CHIN: 5.0}
    people = 254 // len(Area)
    for part, cost in of_parts.items():
        for person in range(people):
            costs[area(person, part)] = cost
    return costs


def looks_and_patches(model: Miniature, embeddings: Tensor) -> LooksAndPatches:
    """What the network reads from embeddings (P, 512)."""
    on_device = embeddings.to(device_of(model))
    return LooksAndPatches(model.looks(on_device), model.patches(on_device))


def mixed(people: Tensor, photos: Tensor, rng: random.Random) -> Tensor:
    """People (P, 512) who are in no photo: each is moved along the difference of two photos (n, 512).

    Real faces lie between and beside the drawn ones, and their patches have colours that no drawn one has.
    """
    pairs = torch.tensor([rng.sample(range(len(photos)), 2) for _ in people])  # (P, 2)
    distances = torch.tensor([[rng.uniform(0.2, 0.9)] for _ in people])  # (P, 1)
    differences = photos[pairs[:, 0]] - photos[pairs[:, 1]]
    return functional.normalize(people + distances * differences, dim=-1)
