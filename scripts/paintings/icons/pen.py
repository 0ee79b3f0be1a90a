"""A pen for icons: shapes and letters with soft edges on a square sheet."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw

from core.lettering import font_for

from ..canvas import smooth

SIDE = 640
"""Pixels of an icon, across and down."""
_FINE = 4
"""It is drawn so many times as large, so that edges are soft."""
_BOLD = 0.018
"""Thickness that letters get around them, in parts of their size: Pillow's own font has no bold ones. With more, the
dot of an i would touch it."""
_STEPS = 40
"""Of an arc: so many lines stand for it."""


@dataclass(frozen=True)
class Spot:
    """A point of the sheet, in pixels of the icon, or of a figure, in its units."""

    x: float
    y: float


@dataclass(frozen=True)
class Box:
    """A rectangle of the sheet, in pixels of the icon."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def middle(self) -> Spot:
        return Spot(self.left + self.width / 2, self.top + self.height / 2)

    def at(self, across: float, down: float) -> Spot:
        """The point at these parts of the width and of the height."""
        return Spot(self.left + across * self.width, self.top + down * self.height)


@dataclass(frozen=True)
class Frame:
    """Where the units of a figure are on the sheet. origin: its (0, 0). unit: the length of 1, in pixels."""

    origin: Spot
    unit: float

    def spot(self, x: float, y: float) -> Spot:
        return Spot(self.origin.x + x * self.unit, self.origin.y + y * self.unit)

    def shape(self, points: Sequence[tuple[float, float]], side: int = 1) -> list[Spot]:
        """Points of the figure on the sheet. side: -1 mirrors them."""
        return [self.spot(side * x, y) for x, y in points]

    def oval(self, x: float, y: float, wide: float, high: float) -> list[Spot]:
        """An ellipse around (x, y), half as wide and high as these."""
        return self.arc(Oval(x, y, wide, high), 0, 360)

    def arc(self, oval: Oval, start: float, end: float) -> list[Spot]:
        """The part of an ellipse between two angles: 0 is right, 90 is down."""
        spots: list[Spot] = []
        for step in range(_STEPS + 1):
            angle = math.radians(start + (end - start) * step / _STEPS)
            spots.append(self.spot(oval.x + oval.wide * math.cos(angle), oval.y + oval.high * math.sin(angle)))
        return spots

    def curve(self, points: Sequence[tuple[float, float]]) -> list[Spot]:
        """A smooth line through points of the figure."""
        return [self.spot(float(x), float(y)) for x, y in smooth(points, closed=False)]


@dataclass(frozen=True)
class Oval:
    """An ellipse of a figure, half as wide and high as these."""

    x: float
    y: float
    wide: float
    high: float


@dataclass(frozen=True)
class Line:
    """How a line is drawn. dash: length of its pieces and of the gaps between them in pixels, 0 for a whole line."""

    color: str
    width: float = 1.6
    dash: float = 0.0


class Pen:
    """Draws on a sheet. Colours may have eight digits: the last two say how much they cover."""

    def __init__(self, background: str) -> None:
        self._picture = Image.new("RGB", (SIDE * _FINE, SIDE * _FINE), background)
        # Drawn in RGBA, colours that cover a part are mixed with what is there.
        self._draw = ImageDraw.Draw(self._picture, "RGBA")

    def finished(self) -> Image.Image:
        """The icon at its size."""
        return self._picture.reduce(_FINE)

    def shape(self, spots: Sequence[Spot], fill: str, rim: Line | None = None) -> None:
        """A filled shape with straight lines between the points."""
        self._draw.polygon(_fine(spots), fill)
        if rim:
            self.line([*spots, spots[0]], rim)

    def oval(self, middle: Spot, wide: float, high: float, fill: str, rim: Line | None = None) -> None:
        """A filled ellipse, half as wide and high as these."""
        self.shape(Frame(middle, 1).oval(0, 0, wide, high), fill, rim)

    def box(self, box: Box, fill: str | None = None, rim: Line | None = None, radius: float = 0) -> None:
        """A rectangle with round corners."""
        corners = box.left, box.top, box.right, box.bottom
        scaled = tuple(round(_FINE * value) for value in corners)
        width = round(_FINE * rim.width) if rim else 0
        self._draw.rounded_rectangle(scaled, radius * _FINE, fill, rim.color if rim else None, width)

    def line(self, spots: Sequence[Spot], line: Line) -> None:
        """A line through points, with round ends and corners."""
        if line.dash:
            for piece in _pieces(spots, line.dash):
                self.line(piece, replace(line, dash=0))
            return
        width = max(1, round(line.width * _FINE))
        self._draw.line(_fine(spots), line.color, width, "curve")
        for x, y in (_fine(spots)[0], _fine(spots)[-1]):
            self._draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), line.color)

    def text(self, middle: Spot, text: str, size: float, color: str, bold: float = _BOLD) -> None:
        """Bold letters around a point."""
        font = font_for(text, round(size * _FINE))
        place = middle.x * _FINE, middle.y * _FINE
        stroke = round(size * _FINE * bold)
        self._draw.text(place, text, color, font, "mm", stroke_width=stroke, stroke_fill=color)

    def paste(self, picture: Image.Image, box: Box) -> None:
        """A picture that fills a box."""
        size = round(box.width * _FINE), round(box.height * _FINE)
        place = round(box.left * _FINE), round(box.top * _FINE)
        self._picture.paste(picture.resize(size, Image.Resampling.LANCZOS), place)

    @contextmanager
    def inside_box(self, box: Box, radius: float = 0) -> Iterator[None]:
        """What is drawn in the meantime is seen inside of the box alone."""
        mask = Image.new("L", self._picture.size)
        corners = tuple(round(_FINE * value) for value in (box.left, box.top, box.right, box.bottom))
        ImageDraw.Draw(mask).rounded_rectangle(corners, radius * _FINE, 255)
        with self._inside(mask):
            yield

    @contextmanager
    def inside_shape(self, spots: Sequence[Spot]) -> Iterator[None]:
        """What is drawn in the meantime is seen inside of the shape alone."""
        mask = Image.new("L", self._picture.size)
        ImageDraw.Draw(mask).polygon(_fine(spots), 255)
        with self._inside(mask):
            yield

    @contextmanager
    def _inside(self, mask: Image.Image) -> Iterator[None]:
        before = self._picture.copy()
        yield
        drawn = self._picture.copy()
        self._picture.paste(before)
        self._picture.paste(drawn, mask=mask)


def _fine(spots: Sequence[Spot]) -> list[tuple[float, float]]:
    """Points of the icon as points of the enlarged sheet."""
    return [(spot.x * _FINE, spot.y * _FINE) for spot in spots]


def _pieces(spots: Sequence[Spot], dash: float) -> Iterator[list[Spot]]:
    """The pieces of a dashed line, each corner beginning with one."""
    for start, end in itertools.pairwise(spots):
        length = math.hypot(end.x - start.x, end.y - start.y)
        across = (end.x - start.x) / length
        down = (end.y - start.y) / length
        position = 0.0
        while position < length:
            stop = min(position + dash, length)
            first = Spot(start.x + across * position, start.y + down * position)
            last = Spot(start.x + across * stop, start.y + down * stop)
            yield [first, last]
            position += 2 * dash
