"""What a table of compare.py --people is made of: pictures that are asked for, and rows that are answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Shown:
    """One picture on the page. column: of the sheet. path: of the PNG. names: of the people, from left to right."""

    column: str
    path: Path
    seed: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    title: the method, and what is changed in it. people: in each picture. figures: by name of the column. note: why
    nothing was drawn, "" where it was. public_note: the same without names of people and without paths, for the report.
    """

    title: str
    people: int
    pictures: Sequence[Shown] = ()
    figures: Mapping[str, float | None] = field(default_factory=dict[str, "float | None"])
    note: str = ""
    public_note: str = ""


@dataclass(frozen=True)
class Pictured:
    """Who stands in one picture: numbers of people from 0, by how many photos, and the seed."""

    people: Sequence[int]
    photos: int
    seed: int


class Unread(NamedTuple):
    """Why there is no judge for a column. column: its name. why: a sentence."""

    column: str
    why: str
