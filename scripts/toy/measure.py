"""Whose look is seen in which place of a picture."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from .autoencoder import CELL
from .avatars import Area, Areas, area
from .looks import PARTS

_SEEN = {"hair": Area.HAIR, "shirt": Area.SHIRT, "skin": Area.SKIN}
_LEAST = 1e-3  # cells
_RIDGE = 0.1  # cells


class Seen(NamedTuple):
    """One picture. Nine colours per person: RGB of hair, shirt and skin; NaN where a part is hidden."""

    found: Tensor
    """(P, 9): in the places."""
    meant: Tensor
    """(P, 9): of the people who belong there."""


def colours_of(looks: Tensor) -> Tensor:
    """(P, 11) -> (P, 9)."""
    return torch.cat([looks[:, PARTS[part]] for part in _SEEN], dim=1).clamp(0, 1)


def cells_of(pixels: Tensor) -> Tensor:
    """A picture (H, W, 3), 0..1 -> (3, H/8, W/8): its mean colours."""
    return functional.avg_pool2d(pixels.permute(2, 0, 1)[None], CELL)[0]


def found_in(cells: Tensor, areas: Areas, people: int) -> Tensor:
    """(P, 9): the colours of the parts in the cells (3, h, w), as the areas of a right picture lie in them.

    A cell shows a mixture of what lies in it, half a face has eyes, mouth and lines: the colours are those whose
    mixtures come nearest to all cells (least squares). Plain means would make the lightest skin of a right picture
    darker by 0.1.
    """
    height, width = cells.shape[1:]
    numbers = [int(number) for number in np.unique(areas)]
    shares = torch.stack([share(areas, number, (height, width)) for number in numbers], dim=1)  # (cells, areas)
    colours = _unmixed(cells.flatten(1).T, shares)  # (areas, 3)
    colour_of_area: dict[int, Tensor] = {}
    for row, number in enumerate(numbers):
        if (shares[:, row] ** 4).sum() > _LEAST:
            colour_of_area[number] = colours[row]
    hidden = torch.full((3,), torch.nan)
    rows: list[Tensor] = []
    for person in range(people):
        parts = [colour_of_area.get(area(person, part), hidden) for part in _SEEN.values()]
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def share(areas: Areas, number: int, size: tuple[int, int]) -> Tensor:
    """(h * w,): how much of every cell the area takes."""
    inside = torch.from_numpy((areas == number).astype("float32"))[None]
    return functional.adaptive_avg_pool2d(inside, size).flatten()


def _unmixed(cells: Tensor, shares: Tensor) -> Tensor:
    """(A, 3): a colour for each of the areas whose shares (cells, A) in the cells (cells, 3) are known.

    Where an area is too small to tell, the mean of the cells that are fullest of it decides.
    """
    full = shares**4
    means = full.T @ cells / full.sum(0)[:, None].clamp_min(1e-6)
    # Pulls each colour a little towards the mean, which decides where the shares cannot.
    ridge = _RIDGE * torch.eye(shares.shape[1])
    return torch.linalg.solve(shares.T @ shares + ridge, shares.T @ cells + ridge @ means)


def nearest(seen: Seen) -> list[int | None]:
    """For every place the index of the person whose look is nearest to what is found there; None where all of it is
    hidden, which looks like nobody."""
    people: list[int | None] = []
    for found in seen.found:  # (9,)
        if found.isnan().all():
            people.append(None)
            continue
        distances = (found - seen.meant).square().nanmean(1)  # (P,)
        people.append(int(distances.argmin()))
    return people


def association(pictures: Sequence[Seen]) -> float:
    """The share of places, in pictures of two and more, that look most like the person who belongs there.

    By chance it is one in the number of people. NaN where there is no such place.
    """
    right: list[bool] = []
    for seen in pictures:
        if len(seen.found) < 2:
            continue
        right += [person == place for place, person in enumerate(nearest(seen))]
    if not right:
        return math.nan
    return sum(right) / len(right)


def fit(pictures: Sequence[Seen], part: str) -> float:
    """R2 of the colours of "hair", "shirt" or "skin" over everybody in whom they are seen."""
    first = 3 * list(_SEEN).index(part)
    found = torch.cat([seen.found for seen in pictures])[:, first : first + 3]
    meant = torch.cat([seen.meant for seen in pictures])[:, first : first + 3]
    visible = ~found.isnan().any(1)
    error = (found[visible] - meant[visible]).square().mean()
    return float(1 - error / meant[visible].var(0, correction=0).mean())
