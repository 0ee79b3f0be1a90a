"""What a run of compare.py leaves: tables for eyes and programs, a report to send, and a page that shows all of it."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pack.core.pictures import previews
from PIL import Image, ImageDraw
from shared import whole
from shared.photos import pixels as pixels_of
from shared.tables import as_csv as lines_as_csv
from torch import Tensor

from .columns import Column
from .rows import Row, Shown, Unread

DASH = "-"
FACTS = ("people", "pictures")
"""What the rows of a table say beside title, figures and notes: names of fields of Row."""
Pictures = Mapping[tuple[str, str], Tensor]
"""By row and column of a sheet, (H, W, 3) float 0..1."""


@dataclass(frozen=True)
class Answer:
    """What a page and a report say.

    tables: the rows below each heading. about: the prompt, the device, versions and whatever else is said of the whole
    run. unread: columns without a judge.
    """

    title: str
    tables: Mapping[str, Sequence[Row]]
    columns: Sequence[Column]
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])
    unread: Sequence[Unread] = ()


# --- Tables


def known_columns(rows: Sequence[Row], columns: Sequence[Column]) -> list[Column]:
    """The columns that have a figure in any of these rows."""
    return [column for column in columns if any(row.figures.get(column.name) is not None for row in rows)]


def cells(row: Row, columns: Sequence[Column]) -> list[str]:
    """The figures of a row as the table shows them, and a dash for what is not known."""
    texts: list[str] = []
    for column in columns:
        value = row.figures.get(column.name)
        texts.append(DASH if value is None else f"{value + 0.0:.2f}")
    return texts


def as_markdown(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """The table of a question, of what is known, with a column of notes where there are any."""
    columns = known_columns(rows, columns)
    has_notes = any(row.note for row in rows)
    names = ["", *FACTS, *[column.name for column in columns], *(["note"] if has_notes else [])]
    lines = [names, ["---"] * len(names)]
    for row in rows:
        line = [row.title, *[str(getattr(row, name)) for name in FACTS], *cells(row, columns)]
        lines.append([*line, row.note] if has_notes else line)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_csv(rows: Sequence[Row], columns: Sequence[Column]) -> bytes:
    """All rows for a spreadsheet, with four digits and nothing for what is not known."""
    names = [column.name for column in columns]
    lines: list[list[Any]] = [["method", *FACTS, *names, "note"]]
    for row in rows:
        values = [row.figures.get(name) for name in names]
        lines.append([row.title, *[getattr(row, name) for name in FACTS], *values, row.note])
    return lines_as_csv(lines)


def report(answer: Answer) -> str:
    """All tables as JSON. It holds no name of a person and no path."""
    tables: dict[str, Any] = {}
    for heading, rows in answer.tables.items():
        lines: list[dict[str, Any]] = []
        for row in rows:
            line = {"method": row.title, **{name: getattr(row, name) for name in FACTS}, "note": row.public_note}
            seeds = [picture.seed for picture in row.shown]
            lines.append({**line, "seeds": seeds, "figures": dict(row.figures)})
        tables[heading] = lines
    columns: list[dict[str, str]] = []
    for column in answer.columns:
        columns.append({"name": column.name, "meaning": column.meaning, "source": column.source, "best": column.best})
    missing = {reason.column: reason.why for reason in answer.unread}
    return json.dumps({**answer.about, "columns": columns, "not measured": missing, "tables": tables}, indent=1)


def write_table(name: str, rows: Sequence[Row], columns: Sequence[Column], out: Path) -> None:
    """Write the table of a question into a folder, to read and for a spreadsheet."""
    (out / f"{name}.md").write_text(as_markdown(rows, columns), "utf-8")
    (out / f"{name}.csv").write_bytes(as_csv(rows, columns))


def write_sheet(name: str, rows: Sequence[Row], out: Path) -> None:
    """Write the sheet of a question into a folder, where there are pictures."""
    pictures = first_pictures(rows)
    if pictures:
        sheet(pictures).save(out / f"{name}.jpg", quality=80)


# --- The page


def write(answer: Answer, out: Path) -> None:
    """Write the page and the report into a folder."""
    whole.write(out / "report.json", report(answer).encode())
    # Names of files may hold bytes that are no letters.
    whole.write(out / "index.html", as_html(answer, out).encode(errors="replace"))


def as_html(answer: Answer, out: Path) -> str:
    """The page. out: the folder where it lies; pictures are named from there. It loads nothing from the network."""

    def address_of(path: Path) -> str:
        # The name of a file may have any letters: quoted, so that a browser finds it, with bytes that are no letters.
        return quote(path.relative_to(out).as_posix(), errors="surrogateescape")

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    functions = (
        in_words,
        known_columns,
        cells,
        best_first,
        without_figures,
        association_by_people,
        address_of,
    )
    by_name = {function.__name__: function for function in functions}
    return templates.get_template("page.html").render(answer=answer, facts=FACTS, **by_name)


def in_words(name: str, value: Any) -> str:
    """What is said of a run, as a reader writes it: 1024x768, and names with commas between them.

    value: None for a setting that nobody has asked for.
    """
    if value is None:
        return "as in each template"
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value)
    separator = "x" if name == "size" else ", "
    values = cast("Sequence[object]", value)
    return separator.join(str(part) for part in values)


def best_first(row: Row) -> list[Shown]:
    """The pictures of a row, those of which nothing is measured last."""
    return sorted(row.shown, key=lambda picture: -math.inf if picture.score is None else picture.score, reverse=True)


def without_figures(rows: Sequence[Row], answer: Answer) -> list[str]:
    """The columns that a table leaves out, and of which the page has not said why. A table without a picture has none
    to name."""
    if not any(row.pictures for row in rows):
        return []
    explained = {reason.column for reason in answer.unread}
    explained |= {column.name for column in known_columns(rows, answer.columns)}
    return [column.name for column in answer.columns if column.name not in explained]


def association_by_people(rows: Sequence[Row]) -> dict[str, dict[int, float]]:
    """Of each method the association by the number of people in a picture, and at last that by chance; empty where no
    method has two numbers of people. Rows of one title are one method."""
    by_title: dict[str, dict[int, float]] = {}
    for row in rows:
        value = row.figures.get("association")
        if value is not None:
            by_title.setdefault(row.title, {})[row.people] = value
    if not any(len(values) > 1 for values in by_title.values()):
        return {}
    counts = sorted({people for values in by_title.values() for people in values})
    return {**by_title, "by chance": {people: 1 / people for people in counts}}


# --- Sheets


def first_pictures(rows: Sequence[Row]) -> dict[tuple[str, str], Tensor]:
    """For a sheet: by row and column the first picture, (H, W, 3) float 0..1."""
    pictures: dict[tuple[str, str], Tensor] = {}
    for row in rows:
        for picture in row.shown:
            if (row.title, picture.column) not in pictures:
                pictures[row.title, picture.column] = pixels_of(picture.path)
    return pictures


def sheet(pictures: Pictures, side: int = 220) -> Image.Image:
    """Rows of methods and the first six columns, with their names, to be read on a page 850 px wide."""
    rows = list(dict.fromkeys(row for row, _ in pictures))
    columns = list(dict.fromkeys(column for _, column in pictures))[:6]
    side = min(side, *(pixels.shape[1] for pixels in pictures.values()))
    high = max(math.ceil(side * len(pixels) / pixels.shape[1]) for pixels in pictures.values())
    letters = max(14, side // 9)
    size = (side * (len(columns) + 1), high * len(rows) + 2 * letters)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for number, column in enumerate(columns, 1):
        draw.text((side * number + 6, letters // 2), column, "black", font_size=letters)
    for row, name in enumerate(rows):
        draw.text((6, high * row + 2 * letters), textwrap.fill(name, 16), "black", font_size=letters)
        for number, column in enumerate(columns, 1):
            if (name, column) not in pictures:  # a method that draws no such picture has a gap
                continue
            small = previews.as_picture(pictures[name, column])
            small.thumbnail((side - 4, high - 4))
            canvas.paste(small, (side * number, high * row + 2 * letters))
    return canvas
