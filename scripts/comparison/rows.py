"""What a table of compare.py is made of: pictures that are asked for, and rows that are answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Pictured(NamedTuple):
    """Who stands in one picture: numbers of people from 0 in the order of the places, by how many photos each is known,
    and the seed."""

    people: Sequence[int]
    photos: int
    seed: int


@dataclass(frozen=True)
class Shown:
    """One picture on the page.

    path: of its file. caption: what stands below it. column: of the sheet. annotated: the file of the same with a
    frame, a name and a figure at each face. photos: files of what it should show, small. score: the higher, the further
    in front; None where nothing is measured.
    """

    path: Path
    caption: str
    column: str
    seed: int
    annotated: Path | None = None
    photos: Sequence[Path] = ()
    score: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table.

    title: the method and what is changed in it. people: in each picture. shown: the pictures on the page. figures: by
    name of the column. note: why there are none, "" where there are. public_note: the same without names of people and
    without paths, for the report.
    """

    title: str
    people: int
    shown: Sequence[Shown] = ()
    figures: Mapping[str, float | None] = field(default_factory=dict[str, "float | None"])
    note: str = ""
    public_note: str = ""

    @property
    def pictures(self) -> int:
        """How many pictures its figures are of."""
        return len(self.shown)


class Unread(NamedTuple):
    """Why a column has no figure. column: its name. why: a sentence."""

    column: str
    why: str
