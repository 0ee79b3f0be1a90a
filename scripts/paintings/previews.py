"""Pictures of the help pages that nodes show in a ComfyUI: previews, and pictures that the miniature draws."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
from comparison.graphs import Output
from miniature.net import Settings
from miniature.places import LARGE
from miniature.places import SMALL as SMALL_PICTURE
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from rig import photos

from core.lettering import font_for
from core.places import group
from core.second_pass.selection import EVERYBODY, SMALL, UNLIKE

from .drafts import Draft, Picture
from .help_pages import sheet
from .looks import PEOPLE
from .portraits import portrait

SHEET = (30, 30, 30)
"""The background of contact sheets."""
WHITE = (255, 255, 255)
LETTERS = (230, 230, 230)
ABOVE_THE_NOTE = (0, 0, 512, 366)
"""Of a picture of the miniature's size: below it Place Cast notes that such faces are small, for real networks."""


# --- People


def person(draft: Draft) -> Picture:
    """Under Person: the face of Anna, and head and shoulders beside it."""
    draft.add("person", "LikenessPerson", face_model=draft.face_model(), image=draft.photo("anna"), name="Anna")
    return draft.preview("person")


def cast_from_photos(draft: Draft) -> Picture:
    """Under Sort Photos into People: the drawn examples, two people in six photos."""
    draft.add("sorted", "LikenessSortPhotosIntoPeople", face_model=draft.real_face_model(), folder="drawn examples")
    return draft.preview("sorted")


def load_face_model(draft: Draft) -> Picture:
    """What the detector finds in the photo of Anna, and the face as recognisers see it."""
    photo = draft.photo("anna")
    draft.faces(photo)
    person = draft.add("person", "LikenessPerson", face_model=draft.face_model(), image=photo, name="Anna")
    (found,) = draft.previews("faces")
    (face,) = draft.images((person, 1))
    picture = Image.new("RGB", (590, 350), SHEET)
    picture.paste(found.resize((261, 326), Image.Resampling.LANCZOS), (0, 0))
    picture.paste(face.resize((326, 326), Image.Resampling.LANCZOS), (264, 0))
    write_in_the_middle(picture, "detector: box, five points", (130, 338), 15)
    write_in_the_middle(picture, f"recogniser: {face.width} x {face.height} px", (427, 338), 15)
    return picture


# --- Places


def add_place(draft: Draft) -> Picture:
    """Under Layout from Picture: two people of a photo, and a third place beside them."""
    photo = draft.photo("two")
    draft.add(
        "places", "LikenessLayoutFromPicture", faces=draft.faces(photo), width=0, height=0, image=photo, more_places=1
    )
    return resized(draft.preview("places"), (692, 461))


def layout_from_faces(draft: Draft) -> Picture:
    """Under Layout from Picture: the place of one person who is seen from head to foot."""
    faces = draft.faces(draft.photo("full_length"))
    draft.add("places", "LikenessLayoutFromPicture", faces=faces, width=0, height=0, body="full")
    return resized(draft.preview("places"), (216, 322))


# --- Regions


def regions(draft: Draft) -> Picture:
    """Under Apply InstantID: where the faces of four people are read."""
    size = (768, 528)
    files = draft.files
    own_faces = draft.add("own faces", "LikenessLoadFaceEmbedder", pack=files.antelope.parent.name)
    cast = draft.cast("Anna", "Ben", "Carla", "David", face_model=(own_faces, 0))
    draft.add(
        "instant id", "LikenessApplyInstantID", model=(draft.checkpoint(), 0), positive=draft.no_words(),
        negative=draft.no_words(),
        instant_id=(draft.add("adapter", "LikenessLoadAdapter", file=files.instant_id.name), 0),
        control_net=(draft.add("net", "ControlNetLoader", control_net_name=files.identity_net.name), 0),
        cast=draft.placed(cast, draft.group(4, size, "bust", rows=2), "1,2,3,4"), control_strength=0.0,
    )  # fmt: skip
    return draft.previews("instant id")[0]


def person_prompts(draft: Draft) -> Picture:
    """Under Prompt per Person: where the words about Anna and Ben are read."""
    placed = draft.placed(draft.cast("Anna", "Ben"), draft.group(2, (1152, 896)))
    draft.add(
        "prompts", "LikenessPromptPerPerson", model=(draft.checkpoint(), 0), clip=(draft.checkpoint(), 1),
        positive=draft.no_words(), negative=draft.no_words(), cast=placed,
        prompts="Anna: in a blue coat\nBen: in a red sweater",
    )  # fmt: skip
    return resized(draft.previews("prompts")[0], (576, 448))


# --- Measuring, and the second pass


def measure(draft: Draft) -> Picture:
    """Under Measure Likeness: Carla in her place, Ben and Farid in each other's."""
    (file,) = photos.drawn("five")
    with Image.open(file) as opened:
        three = opened.convert("RGB").crop((0, 0, 504, 544))
    picture = (draft.loaded("three", three), 0)
    layout = draft.add("places", "LikenessLayoutFromPicture", faces=draft.faces(picture), width=0, height=0)
    placed = draft.placed(
        draft.cast("Ben", "Farid", "Carla", face_model=draft.real_face_model()), (layout, 0), custom_order="2,1,3"
    )
    draft.add("measured", "LikenessMeasureLikeness", face_model=draft.real_face_model(), images=picture, cast=placed)
    return draft.preview("measured")


def pick_best(draft: Draft) -> Picture:
    """What Measure Likeness draws on four pictures, in the order of Pick Best Likeness."""
    cast = draft.cast("Anna", face_model=draft.real_face_model())
    batch = draft.batch("anna as", made_worse())
    measured = draft.add(
        "measured", "LikenessMeasureLikeness", face_model=draft.real_face_model(), images=batch, cast=cast
    )
    best = draft.add("best", "LikenessPickBestLikeness", report=(measured, 0), images=(measured, 1), keep=4)
    pictures = draft.images((best, 0))
    captions: list[str] = []
    for line in draft.text((best, 4)).splitlines():
        number, figure = re.findall(r"picture \d+|\d\.\d{3}", line)[:2]
        captions.append(f"{number}: {figure}")
    picture = Image.new("RGB", (624, 664), SHEET)
    ImageDraw.Draw(picture).text((8, 22), "best first, by weakest person", LETTERS, font_for("best", 25), anchor="lm")
    for number, (shown, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = 6 + number % 2 * 308
        top = 44 + number // 2 * 310
        # What Measure Likeness writes below its pictures is left out.
        picture.paste(shown.crop((0, 0, 304, 266)), (left, top))
        write_in_the_middle(picture, caption, (left + 152, top + 288), 25)
    return picture


def made_worse() -> list[Picture]:
    """The photo of Anna blurred, without her face, mirrored, and in few pixels."""
    (file,) = photos.drawn("anna")
    with Image.open(file) as opened:
        photo = opened.convert("RGB")
    head = resized(photo.crop((28, 46, 388, 430)), (304, 324))
    blurred = head.filter(ImageFilter.GaussianBlur(12))
    shoulder = photo.crop((20, 400, 160, 520)).resize(head.size, Image.Resampling.LANCZOS)
    few = head.resize((head.width // 13, head.height // 13), Image.Resampling.BOX)
    return [blurred, shoulder, ImageOps.mirror(head), few.resize(head.size, Image.Resampling.BICUBIC)]


def crop_faces(draft: Draft) -> Picture:
    """Under Crop Faces: the three smaller of five faces are cut out."""
    photo = draft.photo("five")
    layout = draft.add("places", "LikenessLayoutFromPicture", faces=draft.faces(photo), width=0, height=0)
    placed = draft.placed(
        draft.cast("Ben", "Farid", "Carla", "Elif", "Anna", face_model=draft.real_face_model()), (layout, 0)
    )
    draft.add(
        "crops", "LikenessCropFaces", face_model=draft.real_face_model(), images=photo, cast=placed, who=SMALL,
        smaller_than=151, margin=0.4,
    )  # fmt: skip
    return resized(draft.preview("crops"), (692, 461))


def paste_faces(draft: Draft) -> Picture:
    """A picture with a blank face, what Paste Faces pastes there, and the picture that it gives."""
    (file,) = photos.drawn("two")
    with Image.open(file) as opened:
        good = opened.convert("RGB").crop((0, 0, 696, 512))
    blank = good.copy()
    ImageDraw.Draw(blank).ellipse((112, 170, 248, 340), fill=(168, 168, 168))
    good_picture = (draft.loaded("good", good), 0)
    blank_picture = (draft.loaded("blank", blank), 0)
    layout = draft.add("places", "LikenessLayoutFromPicture", faces=draft.faces(good_picture), width=0, height=0)
    placed = draft.placed(draft.cast("Carla", face_model=draft.real_face_model()), (layout, 0), custom_order="1,0")
    settings = {"face_model": draft.real_face_model(), "cast": placed}
    where = draft.add("where", "LikenessCropFaces", images=blank_picture, who=UNLIKE, **settings)
    sampled = draft.add("sampled", "LikenessCropFaces", images=good_picture, who=EVERYBODY, **settings)
    pasted = draft.add(
        "pasted", "LikenessPasteFaces", images=blank_picture, where=(where, 3), sampled=(sampled, 0),
        color_match="none",
    )  # fmt: skip
    mask = draft.add("mask", "MaskToImage", mask=(pasted, 1))
    (after, pasted_part) = draft.images((pasted, 0), (mask, 0))
    return sheet([[blank, pasted_part, after]], (380, 280), SHEET, gap=7)


# --- Parts


def part(draft: Draft) -> Picture:
    """Under Part: a shirt, and the paper around it that does not count."""
    shirt = draft.loaded("shirt", without_paper("shirt"))
    draft.add("part", "LikenessPart", image=(shirt, 0), mask=(shirt, 1), label="upper body clothes")
    return draft.preview("part")


def without_paper(name: str) -> Picture:
    """A drawn garment, transparent where it is, as the mask editor saves what is painted over."""
    (file,) = photos.drawn(name)
    with Image.open(file) as opened:
        garment = opened.convert("RGB")
    darkest = np.asarray(garment).min(2)
    painted = Image.fromarray(np.where(darkest < 235, 255, 0).astype(np.uint8))
    # White buttons and the collar's light lie inside of the garment.
    closed = painted.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.MinFilter(9))
    garment.putalpha(ImageOps.invert(closed))
    return garment


def encode_parts(draft: Draft) -> Picture:
    """Under Encode Parts: sweater and hair of the photo of Anna."""
    files = draft.files
    parts: dict[str, Output] = {}
    for node_id, changed, label in (("sweater", "shirt", "upper body clothes"), ("hair", "hair", "hair or headwear")):
        photo = draft.loaded(f"photo of the {node_id}", painted_over(changed))
        draft.add(node_id, "LikenessPart", image=(photo, 0), mask=(photo, 1), label=label, **parts)
        parts = {"parts": (node_id, 0)}
    networks = draft.add("networks", "LikenessLoadParts2Whole", folder=files.parts2whole.name)
    checkpoint = draft.add("sd15", "CheckpointLoaderSimple", ckpt_name=files.sd15.name)
    vision = draft.add("vision", "CLIPVisionLoader", clip_name=files.clip_vision.name)
    vae = draft.add("vae", "VAELoader", vae_name=files.vae.name)
    draft.add(
        "encoded", "LikenessEncodeParts", parts2whole=(networks, 1), clip=(checkpoint, 1), clip_vision=(vision, 0),
        vae=(vae, 0), **parts,
    )  # fmt: skip
    return draft.preview("encoded")


def painted_over(what: str) -> Picture:
    """The photo of Anna, transparent where one thing of her look is seen, as the mask editor saves it.

    what: a colour of a Look. Where two paintings differ that have other colours there alone, it is seen.
    """
    black = portrait(replace(PEOPLE["anna"], **{what: (0.0, 0.0, 0.0)})).astype(int)
    white = portrait(replace(PEOPLE["anna"], **{what: (1.0, 1.0, 1.0)})).astype(int)
    seen = np.abs(white - black).max(2) > 40
    # The largest piece: the brows have the colour of the hair.
    _, pieces, figures, _ = cv2.connectedComponentsWithStats(seen.astype(np.uint8))
    largest = 1 + int(figures[1:, cv2.CC_STAT_AREA].argmax())
    photo = Image.fromarray(portrait(PEOPLE["anna"]))
    photo.putalpha(Image.fromarray(np.where(pieces == largest, 0, 255).astype(np.uint8)))
    return photo


# --- Pictures of the miniature


def id_patch_image(draft: Draft) -> Picture:
    """Under ID-Patch Condition Image: six skeletons, a patch on each face."""
    size = (1216, 832)
    cast = draft.cast("Anna", "Ben", "Carla", "David", "Elif", "Farid")
    placed = draft.placed(cast, draft.group(6, size, rows=2))
    skeletons = draft.add("skeletons", "LikenessDrawSkeletons", layout=("layout", 0))
    add_condition(draft, placed, image=(skeletons, 0))
    return resized(draft.preview("condition"), (730, 500))


def add_condition(draft: Draft, placed: Output, **below: Output) -> None:
    """Add ID-Patch Condition Image. below: the image under the patches; without it they lie on black."""
    draft.add("condition", "LikenessIDPatchConditionImage", id_patch=draft.id_patch(), cast=placed, **below)


def load_id_patch(draft: Draft) -> Picture:
    """For each of three people the photo, the patch, and what the miniature draws from it."""
    names = ("Anna", "Ben", "Carla")
    cast = draft.cast(*names)
    placed = draft.placed(cast, draft.group(len(names), LARGE))
    add_condition(draft, placed)
    drawn = draft.drawn_by_id_patch("drawn", placed, LARGE)
    (condition,) = draft.previews("condition")
    (result,) = draft.images(drawn)
    rows: dict[str, list[Picture]] = {"photo": [], "patch": [], "cartoon": []}
    for name, slot in zip(names, group.layout(len(names), "half", 0, *LARGE).slots, strict=True):
        (file,) = photos.drawn(name.lower())
        with Image.open(file) as opened:
            rows["photo"].append(opened.convert("RGB").crop((68, 60, 348, 340)))
        rows["patch"].append(around(condition, slot.center, 64))
        rows["cartoon"].append(around(result, slot.center, 112))
    return with_words_at_the_left(rows, (148, 148), (572, 476))


def first_picture(draft: Draft) -> Picture:
    """The demo: aligned faces, places, and the picture."""
    placed = draft.placed(draft.cast("Anna", "Ben"), draft.group(2, LARGE))
    drawn = draft.drawn_by_id_patch("drawn", placed, LARGE)
    faces: list[Output] = []
    for name in ("anna", "ben"):
        person = draft.add(f"person {name}", "LikenessPerson", face_model=draft.face_model(), image=draft.photo(name))
        faces.append((person, 1))
    anna, ben, places, result = draft.images(*faces, (placed[0], 1), drawn)
    picture = Image.new("RGB", (1330, 366), WHITE)
    for face, top in ((anna, 0), (ben, 188)):
        picture.paste(face.resize((178, 178), Image.Resampling.LANCZOS), (0, top))
    for shown, left in ((places, 242), (result, 818)):
        picture.paste(shown.crop(ABOVE_THE_NOTE), (left, 0))
        arrow(picture, (left - 32, 183))
    return picture


def miniature(draft: Draft) -> Picture:
    """Three photos, their places, the picture, and the picture with the outer two swapped."""
    names = ("Anna", "Ben", "Carla")
    cast = draft.cast(*names)
    layout = draft.group(len(names), LARGE)
    placed = draft.placed(cast, layout)
    swapped = draft.placed(cast, layout, "3,2,1", "swapped")
    first = draft.drawn_by_id_patch("first", placed, LARGE)
    second = draft.drawn_by_id_patch("second", swapped, LARGE)
    places, above, below = draft.images((placed[0], 1), first, second)
    picture = Image.new("RGB", (1016, 614), WHITE)
    for number, name in enumerate(names):
        (file,) = photos.drawn(name.lower())
        with Image.open(file) as opened:
            photo = opened.convert("RGB").crop((0, 44, 416, 420))
        picture.paste(resized(photo, (196, 177)), (number * 202, 0))
    picture.paste(resized(places.crop(ABOVE_THE_NOTE), (600, 429)), (0, 185))
    picture.paste(resized(above, (404, 303)), (612, 0))
    picture.paste(resized(below, (404, 303)), (612, 311))
    return picture


def bind_id_tokens(draft: Draft) -> Picture:
    """Two people in both orders without patches: tokens read everywhere above, and by region below."""
    cast = draft.cast("Anna", "Ben")
    layout = draft.group(2, SMALL_PICTURE)
    rows: list[list[Picture]] = []
    skeletons = (draft.add("skeletons", "LikenessDrawSkeletons", layout=layout), 0)
    for by_region in (False, True):
        outputs: list[Output] = []
        for order in ("1,2", "2,1"):
            name = f"{order} {'by region' if by_region else 'everywhere'}"
            placed = draft.placed(cast, layout, order, f"placed {name}")
            outputs.append(without_patches(draft, name, placed, skeletons, by_region))
        rows.append(draft.images(*outputs))
    return sheet(rows, SMALL_PICTURE, WHITE, gap=0)


def without_patches(draft: Draft, name: str, placed: Output, skeletons: Output, by_region: bool) -> Output:
    """A picture of people whose ID tokens are read and whose patches are not.

    ComfyUI's own node applies the ControlNet to skeletons. That of Apply ID-Patch ends where the schedule begins.
    """
    empty = draft.no_words()
    posed = draft.add(
        f"posed {name}", "ControlNetApplyAdvanced", positive=empty, negative=empty, control_net=draft.control_net(),
        image=skeletons, strength=0.8,
    )  # fmt: skip
    model = {"model": (draft.checkpoint(), 0)} if by_region else {}
    applied = draft.add(
        f"applied {name}", "LikenessApplyIDPatch", positive=(posed, 0), negative=(posed, 1),
        control_net=draft.control_net(), id_patch=draft.id_patch(), cast=placed, start_percent=1.0, end_percent=1.0,
        id_start_percent=0.0, **model,
    )  # fmt: skip
    bound = (applied, 2) if by_region else None
    settings = Settings(steps=4)
    return draft.sampled(name, (applied, 0), (applied, 1), SMALL_PICTURE, settings, bound)


PREVIEWS: dict[str, Callable[[Draft], Picture]] = {
    "add_place.jpg": add_place,
    "bind_id_tokens.png": bind_id_tokens,
    "cast_from_photos.jpg": cast_from_photos,
    "crop_faces.jpg": crop_faces,
    "encode_parts.jpg": encode_parts,
    "first_picture.jpg": first_picture,
    "id_patch_image.png": id_patch_image,
    "layout_from_faces.png": layout_from_faces,
    "load_face_model.jpg": load_face_model,
    "load_id_patch.jpg": load_id_patch,
    "measure.jpg": measure,
    "miniature.jpg": miniature,
    "part.png": part,
    "paste_faces.png": paste_faces,
    "person.jpg": person,
    "person_prompts.png": person_prompts,
    "pick_best.jpg": pick_best,
    "regions.png": regions,
}
"""By the names of their files in web/docs/img."""


# --- Layout of a picture


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    return picture.resize(size, Image.Resampling.LANCZOS)


def around(picture: Picture, middle: tuple[float, float], side: int) -> Picture:
    """A square of this side around a point, in pixels."""
    left = round(middle[0]) - side // 2
    top = round(middle[1]) - side // 2
    return picture.crop((left, top, left + side, top + side))


def write_in_the_middle(picture: Picture, text: str, middle: tuple[int, int], size: int) -> None:
    ImageDraw.Draw(picture).text(middle, text, LETTERS, font_for(text, size), anchor="mm")


def arrow(picture: Picture, middle: tuple[int, int]) -> None:
    """A grey arrow to the right."""
    x, y = middle
    pen = ImageDraw.Draw(picture)
    pen.rectangle((x - 18, y - 5, x, y + 5), fill=(85, 90, 98))
    pen.polygon(((x, y - 15), (x + 18, y), (x, y + 15)), fill=(85, 90, 98))


def with_words_at_the_left(
    rows: Mapping[str, Sequence[Picture]], cell: tuple[int, int], size: tuple[int, int]
) -> Picture:
    """Rows of pictures, each behind a word."""
    picture = Image.new("RGB", size, SHEET)
    pictures = sheet([list(row) for row in rows.values()], cell, SHEET)
    left = size[0] - pictures.width - 16
    top = (size[1] - pictures.height) // 2
    picture.paste(pictures, (left, top))
    pen = ImageDraw.Draw(picture)
    for number, word in enumerate(rows):
        middle = top + number * (cell[1] + 8) + cell[1] // 2
        pen.text((12, middle), word, LETTERS, font_for(word, 20), anchor="lm")
    return picture
