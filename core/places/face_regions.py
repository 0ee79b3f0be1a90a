"""The regions of people around their faces, or in their face boxes, for methods that read faces.

Regions are a tensor (people, H, W), float32, 0..1, a row for everybody of the cast. Who takes no part is drawn by
another node, and so takes pixels from the others; who has weight 0 takes none. Rows of both are not read further.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..attention.cross_attention import region_weights
from ..cast import Cast, Member, PlacedCast, is_a, require_places
from ..checks.errors import gathered
from ..pictures.geometry import bounds, longer_side
from ..taking_part import TakingPart
from .region_settings import FACE_BOXES, REGIONS
from .regions import (
    BadRegion,
    RegionShape,
    regions_of_people,
    require_box,
    require_distinct,
    settings_of,
    undrawn_region,
    without_faces,
)
from .shapes import box_distance, soft_edge, with_drawn

_MARGIN = 0.75  # around a face, where Place Cast leaves it as it is


def shape_of_faces(cast: Cast) -> RegionShape:
    """The shape of regions for a method that reads faces, as is set for a cast."""
    settings = settings_of(cast)
    return RegionShape("face", _MARGIN * settings.region_margin, settings.feather)


def notes(cast: Cast, mask: Tensor | None, acts_in: str, cell: int) -> list[str]:
    """Lines about regions that work but may not be meant: stretched masks, and face boxes too small for coarse layers.

    mask: (masks, h, w) or None. acts_in: REGIONS or FACE_BOXES. cell: the side in pixels of one token of the coarsest
    layers.
    """
    if not is_a(cast, PlacedCast):
        return []
    lines: list[str] = []
    if mask is not None and mask.shape[-2:] != (cast.height, cast.width):
        size = f"{mask.shape[-1]}x{mask.shape[-2]}"
        lines.append(f"Masks stretched: {size} px over the canvas, {cast.width}x{cast.height} px")
    if acts_in == FACE_BOXES:
        advice = f" px on the canvas; coarse layers need {cell}: larger faces, or acts_in = regions in Place Cast"
        lines += gathered("Face boxes small", _small_face_boxes(cast, cell), advice)
    return lines


def _small_face_boxes(cast: PlacedCast, least: int) -> list[str]:
    """Name and size of each person whose face box, cut to the canvas, has a side of less than `least` px."""
    small: list[str] = []
    for member in cast.people:
        if member.slot is None or member.slot.box is None:
            continue
        x0, y0, x1, y1 = member.slot.box
        width = min(cast.width, x1) - max(0, x0)
        height = min(cast.height, y1) - max(0, y0)
        if min(width, height) < least:
            small.append(f"{member.name} {width:.0f}x{height:.0f}")
    return small


def regions_of_faces(
    taking: TakingPart, mask: Tensor | None, shape: RegionShape, node_name: str, acts_in: str
) -> Tensor | None:
    """The regions in which the faces of a cast act, (people, H, W); None for the whole picture.

    It is None where everybody has a row of the batch, and where one person is alone without a mask or a region that was
    drawn by hand, or with one that is 1 everywhere.
    mask: (people, h, w), one for everybody in the cast, those of weight 0 included; None for regions around the faces.
    shape: of extent "face". node_name: for messages. acts_in: REGIONS or FACE_BOXES.
    Checks only people who take part. Raises what `regions_of_people` raises, NotPlaced, and BadRegion for a place
    without box and mask.
    """
    if mask is None and (taking.is_unlimited or taking.cast.by_row):
        return None
    regions = regions_of_people(taking, mask, lambda: _regions_around_faces(taking, shape, node_name, acts_in))
    # A mask that is 1 everywhere limits its person to nothing.
    is_everywhere = bool((regions[list(taking.acts)] == 1).all())
    return None if taking.is_alone and is_everywhere else regions


def _regions_around_faces(taking: TakingPart, shape: RegionShape, node_name: str, acts_in: str) -> Tensor:
    """The regions of everybody around their faces: (people, H, W). The arguments are those of `regions_of_faces`.

    A region is the mask of the place, else the face box, widened as `shape` says. With REGIONS, a pixel that several
    widened boxes reach goes to the nearest face. With FACE_BOXES it belongs to all of them, as in InstantID's code.
    The region of who takes no part is zeros where their place has neither mask nor box.
    """
    acting_cast = require_places(replace(taking.cast, people=taking.people), node_name)
    people = _standing(taking.cast)
    regions: list[Tensor] = []
    for member, takes_part in zip(people, taking.acts, strict=True):
        regions.append(_face_region(member, acting_cast, needs_box=takes_part, shape=shape))
    if acts_in == REGIONS:
        regions = _divided(regions, people, shape.feather)
    return torch.stack([_with_drawn(region, member, people) for region, member in zip(regions, people, strict=True)])


def _with_drawn(region: Tensor, member: Member, people: Sequence[Member]) -> Tensor:
    """The region (H, W) of a person with what was drawn for their place by hand, without the faces of the others.

    It is drawn when the regions have been divided: what it adds may lie nearer to the face of somebody whose region
    does not reach there.
    """
    if member.slot is None or not member.slot.drawn:
        return region
    region = with_drawn(region, member.slot.drawn)
    if member.slot.mask is not None:
        return region
    others = [other.slot for other in people if other is not member and other.slot]
    return without_faces(region, others)


def _standing(cast: Cast) -> list[Member]:
    """Everybody of the cast; who has weight 0 without a place, because they are not in the picture."""
    return [member if member.is_present else replace(member, slot=None) for member in cast.people]


@dataclass(frozen=True)
class _AroundFace:
    """The surroundings of a face box.

    region: (H, W), in which the face acts. distance: (H, W), how far each pixel is from the box, in sizes of the box.
    size: the longer side of the box, px.
    """

    region: Tensor
    distance: Tensor
    size: float


def _divided(regions: Sequence[Tensor], people: Sequence[Member], feather: float) -> list[Tensor]:
    """The regions (H, W), each without the pixels that are nearer to the face of another one.

    Only regions around face boxes are cut, and only such regions cut others. A region that is the mask of a place stays
    as it is. All reach equally far, in sizes of their own faces, so what is cut from one region lies in another one.
    Why: in a group, widened boxes reach over the faces of neighbours. Were pixels shared in proportion alone, a fifth
    of what is read at a face of eight people would be read of others.
    regions: of each of the people. feather: the width in px of the soft border between two regions.
    """
    around: dict[int, _AroundFace] = {}  # index of a person with a face box and a region of pixels -> what is around it
    for index, (member, region) in enumerate(zip(people, regions, strict=True)):
        slot = member.slot
        if slot is not None and slot.box is not None and slot.mask is None and region.any():
            height, width = region.shape
            around[index] = _AroundFace(region, box_distance(slot.box, width, height), longer_side(slot.box))
    divided = list(regions)
    for index, own in around.items():
        divided[index] = _without_nearer(own, [other for other in around.values() if other is not own], feather)
    return divided


def _without_nearer(own: _AroundFace, others: Sequence[_AroundFace], feather: float) -> Tensor:
    """The region (H, W) of a face without the pixels that are nearer to other faces. feather: as in `_divided`."""
    left, top, right, below = bounds(own.region)
    window = slice(top, below), slice(left, right)  # all else is 0, whatever is cut
    region = own.region.clone()
    share_left = torch.ones_like(region[window])  # how much of the region stays at each pixel
    for other in others:
        if other.region[window].any():  # in a group, most others do not reach the window
            share = _share_of_nearer(
                own.distance[window], other.distance[window], size=(own.size + other.size) / 2, feather=feather
            )
            share_left = torch.minimum(share_left, share)
    region[window] *= share_left
    return region


def _share_of_nearer(distance: Tensor, other_distance: Tensor, size: float, feather: float) -> Tensor:
    """How much of each pixel that the regions of two faces reach belongs to the first face, (H, W).

    It is 1 up to the border halfway between the two faces, and falls to 0 over the next half of `feather`. In the face
    itself it is 1, and in the other face 0, however near they are.

    distance, other_distance: how far each pixel is from the two faces, (H, W), in face sizes. size: of a face, px.
    """
    # Half of the difference: with each pixel on the way to the other face, one distance grows and the other shrinks.
    beyond_border = (distance - other_distance) * size / 2  # px
    share = soft_edge(beyond_border, feather / 2)
    in_face, in_other = distance == 0, other_distance == 0  # a pixel of both is neither's alone
    share = share.masked_fill(in_face & ~in_other, 1.0)
    return share.masked_fill(in_other & ~in_face, 0.0)


def _face_region(member: Member, cast: PlacedCast, needs_box: bool, shape: RegionShape) -> Tensor:
    """The region in which a person's face acts, (H, W): the mask of their place, else what lies around the face box.

    What was drawn by hand comes later.

    needs_box: whether a place without both is an error (BadRegion) instead of zeros.
    """
    slot = member.slot
    if slot and slot.mask is not None:
        return slot.mask.float()
    if needs_box:
        slot = require_box(slot, member.name)
    if slot is None:
        return torch.zeros(cast.height, cast.width, dtype=torch.float32)
    return undrawn_region(slot, cast, shape)


def regions_in_face_boxes(taking: TakingPart, uncut: Tensor | None, node_name: str) -> Tensor:
    """The regions of a cast, each cut to the person's own face box: (people, H, W).

    Checks are for people who take part alone. The corners of a box are cut towards 0 to whole pixels, as in InstantID's
    infer_full.py, and to the canvas. Where the people share a picture, the regions add up to at most 1 at each pixel.
    uncut: the regions before they are cut, (people, H, W), or None for the whole picture, both as
    `regions_of_faces` gives them. node_name: for messages.
    Raises NotPlaced, and BadRegion for a place without box, a box off the canvas, a region that does not meet its box,
    and two equal regions.
    """
    acting_cast = require_places(
        replace(taking.cast, people=taking.people), f"{node_name} with acts_in at {FACE_BOXES}"
    )
    boxes = _box_masks(_standing(taking.cast), acting_cast.width, acting_cast.height)  # (people, H, W)
    regions = boxes if uncut is None else boxes * uncut
    acts = list(taking.acts)
    for member, box_mask, region in zip(taking.people, boxes[acts], regions[acts], strict=True):
        _check_box(member, acting_cast, box_mask, region)
    # Several people in one picture always have `uncut`. Without it there is one person, or by row a picture for each:
    # nobody shares pixels, and by row two equal boxes are no fault.
    if uncut is not None:
        require_distinct(regions[acts], taking.people)
    if acting_cast.by_row:
        return regions
    return region_weights(regions)  # one region alone stays as it is


def _box_masks(people: Sequence[Member], width: int, height: int) -> Tensor:
    """A mask of each person on a canvas of this size, (people, height, width): 1 in their face box, else 0.

    It is all 0 for a person without a box.
    """
    masks = torch.zeros(len(people), height, width, dtype=torch.float32)
    for index, member in enumerate(people):
        if member.slot and member.slot.box:
            # int() cuts towards 0; the slices end at the canvas by themselves.
            x0, y0, x1, y1 = (max(0, int(coordinate)) for coordinate in member.slot.box)
            masks[index, y0:y1, x0:x1] = 1
    return masks


def _check_box(member: Member, cast: PlacedCast, box_mask: Tensor, region: Tensor) -> None:
    """Raise BadRegion unless a person has a face box on the canvas, and a region that meets it.

    box_mask: 1 in the person's face box, else 0. region: of the person, cut to the face box. (H, W) each.
    """
    name = member.name
    box = member.slot.box if member.slot else None
    if box is None:
        advice = "Use a layout whose places have faces, or set acts_in of Place Cast to regions."
        raise BadRegion(name, "its place has no face box, in which alone the face would act", advice)
    if not box_mask.any():
        corners = ", ".join(f"{coordinate:g}" for coordinate in box)
        why = f"its face box ({corners}) has no pixel on the canvas of {cast.width}x{cast.height} px"
        raise BadRegion(name, why, "Move or enlarge the place in the layout, or set acts_in of Place Cast to regions.")
    if not region.any():
        advice = "Paint the mask over the face, or set acts_in of Place Cast to regions."
        raise BadRegion(name, "it does not meet the face box of its place", advice)
