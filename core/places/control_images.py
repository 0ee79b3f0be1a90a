"""The pictures that ControlNets were trained with: OpenPose skeletons and the five keypoints of faces.

Discs, ellipses and their blend are to the pixel as OpenCV draws them, in its integer arithmetic stated once more: an
ellipse is the polygon of its points at every degree, a convex polygon is its outline (Bresenham) and the rows between
its two sides (fixed point, 16 bits).
"""

import math
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import LikenessError, listed
from ..people import NOSE, Keypoints, Layout, Pose
from ..previews import Color
from .bodies import openpose, seen_limbs

Pixels = npt.NDArray[np.uint8]
"""(height, width, 3)."""
Pixel = tuple[int, int]
"""x, y."""

_LIMB_COLORS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip


def skeletons(layout: Layout, by_row: bool) -> Tensor:
    """The skeletons of a layout, all in one picture, or with `by_row` in a picture for each place.

    Returns (1 or places, height, width, 3), black where there is no skeleton.
    """
    return _draw_people(skeleton, [slot.pose for slot in layout.slots], layout, by_row)


def keypoints(layout: Layout, by_row: bool) -> Tensor:
    """The face keypoints of a layout, all in one picture, or with `by_row` in a picture for each place.

    Returns (1 or places, height, width, 3), black where there are none.
    """
    return _draw_people(face_keypoints, [slot.keypoints for slot in layout.slots], layout, by_row)


def _draw_people(draw: Callable[..., Tensor], figures: Sequence[object], layout: Layout, by_row: bool) -> Tensor:
    """Drawings of figures, all in one picture, or with `by_row` each in its own: (pictures, height, width, 3).

    draw: called as draw(figures, width, height), it gives a picture. figures: for each place its skeleton, or its face
    keypoints; None where it has none.
    """
    of_pictures = [[figure] for figure in figures] if by_row else [figures]
    existing = [[figure for figure in of_picture if figure] for of_picture in of_pictures]
    return torch.stack([draw(of_picture, layout.width, layout.height) for of_picture in existing])


_JOINT_RADIUS = 4
_HALF_THICKNESS = 4
"""Half the width of a limb, and of the lines between face keypoints, in pixels."""
_KEYPOINT_RADIUS = 10


def skeleton(poses: Sequence[Pose], width: int, height: int) -> Tensor:
    """The control picture ID-Patch was trained with: (height, width, 3) float32 0..1, black background.

    `below` has the joints, `above` the joints with the limbs drawn over them; the result is 0.4 of the first and 0.6 of
    the second (ID-Patch, utils/draw_condition.py, from mmpose). It must be OpenCV's drawing to the pixel.
    """
    people = [openpose(pose) for pose in poses]
    below = np.zeros((height, width, 3), np.uint8)
    for joints in people:
        joints_of_limbs: set[int] = set()  # joints without a limb are not drawn
        for limb in seen_limbs(joints):
            joints_of_limbs.update((limb.start, limb.end))
        for number in sorted(joints_of_limbs):
            x, y, _ = joints[number]
            disc(below, int(x), int(y), _JOINT_RADIUS, _LIMB_COLORS[number])
    above = np.array(below)
    for joints in people:
        for limb in seen_limbs(joints):
            _draw_limb(above, joints[limb.start], joints[limb.end], _LIMB_COLORS[limb.number])
    return torch.as_tensor(below * 0.4 + above * 0.6).round().float() / 255


def _draw_limb(canvas: Pixels, start: Sequence[float], end: Sequence[float], color: Color) -> None:
    """Draw a limb as a thin ellipse, its centre, length and angle cut down to whole numbers as the authors do."""
    across = start[0] - end[0]
    down = start[1] - end[1]
    half_length = int((down**2 + across**2) ** 0.5 / 2)
    angle = int(math.degrees(math.atan2(down, across)))
    x = int((start[0] + end[0]) / 2)
    y = int((start[1] + end[1]) / 2)
    ellipse(canvas, x, y, (half_length, _HALF_THICKNESS), angle, color)


_KEYPOINT_COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))


def face_keypoints(faces: Sequence[Keypoints], width: int, height: int) -> Tensor:
    """The hint IdentityNet was trained with: (height, width, 3) float32 0..1, black background.

    Each face is drawn by itself (InstantID, draw_kps) and the drawings are joined by the larger value, so that a
    single face is exactly the published drawing.
    """
    keypoint_picture = np.zeros((height, width, 3), np.uint8)
    for points in faces:
        image = np.zeros_like(keypoint_picture)
        for number, point in enumerate(points):
            if number != NOSE:
                _draw_limb(image, point, points[NOSE], _KEYPOINT_COLORS[number])
        # As there: the lines are darkened, then the discs are drawn over them.
        image = (image * 0.6).astype(np.uint8)
        for (x, y), color in zip(points, _KEYPOINT_COLORS, strict=True):
            disc(image, int(x), int(y), _KEYPOINT_RADIUS, color)
        keypoint_picture = np.maximum(keypoint_picture, image)
    return torch.as_tensor(keypoint_picture).float() / 255


class NoKeypoints(LikenessError):
    """No face keypoints where a method needs them. places: numbers of the places without; none for a picture."""

    def __init__(self, node: str, places: Sequence[str]) -> None:
        if not places:
            problem = "there is no face in the keypoints image"
        elif len(places) > 1:
            problem = f"places {listed(places)} have no face keypoints"
        else:
            problem = f"place {listed(places)} has no face keypoints"
        super().__init__(
            f"{node}: {problem}.",
            "Make the layout from faces or masks, or with Layout for a Group: these know where eyes, nose and mouth "
            "are. In a pose, show more of head and shoulders.",
        )


# OpenCV 4, modules/imgproc/src/drawing.cpp: ellipse2Poly, clipLine, LineIterator and FillConvexPoly. A point is at the
# centre of its pixel; FillConvexPoly follows the sides of a polygon in fixed point numbers.
_ONE = 1 << 16
"""A pixel in fixed point numbers (XY_ONE)."""


def _wave_table(wave: Callable[[float], float]) -> npt.NDArray[np.float64]:
    """A sine or cosine of 0 to 360 degrees, (361,), rounded as in OpenCV's table, which is of float32."""
    rounded = [round(wave(math.radians(degree)), 7) for degree in range(361)]
    return np.array(rounded, np.float32).astype(np.float64)


_SINES = _wave_table(math.sin)
_COSINES = _wave_table(math.cos)
# Half the width of each row of a disc, from the middle row up; by radius.
_DISCS = {4: (4, 3, 3, 2, 0), 10: (10, 9, 9, 9, 9, 8, 8, 7, 6, 4, 0)}


def disc(canvas: Pixels, x: int, y: int, radius: int, color: Color) -> None:
    """Draw a filled circle around a pixel. radius: one of 4 and 10."""
    for away, half in enumerate(_DISCS[radius]):
        _draw_row(canvas, y - away, x - half, x + half, color)
        _draw_row(canvas, y + away, x - half, x + half, color)


def ellipse(canvas: Pixels, x: int, y: int, axes: tuple[int, int], angle: int, color: Color) -> None:
    """Draw a filled ellipse around a pixel, as the polygon of its points at every degree.

    axes: half the length of each axis, in pixels. angle: of the first axis, in degrees.
    """
    along = axes[0] * _COSINES  # (361,) each, in the ellipse's own axes
    across = axes[1] * _SINES
    sine = _SINES[angle % 360]
    cosine = _COSINES[angle % 360]
    columns = np.rint(x + along * cosine - across * sine).astype(int)
    rows = np.rint(y + along * sine + across * cosine).astype(int)
    outline = zip(map(int, columns), map(int, rows), strict=True)
    corners = [corner for corner, _ in groupby(outline)]  # each once, although many degrees may give the same pixel
    for start, end in pairwise([corners[-1], *corners]):
        _draw_line(canvas, start, end, color)
    _fill_polygon(canvas, corners, color)


def _draw_row(canvas: Pixels, y: int, first: int, last: int, color: Color) -> None:
    """Draw the pixels of row y from column `first` to column `last`, both included; pixels off the canvas are left
    out."""
    if 0 <= y < canvas.shape[0] and last >= 0:
        canvas[y, max(first, 0) : last + 1] = color


def _draw_line(canvas: Pixels, start: Pixel, end: Pixel, color: Color) -> None:
    """Draw a line one pixel wide (Bresenham, as OpenCV's LineIterator), from its left end."""
    clipped = _clipped_line(start, end, canvas.shape[1] - 1, canvas.shape[0] - 1)
    if clipped is None:
        return
    left, right = sorted(clipped, key=lambda point: point[0])
    x, y = left
    width = right[0] - x
    height = abs(right[1] - y)
    down = 1 if right[1] >= y else -1
    is_flat = width >= height
    longer = max(width, height)
    shorter = min(width, height)
    for step in range(longer + 1):
        # How far the line has moved along its shorter side: shorter * step / longer, rounded to the nearest whole pixel
        # and halves down, which is floor(x + 1 / 2 - 1 / (2 * longer)) in whole numbers.
        aside = (2 * shorter * step + longer - 1) // (2 * longer) if longer else 0
        if is_flat:
            canvas[y + down * aside, x + step] = color
        else:
            canvas[y + down * step, x + aside] = color


def _clipped_line(start: Pixel, end: Pixel, right: int, bottom: int) -> tuple[Pixel, Pixel] | None:
    """The part of a line that is on the canvas, or None (OpenCV's clipLine, which cuts rows first, then columns).

    right, bottom: the last column and the last row. `_clipped_along_axis` cuts the first coordinate of a point, so the
    points are given to it as (y, x) first.
    """
    swapped = _clipped_along_axis((start[1], start[0]), (end[1], end[0]), bottom)
    if swapped is None:
        return None
    (start_y, start_x), (end_y, end_x) = swapped
    return _clipped_along_axis((start_x, start_y), (end_x, end_y), right)


def _clipped_along_axis(start: Pixel, end: Pixel, last: int) -> tuple[Pixel, Pixel] | None:
    """The part of a line whose first coordinate is from 0 to `last`, or None where there is none.

    The start is cut first, and the end against the start that is left: OpenCV rounds in this order.
    """
    if max(start[0], end[0]) < 0 or min(start[0], end[0]) > last:
        return None
    start = _moved_inside(start, end, last)
    end = _moved_inside(end, start, last)
    return start, end


def _moved_inside(point: Pixel, other_end: Pixel, last: int) -> Pixel:
    """An end of a line, moved along the line until its first coordinate is from 0 to `last`."""
    if 0 <= point[0] <= last:
        return point
    edge = 0 if point[0] < 0 else last
    # int() cuts the decimals off, as OpenCV's cast does.
    moved = int((edge - point[0]) * (other_end[1] - point[1]) / (other_end[0] - point[0]))
    return (edge, point[1] + moved)


def _fill_polygon(canvas: Pixels, corners: list[Pixel], color: Color) -> None:
    """Fill a convex polygon (OpenCV's FillConvexPoly): in each row the pixels between its two sides.

    The sides lead from the first of the highest corners down to the lowest row, one along the order of the corners and
    the other one against it.
    """
    highest = min(range(len(corners)), key=lambda number: corners[number][1])
    around = [*corners[highest:], *corners[: highest + 1]]  # begins and ends with the highest corner
    # Both sides have a column for each row from the highest corner to the lowest one. They are not zipped strictly: a
    # corner that rounding has lifted gives its side a column more.
    sides = zip(_columns_of_side(around), _columns_of_side(around[::-1]), strict=False)
    for y, (one_side, other_side) in enumerate(sides, corners[highest][1]):
        first = (min(one_side, other_side) + _ONE // 2) // _ONE  # rounded
        last = (max(one_side, other_side) + _ONE // 2) // _ONE
        _draw_row(canvas, y, first, last, color)


def _columns_of_side(corners: list[Pixel]) -> list[int]:
    """The column of one side of a polygon in every row, from its first corner down to the lowest one.

    corners: all of the polygon's, from the highest around to it again. A column is in fixed point numbers: a pixel is
    _ONE.
    """
    lowest = max(y for _, y in corners)
    top = corners[0][1]
    x, y = corners[0]
    columns: list[int] = []
    for next_x, next_y in corners[1:]:
        last_row = top + len(columns) - 1  # the last row of which the column is known already
        if next_y > y and next_y > last_row:
            rows = next_y - y
            # The step that is added in every row, rounded to the nearest (the formula of FillConvexPoly).
            step = math.trunc(((next_x - x) * _ONE * 2 + rows) / (2 * rows))
            columns += [x * _ONE + step * row for row in range(rows)]
        if next_y == lowest:
            break
        x, y = next_x, next_y
    return columns
