"""Pictures of the help pages that core draws: what nodes show, without a host."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import torch
from miniature import alone
from PIL import Image, ImageDraw
from rig import photos
from torch import Tensor

from core import identities
from core.body_surface import mannequin, part_masks
from core.faces import analysis
from core.faces.model import FaceModel
from core.faces.pictures import to_picture
from core.lettering import font_for
from core.people import Cast, Identity, Joint, Layout, Person, Pose
from core.person_texts import on_tokens
from core.pictures import LONGER_SIDE, MULTIPLE_OF, resized_photo
from core.places import control_images, drawing, group, layouts, placing
from core.places import person_region as regions
from core.places.actions import ACTIONS, GROUP_PHOTO
from core.places.person_region import RegionShape
from core.places.regions import regions_of_people
from core.previews import as_picture, as_tensor, color_of, contact_sheet

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
REGION_MARGIN = 0.25
"""The default of Mask of a Person's Place and of People as References, in widths of the face box."""
TOKEN = 16
"""Side of a token of a transformer, in pixels."""
COCO_FROM_OPENPOSE = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
"""For each of the seventeen joints of COCO its number among the eighteen of OpenPose."""
MASKED = 0.8
"""How much of a mask's colour is seen on what it masks."""
DIMMED = 0.6
"""How bright the body is around a mask."""
OUTER_PARTS = (17, 18, 21, 22)
"""Halves of the arms whose numbers would lie on those of the inner halves beside them."""
LOWER = 24
"""How much lower their numbers stand, in pixels."""
MASK_COLOR = torch.tensor((0.43, 0.76, 0.86))
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
    people = Cast(tuple(Person(identity(name)) for name in NAMES))
    standing = placing.assign(people, layout, "left to right", "")
    troubles = placing.troubles(people, layout, standing, "left to right")
    crops = [person.identity.crops[0] for person in people.people]
    picture = as_picture(drawing.numbered_layout(layout, NAMES, troubles, crops))
    return picture.resize((720, 480), Image.Resampling.LANCZOS)


def identity(name: str) -> Identity:
    """One of the drawn people, read from the photo of that name."""
    (file,) = photos.drawn(name.lower())
    photo = resized_photo(photos.pixels(file)[None], LONGER_SIDE, MULTIPLE_OF)[0]
    return alone.identity(face_model(), name, photo)


@functools.cache
def face_model() -> FaceModel:
    return alone.face_model()


def cast() -> Image.Image:
    """Three people with number, name and face; the third counts for 0.8."""
    crops = [identity(name).crops[0] for name in ("Anna", "Ben", "Carla")]
    return as_picture(contact_sheet(crops, ["1 Anna", "2 Ben", "3 Carla x0.8"])[0])


def blend_identities() -> Image.Image:
    """Two people, and between them the person half way."""
    first = identity("Anna")
    second = identity("Elif")
    between = identities.blend(first, second, 0.5, identities.BLENDS[0], "Anna + Elif")
    people = (first, between, second)
    captions = [f"{number} {person.name}" for number, person in enumerate(people, 1)]
    return as_picture(contact_sheet([person.crops[0] for person in people], captions)[0])


def detect_faces() -> Image.Image:
    """Five drawn people, each face with its box, five keypoints and a number."""
    (file,) = photos.drawn("five")
    photo = photos.pixels(file)
    found = analysis.detect(face_model().detector, to_picture(photo), "the photo")
    numbered = analysis.numbered_faces(photo, analysis.arrange(found, analysis.NUMBERED))
    return as_picture(numbered).resize((692, 461), Image.Resampling.LANCZOS)


def person_region() -> Image.Image:
    """The region of the second of three people."""
    layout = group.layout(3, "half", 1, 720, 520)
    people = Cast(tuple(Person(identity(name)) for name in ("Anna", "Ben", "Carla")))
    placed = placing.place(people, layout, placing.assign(people, layout, "left to right", ""))
    region = regions.region_of_person(placed, 2, RegionShape("body", REGION_MARGIN))
    slots = list(placed.slots)
    slots[1] = replace(slots[1], mask=region)
    with_region = Layout(layout.width, layout.height, tuple(slots))
    return as_picture(drawing.numbered_layout(with_region, ["Anna", "Ben", "Carla"]))


def references_by_region() -> Image.Image:
    """The tokens of the picture that read the references of each of three people."""
    width, height = 1216, 832
    layout = group.layout(3, "half", 0, width, height)
    people = Cast(tuple(Person(identity(name)) for name in ("Anna", "Ben", "Carla")))
    placed = placing.place(people, layout, placing.assign(people, layout, "left to right", ""))
    areas = regions_of_people(placed, placed.people, masks=None, shape=RegionShape("body", REGION_MARGIN))
    tokens = on_tokens(areas, height, width, TOKEN) >= 0.5
    rows = tokens.float().reshape(len(areas), height // TOKEN, width // TOKEN)
    pixels = rows.repeat_interleave(TOKEN, dim=1).repeat_interleave(TOKEN, dim=2)
    return as_picture(drawing.read_regions(pixels, placed.people)).resize((608, 416), Image.Resampling.LANCZOS)


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


def body_surface() -> Image.Image:
    """A mannequin as DensePose draws people, and the number of each part of the body on it."""
    surface = mannequin.draw_layout(standing())
    parts = surface.iuv[2]
    colored = torch.zeros(*parts.shape, 3)
    numbers = sorted(set(parts.flatten().tolist()) - {0})
    for order, number in enumerate(numbers):
        colored[parts == number] = torch.tensor(color_of(order)) / 255
    numbered = as_picture(colored)
    pen = ImageDraw.Draw(numbered)
    for number in numbers:
        y, x = (parts == number).nonzero().float().mean(0).tolist()
        y += LOWER if number in OUTER_PARTS else 0
        label = str(number)
        font = font_for(label, 16)
        pen.text((x, y), label, (0, 0, 0), font, anchor="mm", stroke_width=1, stroke_fill=(255, 255, 255))
    return sheet([[as_picture(surface.image), numbered]], (320, 640), (43, 43, 43), gap=12)


def body_surface_mask() -> Image.Image:
    """Four masks of one body: torso and arms, head, legs and feet, the left arm."""
    surface = mannequin.draw_layout(standing())
    choices = (
        (("torso", "upper_arms", "forearms"), "both"),
        (("head",), "both"),
        (("thighs", "lower_legs", "feet"), "both"),
        (("upper_arms", "forearms", "hands"), "left"),
    )
    pictures: list[Image.Image] = []
    for groups, side in choices:
        (mask,) = part_masks.part_masks([surface], groups, side)
        share = MASKED * mask[..., None]
        pictures.append(as_picture(surface.image * DIMMED * (1 - share) + MASK_COLOR * share))
    return sheet([pictures], (240, 480), (30, 30, 30), gap=12)


def standing() -> Layout:
    """One person from head to foot."""
    return group.layout(1, "full", 1, 320, 640)


def layout_from_poses() -> Image.Image:
    """The places of three people whose skeletons a pose node has found."""
    places = group.layout(3, "full", 1, 960, 688)
    people: list[dict[str, list[float]]] = []
    for slot in places.slots:
        assert slot.pose
        people.append({"pose_keypoints_2d": [number for joint in with_neck(slot.pose) for number in joint]})
    poses = {"people": people, "canvas_width": places.width, "canvas_height": places.height}
    found = layouts.from_poses([poses], 0, 0, "pad")
    picture = as_picture(drawing.numbered_layout(found.layout, notes=found.notes))
    return picture.resize((480, 343), Image.Resampling.LANCZOS)


def with_neck(pose: Pose) -> list[Joint]:
    """Eighteen joints as OpenPose and ComfyUI's pose nodes have them, from the seventeen of COCO."""
    joints: list[Joint] = [(0.0, 0.0, 0.0)] * 18
    for joint, number in zip(pose, COCO_FROM_OPENPOSE, strict=True):
        joints[number] = joint
    left, right = pose[5], pose[6]
    joints[1] = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2, min(left[2], right[2]))
    return joints


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "group_layout.png": group_layout,
    "group_layout_actions.png": group_layout_actions,
    "face_keypoints.png": face_keypoints,
    "pose_image.png": pose_image,
    "place_cast.png": place_cast,
    "person_region.png": person_region,
    "layout_from_masks.png": layout_from_masks,
    "draw_body_surface.png": draw_body_surface,
    "body_surface.png": body_surface,
    "body_surface_mask.png": body_surface_mask,
    "layout_from_poses.png": layout_from_poses,
    "references_by_region.png": references_by_region,
    "cast.jpg": cast,
    "blend_identities.jpg": blend_identities,
    "detect_faces.jpg": detect_faces,
}
"""By the names of their files in web/docs/img."""


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
