"""Pictures of the help pages that core draws: what nodes show, without a host."""

from __future__ import annotations

from collections.abc import Callable

import torch
from miniature import alone
from PIL import Image, ImageDraw
from rig import photos
from torch import Tensor

from core.body_surface import mannequin
from core.lettering import font_for
from core.people import Cast, Layout, Person
from core.pictures import LONGER_SIDE, MULTIPLE_OF, resized_photo
from core.places import control_images, drawing, group, layouts, placing
from core.places.actions import ACTIONS, GROUP_PHOTO
from core.previews import as_picture, as_tensor

NAMES = ("Anna", "Ben", "Carla", "David", "Elif")
GAP = 8
"""Pixels between two pictures of a sheet."""
COLORS = 256
"""Of a PNG. These pictures have few, and a help page should open quickly."""
BACKGROUND = (22, 23, 26)
SQUARE = (1024, 1024)
GROUPS = ((2, "bust"), (7, "half"), (9, "full"))
"""People and framing of the groups that Layout for a Group shows."""
PAIRS = ("hands up", "waving", "arms crossed")
"""Actions that two people show, and three the others."""
WHOLE = ("hands up", "walking", "sitting", "kneeling")
"""Actions that are seen from head to foot."""
HEADING = 34
"""Height of a line above a picture, in pixels."""


def group_layout() -> Image.Image:
    """Bust, half and full: places above, skeletons below."""
    groups = [group.layout(count, framing, 0, *SQUARE) for count, framing in GROUPS]
    places = [as_picture(drawing.numbered_layout(layout)) for layout in groups]
    skeletons = [as_picture(control_images.skeletons(layout, by_row=False)[0]) for layout in groups]
    return sheet([places, skeletons], (300, 300), (255, 255, 255))


def group_layout_actions() -> Image.Image:
    """What each action looks like, in two columns."""
    names = [name for name in ACTIONS if name != GROUP_PHOTO]
    cells: list[Image.Image] = []
    for name in names:
        count = 2 if name in PAIRS else 3
        framing = "full" if name in WHOLE else "half"
        layout = group.layout(count, framing, 0, 1024, 768, name)
        picture = as_picture(control_images.skeletons(layout, by_row=False)[0])
        cells.append(with_heading(name, picture.resize((342, 256), Image.Resampling.LANCZOS)))
    rows = [cells[start : start + 2] for start in range(0, len(cells), 2)]
    return sheet(rows, cells[0].size, BACKGROUND)


def face_keypoints() -> Image.Image:
    """The keypoints of four people in two rows, on black."""
    layout = group.layout(4, "bust", 2, 760, 520)
    return as_picture(control_images.keypoints(layout, by_row=False)[0])


def pose_image() -> Image.Image:
    """Three skeletons on black."""
    layout = group.layout(3, "half", 0, 1024, 672)
    return as_picture(control_images.skeletons(layout, by_row=False)[0]).resize((340, 223), Image.Resampling.LANCZOS)


def place_cast() -> Image.Image:
    """Five places with numbers, names and faces."""
    # At half the size the node would say that the faces are small.
    layout = group.layout(len(NAMES), "half", 1, 1152, 768)
    faces = alone.face_model()
    people: list[Person] = []
    for name, file in zip(NAMES, photos.drawn(*(name.lower() for name in NAMES)), strict=True):
        photo = resized_photo(photos.pixels(file)[None], LONGER_SIDE, MULTIPLE_OF)[0]
        people.append(Person(alone.identity(faces, name, photo)))
    cast = Cast(tuple(people))
    standing = placing.assign(cast, layout, "left to right", "")
    troubles = placing.troubles(cast, layout, standing, "left to right")
    crops = [person.identity.crops[0] for person in people]
    picture = as_picture(drawing.numbered_layout(layout, NAMES, troubles, crops))
    return picture.resize((720, 480), Image.Resampling.LANCZOS)


def layout_from_masks() -> Image.Image:
    """Three painted regions with the places in them."""
    masks = torch.stack([painted_region(170, 285), painted_region(375, 260), painted_region(580, 300)])
    return as_picture(drawing.numbered_layout(layouts.from_masks(masks, 720, 480, "half")))


def painted_region(x: int, y: int) -> Tensor:
    """(480, 720): a body and a head above it, as somebody would paint them. x, y: the middle of the body."""
    picture = Image.new("L", (720, 480))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((x - 90, y - 140, x + 90, y + 170), fill=255)
    pen.ellipse((x - 40, y - 220, x + 40, y - 110), fill=255)
    return as_tensor(picture.convert("RGB"))[..., 0]


def draw_body_surface() -> Image.Image:
    """A skeleton of Layout for a Group, and the mannequin around it."""
    layout: Layout = group.layout(1, "full", 1, 320, 640)
    places = as_picture(drawing.numbered_layout(layout))
    surface = mannequin.draw_layout(layout).iuv.movedim(0, -1)  # (3, H, W) -> (H, W, 3)
    return sheet([[places, as_picture(surface.float() / 255)]], (320, 640), (43, 43, 43), gap=12)


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "group_layout": group_layout,
    "group_layout_actions": group_layout_actions,
    "face_keypoints": face_keypoints,
    "pose_image": pose_image,
    "place_cast": place_cast,
    "layout_from_masks": layout_from_masks,
    "draw_body_surface": draw_body_surface,
}
"""By the names of their files in web/docs/img, PNGs all."""


def sheet(
    rows: list[list[Image.Image]], cell: tuple[int, int], background: tuple[int, int, int], gap: int = GAP
) -> Image.Image:
    """Pictures in rows, each as large as a cell."""
    columns = max(len(row) for row in rows)
    width = columns * cell[0] + (columns - 1) * gap
    height = len(rows) * cell[1] + (len(rows) - 1) * gap
    picture = Image.new("RGB", (width, height), background)
    for y, row in enumerate(rows):
        for x, entry in enumerate(row):
            resized = entry.resize(cell, Image.Resampling.LANCZOS)
            picture.paste(resized, (x * (cell[0] + gap), y * (cell[1] + gap)))
    return picture


def with_heading(text: str, picture: Image.Image) -> Image.Image:
    """The picture below a line of text."""
    whole = Image.new("RGB", (picture.width, picture.height + HEADING), BACKGROUND)
    pen = ImageDraw.Draw(whole)
    pen.text((6, HEADING / 2), text, (230, 230, 230), font_for(text, 20), anchor="lm")
    whole.paste(picture, (0, HEADING))
    return whole
