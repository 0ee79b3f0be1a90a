"""Where the faces of a picture are: also those that a detector misses at first, and those that lie on their side.

Detectors are trained on upright faces. Tight crops and huge faces they miss, and of a face that stands on its head
they often report one whose eyes are put where the mouth is. So a picture is looked at in several ways, and a face that
may not be upright is looked at once more alone, in all four turns.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from typing_extensions import Self

from ..geometry import Rect, area, longer_side, middle_of, shared
from ..people import Box, Keypoints, Point
from .pictures import Picture


@dataclass(frozen=True)
class Detection:
    """A face before anybody asked whose it is.

    score: 0..1. certain: False where the face seems to lie and was not clearly seen upright in any turn, so that its
    keypoints may be those of another way up.
    """

    box: Box
    keypoints: Keypoints
    score: float
    certain: bool = True

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
    *(Rung("at sizes from 576 px down to 192 px", size=size) for size in range(576, 191, -64)),
    *(Rung("turned by 90, 180 and 270 degrees", turns=turns, border=b) for b in (0.0, 0.5) for turns in (1, 2, 3)),
)

# Below this a face is compared with the same picture turned: on a photo that stands on its head detectors
# report a face with some 0.65 whose eyes are put where the mouth is, against 0.85 when turned upright.
_SURE = 0.7
# The tangent of 60 degrees.
_LEANING = 3**0.5
# What detectors see as zero.
_GREY = 127


@dataclass(frozen=True)
class _CloserLook:
    """How a face is looked at alone. around: side of the square that is cut out, in longer sides of the face's box."""

    size: int
    around: float


# The first tells in which turn a face is upright, at a quarter of the work of a look at the whole picture. The second
# tells where exactly it is. Measured on the faces of tests/faces, turned by 90, 180 and 270 degrees: upright they score
# 0.74 to 0.88 in the first, otherwise 0.5 to 0.75 and at least 0.07 less.
_WHICH_TURN = _CloserLook(size=320, around=3.5)
_WHERE = _CloserLook(size=640, around=3.0)


class Found(NamedTuple):
    """Faces in pixels of the original picture, surest first, and what was looked at until they were found."""

    faces: tuple[Detection, ...]
    tried: tuple[str, ...]


def find_faces(detector: Detector, picture: Picture, expected: int = 1) -> Found:
    """Climb the ladder until a face is found. Nothing found on any rung is an answer, not an error.

    A picture whose faces are all upright and clearly seen is looked at no more often than its rung says. expected: as
    many faces as somebody has counted in the picture. Where fewer are found it is looked at in the other turns as well,
    because of a face that stands on its head beside upright ones detectors may report nothing at all.
    """
    look = cache(partial(_look, detector, picture))
    tried: list[str] = []
    for rung in LADDER:
        if rung.what not in tried:
            tried.append(rung.what)
        faces = look(rung)
        if not faces:
            continue
        if rung.turns or _doubtful(faces[0], turns=0):
            rung = _upright_rung(look, rung)
            faces = look(rung)
            if len(faces) == 1 and expected <= 1 and _stands(faces[0], rung.turns):
                # The comparison of the whole picture in all turns was about this face alone.
                return Found(faces, tuple(tried))
        return Found(_each_in_its_turn(detector, picture, look, rung, faces, expected), tuple(tried))
    return Found((), tuple(tried))


def _upright_rung(look: Callable[[Rung], tuple[Detection, ...]], rung: Rung) -> Rung:
    """The rung by which the faces of a photo that lies are to be taken.

    `rung`, on which a face was found, tells which way up the photo is. The faces are those of the lowest rung with the
    photo turned that way.
    """

    def total(turns: int) -> float:
        return sum(face.score for face in look(replace(rung, turns=turns)))

    turns = max(range(4), key=total)
    turned = (replace(lower, turns=turns) for lower in LADDER)
    return next(lower for lower in turned if look(lower))


def _in_frame(keypoints: Keypoints, turns: int) -> Keypoints:
    """Keypoints as they lie to each other after a picture is turned `turns` times counter-clockwise by 90 degrees."""
    for _ in range(turns):
        keypoints = tuple((y, -x) for x, y in keypoints)
    return keypoints


def _from_eyes_to_mouth(face: Detection, turns: int) -> Point:
    """How far the mouth is to the right of and below the eyes, times 2, in the picture turned `turns` times."""
    left_eye, right_eye, _, left_mouth, right_mouth = _in_frame(face.keypoints, turns)
    across = left_mouth[0] + right_mouth[0] - left_eye[0] - right_eye[0]
    down = left_mouth[1] + right_mouth[1] - left_eye[1] - right_eye[1]
    return across, down


def _doubtful(face: Detection, turns: int) -> bool:
    """Whether a face found in the picture turned `turns` times may lie there, by its score or by its keypoints."""
    across, down = _from_eyes_to_mouth(face, turns)
    return face.score < _SURE or abs(across) > abs(down)


def _stands(face: Detection, turns: int) -> bool:
    """Whether the mouth is below the eyes in the picture turned `turns` times, by at most 60 degrees to the side.

    A face that leans by 45 degrees stands in two turns, however roughly its keypoints are seen.
    """
    across, down = _from_eyes_to_mouth(face, turns)
    return abs(across) <= _LEANING * down


def _each_in_its_turn(
    detector: Detector,
    picture: Picture,
    look: Callable[[Rung], tuple[Detection, ...]],
    rung: Rung,
    faces: tuple[Detection, ...],
    expected: int,
) -> tuple[Detection, ...]:
    """The faces of a rung, of which those that lie are replaced by what is seen of them upright.

    Where one of them lies, or fewer than `expected` are seen, the whole picture is looked at in the other turns as
    well, for faces that are seen in no other: a family on a bed. Otherwise the faces are returned as they are.
    """
    kept: list[Detection] = []
    upright: list[Detection] = []
    for face in faces:
        if not _doubtful(face, rung.turns):
            kept.append(face)
            continue
        turned = _upright_face(detector, picture, face, rung.turns)
        if turned is face:
            kept.append(face)
        elif turned is None:
            kept.append(replace(face, certain=False))
        else:
            upright.append(turned)
    if not upright and len(kept) >= expected:
        return tuple(kept)
    for turns in range(4):
        if turns != rung.turns:
            others = look(replace(rung, turns=turns))
            upright += [face for face in others if face.score >= _SURE and _stands(face, turns)]
    # Two guesses of one face that lies become one face, and a neighbour seen upright is seen in other turns as well.
    for face in sorted(upright, key=lambda face: -face.score):
        if not _among(face, kept):
            kept.append(face)
    return tuple(sorted(kept, key=lambda face: -face.score))


def _among(face: Detection, others: Iterable[Detection]) -> bool:
    """Whether one of these is the same face: the middle of either box lies in the other."""
    return any(_inside(middle_of(face.box), other.box) or _inside(middle_of(other.box), face.box) for other in others)


def _inside(point: Point, box: Box) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def _upright_face(detector: Detector, picture: Picture, face: Detection, turns: int) -> Detection | None:
    """A doubtful face as it is seen in the turn in which it is upright.

    turns: of the picture in which it was found; where that is its own turn, it is returned as it is. So is one that
    stands there and is seen alone in no turn, as small and drawn faces are. None where another turn is likelier, but
    seen less surely than _SURE, and for one that does not stand and is seen upright in no turn.
    """
    seen: dict[int, Detection] = {}
    for more in range(4):
        turn = (turns + more) % 4
        if alike := _seen_again(detector, picture, face, turn, _WHICH_TURN):
            seen[turn] = alike
    if not seen:
        return face if _stands(face, turns) else None
    # The first of equals: the turn in which it was found.
    best = max(seen, key=lambda turn: seen[turn].score)
    if best == turns:
        return face
    turned = _seen_again(detector, picture, face, best, _WHERE) or seen[best]
    return turned if turned.score >= _SURE else None


def _seen_again(
    detector: Detector, picture: Picture, face: Detection, turns: int, how: _CloserLook
) -> Detection | None:
    """The face in a square cut out around it and turned, in pixels of the picture; None where it is not upright."""
    left, top, right, bottom = _square(face.box, how.around, picture)
    cut = np.ascontiguousarray(picture[top:bottom, left:right])
    rung = Rung("a face alone", size=how.size, turns=turns)

    def back(point: Point) -> Point:
        return point[0] + left, point[1] + top

    candidates: list[Detection] = []
    for other in _look(detector, cut, rung):
        moved = other.moved(back)
        if _stands(moved, turns) and _overlap(moved.box, face.box) >= _SAME_FACE:
            candidates.append(moved)
    return max(candidates, key=lambda other: other.score, default=None)


_SAME_FACE = 0.3
"""From here on two boxes are of one face. A box around a face that stands on its head is moved by up to half of it."""


def _overlap(a: Box, b: Box) -> float:
    """What two boxes share, as part of what they cover together."""
    both = shared(a, b)
    return both / (area(a) + area(b) - both)


def _square(box: Box, around: float, picture: Picture) -> Rect:
    """A square around a box, `around` times its longer side, as far as it lies in the picture."""
    height, width = picture.shape[:2]
    x, y = middle_of(box)
    half = longer_side(box) * around / 2
    return max(0, int(x - half)), max(0, int(y - half)), min(width, int(x + half)), min(height, int(y + half))


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
