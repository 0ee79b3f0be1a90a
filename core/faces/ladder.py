"""Finding faces that a detector misses at first: tight crops, huge faces, photos that lie on their side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np
from typing_extensions import Self

from ..people import Box, Keypoints, Point
from .pictures import Picture


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


@dataclass(frozen=True)
class Found:
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
