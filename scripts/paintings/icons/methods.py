"""Icons of the templates of the other methods on SD1.5 and SDXL."""

from __future__ import annotations

from PIL import Image
from rig import photos

from . import colours, people, scenes, things
from .pen import Box, Frame, Pen, Spot
from .people import BEARDED, BLOND, MAN, Arms
from .scenes import Standing

PAIR = (MAN, BEARDED)
COUPLE = (people.dressed(MAN, top="#456fc4"), people.dressed(BLOND, top="#c04347"))
LANDMARKS = 7
"""Of MediaPipe's points on a face, in a row."""


def without_insightface(pen: Pen) -> None:
    """Two photos with points on the faces, which are looked at: one picture of both."""
    for number, (look, box) in enumerate(zip(PAIR, things.grid(Box(40, 148, 144, 344), 1, 2, 28), strict=True), 1):
        things.photo(pen, box, look, number)
        _landmarks(pen, Frame(box.at(0.5, 0.52), box.height * 0.60))
        things.eye(pen, Spot(224, box.middle.y))
    things.right_arrow(pen, 262, 320, 46)
    result = Box(324, 126, 282, 388)
    with scenes.picture(pen, result):
        frames = scenes.busts(pen, result, PAIR, 104, 0.46)
        scenes.numbers_above(pen, frames)


def _landmarks(pen: Pen, frame: Frame) -> None:
    """Points all over a face."""
    half = (LANDMARKS - 1) / 2
    for row in range(LANDMARKS):
        y = (row - half) / half * 0.37
        for column in range(LANDMARKS):
            x = (column - half) / half * 0.30 * (1 - (y / 0.52) ** 2) ** 0.5
            pen.oval(frame.spot(x, y), 2.2, 2.2, "#7de8a0")


def style_two_people(pen: Pen) -> None:
    """Two photos, and a drawing for the first person: that person drawn, the other not."""
    boxes = things.grid(Box(40, 102, 140, 456), 1, 3, 18)
    things.photos(pen, boxes[:2], PAIR)
    (file,) = photos.drawn("ink")
    with Image.open(file) as opened:
        # The upper part, as wide as high: the face.
        face = opened.convert("RGB").crop((0, 0, opened.width, opened.width))
    with pen.inside_box(boxes[2], things.RADIUS):
        pen.paste(face, boxes[2])
    pen.box(boxes[2], None, things.EDGE, things.RADIUS)
    things.badge(pen, Spot(boxes[2].left + 5, boxes[2].top + 5), 1)
    things.right_arrow(pen, 210, 320, 60)
    result = Box(298, 92, 306, 456)
    with scenes.picture(pen, result):
        scenes.pair(pen, result, (people.in_ink(MAN), BEARDED), 70)


def story_maker(pen: Pen) -> None:
    """Two photos in full length, cut out by masks: both people in their clothes, in other poses."""
    for number, look in enumerate(PAIR, 1):
        top = 100 + (number - 1) * 228
        photo = Box(34, top, 112, 212)
        cut = Box(190, top, 112, 212)
        for box, backdrop in ((photo, scenes.STUDIO), (cut, scenes.CUT_OUT)):
            with scenes.picture(pen, box, backdrop):
                rim = colours.GREY if box is cut else colours.WHITE
                person = people.rimmed(look, rim)
                scenes.stand(pen, [Standing(person, Spot(box.middle.x, box.bottom - 12), 38)])
        things.badge(pen, Spot(photo.left + 5, photo.top + 5), number)
        things.right_arrow(pen, 152, top + 106, 32)
    things.right_arrow(pen, 312, 320, 42)
    result = Box(364, 126, 248, 388)
    with scenes.picture(pen, result):
        places = [
            Standing(MAN, Spot(432, 488), 56, None, 1),
            Standing(BEARDED, Spot(530, 488), 58, Arms(right="up"), 2),
        ]
        scenes.stand(pen, places)


def photo_maker(pen: Pen) -> None:
    """Two photos, each behind a word of the prompt: a man and a woman."""
    boxes = things.grid(Box(36, 138, 112, 252), 1, 2, 28)
    for number, (look, box, word) in enumerate(zip(COUPLE, boxes, ("man", "woman"), strict=True), 1):
        things.labelled_photo(pen, box, look, number, word)
    _prompt(pen, Spot(36, 446))
    things.right_arrow(pen, 310, 264, 46)
    result = Box(368, 126, 238, 388)
    with scenes.picture(pen, result):
        scenes.pair(pen, result, COUPLE, 58)


def _prompt(pen: Pen, start: Spot) -> None:
    """The words of a prompt, two of them in the colours of people."""
    plain = "#555961"
    left = start.x
    for width, color in (
        (44, plain), (66, colours.of_number(1)), (34, plain), (84, colours.of_number(2)), (30, plain),
    ):  # fmt: skip
        pen.box(Box(left, start.y, width, 24), color, None, 9)
        left += width + 10


def lora_two_people(pen: Pen) -> None:
    """A LoRA for each of two people."""
    for number, box in enumerate(things.grid(Box(40, 208, 236, 224), 1, 2, 32), 1):
        things.lora(pen, box, number)
    things.right_arrow(pen, 296, 320, 52)
    result = Box(366, 126, 240, 388)
    with scenes.picture(pen, result):
        scenes.pair(pen, result, COUPLE, 58)


def sd15_portrait(pen: Pen) -> None:
    """One photo, one portrait, on a small graphics card."""
    things.photo(pen, Box(40, 150, 188, 196), BLOND)
    things.small_card(pen, Box(66, 392, 136, 58), "8 GB")
    things.right_arrow(pen, 256, 320, 60)
    scenes.portrait(pen, Box(346, 100, 258, 440), BLOND)
