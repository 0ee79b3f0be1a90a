"""What a benchmark is: its pictures, its columns by its own definitions, and the figures that others have published.

A benchmark is a file beside this one with one record: a reader of its folder, its columns, and published figures.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from environment import SetupError
from pack.core import names
from pack.core.text import in_one_line, plain
from shared.given_files import Unreadable, bytes_of

from .columns import Column
from .prompts import IN_A_ROW, Places
from .rows import Row, Unread

Size = tuple[int, int]
"""Width and height in pixels."""
MOST_BYTES = 2 * 10**9
"""Of a JSON file."""


class FolderError(SetupError):
    """A folder that is not in the format of its benchmark: what was looked for, where, and what to do."""

    def __init__(self, benchmark: str, folder: Path, problem: str, advice: str) -> None:
        super().__init__(f"{folder} is not the folder of {benchmark}: {problem} {advice}")


@dataclass(frozen=True)
class Case:
    """One picture that a benchmark asks for.

    name: of its files, unique in the benchmark. prompt: the text. photos: the reference photo of each person. groups:
    the tables in which it counts. truth: the photo that the picture should be like, None where there is
    none. shape: (width, height) of the picture that the places are of, None where any will do. places: where the people
    stand on a canvas (width, height), as the benchmark says; None for a group layout of ours.
    """

    name: str
    prompt: str
    photos: Sequence[Path]
    groups: Sequence[str]
    truth: Path | None = None
    shape: Size | None = None
    places: Callable[[Size], Places] | None = None

    def places_on(self, canvas: Size) -> Places:
        """Where the people stand on a canvas."""
        return IN_A_ROW if self.places is None else self.places(canvas)

    def called_in(self, folder: Path) -> str:
        """What a message calls this picture: its photo in the benchmark's folder, its name where it has none."""
        return self.name if self.truth is None else plain(self.truth.relative_to(folder).as_posix(), 200)


@dataclass(frozen=True)
class Published:
    """Figures that somebody else has published.

    method: of the figures. figures: the value by group and name of the column. source: where they are from.
    """

    method: str
    figures: Mapping[tuple[str, str], float]
    source: str


@dataclass(frozen=True)
class Benchmark:
    """A published benchmark.

    key: on the command line. title: its name. source: of its paper. data: where its folder is from. read: the pictures
    of a folder; the second argument is whether people stand where it says, or in a group layout of ours. Raises
    FolderError. groups: its tables, in their order. columns: their values are of `Judged`. unread: what it measures and
    we do not. seed: of its pictures. judges: ids of the recognisers that measure, those that are there; without one of
    them, and where it is empty, all that are found.
    """

    key: str
    title: str
    source: str
    data: str
    read: Callable[[Path, bool], list[Case]]
    groups: Sequence[str]
    columns: Sequence[Column]
    unread: Sequence[Unread]
    seed: int
    published: Sequence[Published] = ()
    judges: Sequence[str] = ()

    def cases(self, folder: Path, given_places: bool) -> list[Case]:
        """The pictures of a folder, as `read` gives them. Raises FolderError, also where there are none, and
        where two have one name."""
        folder = folder.resolve()
        try:
            cases = self.read(folder, given_places)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, OSError) as cause:
            problem = f"its lists hold something unknown ({in_one_line(cause)})."
            raise FolderError(self.title, folder, problem, f"Get it anew; its data: {self.data}.") from cause
        if not cases:
            raise FolderError(self.title, folder, "its lists are empty.", f"Get it anew; its data: {self.data}.")
        by_name: dict[str, Case] = {}
        for case in cases:
            other = by_name.setdefault(names.folded(case.name), case)
            if other is not case:
                problem = f"{other.called_in(folder)} and {case.called_in(folder)} would be one picture, {case.name}."
                raise FolderError(self.title, folder, problem, "Take one of them out of its list, or rename it.")
        return cases

    def published_rows(self) -> list[Row]:
        """The rows of others' figures."""
        rows: list[Row] = []
        for published in self.published:
            for group in self.groups:
                figures = {name: value for (of, name), value in published.figures.items() if of == group}
                if figures:
                    rows.append(Row(published.method, figures=figures, group=group, source=published.source))
        return rows


def read_json(benchmark: str, folder: Path, name: str, advice: str) -> object:
    """What a JSON file of a folder holds. Raises FolderError where it is not there, or no JSON."""
    path = folder / name
    if not path.is_file():
        raise FolderError(benchmark, folder, f"there is no {name} in it.", advice)
    try:
        return json.loads(bytes_of(path, MOST_BYTES))
    except RecursionError as cause:
        raise FolderError(benchmark, folder, f"{name} has too many lists within each other.", advice) from cause
    except (ValueError, Unreadable) as cause:
        raise FolderError(benchmark, folder, f"{name} cannot be read as JSON: {cause}.", advice) from cause


@dataclass(frozen=True)
class Entry:
    """An entry of a list of pictures that a folder has.

    index: the file of the list. number: of the entry, as its benchmark counts. content: what the entry holds.
    """

    benchmark: str
    folder: Path
    index: str
    number: int
    content: Mapping[str, Any]
    advice: str

    def refused(self, problem: str) -> FolderError:
        """The error that something is wrong with this entry."""
        return FolderError(self.benchmark, self.folder, f"entry {self.number} of {self.index} {problem}", self.advice)

    def text(self, field: str) -> str:
        """A text of the entry. Raises FolderError."""
        value = self.content.get(field)
        if not isinstance(value, str):
            raise self.refused(f"lacks {field}, or it is no text.")
        return value

    def file(self, name: object, base: Path) -> Path:
        """A file that the entry names. base: the folder that names are below. Raises FolderError where there is none in
        the folder of the benchmark."""
        if not isinstance(name, str):
            raise self.refused("names a file by something else than a text.")
        path = Path(os.path.normpath(base / name))
        if not path.is_relative_to(self.folder):
            raise self.refused(f"names {plain(name, 200)}, which lies outside of the folder.")
        if not os.path.isfile(path):  # False for names that no file can have, too
            below = plain(path.relative_to(self.folder).as_posix(), 200)
            raise self.refused(f"names {below}, which is not there.")
        return path

    def photos(self, field: str, base: Path, fewest: int, most: int) -> list[Path]:
        """The photos of the entry's people, one of each. Raises FolderError, also for too few or too many."""
        files = self.content.get(field)
        if not isinstance(files, list):
            raise self.refused(f"lacks {field}, or it is no list.")
        count = len(cast("list[object]", files))
        if not fewest <= count <= most:
            raise self.refused(f"has {count} people in {field}, and there are {fewest} to {most}.")
        return [self.file(name, base) for name in cast("list[object]", files)]


def entries_of(benchmark: str, folder: Path, index: str, first: int, advice: str) -> list[Entry]:
    """The entries of a list of pictures. index: its file. first: the number of the first one. Raises FolderError."""
    content = read_json(benchmark, folder, index, advice)
    if not isinstance(content, list):
        raise FolderError(benchmark, folder, f"{index} holds no list.", advice)
    entries: list[Entry] = []
    for number, entry in enumerate(cast("list[Any]", content), first):
        fields = cast("Mapping[str, Any]", entry) if isinstance(entry, dict) else {}
        entries.append(Entry(benchmark, folder, index, number, fields, advice))
    return entries
