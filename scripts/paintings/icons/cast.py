"""Icons of the templates that sort, save and compare people."""

from __future__ import annotations

from . import colours, scenes, things
from .pen import Box, Pen, Spot
from .people import BEARDED, MAN, Look

BROWN = "#5b5048"
GREEN = "#3b5b53"
WALLS = (colours.TILE, BROWN, GREEN)
"""Of the three photos of somebody."""
SHARES = (0.86, 1.0, 0.70)
"""How large the face is in each of them."""


def from_photos(pen: Pen) -> None:
    """A folder with photos of two people; the photos of each; one picture of both."""
    inside = Box(40, 114, 300, 216)
    things.folder(pen, inside)
    looks = (MAN, BEARDED, BEARDED, MAN, BEARDED, MAN)
    kinds = (1, 2, 0, 2, 1, 0)
    for box, look, kind in zip(things.grid(Box(62, 142, 256, 174), 3, 2, 14), looks, kinds, strict=True):
        things.photo(pen, box, look, 0, WALLS[kind], SHARES[kind])
    things.down_arrow(pen, 190, 338, 36)
    _angles(pen, things.grid(Box(40, 394, 300, 90), 3, 1, 12), MAN, 1)
    _angles(pen, things.grid(Box(40, 496, 300, 90), 3, 1, 12), BEARDED, 2)
    things.right_arrow(pen, 354, 440, 42)
    result = Box(406, 246, 206, 340)
    with scenes.picture(pen, result):
        scenes.pair(pen, result, (MAN, BEARDED), 50)


def _angles(pen: Pen, boxes: list[Box], look: Look, number: int) -> None:
    """Three photos of somebody, the first with the number."""
    for place, box in enumerate(boxes):
        things.photo(pen, box, look, number if place == 0 else 0, WALLS[place], SHARES[place])


def saved_from_photos(pen: Pen) -> None:
    """Photos of two people, and a file with each of them."""
    for number, look in ((1, MAN), (2, BEARDED)):
        top = 116 + (number - 1) * 236
        boxes = things.grid(Box(40, top, 342, 172), 3, 1, 14)
        _angles(pen, boxes, look, number)
        things.right_arrow(pen, 398, top + 86, 52)
        things.people_file(pen, Box(470, top + 2, 130, 168), look)


def compare_methods(pen: Pen) -> None:
    """Two photos, and the same two people by two methods; how alike they are is asked below."""
    looks = (MAN, BEARDED)
    things.tile(pen, Box(26, 110, 588, 420), colours.PANEL)
    things.photos(pen, things.grid(Box(46, 190, 128, 270), 1, 2, 22), looks)
    for place, name in enumerate(("ID-Patch", "InstantID")):
        left = 196 + place * 206
        title = Box(left, 128, 194, 42)
        pen.box(title, colours.WHITE, None, 5)
        pen.text(title.middle, name, 25, colours.INK)
        box = Box(left, 182, 194, 286)
        with scenes.picture(pen, box):
            scenes.pair(pen, box, looks, 46)
        for number, tag in enumerate(things.grid(Box(left + 12, 480, 170, 34), 2, 1, 10), 1):
            pen.box(tag, colours.of_number(number), None, 9)
            pen.text(tag.middle, "?", 24, colours.INK)
    pen.line([Spot(185, 126), Spot(185, 514)], things.EDGE)
