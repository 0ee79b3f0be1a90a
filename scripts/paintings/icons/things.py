"""Tiles, badges, arrows and other signs of which icons are composed."""

from __future__ import annotations

from collections.abc import Sequence

from . import colours, people
from .pen import Box, Frame, Line, Pen, Spot
from .people import Look

RADIUS = 8
"""Of the corners of tiles and pictures, in pixels."""
EDGE = Line(colours.FRAME, 1.8)
BADGE = 14.0
"""Radius of a number, in pixels."""
_HEAD_OF_TILE = 0.62
"""Height of a head, in parts of its tile."""


def grid(area: Box, columns: int, rows: int, gap: float) -> list[Box]:
    """Equal boxes that fill an area, row by row."""
    width = (area.width - (columns - 1) * gap) / columns
    height = (area.height - (rows - 1) * gap) / rows
    boxes: list[Box] = []
    for row in range(rows):
        for column in range(columns):
            boxes.append(Box(area.left + column * (width + gap), area.top + row * (height + gap), width, height))
    return boxes


# --- Tiles


def tile(pen: Pen, box: Box, color: str = colours.TILE, rim: Line = EDGE) -> None:
    pen.box(box, color, rim, RADIUS)


def badge(pen: Pen, middle: Spot, number: int, radius: float = BADGE) -> None:
    """A number in its colour."""
    pen.oval(middle, radius, radius, colours.of_number(number))
    pen.text(middle, str(number), radius * 1.3, colours.INK, bold=0.03)


def photo(pen: Pen, box: Box, look: Look, number: int = 0, color: str = colours.TILE, share: float = 1.0) -> None:
    """A tile with a face. number: 0 for none. share: how large the face is beside that of other photos."""
    tile(pen, box, color)
    down = 0.46 if look.style == "long" else 0.52
    unit = min(box.height * _HEAD_OF_TILE, box.width * 0.78) * share
    with pen.inside_box(box, RADIUS):
        people.head(pen, look, Frame(box.at(0.5, down), unit))
    pen.box(box, None, EDGE, RADIUS)
    if number:
        badge(pen, Spot(box.left + 5, box.top + 5), number)


def photos(pen: Pen, boxes: Sequence[Box], looks: Sequence[Look]) -> None:
    """A tile for each person, with their numbers."""
    for number, (box, look) in enumerate(zip(boxes, looks, strict=True), 1):
        photo(pen, box, look, number)


def label(pen: Pen, box: Box, text: str, color: str, size: float) -> None:
    """A word in a frame of a person's colour."""
    pen.box(box, colours.TILE, Line(color, 3), 10)
    pen.text(box.middle, text, size, colours.WHITE)


def labelled_photo(pen: Pen, box: Box, look: Look, number: int, name: str) -> None:
    """A photo and, to its right, the word that stands for it in the prompt."""
    words = Box(box.right + 26, box.middle.y - 22, 124, 44)
    pen.line([Spot(box.right, words.middle.y), Spot(words.left, words.middle.y)], Line(colours.WHITE, 4))
    photo(pen, box, look, number)
    label(pen, words, name, colours.of_number(number), 20)


# --- Arrows and marks


def arrow(pen: Pen, start: Spot, end: Spot) -> None:
    """To the right or down."""
    line = Line(colours.WHITE, 5)
    if start.y == end.y:
        pen.line([start, Spot(end.x - 16, end.y)], line)
        point = [end, Spot(end.x - 20, end.y - 12), Spot(end.x - 20, end.y + 12)]
    else:
        pen.line([start, Spot(end.x, end.y - 16)], line)
        point = [end, Spot(end.x - 12, end.y - 20), Spot(end.x + 12, end.y - 20)]
    pen.shape(point, colours.WHITE)


def right_arrow(pen: Pen, left: float, y: float, length: float = 52) -> None:
    arrow(pen, Spot(left, y), Spot(left + length, y))


def down_arrow(pen: Pen, x: float, top: float, length: float = 40) -> None:
    arrow(pen, Spot(x, top), Spot(x, top + length))


def tick(pen: Pen, middle: Spot, radius: float) -> None:
    pen.oval(middle, radius, radius, colours.GREEN)
    check = Frame(middle, radius).shape([(-0.45, 0.05), (-0.12, 0.38), (0.45, -0.35)])
    pen.line(check, Line(colours.WHITE, radius * 0.24))


def cross(pen: Pen, middle: Spot, radius: float) -> None:
    pen.oval(middle, radius, radius, colours.RED)
    frame = Frame(middle, radius)
    for side in (-1, 1):
        pen.line(frame.shape([(-0.35, -0.35), (0.35, 0.35)], side), Line(colours.WHITE, radius * 0.24))


def pointer(pen: Pen, tip: Spot) -> None:
    """That of a mouse."""
    outline = ((0, 0), (0, 46), (11, 36), (18, 51), (26, 48), (19, 32), (34, 32))
    pen.shape(Frame(tip, 1).shape(outline), colours.WHITE, Line(colours.INK, 2))


def eye(pen: Pen, middle: Spot) -> None:
    """Something that looks at a face."""
    frame = Frame(middle, 24)
    upper = frame.curve([(-1, 0), (-0.5, -0.48), (0.5, -0.48), (1, 0)])
    lower = frame.curve([(1, 0), (0.5, 0.48), (-0.5, 0.48), (-1, 0)])
    pen.line([*upper, *lower], Line("#f0dc9c", 3))
    pen.oval(middle, 9, 9, "#f0dc9c")
    pen.oval(middle, 4, 4, colours.INK)


# --- Words


def words(pen: Pen, start: Spot, lengths: Sequence[float], color: str = colours.GREY, step: float = 28) -> None:
    """Lines of a text, one below the other."""
    for row, length in enumerate(lengths):
        y = start.y + row * step
        pen.line([Spot(start.x, y), Spot(start.x + length, y)], Line(color, step * 0.42))


def bubble(pen: Pen, box: Box, tip: Spot, color: str) -> None:
    """Words about somebody, who is at the tip."""
    rim = Line(color, 4)
    pen.box(box, colours.WHITE, rim, 14)
    middle = box.middle.x
    base = box.bottom - 3
    tail = [Spot(middle - 13, base), tip, Spot(middle + 13, base)]
    pen.shape(tail, colours.WHITE)
    pen.line([Spot(middle - 13, box.bottom), tip, Spot(middle + 13, box.bottom)], rim)
    words(pen, Spot(box.left + 20, box.top + 22), [box.width - 40, (box.width - 40) * 0.66], "#777d8a", 20)


def people_file(pen: Pen, box: Box, look: Look) -> None:
    """A file with a person in it: a sheet of paper with a folded corner."""
    fold = 30
    corners = [Spot(box.left, box.top), Spot(box.right - fold, box.top), Spot(box.right, box.top + fold)]
    pen.shape([*corners, Spot(box.right, box.bottom), Spot(box.left, box.bottom)], colours.PAPER, EDGE)
    pen.shape([corners[1], Spot(box.right - fold, box.top + fold), corners[2]], "#b4b8c4", EDGE)
    people.head(pen, look, Frame(box.at(0.47, 0.42), box.height * 0.5))
    words(pen, box.at(0.18, 0.80), [box.width * 0.64, box.width * 0.44], colours.GREY, 15)


def folder(pen: Pen, box: Box) -> None:
    tab = Box(box.left, box.top - 20, box.width * 0.46, 60)
    pen.box(tab, "#c49d52", None, 10)
    pen.box(Box(box.left, box.top, box.width, 50), "#c49d52", None, 10)
    pen.box(Box(box.left, box.top + 14, box.width, box.height - 14), "#e4c070", None, 10)


def lora(pen: Pen, box: Box, number: int) -> None:
    """Two bars, a tall one and a wide one: the two matrices of a LoRA."""
    color = colours.of_number(number)
    pen.box(box, colours.TILE, Line(color, 3.5), 10)
    pen.box(Box(box.left + 20, box.top + 22, 15, box.height - 44), color, None, 4)
    pen.box(Box(box.left + 43, box.middle.y - 7, 68, 15), color, None, 4)
    pen.text(Spot(box.left + 178, box.middle.y), "LoRA", 28, colours.WHITE)
    badge(pen, Spot(box.left, box.top), number)


def small_card(pen: Pen, box: Box, memory: str) -> None:
    """A graphics card with two fans, and how much memory it has."""
    pen.box(box, "#2b4034", EDGE, 6)
    for across in (0.32, 0.70):
        pen.oval(box.at(across, 0.5), box.height * 0.31, box.height * 0.31, "#46614f", Line("#7d9284", 2))
    pen.text(Spot(box.middle.x, box.bottom + 20), memory, 18, "#d0d3d8")


def person_box(pen: Pen, box: Box, number: int, cover: str = "50") -> None:
    """Somebody's box or region. cover: how much it hides, two hexadecimal digits."""
    color = colours.of_number(number)
    pen.box(box, color + cover, Line(color, 3.5), 3)
