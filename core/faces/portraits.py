"""Pictures of a face for networks that look at pictures, cut out of the photo once."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..geometry import square_around, upright
from ..people import LOOSE, Portraits
from .ladder import Detection
from .pictures import Picture

_MARGIN = 0.6
"""Around the face box on each side, in face sizes: the hair, the neck and the shoulders' beginning."""


def portrait(picture: Picture, face: Detection, aligned: Picture) -> Portraits:
    """Of one face of a picture. aligned: the face at ALIGNED pixels."""
    return Portraits(_rgb(aligned), _rgb(_loose(picture, face)))


def _loose(picture: Picture, face: Detection) -> Picture:
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = square_around(face.box, _MARGIN, width, height)
    square = np.ascontiguousarray(np.rot90(picture[y0:y1, x0:x1], upright(face.keypoints)))
    # Pillow widens its filter where a picture becomes smaller, so that nothing of a large photo is skipped.
    return np.asarray(Image.fromarray(square).resize((LOOSE, LOOSE), Image.Resampling.BICUBIC))


def _rgb(picture: Picture) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture[None, ..., ::-1]))  # pyright: ignore[reportUnknownMemberType]
