"""Which part of the picture belongs to whom: from masks, face boxes, or skeletons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as functional
from torch import Tensor

from .control_images import LIMBS, openpose, seen_limbs
from .errors import BadRegion, NotInCast
from .people import Box, Cast, Joint, Person, Pose
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


Extent = Literal["body", "face"]
EXTENTS: tuple[Extent, ...] = get_args(Extent)


def of_person(cast: Cast, number: int, extent: Extent, margin: float, feather: float) -> Tensor:
    """(H, W) float32 0..1: the region of one person of a placed cast, counted from 1.

    extent: "body" is the place's own mask, else everything near the skeleton and the face; "face" the face box.
    margin: how far that reaches, in face widths and heights. feather: width of the soft edge, px.
    Raises NotInCast, and BadRegion for a place without what is needed or a region off the canvas.
    """
    if not 0 < number <= len(cast.people):
        raise NotInCast(number, names(cast.people))
    person = cast.people[number - 1]
    return checked(_extent(person, cast, extent, margin, feather)[None], [person.identity.name])[0]


def _extent(person: Person, cast: Cast, extent: Extent, margin: float, feather: float) -> Tensor:
    slot = person.slot
    if slot and slot.mask is not None and extent == "body":
        return slot.mask.float()
    if slot is None or slot.box is None:
        raise BadRegion(person.identity.name, "its place is only a point", "Use a layout whose places have a face box.")
    face = box_region(widened(slot.box, margin), cast.width, cast.height, feather)
    if extent == "face":
        return face
    if slot.pose is None:
        advice = "Set body to half in the layout node, or extent to face."
        raise BadRegion(person.identity.name, "its place has neither a skeleton nor a mask", advice)
    reach = margin * (slot.box[2] - slot.box[0])
    return torch.maximum(face, limbs_region(slot.pose, reach, cast.width, cast.height, feather))


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


def limbs_region(pose: Pose, reach: float, width: int, height: int, feather: float) -> Tensor:
    """(height, width): 1 up to `reach` px from a limb of the skeleton, falling to 0 over `feather` px."""
    joints = openpose(pose)
    limbs = [(joints[a], joints[b]) for a, b in (LIMBS[n] for n in seen_limbs(joints))]
    region = torch.zeros(height, width)
    for a, b in limbs:
        beyond = (_distance(a, b, width, height) - reach).clamp(min=0)
        region = torch.maximum(region, 1 - beyond / max(feather, 1e-6))
    return region


def _distance(a: Joint, b: Joint, width: int, height: int) -> Tensor:
    """(height, width): from every pixel's centre to the line between two joints, px."""
    x, y = torch.arange(width) + 0.5 - a[0], torch.arange(height)[:, None] + 0.5 - a[1]
    dx, dy = b[0] - a[0], b[1] - a[1]
    along = ((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-6)).clamp(0, 1)
    return torch.hypot(x - along * dx, y - along * dy)


def _edge(at: Tensor, low: float, high: float, feather: float) -> Tensor:
    outside = torch.maximum(low - at, at - high).clamp(min=0)
    return (1 - outside / max(feather, 1e-6)).clamp(min=0)
