"""Which part of the picture belongs to whom: from masks, face boxes, or skeletons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as functional
from PIL import Image, ImageDraw
from torch import Tensor

from ..errors import BadCast, BadSize, LikenessError, counted, listed
from ..inputs import OTHER_WORDS
from ..people import Box, Cast, Layout, Person, PlacedCast, Point, Pose, Slot, is_a
from ..pictures import as_masks
from .bodies import LIMBS, openpose, seen_limbs, torso

Extent = Literal["body", "face"]
EXTENTS: tuple[Extent, ...] = get_args(Extent)
ALL_PEOPLE = 0
"""Instead of the number of a person."""
_HAIR = 0.3
"""How far hair and ears reach beyond a face box, in face sizes."""
_IN_PLACE = 0.3
"""The least share of a mask, or of a place, that says the two belong together."""


class BadRegion(LikenessError):
    """A part of the picture that cannot belong to one person."""

    def __init__(self, who: str, why: str, advice: str = "") -> None:
        super().__init__(
            f"The region of {who} cannot be used: {why}.",
            advice or "Give every person a place of their own in Place Cast, or connect one mask per person.",
        )


def of_cast(cast: PlacedCast, margin: float, feather: float) -> Tensor:
    """(people, H, W) float32 0..1 of a placed cast: each slot's own mask, else its face box, widened.

    margin: how far the region reaches beyond the face box on every side, in face widths and heights.
    feather: width of the soft edge, px.
    Raises BadRegion for a place without box and mask, a region off the canvas, two people with the same region.
    """
    found = [
        _face(one, cast, margin, feather) if one.slot is None or one.slot.mask is None else one.slot.mask.float()
        for one in cast.people
    ]
    return checked(torch.stack(found), names(cast.people))


def in_face_boxes(cast: PlacedCast, regions: Tensor | None = None) -> Tensor:
    """(people, H, W) float32 0..1 of a placed cast: the regions, or the whole picture, cut to everybody's face box.

    A box is whole pixels, its corners cut towards 0, as in InstantID's infer_full.py; what is off the canvas is cut.
    Raises BadRegion for a place without box, a box without a pixel on the canvas, and of regions those that do not
    meet their box and two that are then the same.
    """
    boxes = torch.stack([_face_box(person, cast) for person in cast.people])
    if regions is None:
        return boxes
    found = boxes * regions
    for person, region in zip(cast.people, found, strict=True):
        if not region.any():
            why = "it does not meet the face box of its place"
            raise BadRegion(person.identity.name, why, "Paint the mask over the face, or set acts_in to regions.")
    return checked(found, names(cast.people))


def _face_box(person: Person, cast: PlacedCast) -> Tensor:
    name, box = person.identity.name, person.slot and person.slot.box
    if box is None:
        advice = "Use a layout whose places have faces, or set acts_in to regions."
        raise BadRegion(name, "its place has no face box, in which alone the face would act", advice)
    x0, y0, x1, y1 = (max(0, int(end)) for end in box)
    region = torch.zeros(cast.height, cast.width)
    region[y0:y1, x0:x1] = 1
    if not region.any():
        at = ", ".join(f"{end:g}" for end in box)
        why = f"its face box ({at}) has no pixel on the canvas of {cast.width}x{cast.height} px"
        raise BadRegion(name, why, "Move or enlarge the place in the layout, or set acts_in to regions.")
    return region


def of_person(
    cast: PlacedCast, number: int, extent: Extent, margin: float, feather: float, staying: Sequence[Slot] = ()
) -> Tensor:
    """(H, W) float32 0..1: the region of one person of a placed cast, counted from 1, or of ALL_PEOPLE.

    extent: "body" is the place's own mask as it is, else skeleton, torso and face; "face" the face box.
    margin: how far that reaches, in face sizes. feather: width of the soft edge, px. The faces of others are left out.
    staying: places of people who are in the picture already and stay as they are: their heads are left out, and from
    what is not the person's face their bodies.
    Raises BadCast, and BadRegion for a place without what is needed, a region off the canvas or under
    other people's faces.
    """
    meant = _meant(cast, number)
    if number == ALL_PEOPLE:
        return torch.stack([of_person(cast, n + 1, extent, margin, feather, staying) for n in meant]).amax(0)
    person = cast.people[meant[0]]
    if extent == "body" and person.slot and person.slot.mask is not None:
        if not person.slot.mask.any():
            raise BadRegion(person.identity.name, "the mask of its place is empty")
        return person.slot.mask.float().clone()
    region = _face(person, cast, margin, feather)
    if extent == "body":
        region = torch.maximum(region, _without_bodies(_body(person, cast, margin, feather), staying, feather))
    if not region.any():
        advice = "Use a larger canvas, or fit = pad in the layout node."
        raise BadRegion(person.identity.name, "it lies off the canvas", advice)
    for other in cast.people:
        if other is not person and other.weight > 0 and other.slot and other.slot.box:
            region = torch.minimum(region, 1 - box_region(other.slot.box, cast.width, cast.height, 0))
    for slot in staying:
        if slot.box:
            region = torch.minimum(region, 1 - box_region(widened(slot.box, _HAIR), cast.width, cast.height, feather))
    if not region.any():
        advice = "Move the two apart in the layout, or raise margin."
        raise BadRegion(person.identity.name, "the faces of others cover it", advice)
    return region


def _meant(cast: PlacedCast, number: int) -> list[int]:
    """Where in a cast the person of this number is, or with ALL_PEOPLE all who are heard, or all. Raises BadCast."""
    everybody = range(len(cast.people))
    if number == ALL_PEOPLE and cast.people:
        return [n for n in everybody if cast.people[n].weight > 0] or list(everybody)
    if not 0 < number <= len(cast.people):
        there = listed([f"{n} {name}" for n, name in enumerate(names(cast.people), 1)], "no people")
        raise BadCast(
            f"There is no person {number} in the cast; those with a place are {there}.",
            "Set person to one of these numbers. People whom Place Cast has left out are not counted.",
        )
    return [number - 1]


def of_present(
    cast: PlacedCast, present: Sequence[Person], masks: Tensor | None, extent: Extent, margin: float, feather: float
) -> Tensor:
    """(people, H, W) float32 0..1 of `present`, some of a cast: `of_masks`, or where there are none everybody's
    `of_person`.

    Raises what these raise, and BadRegion for two alike or where each person has a picture of their own.
    """
    if cast.by_row:
        why = "each person has a picture of their own, from Crop Faces, and no region in it"
        raise BadRegion(", ".join(names(cast.people)), why, "Leave this node out of the second pass.")
    if masks is None:
        numbers = [n for n, person in enumerate(cast.people, 1) if any(person is one for one in present)]
        found = torch.stack([of_person(cast, number, extent, margin, feather) for number in numbers])
        return checked(found, names(present))
    heard = [person for person in cast.people if person.weight > 0]
    return of_masks(masks, cast)[[any(person is one for one in present) for person in heard]]


@dataclass(frozen=True, eq=False)
class Found:
    """What several masks of a picture are of a cast. region: (H, W), 0..1, on the canvas.

    used: the numbers of the masks in it, from 1. nobodys: those that are in no place.
    """

    region: Tensor
    used: tuple[int, ...]
    nobodys: tuple[int, ...]


def among(
    masks: Tensor, cast: PlacedCast, number: int, extent: Extent, margin: float, staying: Sequence[Slot]
) -> Found:
    """Those of a MASK batch, one per thing or person as a detector gives them, that belong to one person of a placed
    cast, counted from 1, or to ALL_PEOPLE; together, as they are, of the size of the canvas.

    Each mask belongs to the person in whose place most of it lies, or whose place it covers most; it may be one of
    `staying` too. extent and margin say what a place is, as in `of_person`; no feather, no head is left out.
    Raises BadCast, and BadRegion where no mask lies in the place.
    """
    meant = _meant(cast, number)
    slots = [*(person.slot for person in cast.people), *staying]
    places = [_place(slot, cast, extent, margin) for slot in slots]
    size = (cast.height, cast.width)
    fitted = functional.interpolate(as_masks(masks)[:, None], size=size, mode="nearest")[:, 0]
    if not fitted.any():
        raise BadRegion(listed([cast.people[n].identity.name for n in meant]), "the masks are all zero", OTHER_WORDS)
    shares = torch.stack([_shared(fitted, place) for place in places])
    best, owner = shares.max(0)
    used = [n for n, whose in enumerate(map(int, owner)) if whose in meant and best[n] >= _IN_PLACE]
    if not used:
        who = listed([cast.people[n].identity.name for n in meant])
        near = float(shares[meant].max())
        why = f"of {counted(len(fitted), 'mask')} none lies in that place or covers it; the nearest by {near:.0%}"
        why += ", and it is in another place no less" * (near >= _IN_PLACE)
        raise BadRegion(who, why, f"Detect them in a picture of the layout's shape. {OTHER_WORDS}")
    nobodys = tuple(n + 1 for n in range(len(fitted)) if best[n] < _IN_PLACE)
    return Found(fitted[used].amax(0), tuple(n + 1 for n in used), nobodys)


def describe(found: Found, masks: Tensor) -> list[str]:
    """Which of the masks were taken, and whether they had another size; a line each."""
    taken = f"Of {counted(len(as_masks(masks)), 'mask')} taken: {listed(found.used)}"
    lines = [taken + (f"; outside all places: {listed(found.nobodys)}" if found.nobodys else "")]
    (high, wide), (height, width) = masks.shape[-2:], found.region.shape
    if (wide, high) != (width, height):
        lines.append(f"The masks are {wide}x{high} px and the layout {width}x{height} px: they are stretched over it.")
    return lines


def _place(slot: Slot | None, cast: PlacedCast, extent: Extent, margin: float) -> Tensor:
    """(H, W) 0..1: where somebody is looked for; nowhere without a face box and a mask."""
    if slot is not None and extent == "body" and slot.mask is not None:
        return slot.mask.float()
    if slot is None or slot.box is None:
        return torch.zeros(cast.height, cast.width)
    place = box_region(widened(slot.box, margin), cast.width, cast.height, 0)
    if extent == "face" or slot.pose is None:
        return place
    reach = margin * (slot.box[2] - slot.box[0])
    return torch.maximum(place, body_region(slot.pose, reach, cast.width, cast.height, 0))


def _shared(masks: Tensor, place: Tensor) -> Tensor:
    """(masks,): how much of the smaller of the two lies in the other, 0..1."""
    common = torch.minimum(masks, place).sum((1, 2))
    return common / torch.minimum(masks.sum((1, 2)), place.sum()).clamp(min=1e-6)


def staying(cast: PlacedCast, layout: Layout) -> tuple[Slot, ...]:
    """The places of a layout in which nobody of a placed cast stands. Raises BadSize for another canvas."""
    if (layout.width, layout.height) != (cast.width, cast.height):
        expected = f"the cast's canvas is {cast.width}x{cast.height} px"
        raise BadSize(
            "The layout of those who stay", (layout.width, layout.height), expected,
            "Connect the layout that Place Cast has.",
        )  # fmt: skip
    taken = {person.place for person in cast.people if person.weight > 0}
    return tuple(slot for number, slot in enumerate(layout.slots, 1) if number not in taken)


def _without_bodies(region: Tensor, others: Sequence[Slot], feather: float) -> Tensor:
    for slot in others:
        if slot.pose is not None and slot.box is not None:
            reach = _HAIR * (slot.box[2] - slot.box[0])
            body = body_region(slot.pose, reach, region.shape[1], region.shape[0], feather)
            region = torch.minimum(region, 1 - body)
    return region


def _box(person: Person) -> Box:
    if person.slot is None or person.slot.box is None:
        advice = "Use a layout whose places have faces, or masks (Layout from Picture)."
        raise BadRegion(person.identity.name, "its place has neither a face box nor a mask", advice)
    return person.slot.box


def _face(person: Person, cast: PlacedCast, margin: float, feather: float) -> Tensor:
    return box_region(widened(_box(person), margin), cast.width, cast.height, feather)


def _body(person: Person, cast: PlacedCast, margin: float, feather: float) -> Tensor:
    x0, _, x1, _ = _box(person)
    if person.slot is None or person.slot.pose is None:
        advice = "Set body to half in the node that made this place (a layout node, Add Place), or extent to face."
        raise BadRegion(person.identity.name, "its place has neither a skeleton nor a mask", advice)
    return body_region(person.slot.pose, margin * (x1 - x0), cast.width, cast.height, feather)


def check_one_picture(cast: Cast | None) -> None:
    """Raise BadRegion for the cast of Crop Faces, of which no mask of one picture can tell."""
    if cast and cast.by_row:
        why = "each person has a picture of their own, from Crop Faces"
        raise BadRegion(", ".join(names(cast.people)), why, "Disconnect the mask.")


def of_masks(masks: Tensor, cast: Cast) -> Tensor:
    """A MASK batch, one per person in the cast's order, as (people, H, W) of those who are heard (weight above 0).

    Of the size of the canvas if there is one.

    Raises BadRegion when the numbers differ, a mask is empty or two are the same.
    """
    masks = as_masks(masks)
    if len(masks) != len(cast.people):
        there = f"there {'is' if len(masks) == 1 else 'are'} {counted(len(masks), 'mask')}"
        why = f"{there} for {counted(len(cast.people), 'person', 'people')}"
        raise BadRegion(", ".join(names(cast.people)), why)
    size = (cast.height, cast.width) if is_a(cast, PlacedCast) else tuple(masks.shape[-2:])
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


def body_region(pose: Pose, reach: float, width: int, height: int, feather: float) -> Tensor:
    """(height, width): 1 in the torso and up to `reach` px from it and the limbs, then falling over `feather` px."""
    joints, trunk = openpose(pose), torso(pose)
    lines = [(joints[a][:2], joints[b][:2]) for a, b in (LIMBS[n] for n in seen_limbs(joints))]
    lines += zip(trunk, (*trunk[1:], *trunk[:1]), strict=True)
    nearest = torch.full((height, width), float("inf"))
    for a, b in lines:
        # What lies further away than the soft edge is 0 anyway.
        far = reach + feather + 1
        (x0, x1), (y0, y1) = (
            tuple(max(0, min(side, int(end))) for end in (min(p, q) - far, max(p, q) + far + 1))
            for p, q, side in zip(a, b, (width, height), strict=True)
        )
        near = nearest[y0:y1, x0:x1]
        near.copy_(torch.minimum(near, _distance(a, b, range(x0, x1), range(y0, y1))))
    inside = Image.new("1", (width, height))
    if trunk:
        ImageDraw.Draw(inside).polygon(trunk, fill=1)
    nearest[torch.as_tensor(np.array(inside))] = 0
    return _falling(nearest - reach, feather)


def _distance(a: Point, b: Point, across: range, down: range) -> Tensor:
    """(down, across): from the centres of these pixels to the line between two points, px."""
    x = torch.arange(across.start, across.stop) + 0.5 - a[0]
    y = torch.arange(down.start, down.stop)[:, None] + 0.5 - a[1]
    dx, dy = b[0] - a[0], b[1] - a[1]
    along = ((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-6)).clamp(0, 1)
    return torch.hypot(x - along * dx, y - along * dy)


def _edge(at: Tensor, low: float, high: float, feather: float) -> Tensor:
    return _falling(torch.maximum(low - at, at - high), feather)


def _falling(outside: Tensor, feather: float) -> Tensor:
    """1 inside, falling to 0 over `feather` px; outside: the distance from the edge, px, negative inside."""
    return (1 - outside.clamp(min=0) / max(feather, 1e-6)).clamp(min=0)
