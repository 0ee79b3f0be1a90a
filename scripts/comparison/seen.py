"""What is seen of one picture of a benchmark, as numbers that metrics are computed from and that a file can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from pack.core.measure.figures import mean
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


@dataclass(frozen=True)
class Seen:
    """One picture.

    people: how many it should show. faces: how many it has. truth_faces: how many the photo has that it should be like.
    compared: by id of the recogniser. whole: of each person the cosine of DINOv2's embeddings of the whole picture and
    the whole reference photo; empty without DINOv2. text: the cosine of CLIP's embeddings of picture and prompt, None
    without CLIP.
    """

    people: int
    faces: int
    truth_faces: int = 0
    compared: Mapping[str, Compared] = field(default_factory=dict[str, Compared])
    whole: Sequence[float] = ()
    text: float | None = None

    def only(self, judges: Sequence[str]) -> Seen:
        """The same by some of the recognisers alone."""
        compared = {name: self.compared[name] for name in judges}
        return Seen(self.people, self.faces, self.truth_faces, compared, self.whole, self.text)


def as_json(seen: Seen) -> dict[str, Any]:
    """A picture as what JSON can hold."""
    return asdict(seen)


def from_json(content: Mapping[str, Any]) -> Seen:
    """What `as_json` has made. Raises TypeError and KeyError for something else."""
    compared = {name: Compared(**tables) for name, tables in content["compared"].items()}
    return Seen(**{**content, "compared": compared})


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


def text_alignment(seen: Sequence[Seen]) -> float | None:
    """The mean cosine of CLIP's embeddings of the picture and the prompt."""
    return mean(picture.text for picture in seen)
