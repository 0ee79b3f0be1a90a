"""Clothes, on a person and alone. A unit is the height of the head, whose middle is (0, 0)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import colours
from .pen import Box, Frame, Line, Pen, Spot

Outline = Sequence[tuple[float, float]]

WAIST = 2.4
ANKLE = 4.3
SOLE = 4.5
TRUNK: Outline = (
    (-0.22, 0.68), (-0.56, 0.80), (-0.56, WAIST), (0.56, WAIST), (0.56, 0.80), (0.22, 0.68), (0, 0.88),
)  # fmt: skip
SLEEVE_DOWN: Outline = ((0.56, 0.80), (1.08, 2.10), (0.80, 2.22), (0.52, 1.50))
SLEEVE_UP: Outline = ((0.56, 0.80), (1.06, -0.10), (1.32, 0.06), (0.56, 1.42))
SLEEVE_AROUND: Outline = ((0.52, 0.80), (1.62, 0.74), (1.62, 0.98), (0.54, 1.16))
LEG: Outline = ((0, WAIST), (0.53, WAIST), (0.48, ANKLE), (0.08, ANKLE))
SHOE: Outline = ((0.08, ANKLE), (0.50, ANKLE), (0.60, SOLE), (0.05, SOLE))
FRONT: Outline = ((0.20, 0.66), (0.56, 0.80), (0.60, WAIST + 0.12), (0.22, WAIST + 0.12))
"""One half of an open jacket."""
TROUSERS: Outline = (
    (-0.53, WAIST), (0.53, WAIST), (0.48, ANKLE), (0.08, ANKLE), (0, WAIST + 0.55), (-0.08, ANKLE), (-0.48, ANKLE),
)  # fmt: skip
CHEST: Outline = (
    (-0.20, 0.66), (-0.60, 0.82), (-0.78, 0.98), (-0.94, 4.0), (0.94, 4.0), (0.78, 0.98), (0.60, 0.82), (0.20, 0.66),
    (0, 0.84),
)  # fmt: skip
"""All that is seen of somebody's clothes where a picture ends below the chest."""
CROWN: Outline = ((-0.30, -0.36), (-0.24, -0.74), (0.24, -0.74), (0.30, -0.36))
BRIM: Outline = ((-0.62, -0.28), (-0.30, -0.38), (0.30, -0.38), (0.62, -0.28))
_HATCHING = 7.0
"""Pixels between the lines of drawn clothes."""


@dataclass(frozen=True)
class Outfit:
    """What somebody wears. jacket: "" for none, else a colour. hatched: lines instead of colours, as in a drawing."""

    top: str = "#c04347"
    trousers: str = "#6b6d7e"
    shoes: str = "#4a4143"
    jacket: str = ""
    hat: str = ""
    hatched: bool = False


def rim_of(frame: Frame, color: str = colours.WHITE) -> Line:
    """The bright line around all that belongs to a person: thicker around larger people."""
    return Line(color, min(2.0, max(0.9, frame.unit * 0.025)))


def sleeve(pen: Pen, frame: Frame, outline: Outline, side: int, color: str, rim: Line) -> None:
    pen.shape(frame.shape(outline, side), color, rim)


def trunk(pen: Pen, frame: Frame, outfit: Outfit, rim: Line) -> None:
    """What covers the chest, without sleeves."""
    spots = frame.shape(TRUNK)
    pen.shape(spots, outfit.top, rim)
    if outfit.hatched:
        hatch(pen, spots, rim)
    if outfit.jacket:
        for side in (-1, 1):
            pen.shape(frame.shape(FRONT, side), outfit.jacket, rim)


def trousers(pen: Pen, frame: Frame, outfit: Outfit, rim: Line) -> None:
    for side in (-1, 1):
        spots = frame.shape(LEG, side)
        pen.shape(spots, outfit.trousers, rim)
        if outfit.hatched:
            hatch(pen, spots, rim, crossed=True)


def shoes(pen: Pen, frame: Frame, outfit: Outfit, rim: Line) -> None:
    for side in (-1, 1):
        pen.shape(frame.shape(SHOE, side), outfit.shoes, rim)


def hat(pen: Pen, frame: Frame, color: str, rim: Line) -> None:
    pen.shape(frame.shape(CROWN), color, rim)
    pen.shape(frame.shape(BRIM), color, rim)


def hatch(pen: Pen, spots: Sequence[Spot], rim: Line, crossed: bool = False) -> None:
    """Slanting lines inside of a shape, and its rim."""
    left = min(spot.x for spot in spots)
    right = max(spot.x for spot in spots)
    top = min(spot.y for spot in spots)
    bottom = max(spot.y for spot in spots)
    rise = bottom - top
    line = Line(rim.color, 1.6)
    with pen.inside_shape(spots):
        x = left - rise
        while x < right + rise:
            pen.line([Spot(x, bottom), Spot(x + rise, top)], line)
            if crossed:
                pen.line([Spot(x, top), Spot(x + rise, bottom)], line)
            x += _HATCHING
    pen.line([*spots, spots[0]], rim)


# --- Clothes alone, as pictures of garments show them.


def _around(box: Box, unit: float, middle: float) -> Frame:
    """Units of a figure in a box, so that this height of the figure is at its middle."""
    spot = box.middle
    return Frame(Spot(spot.x, spot.y - middle * unit), unit)


def sweater_alone(pen: Pen, box: Box, color: str, unit: float) -> None:
    frame = _around(box, unit, (0.7 + WAIST) / 2)
    rim = rim_of(frame)
    for side in (-1, 1):
        sleeve(pen, frame, SLEEVE_DOWN, side, color, rim)
    pen.shape(frame.shape(TRUNK), color, rim)


def jacket_alone(pen: Pen, box: Box, color: str, unit: float) -> None:
    """Open, with its lining between the two halves."""
    frame = _around(box, unit, (0.7 + WAIST) / 2)
    rim = rim_of(frame)
    lining = ((-0.3, 0.72), (-0.4, WAIST + 0.06), (0.4, WAIST + 0.06), (0.3, 0.72))
    pen.shape(frame.shape(lining), colours.DARK_GREY, rim)
    for side in (-1, 1):
        sleeve(pen, frame, SLEEVE_DOWN, side, color, rim)
        pen.shape(frame.shape(FRONT, side), color, rim)


def trousers_alone(pen: Pen, box: Box, color: str, unit: float) -> None:
    frame = _around(box, unit, (WAIST + ANKLE) / 2)
    pen.shape(frame.shape(TROUSERS), color, rim_of(frame))


def hat_alone(pen: Pen, box: Box, color: str, unit: float) -> None:
    frame = _around(box, unit, -0.5)
    hat(pen, frame, color, rim_of(frame))
