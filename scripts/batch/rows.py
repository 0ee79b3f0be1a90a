"""Rows of a table. What is wrong with a row is said of that row alone."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from environment import SetupError
from shared.given_files import plain_path

from core.checks import names
from core.checks.names import ending

from .folders import Folder
from .table_files import JSON_LINES, Line, csv_lines, json_lines, parquet_lines

NAME = "name"
"""The column that says what a row's pictures are called."""
_MOST_LETTERS = 120
"""Of a name."""
_MOST_BYTES = 200
"""Of a name. A file system takes 255 with the number and the ending behind it."""
_MOST_SHOWN = 200
"""Letters of a cell in a message."""
_NO_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|^[=+\-@. ]|[. ]$|_\d+of\d+$')
"""What Windows does not take, half of a letter, what a spreadsheet takes for a formula, and how a row's pictures are
numbered."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.IGNORECASE)


class BadRow(Exception):
    """What is wrong with a row, for people."""


@dataclass(frozen=True)
class Row:
    """What one line asks for. cells: by column, without the empty ones. problem: why it cannot be made, or nothing."""

    line: int
    name: str
    cells: Mapping[str, str]
    problem: str = ""


@dataclass(frozen=True)
class Part:
    """Every so many rows, from one on: the rows of one machine of `count` that share a table."""

    number: int = 1
    count: int = 1

    def has(self, row: int) -> bool:
        """row: how many are before it."""
        return row % self.count == self.number - 1

    @property
    def ending(self) -> str:
        """Of files that the machine does not share with others."""
        return f".{self.number}of{self.count}" if self.count > 1 else ""


@dataclass(frozen=True)
class Table:
    """A table, which is read from its beginning as often as its lines are asked for, and never held whole.

    fixed: columns of which every line has the same cell.
    """

    columns: list[str]
    lines: Callable[[], Iterator[Line]]
    fixed: Mapping[str, str] = field(default_factory=dict)


def read(folder: Folder, name: str) -> Table:
    """The table in a file: CSV, JSON lines or Parquet, by its ending. Raises SetupError for a file that is no table."""
    place = folder.place(name)
    path = folder.copied(name)
    if ending(name) == ".parquet":
        return _checked(place, *parquet_lines(path, place))
    if ending(name) in JSON_LINES:
        return _checked(place, *json_lines(path, place))
    first = next(csv_lines(path, place), None)
    if first is None:
        raise SetupError(f"{place} is empty: the first line names inputs of the workflow, each further line is a row.")
    columns = list(first.cells)
    # Spreadsheets write empty columns beside a table.
    while columns and not columns[-1]:
        columns.pop()
    if "" in columns:
        raise SetupError(f"Column {columns.index('') + 1} of {place} has no name: write one into line {first.number}.")
    return _checked(place, columns, lambda: islice(csv_lines(path, place), 1, None))


def _checked(place: str, columns: list[str], lines: Callable[[], Iterator[Line]]) -> Table:
    counts = Counter(map(names.folded, columns))
    for column in columns:
        count = counts[names.folded(column)]
        if count > 1:
            raise SetupError(f"{place} has the column {column} {count} times: leave one of them.")
    if next(lines(), None) is None:
        raise SetupError(f"{place} has no rows below its line of names ({', '.join(columns[:9])}).")
    return Table(columns, lines)


def with_inputs(table: Table, inputs: Sequence[tuple[str, str]]) -> Table:
    """The table with further columns, each with the same value in every line. Raises SetupError for one that is there
    already."""
    counts = Counter(map(names.folded, [NAME, *table.columns, *(column for column, _ in inputs)]))
    for column, _ in inputs:
        if counts[names.folded(column)] > 1:
            raise SetupError(
                f"--set gives {column}, which is a column of the table or given before: leave one of them."
            )
    return replace(table, fixed=dict(inputs))


def rows(table: Table, is_photo: Callable[[str], bool]) -> Iterator[Row]:
    """Every row; one with too many cells with its problem. Spreadsheets leave out empty cells at the end of a line.

    is_photo: whether a column holds files, which a row without a name is called after, behind its line's number.
    """
    column_count = len(table.columns)
    is_name = [names.folded(column) == NAME for column in table.columns]
    photo_columns = [column for column in (*table.columns, *table.fixed) if is_photo(column)]
    for line in table.lines():
        cells = dict(table.fixed)
        name = ""
        for column, is_of_name, cell in zip(table.columns, is_name, line.cells, strict=False):
            if is_of_name:
                name = cell
            elif cell:
                cells[column] = cell
        problem = line.problem
        if name:
            problem = problem or problem_of_name(name)
            name = shown(name) if problem else name
        else:
            name = _name_of_photos(line.number, [cells[column] for column in photo_columns if column in cells])
        if any(line.cells[column_count:]):
            problem = (
                f"{len(line.cells)} cells for {column_count} columns: put text that holds the separator into straight "
                'quotes, as "one, two".'
            )
        yield Row(line.number, name, cells, problem)


def key_of(name: str) -> int:
    """A number of 64 bits for a name, the same for all names that are one file where a disk does not tell capitals, or
    two ways to write an accent. A million names share none, but for once in ten million tables."""
    return number_of(names.folded(name))


def number_of(text: str) -> int:
    """A number of 64 bits for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest(), "little")


def _name_of_photos(line: int, photos: Sequence[str]) -> str:
    """The name of a row that has none: 00002_anna for the photo people/anna.jpg in line 2. A file may have it."""
    stems = [Path(plain_path(photo).replace("\\", "/")).stem for photo in photos]
    text = "_".join([f"{line:05}", *stems])
    plain_text = re.sub(r"[^\w.-]+", "-", text)[:_MOST_LETTERS]
    name = cut(plain_text, _MOST_BYTES).rstrip(".-")
    return re.sub(r"_(?=\d+of\d+$)", "-", name)


def problem_of_name(name: str) -> str:
    """Why no file can have a name; empty where one can."""
    is_long = len(name) > _MOST_LETTERS or len(name.encode(errors="replace")) > _MOST_BYTES
    if not is_long and not _NO_NAME.search(name) and not _DEVICES.match(name):
        return ""
    return (
        f"the name {shown(name)!r} cannot be a file's: at most {_MOST_LETTERS} letters and {_MOST_BYTES} bytes, none "
        'of <>:"/\\|?*, no =, +, -, @, dot or space before them, no dot or space behind, no number such as _1of4.'
    )


def shown(cell: str) -> str:
    """A cell as messages and failed.csv have it: it may hold a whole picture."""
    return cell if len(cell) <= _MOST_SHOWN else f"{cell[: _MOST_SHOWN - 3]}..."


def cut(text: str, size: int) -> str:
    """What of a text fits into so many bytes."""
    return text.encode(errors="ignore")[:size].decode(errors="ignore")
