"""Looks of people: made of parts, given to a person, chosen by a line of text, and worn as parts in a new picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..cast import Box, Cast, Keypoints, Look, LookPicture, Member, NotPlaced, Person, PlacedCast, Slot, is_a
from ..checks.errors import LikenessError, counted, listed
from ..checks.limits import LOOKS
from ..checks.names import of_person
from ..checks.prompts import per_member
from ..checks.text import MOST_NAME_LETTERS, items_in, plain, with_plain_signs
from ..parts.cut_outs import piece_of_part
from ..parts.parts import MOST_LETTERS, MOST_WEIGHT, PAINT, BadPart, Part, Parts
from ..pictures.geometry import upright
from ..places.regions import HAIR, masks_of, region_of_person, region_of_slot, require_distinct, shape_of_bodies
from ..places.shapes import box_region, widened
from ..taking_part import TakingPart

LOOKS_INPUT = "looks"
NO_LOOK = "-"
"""What stands in the input `looks` for a person who wears none of them."""
_LONGEST_SIDE = 2048
"""The longer side of a look's pictures and masks at most, px: no network reads more of them."""
_SHOWN = 512
"""About the longer side of a picture in a preview, px."""
_LEAST_SHARE = 0.002
"""The least share of its picture that may be worn: less is some pixels in what the networks read."""
HAIR_LABEL = "hair or headwear"
"""The label of what is worn around the face, and not below it."""


class BadLook(LikenessError):
    """A look that cannot be made, given to a person, or worn."""


def look_of_parts(name: str, parts: Parts) -> Look:
    """A look of the parts of weight above 0; their targets are left out, as a look goes where its person stands.

    Raises BadLook for a name that nobody could choose and without parts, and BadPart for a part of which next to
    nothing counts.
    """
    name = plain(name, MOST_NAME_LETTERS)
    if not _can_be_chosen(name):
        raise BadLook(
            f"A look cannot be called {name!r}.",
            "Write a Name (name) such as red coat, without commas, semicolons and quotation marks.",
        )
    if not parts.present:
        raise BadLook(f"The look {name!r} has no part of weight above 0.", "Raise a weight in Part.")
    return Look(name, tuple(_picture_of(part) for part in parts.present))


def _can_be_chosen(name: str) -> bool:
    """Whether a look of this name can be meant by an item of the input `looks`."""
    return bool(name) and not _is_none(name) and items_in(name) == [name]


def _is_none(name: str) -> bool:
    """Whether a text is NO_LOOK, also with a dash of typesetting or of a Chinese keyboard, which writes two."""
    return name == "\u2014\u2014" or with_plain_signs(name) == NO_LOOK


def _items(text: str) -> list[str]:
    """The items of a list that are not empty."""
    return [item for item in items_in(text) if item]


def _picture_of(part: Part) -> LookPicture:
    """The part in 8 bits, not larger than _LONGEST_SIDE. Raises BadPart."""
    shown = part.alpha if part.mask is None else part.mask
    share = 1.0 if shown is None else float(shown.clamp(0, 1).mean())  # a faint mask counts by how much it shows
    if share < _LEAST_SHARE:
        why = f"its mask is {share:.1%} of the picture"
        raise BadPart(part.label, why, f"Crop the picture closer to the part, or mask more of it ({PAINT}).")
    alpha, mask = (None if rows is None else _in_8_bits(rows) for rows in (part.alpha, part.mask))
    return LookPicture(part.label, _in_8_bits(part.picture), alpha, mask, part.weight)


def _in_8_bits(picture: Tensor) -> Tensor:
    """A picture (H, W, 3) or a mask (H, W), 0..1, as uint8; made smaller where a side is longer than _LONGEST_SIDE."""
    height, width = picture.shape[:2]
    scale = _LONGEST_SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        channels_first = picture.reshape(1, height, width, -1).movedim(-1, 1)  # (1, channels, H, W)
        smaller = functional.interpolate(channels_first, size, mode="bicubic", antialias=True)
        picture = smaller[0].movedim(0, -1).reshape(*size, *picture.shape[2:])
    return (picture.clamp(0, 1) * 255).round().byte()


def part_of(picture: LookPicture, target: Tensor | None = None) -> Part:
    """A look's picture as a part. target: (h, w), 0..1, where in the new picture it is worn; None for everywhere."""
    alpha, mask = (None if rows is None else rows.float() / 255 for rows in (picture.alpha, picture.mask))
    return Part(picture.label, picture.picture.float() / 255, alpha, mask, picture.weight, target)


def shown(picture: LookPicture) -> Tensor:
    """What is worn of a look's picture, on white, for a preview: (h, w, 3), the longer side below 2 * _SHOWN px."""
    alpha, mask = (None if rows is None else _thinned(rows) for rows in (picture.alpha, picture.mask))
    return piece_of_part(part_of(LookPicture(picture.label, _thinned(picture.picture), alpha, mask)))


def _thinned(rows: Tensor) -> Tensor:
    """Every n-th row and column of a picture or mask, as many as a preview shows: a person may have many pictures."""
    step = max(1, max(rows.shape[:2]) // _SHOWN)
    return rows[::step, ::step]


def with_look(person: Person, look: Look) -> Person:
    """The person with one more look, the newest. Raises BadLook for a name that the person's looks have already, and
    where there are LOOKS."""
    if _called(look.name, person.looks) is not None:
        raise BadLook(f"{person.name} has a look {look.name!r} already.", "Give this one another Name (name).")
    if len(person.looks) == LOOKS:
        raise BadLook(
            f"{person.name} has {LOOKS} looks, and one person can have no more.",
            "Connect the person as they were before the looks that you no longer need.",
        )
    return replace(person, looks=(*person.looks, look))


def _called(name: str, looks: Sequence[Look]) -> Look | None:
    return next((look for look in looks if of_person(look.name) == of_person(name)), None)


def why_bad_looks(looks: Sequence[Look]) -> str | None:
    """Why looks that a file brings cannot be used, as the end of a sentence; None when they can."""
    if len({of_person(look.name) for look in looks}) < len(looks):
        return "two of its looks have one name"
    for look in looks:
        if not _can_be_chosen(look.name):
            return f"a look cannot be called {look.name!r}"
        if not look.pictures:
            return f"its look {look.name!r} has no picture"
        for one in look.pictures:
            why = _why_bad_picture(one)
            if why:
                return f"in its look {look.name!r} {why}"
    return None


def _why_bad_picture(one: LookPicture) -> str | None:
    """Why a look's picture cannot be used, as the end of a sentence; None when it can."""
    picture, mask = one.picture, one.mask
    if any(rows is not None and rows.dtype != torch.uint8 for rows in (picture, one.alpha, mask)):
        return "a picture or a mask is not in 8 bits"
    if picture.ndim != 3 or picture.shape[-1] != 3 or not _is_of_a_size(picture):
        return f"a picture has the shape {tuple(picture.shape)}"
    if one.alpha is not None and one.alpha.shape != picture.shape[:2]:
        return "an alpha channel has another size than its picture"
    if mask is not None and (mask.ndim != 2 or not _is_of_a_size(mask)):
        return f"a mask has the shape {tuple(mask.shape)}"
    if any(rows is not None and not rows.any() for rows in (one.alpha, mask)):
        return "a mask or an alpha channel is empty"
    if not 0 < len(one.label) <= MOST_LETTERS or not 0 < one.weight <= MOST_WEIGHT:
        return "a picture has no label that can be used, or no weight"
    return None


def _is_of_a_size(rows: Tensor) -> bool:
    """Whether a picture or mask (H, W, ...) has pixels, and no more than a look may have."""
    return min(rows.shape[:2]) > 0 and max(rows.shape[:2]) <= _LONGEST_SIDE


def clothes_of_place(cast: PlacedCast, index: int) -> Tensor:
    """Where a person of the cast wears clothes: the body in their place without the head, (H, W) of 0 and 1.

    What may as well be the body of somebody else is left out, as it may show the clothes of either.
    index: of the person in cast.people. Raises BadLook for a place without a body, and what `region_of_person` raises.
    """
    member = cast.people[index]
    slot = member.slot
    if slot is None or (slot.mask is None and slot.pose is None):
        why = f"The place of {member.name} has no body, so it is not known where the clothes are."
        raise BadLook(why, "Connect the mask of what is worn to Mask (mask), or use a layout with bodies.")
    # Also where the regions of methods are faces: clothes are on bodies.
    shape = replace(shape_of_bodies(cast), extent="body", feather=0)
    region = region_of_person(cast, cast.numbers[index], shape, ())
    if slot.box is not None:
        head = widened(slot.box, max(HAIR, shape.margin))  # all that the region has around the face
        region = torch.minimum(region, 1 - box_region(head, cast.width, cast.height, 0.0))
    if not region.any():
        why = f"Of the place of {member.name} the canvas has the head alone, so it shows no clothes."
        raise BadLook(why, "Use a layout with more of the body, or connect the mask of what is worn to Mask (mask).")
    for other in _others(cast, member):
        region = torch.minimum(region, 1 - region_of_slot(other, cast, shape))
    if not region.any():
        why = f"The bodies of others cover that of {member.name}, so it is not known where the clothes are."
        raise BadLook(why, "Connect the mask of what is worn to Mask (mask).")
    return region


def hair_of_place(cast: PlacedCast, index: int) -> Tensor:
    """Where the hair or the hat of a person of the cast is: what lies around the face, (H, W) of 0 and 1.

    The face boxes of others are left out. index: of the person in cast.people. Raises BadLook for a place without a
    face box, and where the hair is not on the canvas.
    """
    member = cast.people[index]
    advice = "Connect the mask of the hair to Mask (mask), or turn Hair (hair) off."
    if member.slot is None or member.slot.box is None:
        raise BadLook(f"The place of {member.name} has no face, so it is not known where the hair is.", advice)
    face = member.slot.box
    hair = box_region(_around(face, member.slot.keypoints), cast.width, cast.height, 0.0)
    for box in (face, *(other.box for other in _others(cast, member) if other.box is not None)):
        hair = torch.minimum(hair, 1 - box_region(box, cast.width, cast.height, 0.0))
    if not hair.any():
        raise BadLook(f"The hair of {member.name} lies off the canvas.", advice)
    return hair


def _around(face: Box, keypoints: Keypoints | None) -> Box:
    """The box of a face with the hair beside it and above it, down to the chin, whichever side of the face is up."""
    near, far = widened(face, HAIR), widened(face, 2 * HAIR)
    up = (1, 2, 3, 0)[upright(keypoints) if keypoints else 0]  # in a Box: top, right, below or left
    chin = (up + 2) % 4
    left, top, right, below = (
        far[side] if side == up else face[side] if side == chin else near[side] for side in range(4)
    )
    return left, top, right, below


def _others(cast: PlacedCast, member: Member) -> list[Slot]:
    """The places of the other people who are in the picture."""
    return [one.slot for one in cast.people if one is not member and one.is_present and one.slot is not None]


@dataclass(frozen=True, eq=False)
class Worn:
    """What people wear in a new picture.

    people_of_parts: each part, in the order of people and pictures -> the index of its person among `taking.people`.
    notes: lines for the note of the node.
    """

    people_of_parts: Mapping[Part, int]
    notes: Sequence[str] = ()


BY_ROW = "Looks are not used: with the cast of Crop Faces each person has a row of the batch."


def worn(
    text: str, taking: TakingPart, node_name: str, masks: Tensor | None = None, *, needs_places: bool = True
) -> Worn:
    """The looks of all people who take part, as parts that are read where the person stands.

    text: which look, "Anna: red coat; 2: -", as the items of a list; of people who are not in it the newest. NO_LOOK
    alone: nobody wears one.
    masks: (everybody of the cast, H, W), where everybody is; None for their places. needs_places: whether who wears a
    look beside others must have a place; a person without one has a look everywhere.
    Raises BadPrompts for what is said of nobody, BadLook for a look that a person does not have, NotPlaced, and
    BadRegion.
    """
    items = _items(text)
    if len(items) == 1 and _is_none(items[0]):
        return Worn({})
    cast = taking.cast
    said = per_member("\n".join(items), cast, LOOKS_INPUT)
    # Of everybody, so that a wrong name is said also of those who take no part.
    looks = [
        chosen(name, member.person.looks, member.name) for name, member in zip(said.prompts, cast.people, strict=True)
    ]
    if cast.by_row:
        return Worn({}, [*said.notes, BY_ROW] if any(looks) else said.notes)
    people_of_parts: dict[Part, int] = {}
    targets: dict[int, Tensor] = {}  # by the index of the person
    for person, index in enumerate(taking.indices):
        look = looks[index]
        if look is None:
            continue
        target = _target(cast, index, masks)
        if target is not None:
            targets[index] = target
        elif needs_places and not taking.is_alone:
            raise NotPlaced(node_name, [cast.people[index].name])
        people_of_parts |= {part_of(picture, target): person for picture in look.pictures}
    if needs_places and targets:
        require_distinct(torch.stack([*targets.values()]), [cast.people[index] for index in targets])
    return Worn(people_of_parts, said.notes)


def where_seen(part: Part, cast: Cast, index: int) -> Tensor | None:
    """Where a picture shows a part of the look of a person: hair around the face, all else below the head.

    (H, W) 0..1; the target of the part where the person's place does not say it. index: of the person in cast.people.
    """
    if cast.people[index].slot is None or not is_a(cast, PlacedCast):
        return part.target
    try:
        return hair_of_place(cast, index) if part.label == HAIR_LABEL else clothes_of_place(cast, index)
    except BadLook:
        return part.target


def chosen(name: str, looks: Sequence[Look], who: str) -> Look | None:
    """The look of a person by its name, which may stand in quotation marks; the newest without one, None for NO_LOOK.
    who: the person, for messages. Raises BadLook."""
    items = _items(name)
    if len(items) > 1:  # what several lines say of a person, with a comma between
        why = f"Several looks are written for {who}: {plain(name, 60)}."
        raise BadLook(why, "Write one. For more garments give one look several pictures (Part).")
    if not items:
        return looks[-1] if looks else None
    (name,) = items
    if _is_none(name):
        return None
    look = _called(name, looks)
    if look is None:
        advice = f"Write one of these, or {NO_LOOK} for none: {listed([look.name for look in looks])}."
        if not looks:
            advice = f"Give {who} a look with Look from Picture, or write {NO_LOOK}."
        raise BadLook(f"{who} has no look {plain(name, 60)!r} ({counted(len(looks), 'look')}).", advice)
    return look


def _target(cast: Cast, index: int, masks: Tensor | None) -> Tensor | None:
    """Where in the new picture the person of this index wears a look, (H, W) 0..1; None for everywhere."""
    if masks is not None:
        return masks_of(masks, cast)[index]
    if cast.people[index].slot is None or not is_a(cast, PlacedCast):
        return None
    return region_of_person(cast, cast.numbers[index], shape_of_bodies(cast), ())
