"""Files of tables as people and programs write them, read as streams: a table of any length takes the same memory.

CSV is UTF-8, with or without the mark that Excel puts before it, or UTF-16 with it; commas, semicolons or tabs, or what
a first line such as sep=| says; lines that end as on any system; straight or typographic quotes, with spaces around or
Excel's = before them. JSON lines have an object in each line. Parquet needs pyarrow.
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from environment import SetupError, python_command

JSON_LINES = (".jsonl", ".ndjson")
_BLOCK_LINES = 1000
_MOST_CELL_LETTERS = 10**7
"""So far the end of a cell in quotes is looked for."""
_HEAD_BYTES = 2**16
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_UNSEEN = "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
"""Letters without a width: programs leave them before what is copied from them."""
_BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + _UNSEEN
"""What is no part of a cell, before it and behind it."""
_SEPARATORS = ",;\t"
_NAMED_SEPARATOR = re.compile(r'[ \t]*"?sep *= *(\\t|[^\s\w"]|\t) *"?[ ,;\t]*(?:\r\n?|\n)', re.IGNORECASE)
"""Excel's way to say which separator a file has. A program that reads it as a line of cells writes it as one."""
_LINE_END = re.compile(r"\r\n?|\n")
_LONG_QUOTES = r"\u201c-\u201f\u00ab\u00bb\uff02"
_QUOTED = (
    rf"[{_LONG_QUOTES}]([^{_LONG_QUOTES}]*)[{_LONG_QUOTES}]",
    # One of two, where only one was made typographic.
    rf'[{_LONG_QUOTES}]([^{_LONG_QUOTES}"]*)"',
    r"[\u2039\u203a]([^\u2039\u203a]*)[\u2039\u203a]",
    r"[\u300c\u300e]([^\u300c-\u300f]*)[\u300d\u300f]",
    # They end where a cell does, as the last of them is an apostrophe too. For that reason none begins with it, and
    # none goes over several lines.
    r"[\u2018\u201a\u201b]([^\u2018\u201a\u201b\r\n]*?)[\u2018\u2019]",
)
"""A cell in other quotes than straight ones: in double, single and Asian ones."""
_ANY_QUOTE = re.compile(rf'["{_LONG_QUOTES}\u2018-\u201b\u2039\u203a\u300c-\u300f]')


@dataclass(frozen=True)
class Line:
    """A line of a table. number: in the file, from 1. cells: without what is around them. problem: why it is no row."""

    number: int
    cells: list[str]
    problem: str = ""


# --- CSV


class _Dialect:
    """How the cells of a CSV file are told apart. separator: what stands between them."""

    def __init__(self, separator: str) -> None:
        self.separator = separator
        edge = f"[\r\n{re.escape(separator)}]"
        gap = f"(?:(?!{edge})[{re.escape(_BLANKS)}])*"
        straight = r'"[^"]*(?:""[^"]*)*"'
        # What is in straight quotes is stepped over, whatever stands in it.
        others = "|".join(f"{quoted}{gap}(?={edge}|$)" for quoted in _QUOTED)
        self._cell_in_quotes = re.compile(f"(^|{edge}){gap}(?:=?({straight}){gap}(?={edge}|$)|{others})")
        self._begun_quote = re.compile(rf'(?:^|{edge}){gap}(?:=?"|[{_LONG_QUOTES}\u2039\u203a\u300c\u300e])')

    def rows(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """The cells of each line of a text, and how many lines of the file were read with it. Raises csv.Error."""
        if _ANY_QUOTE.search(text):
            text = self._cell_in_quotes.sub(_in_straight_quotes, text)
        lines = io.StringIO(text, newline="")
        reader = csv.reader(lines, delimiter=self.separator, skipinitialspace=True, strict=True)
        for cells in reader:
            yield reader.line_num, cells

    def whole(self, text: str) -> int:
        """How much of a text is before the line in which a cell in quotes begins that has not ended."""
        if not _ANY_QUOTE.search(text):
            return len(text)
        masked = self._cell_in_quotes.sub(lambda cell: cell[1] + "x" * (len(cell[0]) - len(cell[1])), text)
        begun = self._begun_quote.search(masked)
        if not begun:
            return len(text)
        return max(masked.rfind(end, 0, begun.start() + 1) for end in "\r\n") + 1


def _in_straight_quotes(cell: re.Match[str]) -> str:
    """A cell that is in quotes in straight ones, with nothing around them."""
    before, quoted, *others_inside = cell.groups()
    if quoted is None:
        inside = next(inside for inside in others_inside if inside is not None)
        quoted = '"' + inside.replace('"', '""') + '"'
    return before + quoted


def csv_lines(path: Path, place: str) -> Iterator[Line]:
    """The lines of a CSV file that are not empty. One in quotes may span several. Raises SetupError."""
    # A prompt, or the names of thousands of pictures, may be longer than csv's limit of 131072 letters.
    csv.field_size_limit(2**31 - 1)
    file_lines = _text_lines(path, place)
    number = 1
    text = next(file_lines, "").lstrip(_UNSEEN)
    while text and not text.strip(_BLANKS + _SEPARATORS):
        text = next(file_lines, "")
        number += 1
    named = _NAMED_SEPARATOR.fullmatch(text)
    dialect = _Dialect(named[1].replace("\\t", "\t") if named else _separator(text))
    if named:
        text = ""
        number += 1
    while True:
        # Twice as many where a cell in quotes has not ended.
        more = "".join(islice(file_lines, max(_BLOCK_LINES, text.count("\n"))))
        text += more
        end = dialect.whole(text) if more and len(text) < _MOST_CELL_LETTERS else len(text)
        read = 0
        try:
            for end_line, cells in dialect.rows(text[:end]):
                plain_cells = [cell.strip(_BLANKS) for cell in cells]
                if any(plain_cells):
                    yield Line(number + read, plain_cells)
                read = end_line
        except csv.Error as cause:
            problem = f"{place} cannot be read as CSV from line {number + read} on ({cause})"
            advice = "let nothing stand between a quote and the separator, and write a quote inside of quotes twice"
            raise SetupError(f'{problem}: {advice}, as "".') from cause
        if not more:
            return
        number += read
        text = text[end:]


def _text_lines(path: Path, place: str) -> Iterator[str]:
    """The lines of a text, with their ends. Raises SetupError."""
    with path.open("rb") as file:
        start = file.read(_HEAD_BYTES)
    encoding = next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), "utf-8")
    if b"\0" in start and encoding != "utf-16":
        raise SetupError(f"{place} is no CSV: it holds binary data. Save the table as CSV UTF-8.")
    number = 0
    with path.open(encoding=encoding, newline="") as file:
        try:
            for line in file:
                yield line
                number += 1
        except UnicodeDecodeError as cause:
            before = cause.object[: cause.start].decode("latin-1")
            problem = f"{place} is not UTF-8 (line {number + 1 + len(_LINE_END.findall(before))})"
            raise SetupError(f"{problem}: save it as CSV UTF-8, which Excel has in its list.") from cause


def _separator(first_line: str) -> str:
    """What stands between the cells, commas where no other has more: the one by which the first line has most cells."""

    def count(separator: str) -> int:
        """How many cells the first line has by a separator, or none where it is no line by it."""
        try:
            return len(next(_Dialect(separator).rows(first_line), (0, ()))[1])
        except csv.Error:
            return 0

    return max(_SEPARATORS, key=count)


# --- JSON lines and Parquet


def json_lines(path: Path) -> tuple[list[str], Callable[[], Iterator[Line]]]:
    """The columns of a file of JSON lines, which are the names in any of its objects, and its lines."""
    columns: dict[str, None] = {}
    for _, entry in _objects(path):
        if isinstance(entry, Mapping):
            columns.update(dict.fromkeys(entry))

    def lines() -> Iterator[Line]:
        for number, entry in _objects(path):
            if isinstance(entry, Mapping):
                yield _line(number, entry, list(columns))
            else:
                yield Line(number, [""] * len(columns), f"line {number} is no object of JSON.")

    return list(columns), lines


def _objects(path: Path) -> Iterator[tuple[int, Any]]:
    """The number of every line that is not empty, and what it holds; None where that is no JSON."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield number, json.loads(line.removeprefix(codecs.BOM_UTF8))
                except ValueError:
                    yield number, None


def parquet_lines(path: Path, place: str) -> tuple[list[str], Callable[[], Iterator[Line]]]:
    """The columns of a Parquet file and its lines, which are counted from 1. Raises SetupError."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        advice = f"{python_command()} -m pip install pyarrow"
        raise SetupError(f"{place} is Parquet, which pyarrow reads: {advice}.") from None

    try:
        columns = list(parquet.read_schema(path).names)
    except ArrowException as cause:
        raise SetupError(f"{place} is no Parquet file: {cause}.") from cause

    def lines() -> Iterator[Line]:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=1000):
            for entry in batch.to_pylist():
                number += 1
                yield _line(number, entry, columns)

    return columns, lines


def _line(number: int, entry: Mapping[str, Any], columns: Sequence[str]) -> Line:
    cells: list[str] = []
    problem = ""
    for column in columns:
        value = entry.get(column)
        if isinstance(value, dict | list):
            problem = f"{column} is a list or an object: a number, a text, true or false is needed."
        cells.append(_cell(value))
    return Line(number, cells, problem)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).strip(_BLANKS)
