"""Shapes to the pixel as OpenCV 4 draws them, in its integer arithmetic stated once more.

An ellipse is the polygon of its points at every degree. A convex polygon is its outline (Bresenham) and the rows
between its two sides (fixed point, 16 bits). A line two pixels thick is a rectangle and a small disc at both ends.
"""

import math
from collections.abc import Callable
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt

from ..pictures.previews import Color

Pixels = npt.NDArray[np.uint8]
"""(height, width, 3)."""
Pixel = tuple[int, int]
"""x, y."""

# OpenCV 4, modules/imgproc/src/drawing.cpp: ellipse2Poly, clipLine, LineIterator, FillConvexPoly, ThickLine and Line2.
# A point is at the centre of its pixel. FillConvexPoly, ThickLine and Line2 compute in fixed point numbers. OpenCV 5
# cuts a thick line to the canvas before it draws it; the networks were trained with pictures of OpenCV 4.
_ONE = 1 << 16
"""A pixel in fixed point numbers (XY_ONE)."""


def _wave_table(wave: Callable[[float], float]) -> npt.NDArray[np.float64]:
    """A sine or cosine of 0 to 360 degrees, (361,), rounded as in OpenCV's table, which is of float32."""
    rounded = [round(wave(math.radians(degree)), 7) for degree in range(361)]
    return np.array(rounded, np.float32).astype(np.float64)


_SINES = _wave_table(math.sin)
_COSINES = _wave_table(math.cos)
# Half the width of each row of a disc, from the middle row up; by radius.
_DISCS = {1: (1, 0), 3: (3, 2, 2, 0), 4: (4, 3, 3, 2, 0), 10: (10, 9, 9, 9, 9, 8, 8, 7, 6, 4, 0)}


def disc(canvas: Pixels, x: int, y: int, radius: int, color: Color) -> None:
    """Draw a filled circle around a pixel. radius: one of 1, 3, 4 and 10."""
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
    _fill_polygon(canvas, [(column * _ONE, row * _ONE) for column, row in corners], color)


def thick_line(canvas: Pixels, start: Pixel, end: Pixel, color: Color) -> None:
    """Draw a line two pixels thick, with round ends; one of no length is a cross of five pixels."""
    right = end[0] - start[0]
    down = end[1] - start[1]
    length = math.hypot(right, down)
    if length:
        # One pixel at right angles to the line, in fixed point numbers; round() rounds halves to even, as cvRound does.
        across = (round(down * (_ONE / length)), round(-right * (_ONE / length)))
        first, last = ((x * _ONE, y * _ONE) for x, y in (start, end))
        # In the order around the rectangle: both corners at the start, then both at the end.
        corners = [_shifted(first, across, 1), _shifted(first, across, -1)]
        corners += [_shifted(last, across, -1), _shifted(last, across, 1)]
        for corner, next_corner in pairwise([corners[-1], *corners]):  # all around the rectangle
            _draw_fixed_line(canvas, corner, next_corner, color)
        _fill_polygon(canvas, corners, color)
    for x, y in (start, end):
        disc(canvas, x, y, 1, color)


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
    (x, y), (last_x, last_y) = sorted(clipped, key=lambda point: point[0])
    width = last_x - x
    height = abs(last_y - y)
    down = 1 if last_y >= y else -1
    longer = max(width, height)
    shorter = min(width, height)
    for step in range(longer + 1):
        # How far the line has moved along its shorter side: shorter * step / longer, rounded to the nearest whole pixel
        # and halves down, which is floor(x + 1 / 2 - 1 / (2 * longer)) in whole numbers.
        aside = (2 * shorter * step + longer - 1) // (2 * longer) if longer else 0
        across, downwards = (step, aside) if width >= height else (aside, step)
        canvas[y + down * downwards, x + across] = color


def _clipped_line(start: Pixel, end: Pixel, right: int, bottom: int) -> tuple[Pixel, Pixel] | None:
    """The part of a line that is on the canvas, or None (OpenCV's clipLine). right, bottom: the last column and row.

    As there, rows are cut first, then columns.
    """
    turned = _cut(_turned(start), _turned(end), bottom)
    return turned and _cut(_turned(turned[0]), _turned(turned[1]), right)


def _turned(point: Pixel) -> Pixel:
    """y, x for x, y, and back."""
    return (point[1], point[0])


def _cut(start: Pixel, end: Pixel, last: int) -> tuple[Pixel, Pixel] | None:
    """The part of a line whose first coordinate is from 0 to `last`; None where there is none.

    As in OpenCV, the start is cut first, then the end against the start that is left.
    """
    if max(start[0], end[0]) < 0 or min(start[0], end[0]) > last:
        return None
    start = _moved_inside(start, end, last)
    return start, _moved_inside(end, start, last)


def _moved_inside(point: Pixel, other_end: Pixel, last: int) -> Pixel:
    """An end of a line, moved along the line until its first coordinate is from 0 to `last`."""
    along, aside = point
    edge = max(0, min(along, last))
    if edge == along:
        return point
    # int() cuts the decimals off, as OpenCV's cast does.
    moved = int(float(edge - along) * (other_end[1] - aside) / (other_end[0] - along))
    return (edge, aside + moved)


def _fill_polygon(canvas: Pixels, corners: list[Pixel], color: Color) -> None:
    """Fill a convex polygon (OpenCV's FillConvexPoly): in each row the pixels between its two sides.

    corners: in fixed point numbers. The sides lead from the first of the highest corners down to the lowest row, one
    along the order of the corners and the other one against it.
    """
    highest = min(range(len(corners)), key=lambda number: corners[number][1])
    around = [*corners[highest:], *corners[: highest + 1]]  # begins and ends with the highest corner
    top = _rounded(around[0][1])  # row
    one_side = _columns_of_side(around)
    other_side = _columns_of_side(around[::-1])
    for y, columns in enumerate(zip(one_side, other_side, strict=True), top):
        first, last = sorted(columns)
        _draw_row(canvas, y, _rounded(first), _rounded(last), color)


def _columns_of_side(corners: list[Pixel]) -> list[int]:
    """The column of one side of a polygon in every row, from its first corner down to above the lowest one.

    corners: all corners of the polygon, from the highest around to the highest again; the edges that lead up are the
    other side. Corners and columns are in fixed point numbers.
    """
    columns: list[int] = []
    for (x, y), (next_x, next_y) in pairwise(corners):
        rows = _rounded(next_y) - _rounded(y)
        if rows > 0:
            # The step that is added in every row, rounded to the nearest (the formula of FillConvexPoly).
            step = math.trunc(((next_x - x) * 2 + rows) / (2 * rows))
            columns += [x + step * row for row in range(rows)]
    return columns


def _rounded(fixed: int) -> int:
    """The pixel that is nearest to a coordinate in fixed point numbers."""
    return (fixed + _ONE // 2) // _ONE


def _shifted(point: Pixel, by: Pixel, times: int) -> Pixel:
    return (point[0] + times * by[0], point[1] + times * by[1])


def _draw_fixed_line(canvas: Pixels, start: Pixel, end: Pixel, color: Color) -> None:
    """Draw a line one pixel wide between two points in fixed point numbers (OpenCV's Line2, not Bresenham's)."""
    height, width = canvas.shape[:2]
    clipped = _clipped_line(start, end, width * _ONE - 1, height * _ONE - 1)
    if clipped is None:
        return
    is_flat = abs(clipped[1][0] - clipped[0][0]) > abs(clipped[1][1] - clipped[0][1])
    # Both ends as (along, aside): in x, y for a flat line and in y, x for a steep one. Every step is a pixel along.
    ends = clipped if is_flat else [_turned(end) for end in clipped]
    first, last = sorted(ends, key=lambda end: end[0])
    length = last[0] - first[0]
    # What a line moves aside in a pixel; OpenCV's division cuts towards 0. As there, | 1 makes an even length odd, so
    # that it is never 0.
    step = math.trunc((last[1] - first[1]) * _ONE / (length | 1))
    pixels = [(_rounded(last[0]), _rounded(last[1]))]  # as there, the end is drawn by itself: steps may miss it
    for number in range(length // _ONE + 1):
        pixels.append((_rounded(first[0]) + number, _rounded(first[1] + step * number)))
    for pixel in pixels:
        x, y = pixel if is_flat else _turned(pixel)
        if 0 <= x < width and 0 <= y < height:
            canvas[y, x] = color
