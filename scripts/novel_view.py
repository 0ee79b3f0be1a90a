"""The picture of docs/chains.md: a person of one photo at the keypoints of other faces, by InstantID.

    python scripts/novel_view.py
    python scripts/novel_view.py --out another_view.jpg

The miniature draws it, with weights that it was trained to: it shows the way through the nodes, not the quality of the
released weights. It was trained with upright faces that look to the front. So the picture shows that size and place of
the face follow the keypoints. A tilted head, or one that looks to the side, it cannot draw.
"""

from __future__ import annotations

import argparse
import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import environment
from rig.pack import entered

if TYPE_CHECKING:
    from comparison.methods import World
    from torch import Tensor

PICTURE = environment.ROOT / "docs" / "novel_view.jpg"
PEOPLE = 2
"""Rows of the picture: whoever is in the photo changes, the keypoints stay."""
SIDE = 300
"""Width of a picture on the sheet, in pixels."""
EDGE = 8
"""Pixels around a picture."""
HEADING = 34
"""Height of the line above the columns, in pixels."""
LETTERS = 17


class View(NamedTuple):
    """Where the face is and how large.

    right, down: how far it is moved, in widths and heights of the picture. size: in sizes of the face of Layout for a
    Group.
    """

    name: str
    right: float
    down: float
    size: float


VIEWS = (
    View("farther, at the left", -0.22, 0.06, 0.55),
    View("nearer, at the right", 0.16, 0.06, 1.25),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, default=PICTURE, help="default: the picture of docs/chains.md")
    parser.add_argument("--python", help="a Python that has everything already")
    arguments = parser.parse_args()
    entered("novel_view.py", arguments.python)
    import torch
    from comparison import worlds
    from rig.whole import written

    torch.set_num_threads(1)  # its layers are so small that threads would mostly wait for each other
    environment.say(f"Drawing {PEOPLE} people in {len(VIEWS)} views each (a minute).")
    with worlds.miniature(PEOPLE) as world:
        picture = sheet(world)
    written(arguments.out, partial(picture.save, format="JPEG", quality=85))
    environment.say(f"Done: the picture is {arguments.out}")
    return 0


def sheet(world: World) -> Any:
    """A row for each person: the photo, then for each view the keypoints and what is drawn there. A PIL picture."""
    from PIL import Image, ImageDraw

    from core import previews

    headings = ["the photo"]
    for view in VIEWS:
        headings += ["keypoints of another face", f"the person, {view.name}"]
    rows = [row_of(world, number) for number in range(PEOPLE)]
    # The photo may be of another shape; the others give the height of a row.
    row_height = max(round(SIDE * picture.shape[0] / picture.shape[1]) for picture in rows[0][1:])
    column_width = SIDE + EDGE
    size = (column_width * len(headings) + EDGE, HEADING + (row_height + EDGE) * PEOPLE)
    whole = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(whole)
    for column, heading in enumerate(headings):
        pen.text((EDGE + column_width * column, EDGE), heading, "black", font_size=LETTERS)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            small = previews.as_picture(picture)
            scale = min(SIDE / small.width, row_height / small.height)
            small = small.resize((round(small.width * scale), round(small.height * scale)))
            whole.paste(small, (EDGE + column_width * column, HEADING + (row_height + EDGE) * row))
    return whole


def row_of(world: World, number: int) -> list[Tensor]:
    """The photo of a person, and for each view the keypoint picture and the picture drawn. (H, W, 3) each, 0..1."""
    import torch
    from comparison.methods import instant_id, of_photos, run

    person = of_photos(world.people[number], 1)
    assert person.crops is not None
    pictures: list[Tensor] = [person.crops[0]]
    for view in VIEWS:
        cast = seen_from(world.cast([person]), view)
        keypoints = run("LikenessDrawSkeletons", cast=cast, draw="face keypoints")[0][0]
        with torch.no_grad():
            drawn = instant_id(world, cast, 1)
        pictures += [keypoints, drawn]
    return pictures


def seen_from(cast: Any, view: View) -> Any:
    """The placed cast of one person with the five points of the face moved, and resized around the nose."""
    (person,) = cast.people
    slot = person.slot
    center_x, center_y = slot.center
    new_x = center_x + view.right * cast.width
    new_y = center_y + view.down * cast.height
    points: list[tuple[float, float]] = []
    for x, y in slot.keypoints:
        points.append((new_x + view.size * (x - center_x), new_y + view.size * (y - center_y)))
    half = view.size * (slot.box[2] - slot.box[0]) / 2
    box = (new_x - half, new_y - half, new_x + half, new_y + half)
    keypoints = type(slot.keypoints)(points)
    moved = dataclasses.replace(slot, center=(new_x, new_y), box=box, keypoints=keypoints, pose=None, mask=None)
    return dataclasses.replace(cast, people=(dataclasses.replace(person, slot=moved),))


if __name__ == "__main__":
    environment.run(main)
