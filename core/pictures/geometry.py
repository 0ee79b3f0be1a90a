"""Sizes, fitting one picture into another, boxes, and ID patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..cast import Box, Joint, Keypoints, PlacedCast, Point
from ..checks.errors import BadSize

PATCH = 64
"""Side of an ID patch in pixels, as ID-Patch was trained."""
Rect = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels, the last two exclusive."""
SMALLEST = 16
"""Least side in pixels of a square that is cut around a face: a smaller one has less than 2x2 latent pixels."""
LARGEST = 8192
"""Side of a canvas in pixels. Nobody generates larger ones, and a few pictures of that size fill the memory."""
FAR = 1e6
"""Pixels. Nothing of a layout is that far from its canvas, and drawing towards it takes minutes."""


OF_A_PIECE = (
    "Samplers of pieces (Ultimate SD Upscale, other tiles, detailers of faces) cannot know who is in which piece: give "
    "them the prompts from before the nodes of Likeness. To draw faces anew use Crop Faces and Paste Faces."
)


def check_size(title: str, width: int, height: int) -> None:
    """Raise BadSize unless both sides are multiples of 8, the step of the latent grid, from 8 to LARGEST.

    title: how a message calls what has this size.
    """
    if all(0 < side <= LARGEST and side % 8 == 0 for side in (width, height)):
        return
    near_width, near_height = (min(LARGEST, max(8, round(side / 8) * 8)) for side in (width, height))
    expected = f"both sides must be multiples of 8, at most {LARGEST}"
    raise BadSize(
        title, (width, height), expected, f"Set Width (width) to {near_width} and Height (height) to {near_height}."
    )


def check_canvas(title: str, image: Tensor, cast: PlacedCast, advice: str) -> None:
    """Raise BadSize unless a picture (B, H, W, C) has the size of the cast's canvas.

    title, advice: for the message: how it calls the picture, and what to do.
    """
    size = (image.shape[2], image.shape[1])
    if size != (cast.width, cast.height):
        raise BadSize(title, size, f"the cast's canvas is {cast.width}x{cast.height} px", advice)


def check_shape(title: str, size: tuple[int, int], latent: tuple[int, int], cell: int = 8) -> None:
    """Raise BadSize where the ratio of width to height of a latent is not that of a canvas.

    A difference that rounding one of the sides to the latent grid can make is allowed.
    title: how a message calls the canvas. size, latent: (width, height) in pixels. cell: side of a latent pixel, in px.
    """
    width, height = size
    latent_width, latent_height = latent
    # latent_width / latent_height == width / height, as products. Each side may be off by a cell, which changes a
    # product by a cell times the other factor.
    difference = abs(latent_width * height - latent_height * width)
    if difference > cell * max(width + height, latent_width + latent_height):
        expected = f"{title} is {width}x{height} px, which has another shape, so people would be moved or cut off"
        advice = (
            "Give both the same width and height; another shape needs a layout, image and apply node of its own. "
            f"{OF_A_PIECE}"
        )
        raise BadSize("The latent", latent, expected, advice)


FITS = ("crop", "pad", "stretch")


@dataclass(frozen=True)
class Fit:
    """A mapping of coordinates from a source picture onto a canvas: scale, then shift, for each axis."""

    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float

    @classmethod
    def into(cls, source: tuple[int, int], canvas: tuple[int, int], mode: str) -> "Fit":
        """The mapping of a whole source picture onto a canvas.

        source, canvas: (width, height) in pixels. mode: `crop` fills the canvas and cuts evenly, `pad` shows all and
        leaves borders, `stretch` distorts.
        """
        source_width, source_height = source
        width, height = canvas
        scale_x = width / source_width
        scale_y = height / source_height
        if mode == "crop":
            scale_x = scale_y = max(scale_x, scale_y)
        elif mode == "pad":
            scale_x = scale_y = min(scale_x, scale_y)
        # What the source is too large or too small is the same on both sides.
        return cls(scale_x, scale_y, (width - source_width * scale_x) / 2, (height - source_height * scale_y) / 2)

    def point(self, point: Point) -> Point:
        """Where a point of the source picture lies on the canvas."""
        return (point[0] * self.scale_x + self.shift_x, point[1] * self.scale_y + self.shift_y)

    def box(self, box: Box) -> Box:
        """Where a box of the source picture lies on the canvas."""
        return (*self.point(box[:2]), *self.point(box[2:]))

    def joint(self, joint: Joint) -> Joint:
        """Where a joint of the source picture lies on the canvas, with its confidence."""
        return (*self.point(joint[:2]), joint[2])


def area(box: Box) -> float:
    """The area of a box in square pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def shared_area(a: Box, b: Box) -> float:
    """The area that two boxes have in common, in square pixels."""
    left, top, right, bottom = in_common(a, b)
    return max(0.0, right - left) * max(0.0, bottom - top)


_Number = TypeVar("_Number", int, float)
_Sides = tuple[_Number, _Number, _Number, _Number]


def in_common(a: _Sides[_Number], b: _Sides[_Number]) -> _Sides[_Number]:
    """What two boxes have in common; its sides are below 0 where they lie apart."""
    a_left, a_top, a_right, a_bottom = a
    b_left, b_top, b_right, b_bottom = b
    return max(a_left, b_left), max(a_top, b_top), min(a_right, b_right), min(a_bottom, b_bottom)


def longer_side(box: Box) -> float:
    """The longer side of a box in pixels."""
    return max(box[2] - box[0], box[3] - box[1])


def middle_of(box: Box) -> Point:
    """The point in the middle of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def shorter_side(box: Box) -> float:
    """The shorter side of a box in pixels."""
    return min(box[2] - box[0], box[3] - box[1])


def bounds(region: Tensor) -> Rect:
    """The smallest rectangle around the numbers of a region (H, W) that are not 0. There has to be one at least."""
    rows = region.any(1).nonzero()  # (rows, 1), the numbers of the rows that hold such a number
    columns = region.any(0).nonzero()  # (columns, 1)
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def square_around(box: Box, margin: float, width: int, height: int) -> Rect:
    """A square around the middle of a face box, moved so that it lies within the picture.

    Its side is the box's longer side and `margin` times as much at both ends: at least SMALLEST, and never more than
    the shorter side of the picture. width, height: of the picture, px.
    """
    left, top, right, bottom = box
    side = round(longer_side(box) * (1 + 2 * margin))
    side = min(max(side, SMALLEST), width, height)
    x0 = round((left + right - side) / 2)  # the middle of the box, less half a side
    y0 = round((top + bottom - side) / 2)
    x0 = max(0, min(x0, width - side))
    y0 = max(0, min(y0, height - side))
    return x0, y0, x0 + side, y0 + side


def upright(keypoints: Keypoints) -> int:
    """The number of quarter turns counter-clockwise, 0 to 3, after which the eyes are highest above the mouth."""
    left_eye, right_eye, _, left_corner, right_corner = keypoints
    # How far the eyes lie to the right of the mouth and below it (y grows downwards), the sum of both sides.
    to_the_right = left_eye[0] + right_eye[0] - left_corner[0] - right_corner[0]
    below = left_eye[1] + right_eye[1] - left_corner[1] - right_corner[1]
    # How far they lie above it after 0, 1, 2 and 3 turns: the first turn brings up what is on the right.
    heights = [-below, to_the_right, below, -to_the_right]
    return heights.index(max(heights))  # of equal heights the fewest turns


def patch_rect(center: Point, size: int = PATCH) -> Rect:
    """The square of an ID patch around a face centre, before it is cut at the border.

    center: px. The upper left corner is rounded in float32, halves to even; the lower right one is `size` px further.
    ID-Patch's modules/inferencer.py casts the centre to bfloat16 first and rounds both corners with torch.round. So its
    squares lie up to 1 px elsewhere for coordinates below 512, 2 px below 1024, 4 px below 2048. For 2 to 7 % of
    centres its two corners are not `size` px apart, and its code fails.
    """
    corner = np.rint(np.asarray(center, dtype=np.float32) - np.float32(size // 2))
    x, y = int(corner[0]), int(corner[1])
    return (x, y, x + size, y + size)


def off_canvas(patch: Rect, width: int, height: int) -> bool:
    """Whether ID-Patch drops the face of this patch, because the middle of the patch lies outside of the canvas.

    A patch that merely crosses the border is cut, not dropped. width, height: of the canvas, px.
    """
    x, y = middle_of(patch)
    return not (0 <= x < width and 0 <= y < height)


class Overlap(NamedTuple):
    """Two rectangles of a list that overlap: their indices, and the size of what they have in common in pixels."""

    first: int
    second: int
    width: int
    height: int


def overlaps(rects: Sequence[Rect]) -> list[Overlap]:
    """Every pair of rectangles that overlap; rectangles that touch do not."""
    overlapping: list[Overlap] = []
    for (first, rect), (second, other_rect) in combinations(enumerate(rects), 2):
        left, top, right, bottom = in_common(rect, other_rect)
        if left < right and top < bottom:
            overlapping.append(Overlap(first, second, right - left, bottom - top))
    return overlapping


def on_canvas(rect: Rect, height: int, width: int) -> tuple[slice, slice]:
    """The rows and the columns of a rectangle that are on the canvas, as slices of the canvas.

    height, width: of the canvas, px.
    """
    x0, y0, x1, y1 = rect
    return slice(max(y0, 0), min(y1, height)), slice(max(x0, 0), min(x1, width))


def with_patches(control: Tensor, patches: Sequence[Tensor], rects: Sequence[Rect]) -> Tensor:
    """A picture with the patch of each person added in their square; the sum is never clamped.

    control: the picture, (B, H, W, 3) float32, 0..1. patches: (3, PATCH, PATCH) each. rects: their squares, as
    `patch_rect` gives them.
    Patches that cross the border are cut, patches that overlap add up. Returns (B, H, W, 3) float32, signed.
    """
    canvas = torch.zeros(control.shape[1:], dtype=torch.float32)  # (H, W, 3)
    for patch, rect in zip(patches, rects, strict=True):
        left, top, _, _ = rect
        rows, columns = on_canvas(rect, canvas.shape[0], canvas.shape[1])
        # The rows and columns of the patch that are on the canvas, counted from the patch's own corner.
        visible = patch[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]  # (3, h, w)
        canvas[rows, columns] += visible.movedim(0, -1)  # (h, w, 3)
    return control.float() + canvas  # (B, H, W, 3) + (H, W, 3)
