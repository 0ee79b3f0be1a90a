"""The expression and gaze of a face in another photo, brought to the face of a place as points that are drawn."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np

from ..cast import FacePoints, Keypoints, Layout, Point, Slot
from ..checks.errors import LikenessError, counted
from ..faces import landmarks
from . import bodies, poses
from .layouts import NotedLayout
from .poses import OpenPose

FaceT = TypeVar("FaceT")

# Points of iBUG, from 0.
_VIEWERS_LEFT_EYE = range(36, 42)
_VIEWERS_RIGHT_EYE = range(42, 48)
_NOSE_TIP = 30
_MOUTH_CORNERS = (48, 54)
_MIRRORED = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46,
    39, 38, 37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65, 69, 68,
)  # fmt: skip
"""For each of the seventy points the one on the other side of the face."""
_RUNS_TOGETHER = 60
"""Height of a face, px, below which its drawn points cover more than half of it."""
_OTHER_TURN = 25
"""Degrees by which two heads are turned differently, from which on it is told."""


class BadExpression(LikenessError):
    """A photo of which no expression can be taken, or a place that can have none."""


def of_meshes(face_landmarks: Mapping[str, Any]) -> list[FacePoints]:
    """The points of the largest face of each picture of FACE_LANDMARKS. Raises BadExpression where there is none."""
    faces_of_pictures = [[landmarks.face_points(face) for face in faces] for faces in face_landmarks["frames"]]
    return _largest(faces_of_pictures, lambda face: face, "Detect Face Landmarks")


def of_poses(pose_keypoint: object) -> list[OpenPose]:
    """The person with the largest face of each picture of a POSE_KEYPOINT.

    Raises BadExpression where a picture has none, and BadPoses for what is no POSE_KEYPOINT.
    """
    frames = cast("Sequence[Any]", pose_keypoint if isinstance(pose_keypoint, (list, tuple)) else [pose_keypoint])
    people_of_pictures: list[list[OpenPose]] = []
    why = ""  # what was left out of all pictures: the end of the message of `_largest`
    for frame in frames:
        picture = poses.read([frame], nobody=True)  # a picture without people is refused in `_largest`
        people_of_pictures.append([person for person in picture.people if person.face_points])
        why += "".join(f"; {note}" for note in picture.notes)
    finder = "the pose node, with its face detection on,"
    return _largest(people_of_pictures, lambda person: person.face_points or (), finder, why)


def _largest(
    faces_of_pictures: Sequence[Sequence[FaceT]], points_of: Callable[[FaceT], FacePoints], finder: str, why: str = ""
) -> list[FaceT]:
    """The largest face of each picture, or whoever has it.

    points_of: gives the points of a face. finder: what finds faces. why: the end of a sentence that says what was left
    out. Both are for the message. Raises BadExpression where a picture has no face.
    """
    faces: list[FaceT] = []
    faces_of_pictures = faces_of_pictures or [[]]  # no pictures are refused like one without a face
    for number, of_picture in enumerate(faces_of_pictures, 1):
        whole_faces = [face for face in of_picture if _is_whole(points_of(face))]
        if not whole_faces:
            raise BadExpression(
                f"Photo {number} of {len(faces_of_pictures)} shows no face with eyes, nose and mouth{why}.",
                f"Give {finder} a photo of one face, large and not from the side.",
            )
        faces.append(max(whole_faces, key=lambda face: bodies.head_of_face(keypoints_of(points_of(face)))))
    return faces


_NEEDED = (*_VIEWERS_LEFT_EYE, *_VIEWERS_RIGHT_EYE, _NOSE_TIP, *_MOUTH_CORNERS)


def _is_whole(points: FacePoints) -> bool:
    """Whether eyes, nose and mouth are seen, and are not all in one pixel."""
    seen = all(points[number][2] > bodies.SEEN for number in _NEEDED)
    return seen and bodies.head_of_face(keypoints_of(points)) > 1


def keypoints_of(points: FacePoints) -> Keypoints:
    """The five keypoints of a face."""
    left_corner, right_corner = (points[number][:2] for number in _MOUTH_CORNERS)
    return (
        _mean_of(points, _VIEWERS_LEFT_EYE),
        _mean_of(points, _VIEWERS_RIGHT_EYE),
        points[_NOSE_TIP][:2],
        left_corner,
        right_corner,
    )


def _mean_of(points: FacePoints, numbers: Sequence[int]) -> Point:
    """The middle of some points of a face, such as those on the rim of an eye."""
    x, y = np.mean([points[number][:2] for number in numbers], axis=0)
    return (float(x), float(y))


def with_expressions(layout: Layout, faces: Sequence[FacePoints], first_place: int, mirror: bool) -> NotedLayout:
    """The layout with the first face at `first_place` (from 1), the second face at the next place, and so on.

    Each face is turned, shifted and scaled as a whole to fit the face of its place, so that its shape stays that of the
    photo. mirror: whether left and right of the photos are exchanged. Raises BadExpression where there are fewer places
    than faces, and for a place without face keypoints.
    """
    last = first_place + len(faces) - 1
    if last > len(layout.slots):
        raise BadExpression(
            f"The expressions are for places {first_place} to {last}, and the layout has "
            f"{counted(len(layout.slots), 'place')}.",
            "Choose a lower Place (place), or give fewer photos.",
        )
    slots = list(layout.slots)
    notes: list[str] = []
    drawn_faces = map(_mirrored, faces) if mirror else faces
    for number, points in enumerate(drawn_faces, first_place):  # numbers of places begin at 1
        slot = slots[number - 1]
        if slot.keypoints is None:
            raise BadExpression(
                f"Place {number} has no face keypoints, so nobody knows how large its face is and how it is turned.",
                "Make the layout from faces or masks, or with Layout for a Group.",
            )
        notes += _notes(number, slot.keypoints, keypoints_of(points))
        slots[number - 1] = _with_expression(slot, slot.keypoints, points)
    described = sorted({*layout.described, *range(first_place, last + 1)})
    return NotedLayout(replace(layout, slots=tuple(slots), described=tuple(described)), notes)


def _with_expression(slot: Slot, keypoints: Keypoints, points: FacePoints) -> Slot:
    """The place with the points of a face of a photo, moved onto the place's face.

    keypoints: of the place. points: of the photo's face.
    """
    photo_keypoints = keypoints_of(points)
    scale = bodies.head_of_face(keypoints) / bodies.head_of_face(photo_keypoints)
    # Points are x + iy, which a product with a number of length 1 turns. The best turn of five points (source) onto
    # five others (target), both around their middles, is the direction of the sum of target * conj(source).
    source = np.array([complex(*point) for point in photo_keypoints])
    target = np.array([complex(*point) for point in keypoints])
    fit = np.sum((target - target.mean()) * np.conj(source - source.mean()))
    turn = complex(fit / abs(fit)) if abs(fit) else 1 + 0j
    face_points = poses.turned(points, complex(source.mean()), complex(target.mean()), factor=scale * turn)
    return replace(slot, face_points=face_points)


def other_side(points: FacePoints) -> FacePoints:
    """For each point of a face the one on its other side. points: 68, or 70 with the pupils."""
    return tuple(points[number] for number in _MIRRORED[: len(points)])


def _mirrored(points: FacePoints) -> FacePoints:
    """The face as in a mirror: its left is its right."""
    # mirrored at x = 0: the face is shifted later
    return tuple((-x, y, confidence) for x, y, confidence in other_side(points))


def _notes(number: int, of_place: Keypoints, of_photo: Keypoints) -> list[str]:
    """A line for each thing that does not fit well. number: of the place. of_place, of_photo: the faces' keypoints."""
    notes: list[str] = []
    height = bodies.FACE_HEIGHT * bodies.head_of_face(of_place)
    if height < _RUNS_TOGETHER:
        notes.append(f"Place {number}: face {height:.0f} px tall, below {_RUNS_TOGETHER} px its points run together")
    photo_turn = math.asin(bodies.sine_of_turn(of_photo))  # radians
    place_turn = math.asin(bodies.sine_of_turn(of_place))
    degrees = round(abs(math.degrees(photo_turn) - math.degrees(place_turn)))
    if degrees > _OTHER_TURN:
        notes.append(f"Place {number}: the photo's head is turned otherwise by {degrees} degrees, the body stays")
    return notes
