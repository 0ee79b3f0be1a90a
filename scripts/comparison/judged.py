"""What is measured of one picture, as numbers that columns are computed from and that a file can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from pack.core.measure import MeasuredPicture
from scipy.optimize import linear_sum_assignment

Table = Sequence[Sequence[float]]
"""Cosines of embeddings: a row for each of some faces, a number for each of others."""


@dataclass(frozen=True)
class Compared:
    """Cosines by one recogniser.

    references: of each face of the picture to each person's reference photo. truth: of each face of the picture to each
    face of the photo that it should be like; empty without such a photo. between: of each face of that photo to each
    reference photo.
    """

    references: Table = ()
    truth: Table = ()
    between: Table = ()


NOBODY = MeasuredPicture((), ())


@dataclass(frozen=True)
class Judged:
    """What is measured of one picture. What was not looked at is empty, or None.

    people: how many it should show. faces: how many it has. text_alignment: the cosine of CLIP's embeddings of picture
    and prompt. whole: of each person the cosine of DINOv2's embeddings of the whole picture and the whole first photo.
    seconds, step_seconds: that it took.

    Of people in their places: measured says who is who, alike_in_photos how alike they are in their photos, a row per
    person. subjects: per person DINOv2's cosine of the square around the face with that in the photo, None for a
    missing person. copied: per person who is there and has a photo that was not drawn from.

    Of a benchmark: truth_faces, how many the photo has that it should be like, and compared, by id of the recogniser.

    Of an outfit: parts, of each part DINOv2's cosine.
    """

    people: int = 0
    faces: int = 0
    truth_faces: int = 0
    compared: Mapping[str, Compared] = field(default_factory=dict[str, Compared])
    whole: Sequence[float] = ()
    text_alignment: float | None = None
    measured: MeasuredPicture = NOBODY
    alike_in_photos: Table = ()
    subjects: Sequence[float | None] = ()
    copied: Sequence[float] = ()
    parts: Sequence[float] = ()
    seconds: float | None = None
    step_seconds: float | None = None

    def only(self, recognisers: Sequence[str]) -> Judged:
        """The same by some of the recognisers alone."""
        return replace(self, compared={name: self.compared[name] for name in recognisers})


_OF_BENCHMARKS = ("people", "faces", "truth_faces", "compared", "whole", "text_alignment")


def as_json(judged: Judged) -> dict[str, Any]:
    """A picture of a benchmark as what JSON can hold."""
    content = asdict(judged)
    return {name: content[name] for name in _OF_BENCHMARKS}


def from_json(content: Mapping[str, Any]) -> Judged:
    """What `as_json` has made. Raises TypeError and KeyError for something else."""
    values = dict(content)
    values["compared"] = {name: Compared(**tables) for name, tables in content["compared"].items()}
    return Judged(**values)


@dataclass(frozen=True)
class Pair:
    """Two faces that were taken for one person: the row and the column of a table, and their cosine."""

    row: int
    column: int
    cosine: float


def pairs(table: Table) -> list[Pair]:
    """Each row with a column of its own, so that the sum of the cosines is the highest (the Hungarian method).

    Of a table with more rows than columns some rows have none, and the other way round.
    """
    if not table or not table[0]:
        return []
    cosines = np.asarray(table, dtype=float)
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    found: list[Pair] = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        found.append(Pair(row, column, float(cosines[row, column])))
    return found
