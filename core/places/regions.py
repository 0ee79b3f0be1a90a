"""The regions of people: from their places, from a mask of each, or from the masks of a detector.

A region is a tensor (height, width) of the canvas, float32, 0..1: how much a pixel belongs to the person. shapes.py has
the formulas of boxes and limbs, face_regions.py the regions of methods that read faces alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..cast import Cast, Layout, Member, PlacedCast, Slot, is_a, require_places
from ..checks.errors import BadCast, BadLayout, LikenessError, counted, listed
from ..checks.value_checks import TRY_OTHER_WORDS
from ..pictures.tensors import as_masks, joined_masks
from ..taking_part import TakingPart
from .region_settings import Extent, RegionSettings
from .shapes import adds, body_region, box_region, widened, with_drawn

ALL_PEOPLE = 0
"""Instead of the number of a person."""
HAIR = 0.3
"""How far hair and ears reach beyond a face box, in face sizes."""
_MARGIN = 0.25  # of bodies, where Place Cast leaves it as it is; fits close clothes
_WHOSE_MARGIN = 0.3  # of bodies, where it is asked whose a mask is
_IN_PLACE = 0.3  # the least share of a mask, or of a place, that says the two belong together


_ALL_DRAWN_AWAY = "what was drawn for it by hand leaves nothing on the canvas"
_DRAW_LESS = "Take back what was drawn for this place in Arranged by hand (arrange) of Place Cast."


class BadRegion(LikenessError):
    """A part of the picture that cannot belong to one person. names: their name or names. why: the reason."""

    def __init__(self, names: str, why: str, advice: str = "") -> None:
        super().__init__(
            f"The region of {names} cannot be used: {why}.",
            advice or "Give every person a place of their own in Place Cast, or connect one mask per person.",
        )


@dataclass(frozen=True)
class RegionShape:
    """How a person's region is made of their place.

    extent: "body" is the place's own mask as it is, else skeleton, torso and face; "face" is the face box.
    margin: how far the region reaches beyond that, from 0, in widths of the face box; a face box is widened in its own
    width and height.
    feather: width of the soft edge in px, from 0.
    """

    extent: Extent
    margin: float
    feather: float = 0


def settings_of(cast: Cast) -> RegionSettings:
    """What is set for the regions of a cast. Of people without places, masks are all that there can be of regions."""
    return cast.region_settings if is_a(cast, PlacedCast) else RegionSettings()


def shape_of_bodies(cast: Cast) -> RegionShape:
    """The shape of regions for a method that acts on bodies, as is set for a cast."""
    settings = settings_of(cast)
    return RegionShape(settings.extent, _MARGIN * settings.region_margin, settings.feather)


def region_of_person(cast: PlacedCast, number: int, shape: RegionShape, staying: Sequence[Slot]) -> Tensor:
    """The region of one person, or of all people together: (H, W) float32 0..1.

    With shape.extent "body" the mask of a place is the region as it is. Nothing is left out of it.
    Out of any other region are left the face boxes of the other people in the cast whose weight is above 0, and the
    heads and bodies of `staying`; but bodies stay in where they cross the person's own face.
    number: of the person in the list, from 1, or ALL_PEOPLE.
    staying: places of people who are in the picture already and stay as they are.
    Raises BadCast for a number that no person has. Raises BadRegion for an empty mask, a place without face box or
    without the skeleton that a body needs, and a region that lies off the canvas or under other people's faces.
    """
    people = [cast.people[index] for index in _people_of_number(cast, number)]
    regions = [_region_of(member, cast, shape, staying) for member in people]
    return joined_masks(torch.stack(regions))


def _region_of(member: Member, cast: PlacedCast, shape: RegionShape, staying: Sequence[Slot] = ()) -> Tensor:
    """The region of one person, (H, W). The other arguments, and what is raised, are those of `region_of_person`.

    member: the same object as in the cast, by which the others are told apart from this person.
    """
    name = member.name
    slot = member.slot
    if shape.extent == "body" and slot and slot.mask is not None:
        if not slot.mask.any():
            raise BadRegion(name, "the mask of its place is empty")
        region = region_of_slot(slot, cast, shape)
        if not region.any():
            raise BadRegion(name, _ALL_DRAWN_AWAY, _DRAW_LESS)
        return region
    slot = require_box(slot, name)
    if shape.extent == "body" and slot.pose is None and not adds(slot.drawn):
        advice = (
            "Set Body (body) to half in the layout node that made this place, or Extent (extent) of Place Cast to face."
        )
        raise BadRegion(name, "its place has neither a skeleton nor a mask", advice)
    region = region_of_slot(slot, cast, shape, staying)
    if slot.drawn and not region.any():
        raise BadRegion(name, _ALL_DRAWN_AWAY, _DRAW_LESS)
    if not region.any():
        raise BadRegion(name, "it lies off the canvas", "Use a larger canvas, or Fit (fit) = pad in the layout node.")
    others = [other.slot for other in cast.people if other is not member and other.is_present]
    region = without_faces(region, [slot for slot in others if slot])
    region = _without_heads(region, staying, shape.feather)
    if not region.any():
        raise BadRegion(
            name, "the faces of others cover it", "Move the two apart in the layout, or raise Margin (margin)."
        )
    return region


def without_faces(region: Tensor, others: Sequence[Slot]) -> Tensor:
    """The region (H, W) without the face boxes of others."""
    height, width = region.shape
    for slot in others:
        if slot.box:
            region = torch.minimum(region, 1 - box_region(slot.box, width, height, 0.0))
    return region


def _without_heads(region: Tensor, staying: Sequence[Slot], feather: float) -> Tensor:
    """The region (H, W) without the heads of people who stay as they are."""
    height, width = region.shape
    for slot in staying:
        if slot.box:
            head = widened(slot.box, HAIR)
            region = torch.minimum(region, 1 - box_region(head, width, height, feather))
    return region


def region_of_slot(slot: Slot | None, cast: PlacedCast, shape: RegionShape, staying: Sequence[Slot] = ()) -> Tensor:
    """The region of a place with what was drawn for it by hand, (H, W) 0..1; without what is missing.

    With shape.extent "body": the mask of the place, else what lies around its face box and its skeleton, of which the
    skeleton may be missing. With "face": what lies around its face box.
    The bodies of `staying`, people who stay as they are, are left out of what lies around the skeleton.
    """
    if slot is None:
        return torch.zeros(cast.height, cast.width, dtype=torch.float32)
    return with_drawn(undrawn_region(slot, cast, shape, staying), slot.drawn)


def undrawn_region(slot: Slot, cast: PlacedCast, shape: RegionShape, staying: Sequence[Slot] = ()) -> Tensor:
    """The region of a place without what was drawn for it by hand, as `region_of_slot` says."""
    if shape.extent == "body" and slot.mask is not None:
        return slot.mask.float()
    if slot.box is None:
        return torch.zeros(cast.height, cast.width, dtype=torch.float32)
    face = box_region(widened(slot.box, shape.margin), cast.width, cast.height, shape.feather)
    if shape.extent == "face":
        return face
    region = _skeleton_region(slot, cast, shape.margin, shape.feather)
    for other in staying:
        region = torch.minimum(region, 1 - _skeleton_region(other, cast, HAIR, shape.feather))
    return torch.maximum(face, region)


def _skeleton_region(slot: Slot, cast: PlacedCast, margin: float, feather: float) -> Tensor:
    """What lies around the skeleton of a place, (H, W) 0..1; zeros for a place without skeleton or face box.

    margin: how far it reaches, in widths of the face box.
    """
    if slot.pose is None or slot.box is None:
        return torch.zeros(cast.height, cast.width, dtype=torch.float32)
    left, _, right, _ = slot.box
    return body_region(slot.pose, margin * (right - left), cast.width, cast.height, feather)


def body_of_place(layout: Layout, number: int) -> Tensor:
    """The body that stands in a place of a layout, as far as it is known: (H, W) 0..1. number: of the place, from 1.

    Raises BadLayout for a place of which a point alone is known, and for one off the canvas.
    """
    slot = layout.slots[number - 1]
    body = region_of_slot(slot, PlacedCast((), layout.width, layout.height), RegionShape("body", 0.0))
    if not body.any():
        why = f"Place {number} of the layout has neither a mask nor a face box on the canvas."
        raise BadLayout(why, "Use a layout with bodies or faces, such as Layout from Picture or Layout from Boxes.")
    return body


def require_box(slot: Slot | None, name: str) -> Slot:
    """The place, if it has a face box, or a region was drawn for it by hand; otherwise BadRegion is raised.

    name: of the person who stands there.
    """
    if slot is None or (slot.box is None and not adds(slot.drawn)):
        advice = "Use a layout whose places have faces, or masks (Layout from Picture)."
        raise BadRegion(name, "its place has neither a face box nor a mask", advice)
    return slot


def _people_of_number(cast: PlacedCast, number: int) -> list[int]:
    """The people whom a user has chosen by a number, as indices in cast.people.

    number: of one person in the list, from 1; or ALL_PEOPLE, for all people of weight above 0, or for everybody where
    all weights are 0.
    Raises BadCast for a number that no person of the cast has.
    """
    if number == ALL_PEOPLE and cast.people:
        present = [index for index, member in enumerate(cast.people) if member.is_present]
        return present or list(range(len(cast.people)))
    if number not in cast.numbers:
        numbered = [
            f"{of_cast} {member.person.name}" for of_cast, member in zip(cast.numbers, cast.people, strict=True)
        ]
        why = f"There is no person {number} in the cast"
        for absent in cast.absent:
            if absent.number == number:
                why = f"Person {number} of the cast, {absent.name}, is left out: {absent.why}"
        people = listed(numbered, "no people")
        raise BadCast(f"{why}; those with a place are {people}.", "Set Person (person) to one of these numbers.")
    return [cast.numbers.index(number)]


def regions_of_people(taking: TakingPart, masks: Tensor | None, of_places: Callable[[], Tensor]) -> Tensor:
    """The regions of everybody of a cast, (people, H, W): the masks, else those that `of_places` makes of their places.

    masks: (everybody of the cast, h, w), read by `masks_of`.
    Raises what `masks_of` and `of_places` raise. Raises BadRegion where each person has a picture of their own, and for
    people who take part whose region is empty or who have the same one.
    """
    if taking.cast.by_row:
        # A region belongs to one picture, and people from Crop Faces have a picture each.
        why = "each person has a picture of their own, from Crop Faces"
        advice = "Leave this node out of the second pass." if masks is None else "Disconnect the mask."
        raise BadRegion(", ".join(member.name for member in taking.cast.people), why, advice)
    regions = of_places() if masks is None else masks_of(masks, taking.cast)
    require_distinct(regions[list(taking.acts)], taking.people)
    return regions


def regions_of_bodies(taking: TakingPart, masks: Tensor | None, shape: RegionShape) -> Tensor:
    """The regions of the bodies of those who take part, (people, H, W).

    masks: see `regions_of_people`; without them the cast must be a PlacedCast. shape: of the regions of places.
    Raises what `regions_of_people` and `region_of_person` raise.
    """
    cast = taking.cast

    def of_places() -> Tensor:
        assert is_a(cast, PlacedCast)
        nowhere = torch.zeros(cast.height, cast.width, dtype=torch.float32)
        everybody = zip(cast.people, taking.acts, strict=True)
        return torch.stack([_region_of(member, cast, shape) if acts else nowhere for member, acts in everybody])

    return regions_of_people(taking, masks, of_places)[list(taking.acts)]


def masks_of(masks: Tensor, cast: Cast) -> Tensor:
    """The masks of everybody of a cast, (people, H, W), stretched over the canvas if there is one.

    masks: (people, h, w). Raises BadRegion for another number of masks than people.
    """
    masks = as_masks(masks)
    if len(masks) != len(cast.people):
        verb = "is" if len(masks) == 1 else "are"
        everybody = counted(len(cast.people), "person", "people")
        why = f"there {verb} {counted(len(masks), 'mask')} for {everybody}"
        raise BadRegion(", ".join(member.name for member in cast.people), why)
    size = (cast.height, cast.width) if is_a(cast, PlacedCast) else tuple(masks.shape[-2:])
    return functional.interpolate(masks[:, None], size=size, mode="nearest")[:, 0]


def require_distinct(regions: Tensor, people: Sequence[Member]) -> None:
    """Raise BadRegion where one of the regions (people, H, W) of these people is empty, or two are alike."""
    names = [member.name for member in people]
    for row, region in enumerate(regions):
        if not region.any():
            raise BadRegion(names[row], "the region is empty or lies off the canvas")
        for other in range(row):
            if torch.equal(region, regions[other]):
                pair = f"{names[other]} and {names[row]}"
                raise BadRegion(pair, "both have the same region, so they would blend")


@dataclass(frozen=True)
class PersonMask:
    """Masks of a detector that belong to one person, together: (H, W) 0..1 of the size of the canvas.

    notes: which masks were taken, counted from 1, and whether they had another size.
    """

    region: Tensor
    notes: list[str]


def from_masks(masks: Tensor, cast: PlacedCast, number: int, shape: RegionShape, staying: Sequence[Slot]) -> PersonMask:
    """The masks of a MASK batch that belong to one person of a placed cast, or to ALL_PEOPLE.

    masks: (masks, h, w), one per thing or person, as a detector gives them. They are stretched over the canvas and not
    changed otherwise: they get no soft edge, and no heads are cut out of them. A mask belongs to the place with which
    it has the largest share in common, see `_shares_in_common`. That may be a place of `staying`: such a mask is left
    out.
    shape: of the regions of the places; its feather is not used.
    Raises BadCast for a number that no person has, and BadRegion where no mask lies in the place.
    """
    indices = _people_of_number(cast, number)
    names = listed([cast.people[index].name for index in indices])
    size = (cast.height, cast.width)
    fitted = functional.interpolate(as_masks(masks)[:, None], size=size, mode="nearest")[:, 0]  # (masks, H, W)
    if not fitted.any():
        raise BadRegion(names, "the masks are all zero", TRY_OTHER_WORDS)
    slots = [*(member.slot for member in cast.people), *staying]  # the index of a person is that of their slot
    without_edge = replace(shape, feather=0)
    shares = _shares_in_common([region_of_slot(slot, cast, without_edge) for slot in slots], fitted)  # (slots, masks)
    best, owners = shares.max(0)  # for each mask its largest share, and the index of the slot that has it
    outside = [mask for mask, share in enumerate(best) if share < _IN_PLACE]
    used = [mask for mask, owner in enumerate(owners) if mask not in outside and int(owner) in indices]
    if not used:
        raise _no_mask_in_place(names, masks=len(fitted), nearest=float(shares[indices].max()))
    note = f"Of {counted(len(fitted), 'mask')} taken: {_counted_from_1(used)}"
    if outside:
        note += f"; outside all places: {_counted_from_1(outside)}"
    return PersonMask(joined_masks(fitted[used]), [note, *_note_on_stretched(masks, cast)])


def _note_on_stretched(masks: Tensor, cast: PlacedCast) -> list[str]:
    """A line where masks (masks, h, w) do not have the size of the canvas; [] otherwise."""
    height, width = masks.shape[-2:]
    if (width, height) == (cast.width, cast.height):
        return []
    canvas = f"{cast.width}x{cast.height} px"
    return [f"The masks are {width}x{height} px and the layout {canvas}: they are stretched over it."]


def _no_mask_in_place(names: str, masks: int, nearest: float) -> BadRegion:
    """The error for masks of which none belongs to some people.

    masks: how many there are. nearest: the largest share that one of them has in common with a place of these people.
    """
    why = f"of {counted(masks, 'mask')} none lies in that place or covers it; the nearest by {nearest:.0%}"
    if nearest >= _IN_PLACE:  # that mask was given to the other place
        why += ", and another place has as much of it or more"
    return BadRegion(names, why, f"Detect them in a picture of the layout's shape. {TRY_OTHER_WORDS}")


def regions_of_everybody(cast: Cast, masks: Tensor | None, node_name: str) -> Tensor:
    """Where everybody of a cast is, also people of weight 0: (people, H, W), by masks or by their places.

    masks: read by `masks_of`. A region may be empty. Raises NotPlaced, and BadRegion for
    another number of masks than people.
    """
    if masks is not None:
        return masks_of(masks, cast)
    placed_cast = require_places(cast, node_name)
    shape = RegionShape("body", margin=_WHOSE_MARGIN)
    return torch.stack([region_of_slot(member.slot, placed_cast, shape) for member in cast.people])


def owner_of_mask(mask: Tensor, regions: Tensor) -> int | None:
    """The index of the region in which a mask lies: the region that shares most with it, see `_shares_in_common`.

    None where no region shares as much as _IN_PLACE with the mask, or where several share the same.
    mask: (h, w), stretched over the regions. regions: (people, H, W).
    """
    fitted = functional.interpolate(mask[None, None], size=regions.shape[1:], mode="area")[0]  # (1, H, W)
    shares = _shares_in_common(list(regions), fitted)[:, 0]
    largest = shares.max()
    is_alone = int((shares == largest).sum()) == 1
    return int(shares.argmax()) if is_alone and largest >= _IN_PLACE else None


def _shares_in_common(regions: Sequence[Tensor], masks: Tensor) -> Tensor:
    """What each region and each mask have in common, as a share of the smaller of the two: (regions, masks), 0..1.

    So the share is 1 where the whole mask lies in the region, and where the mask covers the whole region.
    regions: (H, W) each. masks: (masks, H, W).
    """
    common = torch.stack([torch.minimum(masks, region).sum((1, 2)) for region in regions])  # (regions, masks)
    region_sizes = torch.stack(list(regions)).sum((1, 2))[:, None]  # (regions, 1)
    mask_sizes = masks.sum((1, 2))  # (masks,)
    return common / torch.minimum(mask_sizes, region_sizes).clamp(min=1e-6)


def _counted_from_1(indices: Sequence[int]) -> str:
    return listed([index + 1 for index in indices])


def free_slots(cast: PlacedCast) -> tuple[Slot, ...]:
    """The places of the layout of a placed cast in which nobody of weight above 0 stands; none without a layout."""
    slots = cast.layout.slots if cast.layout else ()
    occupied = {member.place for member in cast.people if member.is_present}
    return tuple(slot for number, slot in enumerate(slots, 1) if number not in occupied)
