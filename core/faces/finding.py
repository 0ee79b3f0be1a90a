"""Where the faces of a picture are: also those that a detector misses at first, and those that lie on their side.

Detectors are trained on upright faces. Tight crops and huge faces they miss, and of a face that stands on its head
they often report one whose eyes are put where the mouth is. So a picture is looked at in several ways, and a face that
may not be upright is looked at once more alone, in all four turns.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from typing_extensions import Self

from ..cast import CROP, Box, FacePoints, Keypoints, Point
from ..pictures.geometry import Rect, area, longer_side, middle_of, shared_area, shorter_side
from ..places.vectors import middle
from .pictures import Picture


@dataclass(frozen=True)
class Detection:
    """A face as a detector sees it, before it is known whose it is.

    box, keypoints: in pixels of the picture. score: 0..1, how sure the detector is.
    certain: False where the face seems to lie and was not clearly seen upright in any turn, so that its keypoints may
    be those of another way up.
    unseen_below: px of its picture; smaller faces beside it may have been too small to be seen. 0 where that is no
    matter.
    points: of a face mesh; None from a detector that finds no more than the keypoints.
    """

    box: Box
    keypoints: Keypoints
    score: float
    certain: bool = True
    unseen_below: float = 0.0
    points: FacePoints | None = None

    def moved(self, to: Callable[[Point], Point]) -> Self:
        """The face in another picture, turned or scaled. to: from a point of this picture to its point there."""
        x_a, y_a = to(self.box[:2])
        x_b, y_b = to(self.box[2:])
        box = (min(x_a, x_b), min(y_a, y_b), max(x_a, x_b), max(y_a, y_b))
        keypoints = tuple(to(point) for point in self.keypoints)
        points = self.points and tuple((*to((x, y)), confidence) for x, y, confidence in self.points)
        return replace(self, box=box, keypoints=keypoints, points=points)


Detector = Callable[[Picture, int], Sequence[Detection]]
"""(picture, side in px of the square that the picture is fitted into) -> faces, surest first."""


@dataclass(frozen=True)
class View:
    """One way to look at a picture.

    size: side in pixels of the square that the picture is fitted into. border: a grey border on each side, in parts of
    the longer side. turns: by how many times 90 degrees the picture is turned counter-clockwise.
    """

    size: int = 640
    border: float = 0.0
    turns: int = 0


VIEWS = (
    View(),
    View(border=0.5),
    *[View(size=size) for size in range(576, 191, -64)],
    *[View(border=border, turns=turns) for border in (0.0, 0.5) for turns in (1, 2, 3)],
)
"""The ways to look at a picture, one after the other until a face is found: a border for faces that fill the picture,
smaller sizes for faces that are too large."""

# Below this a face is compared with the same picture turned: on a photo that stands on its head detectors
# report a face with some 0.65 whose eyes are put where the mouth is, against 0.85 when turned upright.
_SURE = 0.7
# The tangent of 60 degrees: the steepest lean of a face that is still upright, see `_is_upright`.
_LEANING = 3**0.5
# The colour of borders, of 255. Detectors subtract 127.5 and so read it as about 0.
_GREY = 127


@dataclass(frozen=True)
class _CloserLook:
    """A way to look at one face alone.

    size: as of a View. around: side of the square that is cut out, in longer sides of the face's box.
    """

    size: int
    around: float


# _WHICH_TURN tells in which turn a face is upright, at a quarter of the work of a look at the whole picture (half of
# its 640 px each way). _WHERE then tells exactly where the face is. Measured on the faces of tests/faces, turned by 90,
# 180 and 270 degrees: with _WHICH_TURN a face scores 0.74 to 0.88 in the turn in which it is upright, and 0.5 to 0.75
# in the others, at least 0.07 less than upright.
_WHICH_TURN = _CloserLook(size=320, around=3.5)
_WHERE = _CloserLook(size=640, around=3.0)


# How wide a face is, in pixels of what the network reads, where detectors still find nearly every face; and where they
# see it clearly. A photo is looked at closer where a face of CROP px, which a recogniser reads whole, would not be
# found, or where a face that was found is not clear. Measured on the six friends of tests/faces, made smaller: from
# 13 px on all are found, from 20 px on with scores above 0.7 and with exact keypoints.
_FOUND_FROM, _CLEAR_FROM = 16, 24
_CLOSER = _CLEAR_FROM / CROP
"""The scale of a large photo for the closer look."""
_LEAST_LOOKED_FOR = CROP / 2
"""Px in the photo. For faces below this width no photo is looked at closer."""
_FIRST, _MOST = 640, 2560
"""Sides of what the network reads at the first look, and at most: above, a network on a card takes gigabytes."""
_STEP = 128
"""Sides are multiples of the widest stride of a detector."""
_SMALL = 2 * _FOUND_FROM
"""Width of a face at the first look below which a closer look decides, in pixels of what the network reads. Larger
ones a closer look may take apart: the nostrils of a face that fills the picture."""
_LEAST_CLOSER = 0.6
"""The least score of a face that the closer look alone shows: it also sees more of what only looks like a face."""


def find_faces(detector: Detector, picture: Picture, expected: int = 1) -> tuple[Detection, ...]:
    """The faces of a picture, the surest first. It is looked at in the VIEWS until a face is found; none is no error.

    Where the first view that shows a face shows all faces upright and clearly, the picture is not looked at again.
    A large photo is looked at closer in the first view, see `_with_small_faces`.
    expected: how many faces the user has counted in the picture. Where fewer are found the picture is looked at in the
    other turns as well: detectors may miss a face that stands on its head beside upright ones.
    """
    photo = _Photo(detector, picture)
    view = next((view for view in VIEWS if photo.look(view)), None)
    if view is None:
        return ()
    surest_face = photo.look(view)[0]
    may_lie = view.turns > 0 or _is_doubtful(surest_face, view.turns)
    if may_lie:
        view = photo.upright_view(view)
        faces = photo.look(view)
        is_alone = len(faces) == 1 and expected <= 1  # and nobody says that there are more
        # `upright_view` has compared the four turns of the whole picture, so its only face need not be turned again.
        if is_alone and _is_upright(faces[0], view.turns):
            return faces
    return photo.each_in_its_turn(view, expected)


class _Photo:
    """A picture, and what a detector sees of it. look: a view -> its faces; no view is looked at twice."""

    def __init__(self, detector: Detector, picture: Picture) -> None:
        self._detector = detector
        self._picture = picture
        self.look = cache(partial(_look, detector, picture))

    def upright_view(self, view: View) -> View:
        """The view in which the faces of a photo are seen upright, for a photo that may lie on its side or its head.

        First the photo is looked at in all four turns, with the size and the border of `view`, in which a face was
        found. The turn in which the scores of the faces have the largest sum is taken for upright. Then it is looked
        at in the VIEWS turned so; the first one that shows a face is returned.
        """

        def sum_of_scores(turns: int) -> float:
            """How sure the detector is of all faces in the photo turned so, in sum."""
            return sum(face.score for face in self.look(replace(view, turns=turns)))

        turns = max(range(4), key=sum_of_scores)
        turned_views = (replace(any_view, turns=turns) for any_view in VIEWS)
        # One of them shows a face: `view` itself is among VIEWS, and turned so it has the largest sum of scores.
        return next(turned_view for turned_view in turned_views if self.look(turned_view))

    def each_in_its_turn(self, view: View, expected: int) -> tuple[Detection, ...]:
        """The faces of a picture, each as it is seen in the turn in which it is upright; the surest first.

        Each doubtful face that `view` shows is looked at alone, in all turns. If one of them is upright in another
        turn, or if fewer than `expected` faces are seen, the whole picture is looked at in the other turns as well: on
        a photo of a family that lies on a bed in several directions, a face may be seen in one turn only.
        """
        result: list[Detection] = []
        turned_faces: list[Detection] = []
        for face in self.look(view):
            is_doubtful = _is_doubtful(face, view.turns)
            seen = self._upright_face(face, view.turns) if is_doubtful else face
            is_upright_in_another_turn = seen is not face and seen.certain
            if is_upright_in_another_turn:
                turned_faces.append(seen)
            else:  # upright as it was found, or in none for certain
                result.append(seen)
        if turned_faces or len(result) < expected:
            turned_faces += self._upright_in_other_turns(view)
        # A face may be seen in several turns, also one that is in `result` already: the surest detection of it is kept.
        for face in _surest_first(turned_faces):
            if not _is_among(face, result):
                result.append(face)
        return tuple(_surest_first(result))

    def _upright_in_other_turns(self, view: View) -> list[Detection]:
        """The faces that are seen clearly and upright in the whole picture, turned in another way than in `view`."""
        upright: list[Detection] = []
        for turns in range(4):
            if turns != view.turns:
                faces = self.look(replace(view, turns=turns))
                upright += [face for face in faces if face.score >= _SURE and _is_upright(face, turns)]
        return upright

    def _upright_face(self, face: Detection, turns: int) -> Detection:
        """A doubtful face as it is seen in the turn in which it is upright; not `certain` where that cannot be told.

        turns: how often the picture was turned where the face was found. It is `face` itself that is returned, unless
        the face, cut out and looked at in all turns, is seen better and surely in another one.
        """
        not_certain = replace(face, certain=False)
        upright: dict[int, Detection] = {}  # turns -> the face, where it is upright after them
        for turned in range(4):
            detection = self._seen_again(face, turned, _WHICH_TURN)
            if detection:
                upright[turned] = detection
        if not upright:  # as happens to small and drawn faces
            return face if _is_upright(face, turns) else not_certain
        # Of turns with the same score the one in which the face was found.
        best = max(upright, key=lambda turned: (upright[turned].score, turned == turns))
        if best == turns:
            return face
        located = self._seen_again(face, best, _WHERE) or upright[best]
        return located if located.score >= _SURE else not_certain

    def _seen_again(self, face: Detection, turns: int, closer_look: _CloserLook) -> Detection | None:
        """The face in a square that is cut out around it and turned `turns` times, in pixels of the picture.

        Only faces in the square count that are upright in this turn and overlap `face`. The surest of them is returned,
        None where there is none. Its `unseen_below` is that of `face`.
        """
        left, top, right, bottom = _square_around(face.box, closer_look.around, self._picture)
        square = self._picture[top:bottom, left:right]
        view = View(size=closer_look.size, turns=turns)

        def onto_picture(point: Point) -> Point:
            """A point of the square in pixels of the picture."""
            return point[0] + left, point[1] + top

        candidates: list[Detection] = []
        for detection in _look(self._detector, square, view):
            # `unseen_below` speaks of the photo, and not of the square.
            candidate = replace(detection.moved(onto_picture), unseen_below=face.unseen_below)
            if _is_upright(candidate, turns) and _overlap(candidate.box, face.box) >= _SAME_FACE:
                candidates.append(candidate)
        return max(candidates, key=lambda candidate: candidate.score, default=None)


def _surest_first(faces: Iterable[Detection]) -> list[Detection]:
    return sorted(faces, key=lambda face: -face.score)


def _from_eyes_to_mouth(face: Detection, turns: int) -> Point:
    """The vector from the middle of the eyes to that of the mouth in the picture turned `turns` times, px: x to the
    right, y down."""
    left_eye, right_eye, _, left_mouth, right_mouth = face.keypoints
    eyes_x, eyes_y = middle(left_eye, right_eye)
    mouth_x, mouth_y = middle(left_mouth, right_mouth)
    across = mouth_x - eyes_x
    down = mouth_y - eyes_y
    for _ in range(turns):
        # A counter-clockwise turn brings the right edge to the top: what led downwards now leads to the right.
        across, down = down, -across
    return across, down


def _is_doubtful(face: Detection, turns: int) -> bool:
    """Whether a face that was found in the picture turned `turns` times may not be upright there: its score is low, or
    its mouth lies more to the side of the eyes than below or above them."""
    across, down = _from_eyes_to_mouth(face, turns)
    return face.score < _SURE or abs(across) > abs(down)


def _is_upright(face: Detection, turns: int) -> bool:
    """Whether the mouth is below the eyes, at most 60 degrees to the side, in the picture turned `turns` times.

    With a limit of 45 degrees, a face that leans by 45 degrees might be upright in no turn, because its keypoints are
    not exact. With 60 it is upright in two turns.
    """
    across, down = _from_eyes_to_mouth(face, turns)
    return abs(across) <= _LEANING * down


def _is_among(face: Detection, others: Iterable[Detection]) -> bool:
    """Whether one of these detections is of the same face: the middle of either box lies in the other box."""
    for other in others:
        if _is_inside(middle_of(face.box), other.box) or _is_inside(middle_of(other.box), face.box):
            return True
    return False


def _is_inside(point: Point, box: Box) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


_SAME_FACE = 0.3
"""The least overlap (intersection over union) of two boxes of one face. It is low because a detector's box around a
face that stands on its head is moved by up to half of its side."""


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes: the area that they share, in parts of what they cover together."""
    intersection = shared_area(a, b)
    return intersection / (area(a) + area(b) - intersection)


def _square_around(box: Box, around: float, picture: Picture) -> Rect:
    """A square around a box, `around` times its longer side, as far as it lies in the picture."""
    height, width = picture.shape[:2]
    x, y = middle_of(box)
    half = longer_side(box) * around / 2
    left = max(0, int(x - half))
    top = max(0, int(y - half))
    right = min(width, int(x + half))
    bottom = min(height, int(y + half))
    return left, top, right, bottom


def _look(detector: Detector, picture: Picture, view: View) -> tuple[Detection, ...]:
    """The faces that a detector sees when a picture is looked at as a view says, in pixels of the picture.

    () for a picture too narrow for the view. At the size of the first look and without a border, a large photo is also
    looked at closer for small faces.
    """
    turned = np.rot90(picture, view.turns)
    height, width = turned.shape[:2]
    if min(height, width) * view.size < max(height, width):
        return ()  # fitted into the square, the shorter side would have no pixel left
    border = round(view.border * max(height, width))
    # Without a border no copy of a large photo is made.
    pixels = np.pad(turned, ((border, border), (border, border), (0, 0)), constant_values=_GREY) if border else turned

    def onto_picture(point: Point) -> Point:
        """A point of the padded and turned picture in pixels of the picture itself."""
        x = point[0] - border
        y = point[1] - border
        right = width - 1
        bottom = height - 1
        # Each step undoes one turn. A counter-clockwise turn brought the right edge to the top, so y in the turned
        # picture counts from the right edge, and x is what was y. Width and height change places.
        for _ in range(view.turns):
            x, y = bottom - y, x
            right, bottom = bottom, right
        return x, y

    faces = detector(pixels, view.size)
    if view.size == _FIRST and not border:
        faces = _with_small_faces(detector, pixels, faces)
    return tuple(face.moved(onto_picture) for face in faces)


# --- Small faces of large photos


def _with_small_faces(detector: Detector, picture: Picture, faces: Sequence[Detection]) -> Sequence[Detection]:
    """The faces of a first look, and those of a large photo that a closer look shows; the surest first.

    The closer look decides about small faces, whose keypoints are not exact at the first look. It is left out for a
    picture in which a face of _LEAST_LOOKED_FOR would be found, and for one in which a face of CROP px would be found
    and all faces are clear. In any other picture the faces get their `unseen_below`. faces: those of the first look.
    """
    longer = max(picture.shape[:2])
    a_pixel = longer / _FIRST  # of what the network reads at the first look, in pixels of the picture
    unseen_below = _FOUND_FROM * a_pixel
    small_are_found = unseen_below <= _LEAST_LOOKED_FOR
    readable_are_found = unseen_below <= CROP
    all_are_clear = all(shorter_side(face.box) / a_pixel >= _CLEAR_FROM for face in faces)
    if small_are_found or (readable_are_found and all_are_clear):
        return faces
    side = _closer_side(longer)
    if side > _FIRST:  # else the network would read no more than at the first look
        faces = _decided_by_a_closer_look(faces, detector(picture, side), _SMALL * a_pixel)
        unseen_below = _FOUND_FROM * longer / side
    return [replace(face, unseen_below=unseen_below) for face in _surest_first(faces)]


def _closer_side(longer: int) -> int:
    """The side of what the network reads at the closer look. longer: the photo's longer side, px."""
    return min(_MOST, round(longer * _CLOSER / _STEP) * _STEP)


def missed_below(picture: Picture) -> float:
    """How wide a face must be at least, px, to be found in a large photo; 0 for a photo in which faces of
    _LEAST_LOOKED_FOR px are found."""
    longer = max(picture.shape[:2])
    width = _FOUND_FROM * longer / max(_FIRST, _closer_side(longer))
    return width if width > _LEAST_LOOKED_FOR else 0.0


def _decided_by_a_closer_look(
    first: Sequence[Detection], closer: Sequence[Detection], small_below: float
) -> list[Detection]:
    """The faces of both looks, each once.

    Large faces are those of the first look. Small faces are those of the closer look from _LEAST_CLOSER on, and those
    that the first look alone shows. first, closer: the faces of each look. small_below: px of the photo.
    """
    faces = [face for face in first if longer_side(face.box) >= small_below]
    for face in closer:
        is_small = longer_side(face.box) < small_below
        if is_small and face.score >= _LEAST_CLOSER and not _is_among(face, faces):
            faces.append(face)
    faces += [face for face in first if not _is_among(face, faces)]
    return faces
