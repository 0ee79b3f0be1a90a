"""README's first picture: photos of two people, who stands where, what ID-Patch's ControlNet reads, what is drawn.

Faces are found, cut out and placed by what the nodes use, with SCRFD's released weights. The toy model has made the
colours of the two patches, and draws.

    python -m toy.readme_picture ../docs/first_picture.jpg Anna=../pictures/likeness_anna.png ...
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps
from shared import photos

from core.cast import Cast, Member
from core.pictures.previews import BACKGROUND, as_picture, font_for
from core.places import group, place_previews, placing
from core.places.arranging import Arranged

from . import alone, stored

SIDE = 512  # px of the three large pictures: all are 1876 px wide, and README shows them at half of that
GAP = 24
HEAD = 56  # px above each picture, for its line
LETTERS = 28
HEADS = ("One photo of each", "Who stands where", "What ID-Patch reads", "What a toy model draws")


def picture(people: Sequence[tuple[str, Path]]) -> Image.Image:
    """The steps side by side. people: names and photos, from left to right."""
    faces = alone.face_model()
    pixels = [photos.pixels(photo) for _, photo in people]
    names = [name for name, _ in people]
    people_of_photos = [Member(alone.a_person(faces, name, photo)) for name, photo in zip(names, pixels, strict=True)]
    cast = Cast(tuple(people_of_photos))
    layout = group.layout(len(people), "bust", 0, SIDE, SIDE)
    standing = placing.assign(cast, layout, "left to right", "")
    crops = [member.person.crops[0] for member in cast.people]
    troubles = placing.troubles(cast, Arranged.untouched(layout), standing, "left to right")
    placed = place_previews.numbered_layout(layout, names, troubles, crops)
    made = alone.group_picture(stored.load(), cast, layout)
    condition = made.condition[0].movedim(0, -1)
    side = (SIDE - GAP * (len(people) - 1)) // len(people)
    shown = Image.new("RGB", (side, SIDE), BACKGROUND)
    for number, photo in enumerate(pixels):
        cut = ImageOps.fit(as_picture(photo), (side, side), centering=(0.5, 0.2))
        shown.paste(cut, (0, number * (side + GAP)))
    return _in_a_row([shown, as_picture(placed), as_picture(condition), as_picture(made.pixels)])


def _in_a_row(steps: Sequence[Image.Image]) -> Image.Image:
    """Each under its line."""
    width = sum(step.width for step in steps) + GAP * (len(steps) + 1)
    sheet = Image.new("RGB", (width, HEAD + SIDE + GAP), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    x = GAP
    for head, step in zip(HEADS, steps, strict=True):
        pen.text((x, HEAD / 2), head, "white", font_for(head, LETTERS), anchor="lm")
        sheet.paste(step, (x, HEAD))
        pen.rectangle((x, HEAD, x + step.width - 1, HEAD + SIDE - 1), outline=(52, 56, 64), width=2)
        x += step.width + GAP
    return sheet


if __name__ == "__main__":
    to, *given = sys.argv[1:]
    people = [(name, Path(photo)) for name, _, photo in (pair.partition("=") for pair in given)]
    picture(people).save(to, quality=86)
