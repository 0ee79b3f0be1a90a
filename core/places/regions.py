"""Who of a cast takes part, and which part of the picture is whose: from masks, face boxes or skeletons."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as functional
from PIL import Image, ImageDraw
from torch import Tensor

from ..attention import region_weights
from ..errors import BadCast, BadSize, LikenessError, counted, gathered, listed
from ..inputs import OTHER_WORDS
from ..people import Box, Cast, Identity, Layout, Person, PlacedCast, Pose, Slot, is_a, require_places
from ..pictures import as_masks
from .bodies import openpose, seen_limbs, torso

Extent = Literal["body", "face"]
EXTENTS: tuple[Extent, ...] = get_args(Extent)
REGIONS, FACE_BOXES = "regions", "face boxes"
"""Where a method that reads faces acts: in all of a person's region, or inside their face box alone."""
ALL_PEOPLE = 0
"""Instead of the number of a person."""
_HAIR = 0.3  # how far hair and ears reach beyond a face box, in face sizes
_IN_PLACE = 0.3  # the least share of a mask, or of a place, that says the two belong together


class BadRegion(LikenessError):
    """A part of the picture that cannot belong to one person."""

    def __init__(self, who: str, why: str, advice: str = "") -> None:
        super().__init__(
            f"The region of {who} cannot be used: {why}.",
            advice or "Give every person a place of their own in Place Cast, or connect one mask per person.",
        )


def as_cast(given: Cast | Identity) -> Cast:
    """One person is a cast of one."""
    return given if is_a(given, Cast) else Cast((Person(given),))


def present(cast: Cast) -> Cast:
    """Without those at weight 0."""
    return replace(cast, people=tuple(person for person in cast.people if person.weight > 0))


def for_photos(cast: Cast) -> Cast:
    """The cast of a method that reads photos: at weight 0 who has LoRAs alone, in whose place LoRA per Person acts.

    Unchanged where nobody else is present, or where everybody has a row of the batch.
    """
    people = [replace(one, weight=0.0) if one.identity.by_lora_alone else one for one in cast.people]
    left = replace(cast, people=tuple(people))
    return cast if cast.by_row or not present(left).people else left


def left_out(cast: Cast, photos: bool = True) -> list[str]:
    """Who is at weight 0, and whom for_photos leaves out, a line each."""
    off = gathered("Weight 0, left out", names([one for one in cast.people if one.weight <= 0]))
    return [*off, *(by_lora(cast) if photos else [])]


def by_lora(cast: Cast) -> list[str]:
    """Whom for_photos leaves out, in one line."""
    both = zip(cast.people, for_photos(cast).people, strict=True)
    found = [one for one, kept in both if one is not kept and one.weight > 0]
    return gathered("A LoRA and no photo, left to LoRA per Person", names(found))


def remarks(cast: Cast, mask: Tensor | None, acts_in: str, cell: int) -> list[str]:
    """What works of regions, but may not be meant: masks that are stretched, face boxes that coarse layers do not see.

    cell: side in pixels that the coarsest layers take for a token.
    """
    if not is_a(cast, PlacedCast):
        return []
    hints, small = list[str](), list[str]()
    if mask is not None and mask.shape[-2:] != (cast.height, cast.width):
        size = f"{mask.shape[-1]}x{mask.shape[-2]}"
        hints = [f"Masks stretched: {size} px over the canvas, {cast.width}x{cast.height} px"]
    for person in cast.people if acts_in == FACE_BOXES else ():
        if person.slot and (box := person.slot.box):
            sides = min(cast.width, box[2]) - max(0, box[0]), min(cast.height, box[3]) - max(0, box[1])
            if min(sides) < cell:
                small.append(f"{person.identity.name} {sides[0]:.0f}x{sides[1]:.0f}")
    advice = f" px on the canvas; coarse layers need {cell}: larger faces, or acts_in = regions"
    return [*hints, *gathered("Face boxes small", small, advice)]


def of_faces(cast: Cast, mask: Tensor | None, margin: float, feather: float, node: str) -> Tensor | None:
    """(people, H, W) float32 0..1 of those present: each place's own mask, else its face box, widened; or None where
    one person has the whole picture. Whom for_photos leaves out may have a place without either, and has zeros then.

    mask: regions of everybody instead. margin: how far a region reaches beyond the face box on every side, in face
    widths and heights. feather: width of the soft edge, px. node: its name.
    Raises, of people whom for_photos keeps, NotPlaced, and BadRegion for a place without box and mask, a region off
    the canvas and two that are the same; BadRegion for masks where everybody has a row of their own.
    """
    people, reading = present(cast).people, _reading(cast)
    if mask is not None:
        check_one_picture(cast)
        found = _fitted(mask, cast)
    elif len(people) == 1 or cast.by_row:
        return None
    else:
        placed = require_places(replace(cast, people=tuple(people[n] for n in reading)), node)
        found = torch.stack([_of_face(one, placed, n in reading, margin, feather) for n, one in enumerate(people)])
    checked(found[reading], [people[n] for n in reading])
    return None if mask is not None and len(found) == 1 and bool((found == 1).all()) else found


def _reading(cast: Cast) -> list[int]:
    """Whom for_photos keeps, as numbers among those present."""
    return [n for n, reads in enumerate(rows_of(for_photos(cast).people, cast)) if reads]


def _of_face(person: Person, cast: PlacedCast, asked: bool, margin: float, feather: float) -> Tensor:
    """(H, W): the mask of a person's place, else around its face box. asked: whether one of the two must be there."""
    if person.slot and person.slot.mask is not None:
        return person.slot.mask.float()
    return _place(_with_box(person) if asked else person.slot, cast, "face", margin, feather)


def in_boxes(cast: Cast, areas: Tensor | None, node: str) -> Tensor:
    """(people, H, W) float32 0..1 of those present: their regions, or the whole picture, cut to everybody's face box.

    A box is whole pixels, its corners cut towards 0, as in InstantID's infer_full.py; what is off the canvas is cut.
    In one picture at most 1 in all. node: its name. Raises, of people whom for_photos keeps, NotPlaced, and BadRegion
    for a place without box, a box off the canvas, a region that does not meet it, and two that are the same.
    """
    people, reading = present(cast).people, _reading(cast)
    acting = tuple(people[n] for n in reading)
    placed = require_places(replace(cast, people=acting), f"{node} with acts_in at {FACE_BOXES}")
    inside = torch.zeros(len(people), placed.height, placed.width)
    for one, person in zip(inside, people, strict=True):
        x0, y0, x1, y1 = (max(0, int(end)) for end in (person.slot and person.slot.box) or (0, 0, 0, 0))
        one[y0:y1, x0:x1] = 1
    found = inside if areas is None else inside * areas
    for n, person in zip(reading, acting, strict=True):
        name, box = person.identity.name, person.slot and person.slot.box
        if box is None:
            advice = "Use a layout whose places have faces, or set acts_in to regions."
            raise BadRegion(name, "its place has no face box, in which alone the face would act", advice)
        if not inside[n].any():
            at = ", ".join(f"{end:g}" for end in box)
            why = f"its face box ({at}) has no pixel on the canvas of {placed.width}x{placed.height} px"
            raise BadRegion(name, why, "Move or enlarge the place in the layout, or set acts_in to regions.")
        if not found[n].any():
            advice = "Paint the mask over the face, or set acts_in to regions."
            raise BadRegion(name, "it does not meet the face box of its place", advice)
    if areas is not None:
        checked(found[reading], acting)
    return found if cast.by_row else region_weights(found)


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
    name, slot = person.identity.name, person.slot
    if extent == "body" and slot and slot.mask is not None:
        if not slot.mask.any():
            raise BadRegion(name, "the mask of its place is empty")
        return slot.mask.float().clone()
    slot = _with_box(person)
    if extent == "body" and slot.pose is None:
        advice = "Set body to half in the node that made this place (a layout node), or extent to face."
        raise BadRegion(name, "its place has neither a skeleton nor a mask", advice)
    region = _place(slot, cast, extent, margin, feather, staying)
    if not region.any():
        raise BadRegion(name, "it lies off the canvas", "Use a larger canvas, or fit = pad in the layout node.")
    others = [other.slot for other in cast.people if other is not person and other.weight > 0]
    faces = [(other.box, 0.0) for other in others if other and other.box]
    for face, soft in [*faces, *((widened(one.box, _HAIR), feather) for one in staying if one.box)]:
        region = torch.minimum(region, 1 - box_region(face, cast.width, cast.height, soft))
    if not region.any():
        raise BadRegion(name, "the faces of others cover it", "Move the two apart in the layout, or raise margin.")
    return region


def _meant(cast: PlacedCast, number: int) -> list[int]:
    """Where in a cast the person of this number is, or with ALL_PEOPLE all of weight above 0, or all. Raises
    BadCast."""
    everybody = range(len(cast.people))
    if number == ALL_PEOPLE and cast.people:
        return [n for n in everybody if cast.people[n].weight > 0] or list(everybody)
    if not 0 < number <= len(cast.people):
        there = listed([f"{n} {name}" for n, name in enumerate(names(cast.people), 1)], "no people")
        advice = "Set person to one of these numbers. People whom Place Cast has left out are not counted."
        raise BadCast(f"There is no person {number} in the cast; those with a place are {there}.", advice)
    return [number - 1]


def of_present(
    cast: PlacedCast, people: Sequence[Person], masks: Tensor | None, extent: Extent, margin: float, feather: float
) -> Tensor:
    """(people, H, W) float32 0..1 of `people`, some of a cast: `of_masks`, or where there are none everybody's
    `of_person`.

    Raises what these raise, and BadRegion for two alike or where each person has a picture of their own.
    """
    check_one_picture(cast, "Leave this node out of the second pass.")
    if masks is None:
        numbers = [n for n, person in enumerate(cast.people, 1) if any(person is one for one in people)]
        found = torch.stack([of_person(cast, number, extent, margin, feather) for number in numbers])
        return checked(found, people)
    return of_masks(masks, cast, people)


def rows_of(people: Sequence[Person], cast: Cast) -> list[bool]:
    """Which of those present in a cast are these."""
    return [any(person is one for one in people) for person in present(cast).people]


def among(
    masks: Tensor, cast: PlacedCast, number: int, extent: Extent, margin: float, staying: Sequence[Slot]
) -> tuple[Tensor, list[str]]:
    """Those of a MASK batch, one per thing or person as a detector gives them, that belong to one person of a placed
    cast, counted from 1, or to ALL_PEOPLE: together as they are, (H, W) 0..1 of the size of the canvas; and in words
    which were taken, counted from 1, and whether they had another size.

    Each mask belongs to the person in whose place most of it lies, or whose place it covers most; it may be one of
    `staying` too. extent and margin say what a place is, as in `of_person`; no feather, no head is left out.
    Raises BadCast, and BadRegion where no mask lies in the place.
    """
    meant = _meant(cast, number)
    places = [_place(slot, cast, extent, margin) for slot in (*(person.slot for person in cast.people), *staying)]
    (high, wide), size = masks.shape[-2:], (cast.height, cast.width)
    fitted = functional.interpolate(as_masks(masks)[:, None], size=size, mode="nearest")[:, 0]
    who = listed([cast.people[n].identity.name for n in meant])
    if not fitted.any():
        raise BadRegion(who, "the masks are all zero", OTHER_WORDS)
    # How much of the smaller of the two lies in the other: (places, masks).
    common = torch.stack([torch.minimum(fitted, place).sum((1, 2)) for place in places])
    sizes = torch.stack(places).sum((1, 2))[:, None]
    shares = common / torch.minimum(fitted.sum((1, 2)), sizes).clamp(min=1e-6)
    best, owner = shares.max(0)
    used = [n for n, whose in enumerate(map(int, owner)) if whose in meant and best[n] >= _IN_PLACE]
    if not used:
        near = float(shares[meant].max())
        why = f"of {counted(len(fitted), 'mask')} none lies in that place or covers it; the nearest by {near:.0%}"
        why += ", and it is in another place no less" * (near >= _IN_PLACE)
        raise BadRegion(who, why, f"Detect them in a picture of the layout's shape. {OTHER_WORDS}")
    outside = [n + 1 for n in range(len(fitted)) if best[n] < _IN_PLACE]
    notes = [f"Of {counted(len(fitted), 'mask')} taken: {listed([n + 1 for n in used])}"]
    notes[0] += f"; outside all places: {listed(outside)}" if outside else ""
    if (high, wide) != size:
        canvas = f"the layout {cast.width}x{cast.height} px"
        notes.append(f"The masks are {wide}x{high} px and {canvas}: they are stretched over it.")
    return fitted[used].amax(0), notes


def staying(cast: PlacedCast, layout: Layout) -> tuple[Slot, ...]:
    """The places of a layout in which nobody of a placed cast stands. Raises BadSize for another canvas."""
    if (size := (layout.width, layout.height)) != (cast.width, cast.height):
        expected = f"the cast's canvas is {cast.width}x{cast.height} px"
        raise BadSize("The layout of those who stay", size, expected, "Connect the layout that Place Cast has.")
    taken = {person.place for person in cast.people if person.weight > 0}
    return tuple(slot for number, slot in enumerate(layout.slots, 1) if number not in taken)


def _with_box(person: Person) -> Slot:
    """The person's place. Raises BadRegion without a face box."""
    if person.slot is None or person.slot.box is None:
        advice = "Use a layout whose places have faces, or masks (Layout from Picture)."
        raise BadRegion(person.identity.name, "its place has neither a face box nor a mask", advice)
    return person.slot


def _place(
    slot: Slot | None, cast: PlacedCast, extent: Extent, margin: float, feather: float = 0, staying: Sequence[Slot] = ()
) -> Tensor:
    """(H, W) 0..1: a place's own mask, else around its face box and, but for the bodies of `staying`, its skeleton."""
    size = cast.width, cast.height
    if slot is not None and extent == "body" and slot.mask is not None:
        return slot.mask.float()
    if slot is None or slot.box is None:
        return torch.zeros(cast.height, cast.width)
    face = box_region(widened(slot.box, margin), *size, feather)
    if extent == "face" or slot.pose is None:
        return face
    body = body_region(slot.pose, margin * (slot.box[2] - slot.box[0]), *size, feather)
    for other in staying:
        if other.pose is not None and other.box is not None:
            theirs = body_region(other.pose, _HAIR * (other.box[2] - other.box[0]), *size, feather)
            body = torch.minimum(body, 1 - theirs)
    return torch.maximum(face, body)


def check_one_picture(cast: Cast | None, advice: str = "Disconnect the mask.") -> None:
    """Raise BadRegion for the cast of Crop Faces, of which no region of one picture can tell."""
    if cast and cast.by_row:
        why = "each person has a picture of their own, from Crop Faces"
        raise BadRegion(", ".join(names(cast.people)), why, advice)


def of_masks(masks: Tensor, cast: Cast, people: Sequence[Person] | None = None) -> Tensor:
    """A MASK batch, one per person in the cast's order, as (people, H, W) of these, or of those present, of the size
    of the canvas if there is one.

    Raises BadRegion when the numbers differ, and of these people for an empty mask and two that are the same.
    """
    whose = present(cast).people if people is None else people
    return checked(_fitted(masks, cast)[rows_of(whose, cast)], whose)


def _fitted(masks: Tensor, cast: Cast) -> Tensor:
    """(people, H, W) of those present, of the size of the canvas if there is one. Raises BadRegion for another number
    of masks than people."""
    masks = as_masks(masks)
    if len(masks) != len(cast.people):
        there = f"there {'is' if len(masks) == 1 else 'are'} {counted(len(masks), 'mask')}"
        raise BadRegion(", ".join(names(cast.people)), f"{there} for {counted(len(cast.people), 'person', 'people')}")
    size = (cast.height, cast.width) if is_a(cast, PlacedCast) else tuple(masks.shape[-2:])
    theirs = masks[[person.weight > 0 for person in cast.people]]
    return functional.interpolate(theirs[:, None], size=size, mode="nearest")[:, 0]


def checked(regions: Tensor, people: Sequence[Person]) -> Tensor:
    """The regions of these people. Raises BadRegion for an empty one or two alike."""
    called = names(people)
    for i, region in enumerate(regions):
        if not region.any():
            raise BadRegion(called[i], "the region is empty or lies off the canvas")
        for j in range(i):
            if torch.equal(region, regions[j]):
                raise BadRegion(f"{called[j]} and {called[i]}", "both have the same region, so they would blend")
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
    across, down = torch.maximum(x0 - x, x - x1), torch.maximum(y0 - y, y - y1)
    return _falling(down, feather)[:, None] * _falling(across, feather)


def body_region(pose: Pose, reach: float, width: int, height: int, feather: float) -> Tensor:
    """(height, width): 1 in the torso and up to `reach` px from it and the limbs, then falling over `feather` px."""
    joints, trunk = openpose(pose), torso(pose)
    lines = [(joints[a][:2], joints[b][:2]) for _, a, b in seen_limbs(joints)]
    lines += zip(trunk, (*trunk[1:], *trunk[:1]), strict=True)
    nearest = torch.full((height, width), float("inf"))
    for a, b in lines:
        # What lies further away than the soft edge is 0 anyway.
        far = reach + feather + 1
        (x0, x1), (y0, y1) = (
            tuple(max(0, min(side, int(end))) for end in (min(p, q) - far, max(p, q) + far + 1))
            for p, q, side in zip(a, b, (width, height), strict=True)
        )
        # From the centre of each of these pixels to the line.
        x, y = torch.arange(x0, x1) + 0.5 - a[0], torch.arange(y0, y1)[:, None] + 0.5 - a[1]
        dx, dy = b[0] - a[0], b[1] - a[1]
        along = ((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-6)).clamp(0, 1)
        near = nearest[y0:y1, x0:x1]
        near.copy_(torch.minimum(near, torch.hypot(x - along * dx, y - along * dy)))
    inside = Image.new("1", (width, height))
    if trunk:
        ImageDraw.Draw(inside).polygon(trunk, fill=1)
    nearest[torch.as_tensor(np.array(inside))] = 0
    return _falling(nearest - reach, feather)


def _falling(outside: Tensor, feather: float) -> Tensor:
    """1 inside, falling to 0 over `feather` px; outside: the distance from the edge, px, negative inside."""
    return (1 - outside.clamp(min=0) / max(feather, 1e-6)).clamp(min=0)
