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

Canvas = npt.NDArray[np.uint8]
"""(height, width, 3)."""
Pixel = tuple[int, int]
"""x, y."""

_LIMB_COLORS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip


def skeletons(layout: Layout, by_row: bool) -> Tensor:
    """The skeletons of a layout in one picture, `by_row` in a picture for each place: (1 or places, height, width, 3).

    Black where there is none.
    """
    return _pictures(skeleton, [slot.pose for slot in layout.slots], layout, by_row)


def keypoints(layout: Layout, by_row: bool) -> Tensor:
    """The same of the face keypoints of a layout."""
    return _pictures(face_keypoints, [slot.keypoints for slot in layout.slots], layout, by_row)


def _pictures(draw: Callable[..., Tensor], given: Sequence[object], layout: Layout, by_row: bool) -> Tensor:
    pictures = [[one] for one in given] if by_row else [given]
    return torch.stack([draw([one for one in shown if one], layout.width, layout.height) for shown in pictures])


def skeleton(poses: Sequence[Pose], width: int, height: int) -> Tensor:
    """The control picture ID-Patch was trained with: (height, width, 3) float32 0..1, black background.

    Joints first, then limbs over a copy, blended 0.4 to 0.6 (ID-Patch, utils/draw_condition.py, from mmpose).
    OpenCV's rasteriser is part of the format.
    """
    people = [openpose(pose) for pose in poses]
    below = np.zeros((height, width, 3), np.uint8)
    for joints in people:
        for n in sorted({end for _, *ends in seen_limbs(joints) for end in ends}):
            disc(below, int(joints[n][0]), int(joints[n][1]), 4, _LIMB_COLORS[n])
    above = np.array(below)
    for joints in people:
        for n, a, b in seen_limbs(joints):
            _stick(above, joints[a], joints[b], _LIMB_COLORS[n])
    return torch.as_tensor(below * 0.4 + above * 0.6).round().float() / 255


def _stick(canvas: Canvas, a: Sequence[float], b: Sequence[float], color: Color) -> None:
    half_length = int(((a[1] - b[1]) ** 2 + (a[0] - b[0]) ** 2) ** 0.5 / 2)
    angle = int(math.degrees(math.atan2(a[1] - b[1], a[0] - b[0])))
    ellipse(canvas, int((a[0] + b[0]) / 2), int((a[1] + b[1]) / 2), (half_length, 4), angle, color)


_KEYPOINT_COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))


def face_keypoints(faces: Sequence[Keypoints], width: int, height: int) -> Tensor:
    """The hint IdentityNet was trained with: (height, width, 3) float32 0..1, black background.

    Each face is drawn by itself (InstantID, draw_kps) and the drawings are joined by the larger value, so that a
    single face is exactly the published drawing.
    """
    drawn = np.zeros((height, width, 3), np.uint8)
    for points in faces:
        image = np.zeros_like(drawn)
        for end in (0, 1, 3, 4):
            _stick(image, points[end], points[NOSE], _KEYPOINT_COLORS[end])
        image = (image * 0.6).astype(np.uint8)
        for (x, y), color in zip(points, _KEYPOINT_COLORS, strict=True):
            disc(image, int(x), int(y), 10, color)
        drawn = np.maximum(drawn, image)
    return torch.as_tensor(drawn).float() / 255


class NoKeypoints(LikenessError):
    """No face keypoints where a method needs them."""

    def __init__(self, node: str, places: Sequence[str]) -> None:
        which = f"places {listed(places)} have" if len(places) > 1 else f"place {listed(places)} has"
        where = f"{which} no face keypoints" if places else "there is no face in the keypoints image"
        super().__init__(
            f"{node}: {where}.",
            "Make the layout from faces or masks, or with Layout for a Group: these know where eyes, nose and mouth "
            "are. In a pose, show more of head and shoulders.",
        )


_FULL = 1 << 16
# Sine and cosine of 0 to 360 degrees, rounded as in OpenCV's table.
_SINES, _COSINES = (
    np.array([round(wave(math.radians(n)), 7) for n in range(361)], np.float32).astype(np.float64)
    for wave in (math.sin, math.cos)
)
# Half the width of each row of a disc, from the middle row up; by radius.
_DISCS = {4: (4, 3, 3, 2, 0), 10: (10, 9, 9, 9, 9, 8, 8, 7, 6, 4, 0)}


def disc(canvas: Canvas, x: int, y: int, radius: int, color: Color) -> None:
    """radius: one of 4 and 10."""
    for away, half in enumerate(_DISCS[radius]):
        for row in {y - away, y + away}:
            _row(canvas, row, x - half, x + half, color)


def ellipse(canvas: Canvas, x: int, y: int, axes: tuple[int, int], angle: int, color: Color) -> None:
    """Filled. axes: half of each, in pixels; angle: of the first, in degrees."""
    along, across = axes[0] * _COSINES, axes[1] * _SINES
    sine, cosine = _SINES[angle % 360], _COSINES[angle % 360]
    columns = np.rint(x + along * cosine - across * sine).astype(int)
    rows = np.rint(y + along * sine + across * cosine).astype(int)
    points = [point for point, _ in groupby(zip(map(int, columns), map(int, rows), strict=True))]
    for start, end in pairwise([points[-1], *points]):
        _line(canvas, start, end, color)
    _fill(canvas, points, color)


def _row(canvas: Canvas, y: int, first: int, last: int, color: Color) -> None:
    if 0 <= y < canvas.shape[0] and last >= 0:
        canvas[y, max(first, 0) : last + 1] = color


def _line(canvas: Canvas, start: Pixel, end: Pixel, color: Color) -> None:
    clipped = _clipped(start, end, canvas.shape[1] - 1, canvas.shape[0] - 1)
    if clipped is None:
        return
    (x, y), (x1, y1) = sorted(clipped, key=lambda point: point[0])
    dx, dy, down = x1 - x, abs(y1 - y), 1 if y1 >= y else -1
    long, short = max(dx, dy), min(dx, dy)
    for n in range(long + 1):
        aside = (2 * short * n + long - 1) // (2 * long) if long else 0
        along, across = (n, aside) if dx >= dy else (aside, n)
        canvas[y + down * across, x + along] = color


def _clipped(start: Pixel, end: Pixel, right: int, bottom: int) -> tuple[Pixel, Pixel] | None:
    """The part of a line that is on the canvas, ends rounded towards the given ones."""
    ends = [list(start), list(end)]
    for axis, most in ((1, bottom), (0, right)):
        if max(ends[0][axis], ends[1][axis]) < 0 or min(ends[0][axis], ends[1][axis]) > most:
            return None
        for one, other in (ends, ends[::-1]):
            if not 0 <= one[axis] <= most:
                edge, across = 0 if one[axis] < 0 else most, 1 - axis
                one[across] += int((edge - one[axis]) * (other[across] - one[across]) / (other[axis] - one[axis]))
                one[axis] = edge
    return (ends[0][0], ends[0][1]), (ends[1][0], ends[1][1])


def _fill(canvas: Canvas, points: list[Pixel], color: Color) -> None:
    """The rows between the two sides that lead down from the first of the highest points."""
    top = min(range(len(points)), key=lambda n: points[n][1])
    turned = [*points[top:], *points[: top + 1]]
    for y, (a, b) in enumerate(zip(_side(turned), _side(turned[::-1]), strict=False), points[top][1]):
        _row(canvas, y, (min(a, b) + _FULL // 2) // _FULL, (max(a, b) + _FULL // 2) // _FULL, color)


def _side(points: list[Pixel]) -> list[int]:
    """Where this side is in every row from the top to the lowest point, in 65536ths of a pixel."""
    lowest = max(y for _, y in points)
    (x, y), found = points[0], list[int]()
    for next_x, next_y in points[1:]:
        if next_y > y and next_y > points[0][1] + len(found) - 1:
            rows = next_y - y
            step = math.trunc((((next_x - x) * _FULL) * 2 + rows) / (2 * rows))
            found += [x * _FULL + step * n for n in range(rows)]
        if next_y == lowest:
            return found
        x, y = next_x, next_y
    return found
