"""Icons of the templates of InstantID."""

from __future__ import annotations

from dataclasses import replace

from PIL import ImageColor

from . import colours, people, scenes, start, things
from .pen import Box, Frame, Line, Pen, Spot
from .people import BEARDED, BLOND, MAN, NOBODY, Look

SHARES = (0.0, 1 / 3, 2 / 3, 1.0)
"""Of the second person, in the four pictures between two people."""
SHARE_NAMES = ("0", "1/3", "2/3", "1")
SWEATER = "#5c6797"


def portrait(pen: Pen) -> None:
    """One photo, one portrait."""
    start.portrait(pen)


def interpolation(pen: Pen) -> None:
    """Two photos, and four pictures from the one person to the other."""
    things.photo(pen, Box(42, 96, 162, 160), MAN)
    things.photo(pen, Box(436, 96, 162, 160), BLOND)
    line = [Spot(220 + 66.6 * step, 176) for step in range(4)]
    pen.line(line, Line(colours.FRAME, 4))
    for spot in line:
        pen.oval(spot, 9, 9, colours.WHITE)
    things.down_arrow(pen, 320, 270, 48)
    boxes = things.grid(Box(42, 334, 556, 220), 4, 1, 14)
    for share, name, box in zip(SHARES, SHARE_NAMES, boxes, strict=True):
        with scenes.picture(pen, box, scenes.LAWN):
            people.bust(pen, between(MAN, BLOND, share), Frame(box.at(0.5, 0.40), 94))
        pen.text(Spot(box.middle.x, box.bottom + 28), name, 26, colours.WHITE)


def between(first: Look, second: Look, share: float) -> Look:
    """Somebody who is the second person by this share; the hair is that of whom they are nearer to."""
    look = first if share < 0.5 else second
    skin = mixed(first.skin, second.skin, share)
    hair = mixed(first.hair, second.hair, share)
    return replace(people.dressed(look, top=SWEATER), skin=skin, hair=hair)


def mixed(first: str, second: str, share: float) -> str:
    """A colour between two."""
    values: list[int] = []
    for before, after in zip(ImageColor.getrgb(first), ImageColor.getrgb(second), strict=True):
        values.append(round(before + (after - before) * share))
    red, green, blue = values
    return f"#{red:02x}{green:02x}{blue:02x}"


def two_stage_group(pen: Pen) -> None:
    """A picture of nobody in particular, and two photos: two people in the places of its faces."""
    looks = (BEARDED, BLOND)
    things.photos(pen, things.grid(Box(40, 100, 236, 116), 2, 1, 20), looks)
    before = Box(40, 234, 236, 356)
    with scenes.picture(pen, before):
        scenes.busts(pen, before, (NOBODY, NOBODY), 70, 0.36)
    things.right_arrow(pen, 294, 412, 52)
    after = Box(364, 234, 236, 356)
    with scenes.picture(pen, after):
        frames = scenes.busts(pen, after, looks, 70, 0.36)
        scenes.numbers_above(pen, frames)
