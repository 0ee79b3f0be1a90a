"""Icons of the templates that one begins with."""

from __future__ import annotations

from dataclasses import replace

from . import clothes, colours, people, scenes, things
from .clothes import Outfit
from .pen import Box, Frame, Line, Pen, Spot
from .people import BEARDED, BLOND, DARK_HAIRED, EIGHT, GINGER, MAN
from .scenes import Standing

JACKET = "#966e42"
JEANS = "#456fc4"


def two_people(pen: Pen) -> None:
    """Two photos, one picture of both."""
    things.photos(pen, things.grid(Box(36, 140, 164, 360), 1, 2, 28), (MAN, BEARDED))
    things.right_arrow(pen, 222, 320)
    box = Box(298, 92, 306, 456)
    with scenes.picture(pen, box):
        scenes.pair(pen, box, (MAN, BEARDED), 70)


def group(pen: Pen) -> None:
    """Six photos, one picture with two rows of people."""
    looks = EIGHT[:6]
    things.photos(pen, things.grid(Box(34, 120, 178, 400), 2, 3, 14), looks)
    things.right_arrow(pen, 228, 320, 50)
    box = Box(294, 90, 312, 460)
    with scenes.picture(pen, box, scenes.LAWN):
        behind = [Standing(looks[3 + place], Spot(350 + 100 * place, 408), 47, None, 4 + place) for place in range(3)]
        before = [Standing(looks[place], Spot(350 + 100 * place, 534), 50, None, 1 + place) for place in range(3)]
        scenes.stand(pen, behind)
        scenes.stand(pen, before)


def portrait(pen: Pen) -> None:
    """One photo, one portrait."""
    look = people.dressed(BLOND, top="#344779")
    things.photo(pen, Box(40, 222, 178, 196), look)
    things.right_arrow(pen, 240, 320, 60)
    scenes.portrait(pen, Box(326, 96, 278, 448), look)


def outfit(pen: Pen) -> None:
    """A jacket and trousers, and somebody in them: no face goes in."""
    boxes = things.grid(Box(52, 92, 190, 460), 1, 2, 28)
    for box in boxes:
        things.tile(pen, box, colours.PANEL)
    clothes.jacket_alone(pen, boxes[0], JACKET, 76)
    clothes.trousers_alone(pen, boxes[1], JEANS, 84)
    things.right_arrow(pen, 274, 320, 66)
    worn = Outfit("#7b7d88", JEANS, jacket=JACKET)
    scenes.stand(pen, [Standing(replace(MAN, outfit=worn), Spot(486, 560), 96)])


def person_in_photo(pen: Pen) -> None:
    """A face, and a photo of somebody else: the photo with that face."""
    sweater = "#3f5f55"
    things.photo(pen, Box(40, 102, 164, 164), GINGER, 1)
    before = Box(40, 288, 220, 300)
    with scenes.picture(pen, before, scenes.ROOM):
        frame = Frame(before.at(0.5, 0.40), 104)
        people.bust(pen, people.dressed(DARK_HAIRED, top=sweater), frame)
        pen.line(frame.oval(0, -0.02, 0.62, 0.72), Line(colours.WHITE, 4))
    things.right_arrow(pen, 284, 438, 56)
    after = Box(366, 288, 220, 300)
    with scenes.picture(pen, after, scenes.ROOM, Line(colours.GREEN, 4)):
        people.bust(pen, people.dressed(GINGER, top=sweater), Frame(after.at(0.5, 0.40), 104))
    things.badge(pen, Spot(after.left + 5, after.top + 5), 1)


def check_files(pen: Pen) -> None:
    """A table of files: those that are there, and those that are missing."""
    panel = Box(96, 92, 448, 456)
    things.tile(pen, panel, colours.PANEL)
    lengths = (266, 320, 266, 320, 266, 320, 266)
    details = (128, 180, 96, 160, 118, 148, 106)
    missing = (2, 5)
    for row, (length, detail) in enumerate(zip(lengths, details, strict=True)):
        y = panel.top + 42 + row * 61
        pen.line([Spot(136, y), Spot(128 + length, y)], Line("#9aa1ae", 17))
        pen.line([Spot(132, y + 20), Spot(132 + detail, y + 20)], Line("#646a77", 9))
        mark = Spot(panel.right - 46, y + 6)
        if row in missing:
            things.cross(pen, mark, 19)
        else:
            things.tick(pen, mark, 19)
