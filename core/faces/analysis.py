"""From a picture to ordered faces with embeddings, pictures of them for networks that look, and numbers on them.

Also those that a detector misses at first: tight crops, huge faces, photos that lie on their side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import Self

from ..errors import BadEmbedding, BadPhoto, FaceNotFound, counted, first, gathered
from ..geometry import area, shorter_side, square_around, upright
from ..identities import why_bad
from ..people import ALIGNED, CROP, LOOSE, NOSE, Box, Face, Keypoints, Point, Portraits
from ..previews import Sheet, as_picture, color_of
from .pictures import Picture, align, is_placeholder, to_image


@dataclass(frozen=True)
class Detection:
    """A face before anybody asked whose it is. score: 0..1."""

    box: Box
    keypoints: Keypoints
    score: float

    def moved(self, to: Callable[[Point], Point]) -> Self:
        """In another picture, turned or scaled. to: where a point of this one is there."""
        (xa, ya), (xb, yb) = to(self.box[:2]), to(self.box[2:])
        box = (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))
        return replace(self, box=box, keypoints=tuple(map(to, self.keypoints)))


Detector = Callable[[Picture, int], Sequence[Detection]]
"""(picture, side in px of the square that the picture is fitted into) -> faces, surest first."""


@dataclass(frozen=True)
class Rung:
    """One way to look at a picture. border: as part of the longer side, on each side. turns: 90 degrees each."""

    what: str = field(compare=False)
    size: int = 640
    border: float = 0.0
    turns: int = 0


LADDER = (
    Rung("the picture as it is"),
    Rung("with a border around it", border=0.5),
    *(Rung("smaller (576 px down to 192 px)", size=size) for size in range(576, 191, -64)),
    *(Rung("turned by 90, 180 and 270 degrees", turns=turns, border=b) for b in (0.0, 0.5) for turns in (1, 2, 3)),
)

# Below this a face is compared with the same picture turned: on a photo that stands on its head detectors
# report a face with some 0.65 whose eyes are put where the mouth is, against 0.85 when turned upright.
_SURE = 0.7
# What detectors see as zero.
_GREY = 127


class Found(NamedTuple):
    """Faces in pixels of the original picture, surest first, and what was looked at until they were found."""

    faces: tuple[Detection, ...]
    tried: tuple[str, ...]


def find_faces(detector: Detector, picture: Picture) -> Found:
    """Climb the ladder until a face is found. Nothing found on any rung is an answer, not an error."""
    look = cache(partial(_look, detector, picture))

    def upright(rung: Rung) -> tuple[Detection, ...]:
        """This rung tells which way up the photo is; the faces are those of the photo turned that way, from below."""
        turns = max(range(4), key=lambda turns: sum(face.score for face in look(replace(rung, turns=turns))))
        return next(faces for lower in LADDER if (faces := look(replace(lower, turns=turns))))

    tried: list[str] = []
    for rung in LADDER:
        if rung.what not in tried:
            tried.append(rung.what)
        if faces := look(rung):
            return Found(upright(rung) if rung.turns or _doubtful(faces[0]) else faces, tuple(tried))
    return Found((), tuple(tried))


def _doubtful(face: Detection) -> bool:
    left_eye, right_eye, _, left_mouth, right_mouth = face.keypoints
    across = abs(left_mouth[0] + right_mouth[0] - left_eye[0] - right_eye[0])
    down = abs(left_mouth[1] + right_mouth[1] - left_eye[1] - right_eye[1])
    return face.score < _SURE or across > down


def _look(detector: Detector, picture: Picture, rung: Rung) -> tuple[Detection, ...]:
    turned = np.rot90(picture, rung.turns)
    height, width = turned.shape[:2]
    if min(height, width) * rung.size < max(height, width):
        return ()  # fitted into the square, the shorter side would have no pixel left
    border = round(rung.border * max(height, width))
    padded = np.pad(turned, ((border, border), (border, border), (0, 0)), constant_values=_GREY)

    def back(point: Point) -> Point:
        x, y, right, bottom = point[0] - border, point[1] - border, width - 1, height - 1
        for _ in range(rung.turns):  # each undoes one turn counter-clockwise
            x, y, right, bottom = bottom - y, x, bottom, right
        return x, y

    return tuple(face.moved(back) for face in detector(np.ascontiguousarray(padded), rung.size))


ORDERS = ("left to right", "top to bottom", "largest", "score")
NUMBERED = "left to right"
"""The order in which `choose` counts faces."""


class Recogniser(Protocol):
    """What turns aligned crops into embeddings.

    one_person_from: cosine from which two photos are of one person to it, where its file says so, else None.
    """

    id: str
    crop_size: int
    one_person_from: float | None

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        """(n, 512) float32 CPU for n BGR crops of crop_size pixels."""
        ...


def detect(detector: Detector, picture: Picture, where: str) -> tuple[Detection, ...]:
    """Every face of a picture, surest first.

    Raises FaceNotFound, naming `where` and what was tried, when the whole ladder finds none.
    """
    found = find_faces(detector, picture)
    if not found.faces:
        placeholder = is_placeholder(picture)
        raise FaceNotFound(where, picture.shape[1], picture.shape[0], found.tried, placeholder=placeholder)
    return found.faces


def arrange(faces: Sequence[Detection], by: str) -> list[Detection]:
    """Faces in one of ORDERS, by their noses, as ID-Patch sorts them; equal ones left to right, then top to bottom."""

    def key(face: Detection) -> tuple[float, float, float]:
        x, y = face.keypoints[NOSE]
        first = {"left to right": x, "top to bottom": y, "largest": -area(face.box), "score": -face.score}[by]
        return first, x, y

    return sorted(faces, key=key)


def choose(faces: Sequence[Detection], which: str, where: str) -> Detection:
    """The face meant by `which`: only, largest, or its number from left to right, counted from 1.

    Raises BadPhoto where that is not one of the faces.
    """
    if which == "only":
        if len(faces) > 1:
            raise BadPhoto(
                f"{where[0].upper()}{where[1:]} shows {len(faces)} faces where one person is meant.",
                "Crop the photo to one face. Or set which_face (Which face) of its Identity or People from Photos node "
                "or of the box around it: largest, or a number (all faces, from left to right, as the node now shows).",
            )
        return faces[0]
    if which == "largest":
        return arrange(faces, "largest")[0]
    number = int(which)
    if not 1 <= number <= len(faces):
        numbered = f" (numbered 1 to {len(faces)})" if len(faces) > 1 else ""
        advice = "Choose a number that the node now shows in the photo: all faces, from left to right."
        raise BadPhoto(f"Face {number} was asked for, but {where} has {len(faces)}{numbered}.", advice)
    return arrange(faces, NUMBERED)[number - 1]


def recognise(
    recognisers: Sequence[Recogniser], picture: Picture, faces: Sequence[Detection], where: str, portraits: bool = False
) -> tuple[Face, ...]:
    """Align each face once per crop size and embed it with every recogniser.

    portraits: whether somebody is made of these faces, who then has pictures of them too.
    Raises BadEmbedding, naming `where`, when a recogniser returns anything but 512 usable numbers.
    """
    sizes = {CROP, *([ALIGNED] if portraits else ()), *(recogniser.crop_size for recogniser in recognisers)}
    crops = {size: [align(picture, face.keypoints, size) for face in faces] for size in sizes}
    embeddings = {recogniser.id: recogniser.embed(crops[recogniser.crop_size]) for recogniser in recognisers}
    for recogniser, rows in embeddings.items():
        if why := why_bad(rows):
            raise BadEmbedding(where, recogniser, why)
    limits: dict[str, float] = {}
    for recogniser in recognisers:
        if recogniser.one_person_from is not None:
            limits[recogniser.id] = recogniser.one_person_from
    return tuple(
        Face(
            face.box,
            face.keypoints,
            face.score,
            to_image(crops[CROP][n]),
            {key: e[n] for key, e in embeddings.items()},
            Portraits(_rgb(crops[ALIGNED][n]), _rgb(_loose(picture, face))) if portraits else None,
            one_person_from=limits,
        )
        for n, face in enumerate(faces)
    )


def large_enough(faces: Sequence[Detection], min_size: int) -> list[Detection]:
    """Faces whose box is at least min_size pixels on its shorter side.

    Raises BadPhoto when that leaves none of them.
    """
    kept = [face for face in faces if shorter_side(face.box) >= min_size]
    if not kept:
        largest = max(shorter_side(face.box) for face in faces)
        found = f"The picture has {counted(len(faces), 'face')}, but the largest is {largest:.0f} px"
        raise BadPhoto(f"{found} and min_size is {min_size} px.", "Lower min_size or use a larger picture.")
    return kept


def small_faces(seen: Sequence[tuple[str, Face]]) -> list[str]:
    """Whose faces have fewer pixels than recognisers read, in one line. seen: who is meant, and their face."""
    found = [f"{who} {size:.0f}" for who, face in seen if (size := shorter_side(face.box)) < CROP]
    return gathered("Faces small in the photos", first(found), f" px; {CROP} needed: larger photos")


def describe(face: Face) -> str:
    """Size and score of a face, for reports; says so when it is small."""
    x0, y0, x1, y1 = face.box
    note = "; small, a larger photo gives a better likeness" if shorter_side(face.box) < CROP else ""
    return f"face of {x1 - x0:.0f}x{y1 - y0:.0f} px, score {face.score:.2f}{note}"


_MARGIN = 0.6
"""Around the face box on each side, in face sizes: the hair, the neck and the shoulders' beginning."""


def _loose(picture: Picture, face: Detection) -> Picture:
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = square_around(face.box, _MARGIN, width, height)
    square = np.ascontiguousarray(np.rot90(picture[y0:y1, x0:x1], upright(face.keypoints)))
    # Pillow widens its filter where a picture becomes smaller, so that nothing of a large photo is skipped.
    return np.asarray(Image.fromarray(square).resize((LOOSE, LOOSE), Image.Resampling.BICUBIC))


def _rgb(picture: Picture) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture[None, ..., ::-1]))  # pyright: ignore[reportUnknownMemberType]


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
