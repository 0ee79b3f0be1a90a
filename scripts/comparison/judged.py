"""What is measured of one picture, which columns are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pack.core.measure.report import MeasuredPicture
from torch import Tensor

Table = Sequence[Sequence[float]]
"""Cosines of embeddings: a row for each of some faces, a number for each of others."""


NOBODY = MeasuredPicture((), ())


@dataclass(frozen=True)
class Judged:
    """What is measured of one picture. What was not looked at is empty, or None.

    people: how many it should show. text_alignment: the cosine of CLIP's embeddings of picture and prompt. whole: of
    each person the cosine of DINOv2's embeddings of the whole picture and the whole first photo. seconds,
    step_seconds: that it took.

    measured says who is who, alike_in_photos how alike they are in their photos, a row per person. subjects: per
    person DINOv2's cosine of the square around the face with that in the photo, None for a missing person. copied: per
    person who is there and has a photo that was not drawn from.

    annotated: (H, W, 3) the picture with a frame, a name and a figure at each face.
    """

    people: int = 0
    whole: Sequence[float] = ()
    text_alignment: float | None = None
    measured: MeasuredPicture = NOBODY
    alike_in_photos: Table = ()
    subjects: Sequence[float | None] = ()
    copied: Sequence[float] = ()
    annotated: Tensor | None = None
    seconds: float | None = None
    step_seconds: float | None = None
