"""Whose look is seen in which place: association, leakage, and how well each colour is met."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from core.people import Box

from .autoencoder import CELL
from .avatars import Area, Areas, area
from .looks import PARTS

_SEEN = {"hair": Area.HAIR, "shirt": Area.SHIRT, "skin": Area.SKIN}
_LEAST = 1e-3  # cells
_RIDGE = 0.1  # cells
_APART = 0.08  # looks that differ by less are met no more closely than this


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


def association(pictures: Sequence[Seen], apart: float = 0.0) -> float:
    """The share of places, in pictures of two and more, that look most like the person who belongs there.

    By chance it is one in the number of people. NaN where there is no such place.
    apart: only of people whose look is at least so far from everybody else's, root mean square of the nine colours.
    """
    right: list[bool] = []
    for seen in pictures:
        if len(seen.found) < 2:
            continue
        for place, person in enumerate(nearest(seen)):
            if _distance_to_others(seen.meant, place) >= apart:
                right.append(person == place)
    if not right:
        return math.nan
    return sum(right) / len(right)


def _distance_to_others(meant: Tensor, place: int) -> float:
    others = torch.cat([meant[:place], meant[place + 1 :]])
    return float((others - meant[place]).square().mean(1).sqrt().min())


class Mixture(NamedTuple):
    """What a place shows, as a mixture of the looks of its picture: 1 and 0 where everybody is only themselves."""

    own: float
    """Of the look that belongs there; 0.8 where a fifth of it is somebody else's."""
    leakage: float
    """Of the looks of all others together, whether one of them shows or all do; 0.2 where a fifth of the look is
    theirs. It does not depend on how many others there are."""


def leakage(pictures: Sequence[Seen]) -> Mixture:
    """A regression of what is seen in each place on two looks: the one that belongs there and the mean of all others.

    Every place of every picture with two and more people is a row for each of its nine colours, without hidden ones;
    own and leakage are the slopes, and a constant takes what is the same everywhere. The mean, since a regression on
    each other look by itself would divide what has leaked by the number of people it can come from. Both are NaN
    where no picture has two people.
    """
    found: list[Tensor] = []
    own: list[Tensor] = []
    others: list[Tensor] = []
    for picture in pictures:
        people = len(picture.meant)
        if people < 2:
            continue
        found.append(picture.found)
        own.append(picture.meant)
        # (P, 9): of everybody but the person of the row.
        others.append((picture.meant.sum(0, keepdim=True) - picture.meant) / (people - 1))
    if not found:
        return Mixture(math.nan, math.nan)
    seen = torch.cat(found).double()  # (places, 9)
    known = ~seen.isnan()
    belongs = torch.cat(own).double()[known]  # (colours,)
    neighbours = torch.cat(others).double()[known]
    constant = torch.ones_like(belongs)
    looks = torch.stack([belongs, neighbours, constant], dim=1)  # (colours, 3)
    slopes = torch.linalg.lstsq(looks, seen[known][:, None]).solution[:, 0]
    return Mixture(float(slopes[0]), float(slopes[1]))


def fit(pictures: Sequence[Seen], part: str) -> float:
    """R2 of the colours of "hair", "shirt" or "skin" over everybody."""
    found, meant = _known(pictures, part)
    return float(1 - (found - meant).square().mean() / meant.var(0, correction=0).mean())


def error(pictures: Sequence[Seen], part: str) -> float:
    """The root of the mean squared error of the same colours."""
    found, meant = _known(pictures, part)
    return float((found - meant).square().mean().sqrt())


def _known(pictures: Sequence[Seen], part: str) -> tuple[Tensor, Tensor]:
    """Visible colours of a part in the places, and of the people who belong there: (places, 3) each."""
    first = 3 * list(_SEEN).index(part)
    columns = slice(first, first + 3)
    found = torch.cat([picture.found for picture in pictures])[:, columns]
    meant = torch.cat([picture.meant for picture in pictures])[:, columns]
    visible = ~found.isnan().any(1)
    return found[visible], meant[visible]


def away(picture: Tensor, cartoon: Tensor, face: Box, most: int = 8) -> float:
    """How far a face of a picture (3, H, W) is from where a right one, the cartoon, has it, in heights of its box.

    By the shift of up to `most` px that makes both most alike.
    """
    height, width = picture.shape[1:]
    left = max(round(face[0]), most)
    top = max(round(face[1]), most)
    right = min(round(face[2]), width - most)
    bottom = min(round(face[3]), height - most)
    meant = cartoon[:, top:bottom, left:right]
    errors: dict[tuple[int, int], float] = {}
    for across in range(-most, most + 1):
        for down in range(-most, most + 1):
            shifted = picture[:, top + down : bottom + down, left + across : right + across]
            errors[across, down] = float((shifted - meant).square().mean())
    across, down = min(errors, key=errors.__getitem__)
    return math.hypot(across, down) / (face[3] - face[1])


def figures(pictures: Sequence[Seen]) -> dict[str, float]:
    """All of it, rounded, for tables and reports."""
    mixture = leakage(pictures)
    values: dict[str, float] = {
        "people": sum(len(picture.found) for picture in pictures),
        "association": association(pictures),
        "association_apart": association(pictures, _APART),
        "own": mixture.own,
        "leakage": mixture.leakage,
    }
    for part in _SEEN:
        values[f"{part}_r2"] = fit(pictures, part)
        values[f"{part}_rms"] = error(pictures, part)
    return {name: round(value, 3) for name, value in values.items()}
