"""The faces of a picture: put in order, chosen, recognised, cut out for networks, and numbered on a preview."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..cast import ALIGNED, CROP, LOOSE, NOSE, Face, Portraits
from ..checks.errors import BadEmbedding, BadPhoto, counted, first_few, gathered
from ..persons.checks import why_bad
from ..pictures.geometry import area, shorter_side, square_around, upright
from ..pictures.previews import Sheet, as_picture, color_of
from .finding import Detection, Detector, find_faces, missed_below
from .pictures import Picture, align, align_ffhq, no_face, to_image
from .which import LARGEST, ONLY

ORDERS = ("left to right", "top to bottom", "largest", "score")
NUMBERED = "left to right"
"""The order in which `choose` counts faces."""


class Recogniser(Protocol):
    """A network that turns aligned crops of faces into embeddings.

    one_person_from: the cosine similarity of two embeddings at which this recogniser takes them for one person. None
    where its file does not say; then persons.ONE_PERSON is used.
    """

    id: str
    crop_size: int
    one_person_from: float | None

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        """The embeddings of n crops, (crop_size, crop_size, 3) each: (n, 512) float32 on the CPU."""
        ...


def detect(
    detector: Detector, picture: Picture, where: str, expected: int = 1, boxable: bool = False
) -> tuple[Detection, ...]:
    """Every face of a picture, the surest first.

    where: what a message calls the picture. expected: how many faces are known to be in it, see `find_faces`.
    boxable: as in FaceNotFound. Raises FaceNotFound where no look at the picture finds a face; for a large picture its
    advice also says how small a face may be missed.
    """
    faces = find_faces(detector, picture, expected)
    if not faces:
        error = no_face(picture, where, boxable)
        missed = missed_below(picture)
        if missed:
            error.advice = f"{_unseen(missed)}: cut such a photo to the part with the people. {error.advice}"
        raise error
    return faces


def arrange(faces: Sequence[Detection], by: str) -> list[Detection]:
    """Faces in one of ORDERS: by x or y of the nose, as ID-Patch sorts them, by the area of the box or by the score.

    The largest and the surest come first. Faces that are equal in that are ordered left to right, then top to bottom.
    """

    def key(face: Detection) -> tuple[float, float, float]:
        """The number that decides, then x and y of the nose for faces that are equal in it."""
        x, y = face.keypoints[NOSE]
        values = {"left to right": x, "top to bottom": y, "largest": -area(face.box), "score": -face.score}
        return values[by], x, y

    return sorted(faces, key=key)


def choose(faces: Sequence[Detection], which: str, where: str) -> Detection:
    """The face of a photo that a user has chosen.

    which: "only", "largest", or a number, counted from 1 from left to right. where: what a message calls the photo.
    In a photo with one face every choice means that face, also a number above 1: a user may give one number for several
    photos, and some of them show more people than others. Raises BadPhoto where the choice is not one of the faces.
    """
    if len(faces) == 1:
        return faces[0]
    if which == ONLY:
        raise BadPhoto(
            f"{where[0].upper()}{where[1:]} shows {len(faces)} faces where one person is meant.",
            f"Set Which face (which_face) to the number of the face that is meant, counted from left to right, 1 to "
            f"{len(faces)}. Of several photos each has a number, also one with a single face: 1,3 means face 3 of the "
            "second photo.",
        )
    if which == LARGEST:
        return arrange(faces, "largest")[0]
    number = int(which)  # the third kind of choice
    if number > len(faces):
        unseen_below = max(face.unseen_below for face in faces)
        unseen = f" {_unseen(unseen_below)}." if unseen_below else ""
        raise BadPhoto(
            f"Face {number} was asked for, but {where} has {len(faces)} (numbered 1 to {len(faces)}).",
            f"Set Which face (which_face) to a number from 1 to {len(faces)} for this photo: all faces, counted from "
            "left to right. A face that lies or stands on its head beside others may be missed: turn the photo until "
            f"it is upright.{unseen}",
        )
    return arrange(faces, NUMBERED)[number - 1]


def recognise(
    recognisers: Sequence[Recogniser], picture: Picture, faces: Sequence[Detection], where: str, portraits: bool = False
) -> tuple[Face, ...]:
    """The faces of a picture with the embeddings of every recogniser.

    portraits: whether each face also gets `Portraits`, the pictures that networks such as PhotoMaker's look at; they
    are needed where a person is made of the faces, and not where faces are only compared.
    where: what a message calls the picture. Raises BadEmbedding when a recogniser returns anything but 512 usable
    numbers for a face.
    """
    sizes = {CROP, *(recogniser.crop_size for recogniser in recognisers)}  # CROP: of the crop that a Face keeps
    if portraits:
        sizes.add(ALIGNED)  # for Portraits.aligned
    # Side in px -> a crop of every face. Recognisers of one size share the crops.
    crops = {size: [align(picture, face.keypoints, size) for face in faces] for size in sizes}
    embeddings: dict[str, Tensor] = {}  # id of a recogniser -> (faces, 512)
    for recogniser in recognisers:
        of_faces = recogniser.embed(crops[recogniser.crop_size])
        if why := why_bad(of_faces):
            raise BadEmbedding(where, recogniser.id, why)
        embeddings[recogniser.id] = of_faces
    cosines = {recogniser.id: recogniser.one_person_from for recogniser in recognisers}
    one_person_from = {identifier: cosine for identifier, cosine in cosines.items() if cosine is not None}
    recognised: list[Face] = []
    for index, face in enumerate(faces):
        portrait = _portraits(picture, face, crops[ALIGNED][index]) if portraits else None
        recognised.append(
            Face(
                face.box,
                face.keypoints,
                face.score,
                crop=to_image(crops[CROP][index]),
                embeddings={identifier: of_faces[index] for identifier, of_faces in embeddings.items()},
                portrait=portrait,
                certain=face.certain,
                one_person_from=one_person_from,
                unseen_below=face.unseen_below,
                points=face.points,
            )
        )
    return tuple(recognised)


def large_enough(faces: Sequence[Detection], min_size: int) -> list[Detection]:
    """Faces whose box is at least min_size pixels on its shorter side. faces: at least one.

    Raises BadPhoto when no face is that large.
    """
    large = [face for face in faces if shorter_side(face.box) >= min_size]
    if not large:
        largest = max(shorter_side(face.box) for face in faces)
        problem = f"The picture has {counted(len(faces), 'face')}, but the largest is {largest:.0f} px"
        raise BadPhoto(f"{problem} and min_size is {min_size} px.", "Lower min_size or use a larger picture.")
    return large


def weak_faces(faces: Sequence[tuple[str, Face]]) -> list[str]:
    """Notes of faces that a recogniser cannot read well: a line that names small ones, then those of `unsure_faces`.

    The first line is left out where no face is small. faces: pairs of (what a note calls the face, or the person's
    name; the face).
    """
    small: list[str] = []
    for name, face in faces:
        size = shorter_side(face.box)
        if size < CROP:
            small.append(f"{name} {size:.0f}")
    lines = gathered("Faces small in the photos", first_few(small), f" px; {CROP} needed: larger photos")
    return [*lines, *unsure_faces(faces)]


def unsure_faces(faces: Sequence[tuple[str, Face]]) -> list[str]:
    """Notes of what a detector could not tell: a line that names the faces with `certain` False, and a line that says
    below which size other faces may have been missed. Each is left out where there is nothing to say.

    faces: as in `weak_faces`.
    """
    names = [name for name, face in faces if not face.certain]
    lines = gathered(
        "Not sure which way up these faces are", first_few(names), "; turn the photo until they are upright"
    )
    unseen_below = max((face.unseen_below for _, face in faces), default=0)
    if unseen_below:
        lines.append(f"{_unseen(unseen_below)}: cut such a photo to the part with the people")
    return lines


def _unseen(below: float) -> str:
    """That small faces may be missing. below: px."""
    return f"In large photos faces below {below:.0f} px may not be seen"


def numbered(faces: Sequence[Face], picture: str = "") -> list[tuple[str, Face]]:
    """Faces of a picture with what a note calls them: "face 1", or "picture 2, face 1"."""
    prefix = f"{picture}, " if picture else ""
    return [(f"{prefix}face {number}", face) for number, face in enumerate(faces, 1)]


def describe(face: Face) -> str:
    """The size and score of a face, for reports, and what makes it hard to read."""
    x0, y0, x1, y1 = face.box
    description = f"face of {x1 - x0:.0f}x{y1 - y0:.0f} px, score {face.score:.2f}"
    if shorter_side(face.box) < CROP:
        description += "; small, a larger photo gives a better likeness"
    if not face.certain:
        description += "; not sure which way up it is, turn the photo until it is upright"
    return description


_MARGIN = 0.6
"""What a loose picture shows around the face's box on each side, in parts of the longer side of the box: hair, neck
and the upper part of the shoulders."""


def _portraits(picture: Picture, face: Detection, aligned: Picture) -> Portraits:
    """The portraits of one face. aligned: its crop of ALIGNED px."""
    loose = _loose_picture(picture, face)
    ffhq = align_ffhq(picture, face.keypoints)
    return Portraits(*(torch.as_tensor(portrait[None]) for portrait in (aligned, loose, ffhq)))


def _loose_picture(picture: Picture, face: Detection) -> Picture:
    """A square around a face with its surroundings, turned upright, (LOOSE, LOOSE, 3)."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = square_around(face.box, _MARGIN, width, height)
    quarter_turns = upright(face.keypoints)  # counter-clockwise, as rot90 counts them
    turned = np.rot90(picture[y0:y1, x0:x1], quarter_turns)
    square = Image.fromarray(np.ascontiguousarray(turned))
    # Pillow widens its filter where a picture becomes smaller, so that nothing of a large photo is skipped.
    return np.array(square.resize((LOOSE, LOOSE), Image.Resampling.BICUBIC))


def numbered_faces(image: Tensor, faces: Sequence[Detection | Face]) -> Tensor:
    """The picture with a box, five keypoints and a number, from 1, on every face.

    image: (H, W, 1|3|4) float 0..1. Returns (H, W, 3) float32 0..1.
    """
    sheet = Sheet(as_picture(image))
    for number, face in enumerate(faces):
        color = color_of(number)
        sheet.frame(face.box, color)
        for point in face.keypoints:
            sheet.dot(point, color)
    # Numbers last, so that no neighbour's box covers them.
    for number, face in enumerate(faces):
        sheet.label(str(number + 1), "", face.box[:2], color_of(number))
    return sheet.tensor()
