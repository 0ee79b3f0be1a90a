"""Files of tables as people and programs write them, read as streams: a table of any length takes the same memory.

Text is UTF-8, with or without the mark that Excel puts before it, or UTF-16 or UTF-32 with it; its lines end as on any
system. CSV has commas, semicolons or tabs, or what a first line such as sep=| says. JSON lines have an object in each
line. Parquet needs pyarrow.
"""

import codecs
import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from environment import SetupError, python_command

from core.checks.text import BLANKS, UNSEEN

JSON_LINES = (".jsonl", ".ndjson")
_MOST_LINE_LETTERS = 10**7
"""A prompt, or the names of thousands of pictures, may be longer than csv's limit of 131072 letters."""
_MOST_JSON_COLUMNS = 1000
"""Every line gets a cell for every name in any of the objects."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins as UTF-16 does
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SEPARATORS = ",;\t"
_NAMED_SEPARATOR = re.compile(r'"?sep=(\\t|[^\s\w"]|\t)"?[,;\t]*\s*', re.IGNORECASE)
"""Excel's way to say which separator a file has. A program that reads it as a line of cells writes it as one."""
_LINE_END = re.compile(r"\r\n?|\n")


@dataclass(frozen=True)
class Line:
    """A line of a table. number: in the file, from 1. cells: without what is around them. problem: why it is no row."""

    number: int
    cells: list[str]
    problem: str = ""


# --- CSV


def csv_lines(path: Path, place: str) -> Iterator[Line]:
    """The lines of a CSV file that are not empty. One in quotes may span several. Raises SetupError."""
    csv.field_size_limit(_MOST_LINE_LETTERS)
    file_lines = _text_lines(path, place)
    above = 0  # lines of the file before the table
    first = next(file_lines, "").lstrip(UNSEEN)
    while first and not first.strip(BLANKS + _SEPARATORS):
        first = next(file_lines, "")
        above += 1
    named = _NAMED_SEPARATOR.fullmatch(first)
    if named:
        above += 1
        reader = _reader(file_lines, named[1].replace("\\t", "\t"))
    else:
        reader = _reader(chain([first], file_lines), _separator(first))
    number = above + 1
    try:
        for cells in reader:
            plain_cells = [cell.strip(BLANKS) for cell in cells]
            if any(plain_cells):
                yield Line(number, plain_cells)
            number = above + reader.line_num + 1
    except csv.Error as cause:
        problem = f"{place} cannot be read as CSV from line {number} on ({cause})"
        advice = "let nothing stand between a quote and the separator, and write a quote inside of quotes twice"
        raise SetupError(f'{problem}: {advice}, as "".') from cause


def _reader(lines: Iterable[str], separator: str) -> Any:
    return csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)


def _text_lines(path: Path, place: str) -> Iterator[str]:
    """The lines of a text, with their ends. Raises SetupError."""
    with path.open("rb") as file:
        start = file.read(max(map(len, _MARKS)))
    encoding = next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), "utf-8")
    number = 0
    with path.open(encoding=encoding, newline="") as file:
        try:
            while line := file.readline(_MOST_LINE_LETTERS):
                if "\0" in line:
                    raise SetupError(f"{place} is no text (line {number + 1}). Save the table as CSV UTF-8.")
                if len(line) == _MOST_LINE_LETTERS:
                    raise SetupError(
                        f"{place} has too long a line: {number + 1}. Less than 10 million letters are read."
                    )
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
            return len(next(_reader([first_line], separator), ()))
        except csv.Error:
            return 0

    return max(_SEPARATORS, key=count)


# --- JSON lines and Parquet


def json_lines(path: Path, place: str) -> tuple[list[str], Callable[[], Iterator[Line]]]:
    """The columns of a file of JSON lines, which are the names in any of its objects, and its lines. Raises
    SetupError."""
    columns: dict[str, None] = {}
    for _, entry in _objects(path, place):
        if isinstance(entry, Mapping):
            columns.update(dict.fromkeys(entry))
    if len(columns) > _MOST_JSON_COLUMNS:
        problem = f"{place} has {len(columns):,} columns, which are all names in its objects"
        raise SetupError(f"{problem}: at most {_MOST_JSON_COLUMNS:,} are read. Name the same inputs in every line.")

    def lines() -> Iterator[Line]:
        for number, entry in _objects(path, place):
            if isinstance(entry, Mapping):
                yield _line(number, entry, list(columns))
            else:
                yield Line(number, [], f"line {number} is {entry}.")

    return list(columns), lines


def _objects(path: Path, place: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """The number of every line that is not empty, and its object, or what it is instead. Raises SetupError."""
    for number, line in enumerate(_text_lines(path, place), 1):
        if line.strip(BLANKS):
            try:
                entry = json.loads(line.lstrip(UNSEEN), object_pairs_hook=_with_each_key_once)
            except (ValueError, RecursionError):
                entry = None
            yield number, entry if isinstance(entry, Mapping) else "no object of JSON, or has a name twice"


def _with_each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        raise ValueError
    return entry


def parquet_lines(path: Path, place: str) -> tuple[list[str], Callable[[], Iterator[Line]]]:
    """The columns of a Parquet file and its lines, which are counted from 1. Raises SetupError."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        advice = f"{python_command()} -m pip install pyarrow"
        raise SetupError(f"{place} is Parquet, which pyarrow reads: {advice}.") from None

    try:
        columns = list(parquet.read_schema(path).names)
    except (ArrowException, OSError) as cause:
        raise SetupError(f"{place} is no Parquet file: {cause}.") from cause

    def lines() -> Iterator[Line]:
        number = 0
        try:
            for batch in parquet.ParquetFile(path).iter_batches(batch_size=1000):
                for entry in batch.to_pylist():
                    number += 1
                    yield _line(number, entry, columns)
        except (ArrowException, OSError, ValueError) as cause:  # damaged, text that is not UTF-8, nanoseconds
            problem = f"{place} cannot be read as Parquet from line {number + 1} on ({cause})"
            raise SetupError(f"{problem}: write it again, with texts and numbers.") from cause

    return columns, lines


def _line(number: int, entry: Mapping[str, Any], columns: Sequence[str]) -> Line:
    cells: list[str] = []
    problem = ""
    for column in columns:
        value = entry.get(column)
        if isinstance(value, dict | list | bytes):
            problem = f"{column} is a list, an object or bytes: a number, a text, true or false is needed."
        cells.append(_cell(value))
    return Line(number, cells, problem)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""  # data frames write an empty cell as NaN
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).strip(BLANKS)
