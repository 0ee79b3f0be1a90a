"""A square and a mask around each face of the second pass, the way into the square, and the cast of all squares."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..cast import NOSE, Box, Cast, Faces, Keypoints, Member, Point, RowCast, Slot
from ..pictures.geometry import Fit, Rect, longer_side, square_around, upright
from ..places.layouts import skeleton_around
from ..places.regions import settings_of
from ..places.shapes import SHORTEST, box_region, widened
from .selection import Candidate, Choice, Need, need_of

COVERED = "covered by faces that are left as they are, left as it is"


@dataclass(frozen=True)
class Crop:
    """One person's square of one picture.

    picture_index: of its picture in the batch, from 0.
    square: in whole pixels of the picture, always within it.
    turns: how many quarter turns counter-clockwise stand the face upright.
    mask: (side, side) float32 0..1, where the square is pasted back, before it is turned and enlarged.
    name: of the person.
    face_side: the longer side of the face box, in pixels of the picture. Where two crops overlap, the one of the larger
    face lies on top.
    """

    picture_index: int
    square: Rect
    turns: int
    mask: Tensor
    name: str
    face_side: float


@dataclass(frozen=True)
class Crops:
    """The crops of a batch, which travel on LIKENESS_CROPS: one crop per row of the batch that is sampled.

    count: how many pictures the crops were cut out of.
    width, height: of these pictures, in pixels.
    size: side of the enlarged squares, in pixels.
    """

    crops: tuple[Crop, ...]
    count: int
    width: int
    height: int
    size: int


@dataclass(frozen=True)
class Decision:
    """What becomes of a person in a picture.

    reason: why there is a crop or none, in words, which the report writes after "Anna: ". crop: None for a person who
    is left as they are. slot: the person's place in the enlarged crop, None without a crop.
    """

    candidate: Candidate
    reason: str
    crop: Crop | None = None
    slot: Slot | None = None


def decide(people: Sequence[Candidate], faces: Faces, choice: Choice) -> list[Decision]:
    """What becomes of each of the people in one picture, in their order.

    faces: all faces of the picture. Faces that are left as they are, also those of strangers, are cut out of the masks,
    so that nothing is pasted over them.
    """
    with_needs = [(candidate, need_of(candidate, faces, choice)) for candidate in people]
    # A candidate whose face is found has the very box of that face in `faces`, so boxes tell which faces are chosen.
    chosen_boxes = {candidate.box for candidate, need in with_needs if need.needed}
    kept_boxes = [face.box for face in faces.faces if face.box not in chosen_boxes]
    return [_decision(candidate, need, faces, kept_boxes, choice) for candidate, need in with_needs]


def _decision(candidate: Candidate, need: Need, faces: Faces, kept_boxes: Sequence[Box], choice: Choice) -> Decision:
    """What becomes of one person, with the crop if the person needs the second pass.

    There is no crop where the mask is empty, because other faces cover it.
    kept_boxes: the boxes of the faces that are left as they are.
    """
    if not need.needed or candidate.box is None or candidate.keypoints is None:
        return Decision(candidate, need.reason)
    square = square_around(candidate.box, choice.margin, faces.width, faces.height)
    face_side = longer_side(candidate.box)
    feather = choice.feather * face_side
    mask = paste_mask(candidate.box, square, faces, kept_boxes, choice.mask_margin, feather)
    if not mask.any():
        return Decision(candidate, COVERED)
    turns = upright(candidate.keypoints)
    crop = Crop(candidate.picture_index, square, turns, mask, candidate.name, face_side)
    slot = _slot_in_crop(candidate.box, candidate.keypoints, crop, choice.size)
    return Decision(candidate, need.reason, crop, slot)


def paste_mask(
    box: Box, square: Rect, faces: Faces, kept_boxes: Sequence[Box], mask_margin: float, feather: float
) -> Tensor:
    """Where a square is pasted back, (side, side) float32: 1 on the face and around it, falling to 0 over `feather` px.

    It falls outside of the widened face box, as the soft edge of every region does. It is 0 on the faces in
    `kept_boxes`, and at the edges of the square that lie within the picture: there is nothing beyond to blend with.
    box: of the face, in the picture, as are `square` and `kept_boxes`. faces: for the size of the picture alone.
    mask_margin: how far around the face, in face sizes.
    """
    left, top, right, bottom = square
    side = right - left
    within_square = Fit(1, 1, -left, -top)
    mask = box_region(within_square.box(widened(box, mask_margin)), side, side, feather)  # (side, side)
    rim = max(feather, SHORTEST)  # px
    from_start = torch.arange(side, dtype=torch.float32) + 0.5  # px from the left or upper edge to each pixel's centre
    from_end = side - from_start
    # A ramp at each edge that lies within the picture, from 0 up over `rim` pixels; above 1 it changes nothing.
    if left > 0:
        mask = torch.minimum(mask, from_start[None, :] / rim)  # (1, side)
    if right < faces.width:
        mask = torch.minimum(mask, from_end[None, :] / rim)
    if top > 0:
        mask = torch.minimum(mask, from_start[:, None] / rim)  # (side, 1)
    if bottom < faces.height:
        mask = torch.minimum(mask, from_end[:, None] / rim)
    for kept_box in kept_boxes:
        mask = torch.minimum(mask, 1 - box_region(within_square.box(kept_box), side, side, feather))
    return mask


def _slot_in_crop(box: Box, keypoints: Keypoints, crop: Crop, size: int) -> Slot:
    """The person's place in the enlarged and upright crop, with half a skeleton. box, keypoints: in the picture."""
    x0, y0 = into_crop(box[:2], crop.square, crop.turns, size)
    x1, y1 = into_crop(box[2:], crop.square, crop.turns, size)
    # A quarter turn makes another corner the upper left one.
    box_in_crop = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    keypoints_in_crop = tuple(into_crop(point, crop.square, crop.turns, size) for point in keypoints)
    pose = skeleton_around(keypoints_in_crop, "half", (size, size))
    return Slot(keypoints_in_crop[NOSE], box_in_crop, keypoints_in_crop, pose)


def into_crop(point: Point, square: Rect, turns: int, size: int) -> Point:
    """A point of the picture in pixels of the enlarged and turned crop.

    square: of the crop, in pixels of the picture. turns: quarter turns counter-clockwise. size: side of the crop, px.
    """
    left, top, right, _ = square
    scale = size / (right - left)
    x = (point[0] - left) * scale
    y = (point[1] - top) * scale
    for _ in range(turns):
        x, y = y, size - x  # counter-clockwise: the right edge becomes the upper one
    return x, y


def cast_by_row(decisions: Sequence[Decision], cast: Cast, size: int) -> RowCast:
    """The people who have a crop, each with a row of the batch and their place in the crop.

    cast: the cast that Crop Faces was given. size: side of the enlarged crops, px.
    """
    # By identity of the object, because two people of a cast may be equal.
    index_of = {id(member): index for index, member in enumerate(cast.people)}
    people: list[Member] = []
    indices: list[int] = []
    for decision in decisions:
        if decision.crop is None:
            continue
        candidate = decision.candidate
        people.append(replace(candidate.member, slot=decision.slot, place=candidate.number))
        indices.append(index_of[id(candidate.member)])
    return RowCast(
        tuple(people),
        size,
        size,
        region_settings=settings_of(cast),
        cut_from=cast,
        indices=tuple(indices),
    )


def cut(image: Tensor, crop: Crop, size: int) -> Tensor:
    """The square of a crop, cut out of its picture, turned upright and enlarged: (size, size, 3) float32 0..1.

    image: the picture, (H, W, 3). size: in pixels.
    """
    x0, y0, x1, y1 = crop.square
    return turned_upright(image[y0:y1, x0:x1], crop.turns, size)


def turned_upright(picture: Tensor, turns: int, size: int) -> Tensor:
    """A square picture turned by quarter turns counter-clockwise, and brought to another size (bicubic).

    picture: (side, side, C) 0..1. turns: below 0 they turn it back. Returns (size, size, C) 0..1.
    """
    picture = torch.rot90(picture, turns)
    if len(picture) != size:
        planes = picture.movedim(-1, 0)[None]  # (1, C, side, side)
        picture = interpolate(planes, (size, size), mode="bicubic", antialias=True)[0].movedim(0, -1)
    # Bicubic goes below 0 and above 1 beside hard edges.
    return picture.clamp(0, 1)
