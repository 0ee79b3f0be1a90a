"""Rows of a CSV file as people and programs write it. What is wrong with a row is said of that row alone.

UTF-8, with or without the mark that Excel puts before it, or UTF-16 with it; commas, semicolons or tabs, or what a
first line such as sep=| says; lines that end as on any system; straight or typographic quotes, with spaces
around or Excel's = before them.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environment import SetupError
from rig.given_files import Unreadable, bytes_of

from core import names

NAME = "name"
"""The column that says what a row's pictures are called."""
_MOST_LETTERS = 120
"""Of a name."""
_MOST_BYTES = 200
"""Of a name. A file system takes 255 with the number and the ending behind it."""
_MOST_TABLE_BYTES = 10**9
"""Of a table. A million rows have a hundred times less."""
_MOST_HEAD_LETTERS = 100_000
"""Of a text in which the separator is looked for. Its first line has a hundred times less."""
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_UNSEEN = "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
"""Letters without a width: programs leave them before what is copied from them."""
_BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + _UNSEEN
"""What is no part of a cell, before it and behind it."""
_SEPARATORS = ",;\t"
_NAMED_SEPARATOR = re.compile(
    r'(?:[,;\s]*[\r\n])?[ \t]*"?sep *= *(\\t|[^\s\w"]|\t) *"?[ ,;\t]*(?:\r\n?|\n)', re.IGNORECASE
)
"""Excel's way to say which separator a file has. A program that reads it as a line of cells writes it as one."""
_QUOTED = (
    r"[\u201c-\u201f\u00ab\u00bb\uff02]([^\u201c-\u201f\u00ab\u00bb\uff02]*)[\u201c-\u201f\u00ab\u00bb\uff02]",
    # One of two, where only one was made typographic.
    r'[\u201c-\u201f\u00ab\u00bb\uff02]([^\u201c-\u201f\u00ab\u00bb\uff02"]*)"',
    r"[\u2039\u203a]([^\u2039\u203a]*)[\u2039\u203a]",
    r"[\u300c\u300e]([^\u300c-\u300f]*)[\u300d\u300f]",
    # They end where a cell does, as the last of them is an apostrophe too. For that reason none begins with it, and
    # none goes over several lines.
    r"[\u2018\u201a\u201b]([^\u2018\u201a\u201b\r\n]*?)[\u2018\u2019]",
)
"""A cell in other quotes than straight ones: in double, single and Asian ones."""
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
class Line:
    """A line of a table. number: in the file, from 1. cells: without what is around them."""

    number: int
    cells: list[str]


@dataclass(frozen=True)
class Table:
    """A file: its columns, and its lines below their names."""

    columns: list[str]
    lines: list[Line]


@dataclass(frozen=True)
class FixedInput:
    """An input that is the same in every row. column: its name, as a column would be called."""

    column: str
    value: str


def read(path: Path) -> Table:
    """The table in a file. Raises SetupError for a file that is no table."""
    lines = list(_lines(path))
    if not lines:
        raise SetupError(f"{path} is empty: the first line names inputs of the workflow, each further line is a row.")
    first = lines[0]
    columns = list(first.cells)
    # Spreadsheets write empty columns beside a table.
    while columns and not columns[-1]:
        columns.pop()
    if "" in columns:
        raise SetupError(f"Column {columns.index('') + 1} of {path} has no name: write one into line {first.number}.")
    counts = Counter(map(names.folded, columns))
    for column in columns:
        count = counts[names.folded(column)]
        if count > 1:
            raise SetupError(f"{path} has the column {column} {count} times: leave one of them.")
    if len(lines) == 1:
        raise SetupError(f"{path} has no rows below its line of names ({', '.join(columns[:9])}).")
    return Table(columns, lines[1:])


def with_inputs(table: Table, inputs: Sequence[FixedInput]) -> Table:
    """The table with further columns behind its own, each with the same value in every line.

    Raises SetupError for a column that is there already.
    """
    count = len(table.columns)
    columns = [*table.columns, *(fixed.column for fixed in inputs)]
    counts = Counter(map(names.folded, columns))
    for fixed in inputs:
        if counts[names.folded(fixed.column)] > 1:
            raise SetupError(
                f"--set gives {fixed.column}, which is a column of the table or given before: leave one of them."
            )
    values = [fixed.value for fixed in inputs]
    lines: list[Line] = []
    for line in table.lines:
        # Cells beyond the columns stay behind all of them, to be named.
        cells = [*line.cells[:count], *values, *line.cells[count:]]
        lines.append(Line(line.number, cells))
    return Table(columns, lines)


def rows(table: Table, is_photo: Callable[[str], bool]) -> Iterator[Row]:
    """Every row; two of one name, and one with too many or too few cells, with their problem.

    is_photo: whether a column holds files, which a row without a name is called after, behind its line's number.
    """
    line_of_name: dict[str, int] = {}
    column_count = len(table.columns)
    for line in table.lines:
        cells: dict[str, str] = {}
        name = ""
        for column, cell in zip(table.columns, line.cells, strict=False):
            if names.folded(column) == NAME:
                name = cell
            elif cell:
                cells[column] = cell
        problem = ""
        if name:
            problem = _problem_of_name(name)
        else:
            photos = [cell for column, cell in cells.items() if is_photo(column)]
            name = _name_of_photos(line.number, photos)
        if any(line.cells[column_count:]) or len(line.cells) < column_count:
            problem = (
                f"{len(line.cells)} cells for {column_count} columns: put text that holds the separator into straight "
                'quotes, as "one, two".'
            )
        elif not problem:
            other_line = line_of_name.setdefault(_as_on_disk(name), line.number)
            if other_line != line.number:
                problem = f"line {other_line} has the name {name} too: give each row its own."
        yield Row(line.number, name, cells, problem)


def _name_of_photos(line: int, photos: Sequence[str]) -> str:
    """The name of a row that has none: 00002_anna for the photo people/anna.jpg in line 2."""
    stems = [Path(photo.replace("\\", "/")).stem for photo in photos]
    text = "_".join([f"{line:05}", *stems])
    plain_text = re.sub(r"[^\w.-]+", "-", text)[:_MOST_LETTERS]
    return cut(plain_text, _MOST_BYTES).rstrip(".-")


def _problem_of_name(name: str) -> str:
    """Why no file can have a name; empty where one can."""
    is_long = len(name) > _MOST_LETTERS or len(name.encode()) > _MOST_BYTES
    if not is_long and not _NO_NAME.search(name) and not _DEVICES.match(name):
        return ""
    return (
        f"the name {name!r} cannot be a file's: at most {_MOST_LETTERS} letters and {_MOST_BYTES} bytes, none of "
        '<>:"/\\|?*, no =, +, -, @, dot or space before them, no dot or space behind, no number such as _1of4.'
    )


def _as_on_disk(name: str) -> str:
    """A name in a form that is the same for all names that are one file where a disk does not tell capitals, or two
    ways to write an accent."""
    return names.folded(name)


def cut(text: str, size: int) -> str:
    """What of a text fits into so many bytes."""
    return text.encode()[:size].decode(errors="ignore")


def _lines(path: Path) -> Iterator[Line]:
    """The lines of a table that are not empty. One in quotes may go over several of the file's."""
    content = _content(_text(path))
    before = 0
    reader = _reader(_in_straight_quotes(content.text, content.separator), content.separator)
    try:
        for cells in reader:
            plain_cells = _plain(cells)
            if any(plain_cells):
                yield Line(content.begin + before, plain_cells)
            before = reader.line_num
    except csv.Error as cause:
        problem = f"{path} cannot be read as CSV from line {content.begin + before} on ({cause})"
        advice = 'let nothing stand between a quote and the separator, and write a quote inside of quotes twice, as ""'
        raise SetupError(f"{problem}: {advice}.") from cause


def each_line_alone(path: Path) -> Iterator[list[str]]:
    """The cells of every line of a table of ours, as we or a spreadsheet saved it; it may end anywhere.

    Each is read for itself, so that one with a lost quote takes no other along. Bytes that are no letters are replaced,
    and typographic quotes are part of a cell. Raises SetupError for a file that cannot be read.
    """
    content = _content(_text(path, is_damaged=True))
    for line in io.StringIO(content.text, newline=""):
        for cells in _reader(line, content.separator, strict=False):
            plain_cells = _plain(cells)
            if any(plain_cells):
                yield plain_cells


def _plain(cells: Sequence[str]) -> list[str]:
    return [cell.strip(_BLANKS) for cell in cells]


@dataclass(frozen=True)
class _Content:
    """What a file says below the line that names its separator. begin: the number of its first line in the file."""

    text: str
    separator: str
    begin: int


def _content(text: str) -> _Content:
    named = _NAMED_SEPARATOR.match(text)
    if not named:
        return _Content(text, _separator(text), 1)
    above = len(re.findall(r"\r\n?|\n", named[0]))
    return _Content(text[named.end() :], named[1].replace("\\t", "\t"), 1 + above)


def _reader(text: str, separator: str, strict: bool = True) -> Any:
    """The cells of a text, line by line. Text iterates by lines that end in any way where newline is ""."""
    # A prompt, or the names of thousands of pictures, may be longer than csv's limit of 131072 letters.
    csv.field_size_limit(2**31 - 1)
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=strict)


def _separator(text: str) -> str:
    """What stands between the cells, commas where no other has more: the one by which the first line has most cells."""
    first_line = text.lstrip("\r\n")[:_MOST_HEAD_LETTERS]

    def count(separator: str) -> int:
        """How many cells the first line has by a separator, or none where it is no line by it."""
        try:
            return len(next(_reader(_in_straight_quotes(first_line, separator), separator), ()))
        except csv.Error:
            return 0

    return max(_SEPARATORS, key=count)


def _in_straight_quotes(text: str, separator: str) -> str:
    """The text with every cell that is in quotes in straight ones, with nothing around them."""
    edge = f"[\r\n{re.escape(separator)}]"
    gap = f"(?:(?!{edge})[{re.escape(_BLANKS)}])*"
    straight = r'"[^"]*(?:""[^"]*)*"'
    # What is in straight quotes is stepped over, whatever stands in it.
    others = "|".join(f"{quoted}{gap}(?={edge}|$)" for quoted in _QUOTED)
    cells = re.compile(f"(^|{edge}){gap}(?:=?({straight}){gap}(?={edge}|$)|{others})")

    def in_straight_quotes(cell: re.Match[str]) -> str:
        before, quoted, *others_inside = cell.groups()
        if quoted is None:
            inside = next(inside for inside in others_inside if inside is not None)
            quoted = '"' + inside.replace('"', '""') + '"'
        return before + quoted

    return cells.sub(in_straight_quotes, text)


def _text(path: Path, is_damaged: bool = False) -> str:
    """The text of a table. is_damaged: what is no letter is replaced or left out. Raises SetupError."""
    try:
        data = bytes_of(path, _MOST_TABLE_BYTES)
    except Unreadable as cause:
        raise SetupError(f"{path} {cause}.") from cause
    if is_damaged:
        return data.decode(_encoding(data), "replace").replace("\0", "").lstrip(_UNSEEN)
    try:
        text = data.decode(_encoding(data))
    except UnicodeDecodeError as cause:
        line = len(data[: cause.start].splitlines()) or 1
        problem = f"{path} is not UTF-8 (line {line})"
        raise SetupError(f"{problem}: save it as CSV UTF-8, which Excel has in its list.") from cause
    if "\0" in text:
        raise SetupError(f"{path} is no CSV: it holds binary data. Save the table as CSV UTF-8.")
    return text.lstrip(_UNSEEN)


def _encoding(data: bytes) -> str:
    """The encoding of a text, by the mark that it begins with."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return encoding
    return "utf-8"
