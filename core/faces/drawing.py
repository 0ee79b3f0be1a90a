"""Faces as they were found, with their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..people import Face
from ..previews import Sheet, as_picture, color_of
from .ladder import Detection


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
