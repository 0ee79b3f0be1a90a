"""Icons of the templates on FLUX and Qwen-Image."""

from __future__ import annotations

from collections.abc import Sequence

from . import colours, people, scenes, skeletons, things
from .pen import Box, Line, Pen, Spot
from .people import BEARDED, BLOND, MAN, Look

PAIR = (MAN, BEARDED)
THREE = (MAN, BEARDED, BLOND)


def with_anyone(pen: Pen) -> None:
    """Two photos: each face in its own box."""
    things.photos(pen, things.grid(Box(36, 140, 164, 360), 1, 2, 28), PAIR)
    things.right_arrow(pen, 222, 320)
    result = Box(292, 160, 316, 320)
    with scenes.picture(pen, result):
        frames = scenes.busts(pen, result, PAIR, 88, 0.46)
        for number, frame in enumerate(frames, 1):
            size = 1.3 * frame.unit
            corner = frame.spot(-0.65, -0.66)
            pen.box(Box(corner.x, corner.y, size, size), None, Line(colours.of_number(number), 5))
            things.badge(pen, frame.spot(0, -0.70 - things.BADGE / frame.unit), number)


def infinite_you(pen: Pen) -> None:
    """One photo and the five points of a face: a portrait with the face there."""
    look = people.dressed(BLOND, top="#344779")
    boxes = things.grid(Box(40, 108, 178, 424), 1, 2, 28)
    things.photo(pen, boxes[0], look)
    pen.box(boxes[1], "#000000", things.EDGE, things.RADIUS)
    skeletons.five_points(pen, boxes[1])
    things.right_arrow(pen, 240, 320, 60)
    scenes.portrait(pen, Box(326, 96, 278, 448), look)


def klein(pen: Pen) -> None:
    """Two references, each for its region; of four pictures, the best is kept."""
    _references(pen, PAIR, ("image 1", "image 2"), things.grid(Box(44, 106, 94, 226), 1, 2, 38))
    first, second = PAIR
    drafts = ((second, first), (first, None), (first, second), (first, first))
    scenes.choice(pen, things.grid(Box(34, 440, 572, 122), 4, 1, 14), drafts, best=2)


def qwen(pen: Pen) -> None:
    """Three references, each for its region; of four pictures, the best is kept."""
    _references(pen, THREE, ("Picture 1", "Picture 2", "Picture 3"), things.grid(Box(44, 102, 80, 264), 1, 3, 18))
    first, second, third = THREE
    drafts = ((second, first, third), (first, None, third), (first, second, third), (first, first, third))
    scenes.choice(pen, things.grid(Box(34, 452, 572, 112), 4, 1, 14), drafts, best=2)


def _references(pen: Pen, looks: Sequence[Look], names: Sequence[str], boxes: Sequence[Box]) -> None:
    """Photos with their names in the prompt, and everybody in a region of the picture."""
    for number, (look, box, name) in enumerate(zip(looks, boxes, names, strict=True), 1):
        things.labelled_photo(pen, box, look, number, name)
    result = Box(354, 92, 252, 260)
    middle = result.middle.y
    things.right_arrow(pen, 298, middle, 44)
    with scenes.picture(pen, result, scenes.LAWN):
        unit = 82 if len(looks) == 2 else 58
        for number, region in enumerate(things.grid(Box(364, 128, 232, 220), len(looks), 1, 10), 1):
            things.person_box(pen, region, number)
            things.badge(pen, Spot(region.middle.x, 111), number, 13)
            with pen.inside_box(region):
                scenes.busts(pen, region, [looks[number - 1]], unit, 0.40)
            pen.box(region, None, Line(colours.of_number(number), 3.5), 3)
    things.down_arrow(pen, result.middle.x, 368, 46)
