"""What a run of compare.py leaves: tables for eyes and programs, a report to send, and a page that shows all of it."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from pack.core import previews
from PIL import Image, ImageDraw
from shared import whole
from shared.tables import as_csv as lines_as_csv
from torch import Tensor

from .columns import Column
from .curves import association_svg
from .photos import image
from .rows import Row, Unread

DASH = "-"
Tables = Mapping[str, Sequence[Row]]
"""The rows below each heading."""
Pictures = Mapping[tuple[str, str], Tensor]
"""By row and column of a sheet, (H, W, 3) float 0..1."""
STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: GrayText; --bad: #c62828; --good: #2e7d32; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #a5d6a7; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3em .6em; text-align: right; vertical-align: top; }
th:first-child, td:first-child, td.note, .texts th, .texts td { text-align: left; }
.figures { overflow-x: auto; }
.figures td:first-child { white-space: nowrap; }
td.note { color: var(--quiet); }
figure { display: inline-block; margin: .4em; width: 17em; vertical-align: top; }
figure img { width: 100%; }
figure table { width: 100%; font-size: 13px; }
figure th, figure td { padding: .15em .4em; }
figcaption { font-size: .85em; color: var(--quiet); overflow-wrap: anywhere; }
.bad { color: var(--bad); }
.good { color: var(--good); }
"""


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


# --- Tables


def facts_of(rows: Sequence[Row]) -> list[str]:
    """What the rows of a table say beside title, figures and notes: names of fields of Row in which there is any."""
    names = ("group", "recogniser", "people", "pictures", "asked")
    return [name for name in names if name == "pictures" or any(getattr(row, name) for row in rows)]


def known_columns(rows: Sequence[Row], columns: Sequence[Column]) -> list[Column]:
    """The columns that have a figure in any of these rows."""
    return [column for column in columns if any(row.figures.get(column.name) is not None for row in rows)]


def cells(row: Row, columns: Sequence[Column]) -> list[str]:
    """The figures of a row as the table shows them, and a dash for what is not known."""
    texts: list[str] = []
    for column in columns:
        value = row.figures.get(column.name)
        texts.append(DASH if value is None else f"{value + 0.0:.{column.digits}f}")
    return texts


def as_markdown(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """The table of a question, of what is known, with a column of notes where there are any."""
    facts, columns = facts_of(rows), known_columns(rows, columns)
    has_notes = any(row.note for row in rows)
    names = ["", *facts, *[column.name for column in columns], *(["note"] if has_notes else [])]
    lines = [names, ["---"] * len(names)]
    for row in rows:
        line = [row.title, *[str(getattr(row, name)) for name in facts], *cells(row, columns)]
        lines.append([*line, row.note] if has_notes else line)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_csv(rows: Sequence[Row], columns: Sequence[Column], title: str = "method") -> bytes:
    """All rows for a spreadsheet, with four digits and nothing for what is not known. title: what a row is called."""
    facts = facts_of(rows)
    names = [column.name for column in columns]
    endings = ["source", "note"] if any(row.source for row in rows) else ["note"]
    lines: list[list[Any]] = [[title, *facts, *names, *endings]]
    for row in rows:
        values = [row.figures.get(name) for name in names]
        facts_of_row = [getattr(row, name) for name in (*facts, *endings)]
        lines.append([row.title, *facts_of_row[: len(facts)], *values, *facts_of_row[len(facts) :]])
    return lines_as_csv(lines)


def report(tables: Tables, columns: Sequence[Column], about: Mapping[str, Any], unread: Sequence[Unread]) -> str:
    """All tables as JSON. It holds no name of a person and no path.

    about: the prompt, the device, versions and whatever else is said of the whole run. unread: columns without a judge.
    """
    lines_of_table: dict[str, Any] = {}
    for heading, rows in tables.items():
        facts = facts_of(rows)
        lines: list[dict[str, Any]] = []
        for row in rows:
            line = {"method": row.title, **{name: getattr(row, name) for name in facts}, "note": row.public_note}
            if row.source:
                line["source"] = row.source
            seeds = [picture.seed for picture in row.shown if picture.seed is not None]
            lines.append({**line, "seeds": seeds, "figures": dict(row.figures)})
        lines_of_table[heading] = lines
    meanings: list[dict[str, str]] = []
    for column in columns:
        meanings.append({"name": column.name, "meaning": column.meaning, "source": column.source, "best": column.best})
    missing = {reason.column: reason.why for reason in unread}
    return json.dumps({**about, "columns": meanings, "not measured": missing, "tables": lines_of_table}, indent=1)


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


def write(
    title: str, tables: Tables, columns: Sequence[Column], about: Mapping[str, Any], unread: Sequence[Unread], out: Path
) -> None:
    """Write the page and the report into a folder. The words are those of `as_html` and `report`."""
    whole.write(out / "report.json", report(tables, columns, about, unread).encode())
    write_page(title, tables, columns, about, unread, out)


def write_page(
    title: str, tables: Tables, columns: Sequence[Column], about: Mapping[str, Any], unread: Sequence[Unread], out: Path
) -> None:
    # Names of files and texts of a benchmark may hold bytes that are no letters.
    whole.write(out / "index.html", as_html(title, tables, columns, about, unread, out).encode(errors="replace"))


def as_html(
    title: str, tables: Tables, columns: Sequence[Column], about: Mapping[str, Any], unread: Sequence[Unread], out: Path
) -> str:
    """The page. out: the folder where it lies; pictures are named from there. It loads nothing from the network."""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>",
    ]
    for name, value in about.items():
        parts.append(f"<div><b>{escape(name)}</b>: {escape(in_words(name, value))}</div>")
    for reason in unread:
        parts.append(f"<div><b>{escape(reason.column)}</b> is not measured: {escape(reason.why)}</div>")
    for heading, rows in tables.items():
        parts.append(f"<h2>{escape(heading.capitalize())}</h2>")
        parts.append(_table(rows, columns))
        parts += _without_figures(rows, columns, {reason.column for reason in unread})
        parts.append(association_svg(rows))
        for row in rows:
            parts += _figures(row, out)
    heads = "".join(f"<th>{name}</th>" for name in ("column", "best", "meaning", "source"))
    parts.append(f'<h2>Columns</h2><table class="texts"><tr>{heads}</tr>')
    for column in columns:
        texts = (column.name, column.best, column.meaning, column.source)
        parts.append(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>")
    parts.append("</table></body></html>\n")
    return "\n".join(parts)


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """A table with the columns of which anything is known. The meaning of each shows under the pointer."""
    columns = known_columns(rows, columns)
    facts = [name for name in facts_of(rows) if name not in ("group", "asked")]
    has_sources = any(row.source for row in rows)
    parts = ['<div class="figures"><table><tr><th></th>', *[f"<th>{name}</th>" for name in facts]]
    for column in columns:
        parts.append(f'<th title="{escape(column.meaning)}">{escape(column.name)}</th>')
    parts.append("<th>source</th></tr>" if has_sources else "</tr>")
    for row in rows:
        parts.append(f"<tr><td>{escape(row.title)}</td>")
        if row.note:
            parts += [f"<td>{escape(_fact(row, name))}</td>" for name in facts if name != "pictures"]
            parts.append(f'<td class="note" colspan="{len(columns) + 1}">{escape(row.note)}</td></tr>')
            continue
        texts = [_fact(row, name) for name in facts] + cells(row, columns)
        parts += [f"<td>{escape(text)}</td>" for text in texts]
        parts.append(f'<td class="note">{escape(row.source or "this run")}</td></tr>' if has_sources else "</tr>")
    parts.append("</table></div>")
    return "".join(parts)


def _fact(row: Row, name: str) -> str:
    """A cell beside the figures."""
    value = getattr(row, name)
    if value is None:
        return DASH
    return f"{value} of {row.asked}" if name == "pictures" and row.asked else str(value)


def _without_figures(rows: Sequence[Row], columns: Sequence[Column], explained: Collection[str]) -> list[str]:
    """A line that names the columns which the table leaves out, and why.

    explained: columns of which the page has said it already. A table without a picture has none to name.
    """
    if not any(row.pictures for row in rows):
        return []
    explained = {*explained, *[column.name for column in known_columns(rows, columns)]}
    names = [column.name for column in columns if column.name not in explained]
    if not names:
        return []
    return [
        f"<p>Not in this table, because no picture gives a figure: {escape(', '.join(names))}. Most of them need faces "
        "that are found in the picture, some need two people in it, and copy-paste needs a second photo.</p>"
    ]


def _figures(row: Row, out: Path) -> list[str]:
    """The pictures of a row. A picture that was drawn holds its own workflow."""
    parts: list[str] = [f"<h3>{escape(row.title)}</h3>"] if row.shown else []
    for picture in row.shown:
        # The name of a file may have any letters: quoted, so that a browser finds it, with bytes that are no letters.
        address = quote(picture.path.relative_to(out).as_posix(), errors="surrogateescape")
        caption = escape(picture.caption)
        parts.append(
            f'<figure><a href="{address}"><img loading="lazy" src="{address}" alt="{caption}"></a>'
            f"<figcaption>{caption}</figcaption>{picture.below}</figure>"
        )
    return parts


# --- Sheets


def first_pictures(rows: Sequence[Row]) -> dict[tuple[str, str], Tensor]:
    """For a sheet: by row and column the first picture, (H, W, 3) float 0..1."""
    pictures: dict[tuple[str, str], Tensor] = {}
    for row in rows:
        for picture in row.shown:
            if (row.title, picture.column) not in pictures:
                pictures[row.title, picture.column] = image(picture.path)
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
