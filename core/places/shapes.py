"""Shapes of regions: boxes and bodies on a canvas, with a soft edge. Values are 0..1, lengths pixels."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..cast import Box, Outline, Point, Pose
from .bodies import openpose, seen_limbs, torso

SHORTEST = 1e-6
"""Instead of a length of 0, by which nothing can be divided."""


def widened(box: Box, margin: float) -> Box:
    """The box with `margin` times its width added left and right, and `margin` times its height above and below."""
    x0, y0, x1, y1 = box
    beside = (x1 - x0) * margin
    above = (y1 - y0) * margin
    return (x0 - beside, y0 - above, x1 + beside, y1 + above)


def box_region(box: Box, width: int, height: int, feather: float) -> Tensor:
    """A box as a region (height, width): 1 inside, falling to 0 over `feather` px outside of the box.

    The value of a pixel is that at its centre.
    """
    x0, y0, x1, y1 = box
    across = soft_edge(_beyond(x0, x1, width), feather)  # (width,)
    down = soft_edge(_beyond(y0, y1, height), feather)  # (height,)
    return down[:, None] * across  # (height, 1) * (width,) -> (height, width)


def box_distance(box: Box, width: int, height: int) -> Tensor:
    """How far each pixel (height, width) lies outside of a box: 0 inside.

    It is the longer one of two distances: the one across in widths of the box, and the one down in heights. So all
    pixels at a distance lie on the edge of the box that `widened` makes with this distance as its margin.
    """
    x0, y0, x1, y1 = box
    across = _beyond(x0, x1, width).clamp(min=0) / max(x1 - x0, SHORTEST)  # (width,)
    down = _beyond(y0, y1, height).clamp(min=0) / max(y1 - y0, SHORTEST)  # (height,)
    return torch.maximum(down[:, None], across)  # (height, 1), (width,) -> (height, width)


def _beyond(start: float, end: float, side: int) -> Tensor:
    """How far each pixel's centre on an axis of `side` pixels is beyond two coordinates: (side,), negative between."""
    centers = torch.arange(side, dtype=torch.float32) + 0.5
    return torch.maximum(start - centers, centers - end)


def body_region(pose: Pose, reach: float, width: int, height: int, feather: float) -> Tensor:
    """A body as a region (height, width).

    It is 1 in the torso and up to `reach` px from the torso and the limbs, and falls to 0 over the next `feather` px.
    Limbs are the lines between joints that are seen. The torso is filled also where no limb crosses it.
    """
    joints = openpose(pose)
    corners = torso(pose)
    segments = [(joints[limb.start][:2], joints[limb.end][:2]) for limb in seen_limbs(joints)]
    segments += pairwise((*corners, *corners[:1]))  # the four edges of the torso
    distance = torch.full((height, width), float("inf"), dtype=torch.float32)  # of each pixel from the nearest segment
    # A pixel beyond the soft edge of a segment is 0 anyway: only nearer ones are computed.
    far = reach + feather + 1
    for start, end in segments:
        rows = _pixels_near(start[1], end[1], far, height)
        columns = _pixels_near(start[0], end[0], far, width)
        window = distance[rows, columns]  # a view: what is written here stands in `distance`
        window.copy_(torch.minimum(window, _distance_to_segment(rows, columns, start, end)))
    distance[_inside_of_polygon(corners, width, height)] = 0
    return soft_edge(distance - reach, feather)


def adds(drawn: Sequence[Outline]) -> bool:
    """Whether something of what was drawn by hand is added to a region."""
    return any(outline.adds for outline in drawn)


def with_drawn(region: Tensor, drawn: Sequence[Outline]) -> Tensor:
    """A region (height, width) with what was drawn by hand: one outline after the other, with hard edges."""
    height, width = region.shape
    for outline in drawn:
        inside = _inside_of_polygon(outline.points, width, height)
        region = region.masked_fill(inside, float(outline.adds))
    return region


def soft_edge(outside: Tensor, feather: float) -> Tensor:
    """A region by the distance from its edge: 1 inside, falling to 0 over `feather` px outside.

    outside: the distance in px, negative inside, in any shape.
    """
    return (1 - outside.clamp(min=0) / max(feather, SHORTEST)).clamp(min=0)


def _pixels_near(start: float, end: float, far: float, side: int) -> slice:
    """The pixels of an axis of `side` pixels that are at most `far` from the part between two coordinates."""
    first = int(min(start, end) - far)
    last = int(max(start, end) + far + 1)
    return slice(max(0, min(side, first)), max(0, min(side, last)))


def _distance_to_segment(rows: slice, columns: slice, start: Point, end: Point) -> Tensor:
    """How far the centre of each of these pixels is from a line between two points, in px: (rows, columns)."""
    x = torch.arange(columns.start, columns.stop, dtype=torch.float32) + 0.5 - start[0]  # (columns,)
    y = torch.arange(rows.start, rows.stop, dtype=torch.float32)[:, None] + 0.5 - start[1]  # (rows, 1)
    dx = end[0] - start[0]
    dy = end[1] - start[1]
    # How far along the segment its point nearest to each pixel lies, 0 at the start and 1 at the end: (rows, columns).
    # It is the scalar product of the pixel and the segment, both from the start, by the segment's squared length.
    along = ((x * dx + y * dy) / max(dx * dx + dy * dy, SHORTEST)).clamp(0, 1)
    return torch.hypot(x - along * dx, y - along * dy)


def _inside_of_polygon(corners: Sequence[Point], width: int, height: int) -> Tensor:
    """The inside of a polygon, (height, width) bool; empty for a polygon without corners."""
    picture = Image.new("1", (width, height))
    if corners:
        ImageDraw.Draw(picture).polygon(corners, fill=1)
    return torch.as_tensor(np.array(picture))
