"""Faces from the 478 landmarks of MediaPipe's face mesh, which newer hosts find by themselves, instead of a detector.

Points are numbered as in MediaPipe's canonical face model. Which of them stand for SCRFD's five, and the crown, are
measured beside SCRFD on photos (tests/faces/test_landmarks.py; docs/dev/faces.md has the figures).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import BadPhoto, FaceNotFound, counted
from .finding import Detection
from .pictures import Picture, is_placeholder

# The rims of the eyes, the picture's left one first. Their middle is nearer to where SCRFD puts an eye than the iris,
# which follows the gaze, and than the middle between the corners.
_EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
_NOSE = 4
_MOUTH = (61, 291)
_FOREHEAD, _CHIN = 10, 152
# The mesh ends at the hairline; SCRFD's boxes go on by so much of the way from the chin to there.
_CROWN = 0.12

Mesh = Sequence[Mapping[str, Any]]
"""The faces of one picture in FACE_LANDMARKS: `landmarks_xy` (n, 2) in pixels, `score` 0..1."""


def of_pictures(given: Mapping[str, Any] | None, images: Tensor) -> Sequence[Mesh | None]:
    """The faces of each picture of an IMAGE (B, H, W, C). given: FACE_LANDMARKS; None of all where there is none.

    Raises BadPhoto where they were found in other pictures.
    """
    if given is None:
        return [None] * len(images)
    found, shown = (len(given["frames"]), *map(int, given["image_size"])), tuple(images.shape[:3])
    if found != shown:
        theirs, ours = (f"{counted(n, 'picture')} of {w}x{h} px" for n, h, w in (found, shown))
        raise BadPhoto(f"face_landmarks was made from {theirs}, the image input has {ours}.", _ONE_PICTURE)
    return given["frames"]


_ONE_PICTURE = "Link one picture to both nodes, with nothing that scales or crops in between."


def of_batches(given: Sequence[Mapping[str, Any]], batches: Sequence[Tensor]) -> list[Mesh | None]:
    """The faces of each picture of several IMAGEs. given: FACE_LANDMARKS of each, in their order, or nothing.

    Raises BadPhoto where they were found in other pictures.
    """
    if given and len(given) != len(batches):
        found = f"face_landmarks is a list of {len(given)}, and the photos are a list of {len(batches)}"
        raise BadPhoto(f"{found}.", _ONE_PICTURE)
    meshes: list[Mesh | None] = []
    for number, batch in enumerate(batches):
        meshes += of_pictures(given[number] if given else None, batch)
    return meshes


def detect(faces: Mesh, picture: Picture, where: str) -> tuple[Detection, ...]:
    """The faces of one picture, surest first. Raises FaceNotFound, naming `where`, when there is none."""
    if not faces:
        height, width = picture.shape[:2]
        tried = ["Detect Face Landmarks (MediaPipe)"]
        raise FaceNotFound(where, width, height, tried, placeholder=is_placeholder(picture))
    return tuple(sorted(map(_detection, faces), key=lambda face: -face.score))


def _detection(face: Mapping[str, Any]) -> Detection:
    points = np.asarray(face["landmarks_xy"], dtype=float)
    eyes = (points[list(rim)].mean(0) for rim in _EYES)
    crown = points[_FOREHEAD] + _CROWN * (points[_FOREHEAD] - points[_CHIN])
    outline = np.vstack([points, crown])
    (x0, y0), (x1, y1) = outline.min(0), outline.max(0)
    box = (float(x0), float(y0), float(x1), float(y1))
    keypoints = (*eyes, points[_NOSE], *(points[corner] for corner in _MOUTH))
    return Detection(box, tuple((float(x), float(y)) for x, y in keypoints), float(face["score"]))
