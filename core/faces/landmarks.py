"""Faces from the 478 landmarks of MediaPipe's face mesh, which newer hosts find by themselves, instead of a detector.

Points are numbered as in MediaPipe's canonical face model. Which of them stand for SCRFD's five, and the crown, are
measured beside SCRFD on photos (tests/faces/test_landmarks.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..cast import FacePoints
from ..checks.errors import BadPhoto, counted
from .finding import Detection
from .pictures import Picture, no_face

# Numbers of the points on the rims of the eyes, the eye on the picture's left first. The mean of a rim is nearer to
# where SCRFD puts an eye than the iris, which follows the gaze, and than the middle between the corners of the eye.
_EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
_NOSE = 4
_MOUTH = (61, 291)
_FOREHEAD, _CHIN = 10, 152
# The mesh ends at the hairline. SCRFD's boxes reach higher, by this share of the way from the chin to the hairline.
_CROWN = 0.12
# Each of iBUG's 68 points is the mean of one or two of the mesh (P. Yan's Mediapipe_2_Dlib_Landmarks, made symmetric).
_IBUG = (
    (127,), (234,), (93,), (132, 58), (58, 172), (136,), (150,), (176,), (152,),
    (400,), (379,), (365,), (397, 288), (361, 288), (323,), (454,), (356,),
    (156,), (70, 63), (105,), (66,), (107, 55), (336, 285), (296,), (334,), (293, 300), (383,),
    (168, 6), (197, 195), (5,), (4,), (98,), (97,), (2,), (326,), (327,),
    (33,), (160,), (158,), (133,), (153,), (144,), (362,), (385,), (387,), (263,), (373,), (380,),
    (61,), (39,), (37,), (0,), (267,), (269,), (291,), (321,), (314,), (17,), (84,), (91,),
    (78,), (82,), (13,), (312,), (308,), (317,), (14,), (87,),
)  # fmt: skip
_PUPILS = (468, 473)
_JAW = 17
"""The first points of iBUG are the jaw, from the viewer's left ear over the chin."""

Mesh = Sequence[Mapping[str, Any]]
"""The faces of one picture in FACE_LANDMARKS: `landmarks_xy` (n, 2) in pixels, `score` 0..1."""


def meshes_of_pictures(landmarks: Mapping[str, Any] | None, images: Tensor) -> Sequence[Mesh | None]:
    """The faces of each picture of an IMAGE (B, H, W, C).

    landmarks: FACE_LANDMARKS of the same pictures; None where none is linked, which gives None for every picture.
    Raises BadPhoto where the landmarks are of other pictures.
    """
    if landmarks is None:
        return [None] * len(images)
    height, width = landmarks["image_size"]
    landmarks_shape = (len(landmarks["frames"]), int(height), int(width))
    images_shape = tuple(images.shape[:3])
    if landmarks_shape != images_shape:
        source, target = _described(landmarks_shape), _described(images_shape)
        raise BadPhoto(f"face_landmarks was made from {source}, the image input has {target}.", _ONE_PICTURE)
    return landmarks["frames"]


def _described(shape: tuple[int, ...]) -> str:
    """A shape (pictures, height, width) in words."""
    count, height, width = shape
    return f"{counted(count, 'picture')} of {width}x{height} px"


_ONE_PICTURE = "Link one picture to both nodes, with nothing that scales or crops in between."


def meshes_of_batches(landmarks: Sequence[Mapping[str, Any]], batches: Sequence[Tensor]) -> list[Mesh | None]:
    """The faces of each picture of several IMAGEs, in their order.

    landmarks: FACE_LANDMARKS of each IMAGE; empty where none is linked, which gives None for every picture.
    Raises BadPhoto where the landmarks are of other pictures.
    """
    if landmarks and len(landmarks) != len(batches):
        lengths = f"face_landmarks is a list of {len(landmarks)}, and the photos are a list of {len(batches)}"
        raise BadPhoto(f"{lengths}.", _ONE_PICTURE)
    meshes: list[Mesh | None] = []
    for number, batch in enumerate(batches):
        meshes += meshes_of_pictures(landmarks[number] if landmarks else None, batch)
    return meshes


def detect(faces: Mesh, picture: Picture, where: str, boxable: bool = False) -> tuple[Detection, ...]:
    """The faces of one picture, the surest first.

    where: what a message calls the picture. boxable: as in FaceNotFound. Raises FaceNotFound where there is no face.
    """
    if not faces:
        raise no_face(picture, where, boxable)
    detections = [detection(face) for face in faces]
    return tuple(sorted(detections, key=lambda one: -one.score))


def detection(face: Mapping[str, Any]) -> Detection:
    """A face of a mesh as a detector would give it: its box, five keypoints and score."""
    points = np.asarray(face["landmarks_xy"], dtype=float)  # (478, 2)
    crown = points[_FOREHEAD] + _CROWN * (points[_FOREHEAD] - points[_CHIN])
    outline = np.vstack([points, crown])  # (479, 2), what the box holds
    x0, y0 = outline.min(0)
    x1, y1 = outline.max(0)
    box = (float(x0), float(y0), float(x1), float(y1))
    eyes = [points[list(rim)].mean(0) for rim in _EYES]
    five_points = [*eyes, points[_NOSE], *points[list(_MOUTH)]]  # in the order of Keypoints
    keypoints = tuple((float(x), float(y)) for x, y in five_points)
    return Detection(box, keypoints, float(face["score"]), points=face_points(face))


def face_points(face: Mapping[str, Any]) -> FacePoints:
    """iBUG's 68 points of a face of a mesh, then both pupils where the mesh has irises. The confidence of all is 1."""
    mesh = np.asarray(face["landmarks_xy"], dtype=float)  # (468 or 478, 2)
    points = np.array([mesh[list(numbers)].mean(0) for numbers in _IBUG])  # (68, 2)
    points[:_JAW] = _on_outline(points[:_JAW], mesh)
    if len(mesh) > max(_PUPILS):
        points = np.vstack([points, mesh[list(_PUPILS)]])
    return tuple((float(x), float(y), 1.0) for x, y in points)


def _on_outline(jaw: npt.NDArray[np.float64], mesh: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The points of the jaw (17, 2), each moved across the face to the outline of the mesh; the chin stays.

    The mesh is fixed on the skin: as a head turns, the far half of its jaw comes to lie inside of the visible outline,
    on which detectors of 68 points put it. Of a face seen from the front nothing moves.
    """
    down = mesh[_CHIN] - mesh[_FOREHEAD]
    down /= max(float(np.hypot(*down)), 1.0)  # of length 1; a damaged mesh of no height would divide by 0
    down_x, down_y = float(down[0]), float(down[1])
    # The columns of `turn`: to the viewer's right on an upright face, and down the face. turn_back is its inverse.
    turn = np.array([(down_y, down_x), (-down_x, down_y)])
    turn_back = np.array([(down_y, -down_x), (down_x, down_y)])
    # Both in turned coordinates: x across the face, y down the face.
    upright = mesh @ turn  # (468 or 478, 2)
    moved = jaw @ turn  # (17, 2)
    chin = _JAW // 2  # the middle one; before it come those on the viewer's left
    for number in range(_JAW):
        crossings = _crossings(upright, float(moved[number, 1]))
        if number != chin and crossings.size:
            moved[number, 0] = crossings.min() if number < chin else crossings.max()  # the outermost, on the outline
    return moved @ turn_back


def _crossings(points: npt.NDArray[np.float64], height: float) -> npt.NDArray[np.float64]:
    """Where a height is crossed by the lines from every point above it to every point below: x, (above, below).

    points: (n, 2), x and y. None is above, or below, at the very top or bottom: then no line crosses the height.
    """
    above = points[points[:, 1] <= height][:, None]  # (above, 1, 2)
    below = points[points[:, 1] > height][None]  # (1, below, 2)
    share = (height - above[..., 1]) / (below[..., 1] - above[..., 1])
    return above[..., 0] + share * (below[..., 0] - above[..., 0])
