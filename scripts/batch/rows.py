"""Rows of a CSV file as people and spreadsheets write it; what is wrong with one is said of that one; and ours.

UTF-8, with or without the mark that Excel puts before it, or UTF-16 with it; commas, semicolons or tabs.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from environment import SetupError
from readable import Unreadable, bytes_of

from core import names

NAME = "name"
"""The column that says what a row's pictures are called."""
_LONGEST, _BYTES = 120, 200
"""Of a name: letters, and bytes, of which a file system takes 255 with the number and the ending behind them."""
_MOST = 10**9
"""Bytes of a table: a million rows have a hundred times less."""
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_NO_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u2028\u2029]|^[=+\-@. ]|[. ]$|_\d+of\d+$')
"""What Windows does not take, what a spreadsheet takes for a formula, and how a row's pictures are numbered."""
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
class Table:
    """A file: its columns, and its lines by their number in the file."""

    columns: list[str]
    lines: list[tuple[int, list[str]]]


def read(path: Path) -> Table:
    """Raises SetupError for what is no table at all."""
    lines = list(_lines(path))
    if not lines:
        raise SetupError(f"{path} is empty: the first line names inputs of the workflow, each further line is a row.")
    columns = [cell.strip() for cell in lines[0][1]]
    while columns and not columns[-1]:  # empty columns beside a spreadsheet's table
        columns.pop()
    if "" in columns:
        raise SetupError(f"Column {columns.index('') + 1} of {path} has no name: write one into line {lines[0][0]}.")
    times = Counter(map(names.folded, columns))
    if twice := [column for column in columns if times[names.folded(column)] > 1]:
        raise SetupError(f"{path} has the column {twice[0]} {len(twice)} times: leave one of them.")
    if len(lines) == 1:
        raise SetupError(f"{path} has no rows below its line of names ({', '.join(columns[:9])}).")
    return Table(columns, lines[1:])


def with_inputs(table: Table, inputs: Sequence[tuple[str, str]]) -> Table:
    """The table with further columns behind its own, each with the same value in every line.

    Raises SetupError for a column that is there already.
    """
    columns, count = [*table.columns, *(column for column, _ in inputs)], len(table.columns)
    times = Counter(map(names.folded, columns))
    if twice := next((column for column, _ in inputs if times[names.folded(column)] > 1), None):
        raise SetupError(f"--set gives {twice}, which is a column of the table or given before: leave one of them.")
    values = [value for _, value in inputs]
    return Table(columns, [(line, [*cells[:count], *values, *cells[count:]]) for line, cells in table.lines])


def rows(table: Table, is_photo: Callable[[str], bool]) -> Iterator[Row]:
    """Every row; two of one name, and one with too many or too few cells, with their problem.

    is_photo: whether a column holds files, which a row without a name is called after, behind its line's number.
    """
    named: dict[str, int] = {}
    for line, cells in table.lines:
        filled = {column: cell.strip() for column, cell in zip(table.columns, cells, strict=False) if cell.strip()}
        name, problem = _named(line, filled, is_photo)
        count = len(table.columns)
        if any(cells[count:]) or len(cells) < count:
            problem = f"{len(cells)} cells for {count} columns: put text that holds the separator into quotes."
        elif not problem and named.setdefault(_folded(name), line) != line:
            problem = f"line {named[_folded(name)]} has the name {name} too: give each row its own."
        yield Row(
            line, name, {column: cell for column, cell in filled.items() if names.folded(column) != NAME}, problem
        )


def _named(line: int, cells: Mapping[str, str], is_photo: Callable[[str], bool]) -> tuple[str, str]:
    """The name of a row, and what is wrong with it."""
    given = next((cell for column, cell in cells.items() if names.folded(column) == NAME), "")
    if not given:
        stems = (Path(cell.replace("\\", "/")).stem for column, cell in cells.items() if is_photo(column))
        return cut(re.sub(r"[^\w.-]+", "-", "_".join([f"{line:05}", *stems]))[:_LONGEST], _BYTES).rstrip(".-"), ""
    if len(given) > _LONGEST or len(given.encode()) > _BYTES or _NO_NAME.search(given) or _DEVICES.match(given):
        return given, (
            f"the name {given!r} cannot be a file's: at most {_LONGEST} letters and {_BYTES} bytes, none of "
            '<>:"/\\|?*, no =, +, -, @, dot or space before them, no dot or space behind, no number such as _1of4.'
        )
    return given, ""


def _folded(name: str) -> str:
    """The same for names that are one file where a disk does not tell capitals, or two ways to write an accent."""
    return names.folded(name)


def cut(text: str, size: int) -> str:
    """What of a text fits into so many bytes."""
    return text.encode()[:size].decode(errors="ignore")


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines with something in them, with the number of the line each begins in."""
    text = _text(path)
    begun = 1
    if marked := re.match(r"sep=(.)\r?\n", text):
        text, begun = text[marked.end() :], 2
    # Commas, or what Excel writes in countries where commas are in numbers.
    first = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").split("\n")[0])
    separator = marked[1] if marked else max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    before = 0
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begun + before, cells
            before = reader.line_num
    except csv.Error as cause:
        raise SetupError(f"{path} cannot be read as CSV from line {begun + before} on: {cause}.") from cause


def _text(path: Path) -> str:
    try:
        data = bytes_of(path, _MOST)
    except Unreadable as cause:
        raise SetupError(f"{path} {cause}.") from cause
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as cause:
        line = len(data[: cause.start].splitlines()) or 1
        where = f"{path} is not UTF-8 (line {line})"
        raise SetupError(f"{where}: save it as CSV UTF-8, which Excel has in its list.") from cause
    if "\0" in text:
        raise SetupError(f"{path} is no CSV: it holds binary data. Save the table as CSV UTF-8.")
    return text
