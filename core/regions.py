"""Which part of the picture belongs to whom: from masks, or from face boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from .errors import BadRegion
from .people import Box, Cast, Person
from .pictures import as_masks


def of_cast(cast: Cast, margin: float, feather: float) -> Tensor:
    """(people, H, W) float32 0..1 of a placed cast: each slot's own mask, else its face box, widened.

    margin: how far the region reaches beyond the face box on every side, in face widths and heights.
    feather: width of the soft edge, px.
    Raises BadRegion for a place without box and mask, a region off the canvas, two people with the same region.
    """
    return checked(torch.stack([_of_person(p, cast, margin, feather) for p in cast.people]), names(cast.people))


def _of_person(person: Person, cast: Cast, margin: float, feather: float) -> Tensor:
    slot = person.slot
    if slot is not None and slot.mask is not None:
        return slot.mask.float()
    if slot is None or slot.box is None:
        raise BadRegion(person.identity.name, "its place has neither a face box nor a mask")
    return box_region(widened(slot.box, margin), cast.width, cast.height, feather)


def of_masks(masks: Tensor, cast: Cast) -> Tensor:
    """A MASK batch, one per person in the cast's order, as (people, H, W) of those who are heard (weight above 0).

    Of the size of the canvas if there is one.

    Raises BadRegion when the numbers differ, a mask is empty or two are the same.
    """
    masks = as_masks(masks)
    if len(masks) != len(cast.people):
        raise BadRegion(", ".join(names(cast.people)), f"there are {len(masks)} masks for {len(cast.people)} people")
    size = (cast.height or masks.shape[-2], cast.width or masks.shape[-1])
    heard = [number for number, person in enumerate(cast.people) if person.weight > 0]
    fitted = functional.interpolate(masks[heard, None], size=size, mode="nearest")[:, 0]
    return checked(fitted, names([cast.people[number] for number in heard]))


def checked(regions: Tensor, people: Sequence[str]) -> Tensor:
    """The regions. Raises BadRegion for an empty one or two alike."""
    for i, region in enumerate(regions):
        if not region.any():
            raise BadRegion(people[i], "the region is empty or lies off the canvas")
        for j in range(i):
            if torch.equal(region, regions[j]):
                raise BadRegion(f"{people[j]} and {people[i]}", "both have the same region, so they would blend")
    return regions


def names(people: Sequence[Person]) -> list[str]:
    return [person.identity.name for person in people]


def widened(box: Box, margin: float) -> Box:
    """The box with `margin` times its width and height added on each side."""
    x0, y0, x1, y1 = box
    wide, high = (x1 - x0) * margin, (y1 - y0) * margin
    return (x0 - wide, y0 - high, x1 + wide, y1 + high)


def box_region(box: Box, width: int, height: int, feather: float) -> Tensor:
    """(height, width): 1 inside the box, falling to 0 over `feather` px outside of it, at pixel centres."""
    x0, y0, x1, y1 = box
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    return _edge(y, y0, y1, feather)[:, None] * _edge(x, x0, x1, feather)


def _edge(at: Tensor, low: float, high: float, feather: float) -> Tensor:
    outside = torch.maximum(low - at, at - high).clamp(min=0)
    return (1 - outside / max(feather, 1e-6)).clamp(min=0)
