"""Points and vectors of a picture: x to the right, y down."""

import math
from collections.abc import Sequence

from ..cast import Point


def between(start: Sequence[float], end: Sequence[float]) -> Point:
    """The vector from one point to another."""
    return (end[0] - start[0], end[1] - start[1])


def moved(point: Sequence[float], direction: Point, times: float) -> Point:
    """The point, moved so many times the vector `direction`."""
    return (point[0] + direction[0] * times, point[1] + direction[1] * times)


def middle(a: Sequence[float], b: Sequence[float]) -> Point:
    """The point half way between two."""
    return ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)


def unit(start: Point, end: Point) -> Point:
    """The vector of length 1 from one point to another; straight down where they are the same."""
    length = math.dist(start, end)
    if not length:
        return (0.0, 1.0)
    x, y = between(start, end)
    return (x / length, y / length)


def dot(a: Point, b: Point) -> float:
    """The scalar product: of a vector and one of length 1, how far the first one goes along the second."""
    return a[0] * b[0] + a[1] * b[1]


def rightward(down: Point) -> Point:
    """The vector that goes to the viewer's right in a figure in which `down` goes down, at right angles to it."""
    return (down[1], -down[0])
