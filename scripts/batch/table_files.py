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
from typing import IO, Any

from environment import SetupError, python_command

from .folders import Folder

JSON_LINES = (".jsonl", ".ndjson")
_BLOCK_BYTES = 2**18
_MOST_CELL_LETTERS = 10**7
"""So far the end of a cell in quotes is looked for."""
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
        reader = _reader(self._in_straight_quotes(text), self.separator)
        for cells in reader:
            yield reader.line_num, cells

    def cut(self, text: str) -> int:
        """Where a text can be cut behind its last whole line: outside of every cell that is in quotes."""
        end = len(text)
        if _ANY_QUOTE.search(text):
            masked = self._cell_in_quotes.sub(lambda cell: cell[1] + "x" * (len(cell[0]) - len(cell[1])), text)
            begun = self._begun_quote.search(masked)
            if begun and end - begun.start() < _MOST_CELL_LETTERS:
                end = begun.start() + 1
            text = masked
        # A line that ends with \r\n may be cut through by the end of the text.
        return max(text.rfind("\n", 0, end), text.rfind("\r", 0, min(end, len(text) - 1))) + 1

    def _in_straight_quotes(self, text: str) -> str:
        """The text with every cell that is in quotes in straight ones, with nothing around them."""
        if not _ANY_QUOTE.search(text):
            return text

        def in_straight_quotes(cell: re.Match[str]) -> str:
            before, quoted, *others_inside = cell.groups()
            if quoted is None:
                inside = next(inside for inside in others_inside if inside is not None)
                quoted = '"' + inside.replace('"', '""') + '"'
            return before + quoted

        return self._cell_in_quotes.sub(in_straight_quotes, text)


def csv_lines(folder: Folder, name: str) -> Iterator[Line]:
    """The lines of a CSV file that are not empty. One in quotes may span several. Raises SetupError."""
    place = folder.place(name)
    texts = _texts(folder, name)
    head = next(texts, "").lstrip(_UNSEEN)
    named = _NAMED_SEPARATOR.match(head)
    before = 1
    if named:
        before += len(_LINE_END.findall(named[0]))
        head = head[named.end() :]
    dialect = _Dialect(named[1].replace("\\t", "\t") if named else _separator(head))
    for text in _whole_lines(head, texts, dialect):
        number, read = before, 0
        try:
            for read, cells in dialect.rows(text):
                plain_cells = [cell.strip(_BLANKS) for cell in cells]
                if any(plain_cells):
                    yield Line(number, plain_cells)
                number = before + read
        except csv.Error as cause:
            problem = f"{place} cannot be read as CSV from line {number} on ({cause})"
            advice = (
                'let nothing stand between a quote and the separator, and write a quote inside of quotes twice, as ""'
            )
            raise SetupError(f"{problem}: {advice}.") from cause
        before += read


def _whole_lines(text: str, texts: Iterator[str], dialect: _Dialect) -> Iterator[str]:
    """The texts one after the other, each of whole lines."""
    for more in texts:
        end = dialect.cut(text)
        if end:
            yield text[:end]
        text = text[end:] + more
    yield text


def _texts(folder: Folder, name: str) -> Iterator[str]:
    """The text of a file, piece by piece. Raises SetupError."""
    place = folder.place(name)
    lines = 1
    with folder.opened(name) as file:
        data = file.read(_BLOCK_BYTES)
        decoder = codecs.getincrementaldecoder(_encoding(data))()
        while True:
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as cause:
                problem = f"{place} is not UTF-8 (line {lines + len(_LINE_END.findall(_before(cause)))})"
                raise SetupError(f"{problem}: save it as CSV UTF-8, which Excel has in its list.") from cause
            if "\0" in text:
                raise SetupError(f"{place} is no CSV: it holds binary data. Save the table as CSV UTF-8.")
            yield text
            if not data:
                return
            lines += len(_LINE_END.findall(text))
            data = file.read(_BLOCK_BYTES)


def _before(cause: UnicodeDecodeError) -> str:
    """What could be read before a byte that is no letter."""
    return cause.object[: cause.start].decode("latin-1")


def _reader(text: str, separator: str) -> Any:
    """The cells of a text, line by line. Text iterates by lines that end in any way where newline is ""."""
    # A prompt, or the names of thousands of pictures, may be longer than csv's limit of 131072 letters.
    csv.field_size_limit(2**31 - 1)
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)


def _separator(text: str) -> str:
    """What stands between the cells, commas where no other has more: the one by which the first line has most cells."""
    first_line = text.lstrip("\r\n")[:_MOST_HEAD_LETTERS]

    def count(separator: str) -> int:
        """How many cells the first line has by a separator, or none where it is no line by it."""
        try:
            return len(next(_Dialect(separator).rows(first_line), (0, ()))[1])
        except csv.Error:
            return 0

    return max(_SEPARATORS, key=count)


def _encoding(data: bytes) -> str:
    """The encoding of a text, by the mark that it begins with."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return encoding
    return "utf-8"


# --- JSON lines and Parquet


def json_lines(folder: Folder, name: str) -> tuple[list[str], Callable[[], Iterator[Line]]]:
    """The columns of a file of JSON lines, which are the names in any of its objects, and its lines."""
    columns: dict[str, None] = {}
    for _, entry in _objects(folder, name):
        if isinstance(entry, Mapping):
            columns.update(dict.fromkeys(entry))

    def lines() -> Iterator[Line]:
        for number, entry in _objects(folder, name):
            if isinstance(entry, Mapping):
                yield _line(number, entry, list(columns))
            else:
                yield Line(number, [""] * len(columns), f"line {number} is no object of JSON.")

    return list(columns), lines


def _objects(folder: Folder, name: str) -> Iterator[tuple[int, Any]]:
    """The number of every line that is not empty, and what it holds; None where that is no JSON."""
    with folder.opened(name) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield number, json.loads(line.removeprefix(codecs.BOM_UTF8))
                except ValueError:
                    yield number, None


def parquet_lines(folder: Folder, name: str) -> tuple[list[str], Callable[[], Iterator[Line]]]:
    """The columns of a Parquet file and its lines, which are counted from 1. Raises SetupError."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        advice = f"{python_command()} -m pip install pyarrow"
        raise SetupError(f"{folder.place(name)} is Parquet, which pyarrow reads: {advice}.") from None

    def file_of(file: IO[bytes]) -> Any:
        try:
            return parquet.ParquetFile(file)
        except ArrowException as cause:
            raise SetupError(f"{folder.place(name)} is no Parquet file: {cause}.") from cause

    with folder.opened(name) as opened:
        columns = list(file_of(opened).schema_arrow.names)

    def lines() -> Iterator[Line]:
        number = 0
        with folder.opened(name) as opened:
            for batch in file_of(opened).iter_batches(batch_size=1000):
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
