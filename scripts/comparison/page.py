"""What a run of compare.py --people leaves: tables for eyes and programs, and a page that shows all of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import evaluate
from torch import Tensor

from .columns import COLUMNS, Column
from .curves import association_svg
from .rows import Row, Unread

DASH = "-"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ddd; padding: .3em .6em; text-align: right; vertical-align: top; }
th:first-child, td:first-child, td.note, .texts th, .texts td { text-align: left; }
.figures { overflow-x: auto; }
.figures td:first-child { white-space: nowrap; }
td.note { color: #777; }
figure { display: inline-block; margin: .4em; width: 17em; vertical-align: top; }
figure img { width: 100%; }
figcaption { font-size: .85em; color: #555; overflow-wrap: anywhere; }
"""


def beginning(title: str, about: Mapping[str, Any], unmeasured: Mapping[str, str]) -> list[str]:
    """The lines of a page down to its first table, also for benchmarks/page.py.

    about: what is said of the whole run. unmeasured: by name of a column why it is not measured.
    """
    parts = ["<!doctype html>"]
    parts.append(f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>')
    parts.append(f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>")
    for name, value in about.items():
        parts.append(f"<div><b>{escape(name)}</b>: {escape(in_words(name, value))}</div>")
    for name, why in unmeasured.items():
        parts.append(f"<div><b>{escape(name)}</b> is not measured: {escape(why)}</div>")
    return parts


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


def cells(row: Row, columns: Sequence[Column] = COLUMNS) -> list[str]:
    """The figures of a row as the table shows them: two digits, and a dash for what is not known."""
    texts: list[str] = []
    for column in columns:
        value = row.figures.get(column.name)
        texts.append(DASH if value is None else f"{value + 0.0:.2f}")
    return texts


def first_pictures(rows: Sequence[Row]) -> dict[tuple[str, str], Tensor]:
    """For a sheet: by row and column the first picture, (H, W, 3) float 0..1."""
    pictures: dict[tuple[str, str], Tensor] = {}
    for row in rows:
        for picture in row.pictures:
            if (row.title, picture.column) not in pictures:
                pictures[row.title, picture.column] = evaluate.image(picture.path)
    return pictures


def as_markdown(rows: Sequence[Row], columns: Sequence[Column] = COLUMNS) -> str:
    """The table of a question, with a column of notes where there are any."""
    notes = ["note"] if any(row.note for row in rows) else []
    lines = [["", "people", "pictures", *[column.name for column in columns], *notes]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        line = [row.title, str(row.people), str(len(row.pictures)), *cells(row, columns)]
        lines.append([*line, row.note] if notes else line)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_csv(rows: Sequence[Row]) -> bytes:
    """The table of a question for a spreadsheet, with four digits and nothing for what is not known."""
    lines: list[list[Any]] = [["method", "people", "pictures", *[column.name for column in COLUMNS], "note"]]
    for row in rows:
        values = [row.figures.get(column.name) for column in COLUMNS]
        lines.append([row.title, row.people, len(row.pictures), *values, row.note])
    return evaluate.as_csv(lines)


def report(questions: Mapping[str, Sequence[Row]], about: Mapping[str, Any], unread: Sequence[Unread]) -> str:
    """All tables as JSON. It holds no name of a person and no path.

    about: the prompt, the device, versions and whatever else is said of the whole run. unread: columns without a judge.
    """
    tables: dict[str, Any] = {}
    for question, rows in questions.items():
        lines: list[dict[str, Any]] = []
        for row in rows:
            seeds = [picture.seed for picture in row.pictures]
            line = {"method": row.title, "people": row.people, "seeds": seeds, "note": row.public_note}
            lines.append({**line, "figures": dict(row.figures)})
        tables[question] = lines
    columns: list[dict[str, str]] = []
    for column in COLUMNS:
        texts = {"name": column.name, "meaning": column.meaning, "source": column.source, "best": column.best}
        columns.append(texts)
    missing = {reason.column: reason.why for reason in unread}
    return json.dumps({**about, "columns": columns, "not measured": missing, "tables": tables}, indent=1)


def as_html(
    questions: Mapping[str, Sequence[Row]], about: Mapping[str, Any], unread: Sequence[Unread], out: Path
) -> str:
    """The page. out: the folder where it lies; pictures are named from there. It loads nothing from the network."""
    parts = beginning("Methods beside each other", about, {reason.column: reason.why for reason in unread})
    for question, rows in questions.items():
        parts.append(f"<h2>{escape(question.capitalize())}</h2>")
        parts.append(_table(rows))
        parts += _without_figures(rows, {reason.column for reason in unread})
        parts.append(association_svg(rows))
        for row in rows:
            parts += _figures(row, out)
    parts.append(
        '<h2>Columns</h2><table class="texts"><tr><th>column</th><th>best</th><th>meaning</th><th>source</th></tr>'
    )
    for column in COLUMNS:
        texts = (column.name, column.best, column.meaning, column.source)
        parts.append(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>")
    parts.append("</table></body></html>")
    return "\n".join(parts)


def known_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns that have a figure in any of these rows."""
    return [column for column in COLUMNS if any(row.figures.get(column.name) is not None for row in rows)]


def _table(rows: Sequence[Row]) -> str:
    """The table of a question, with the columns of which anything is known. The meaning of each shows under the
    pointer."""
    columns = known_columns(rows)
    parts = ['<div class="figures"><table><tr><th></th><th>people</th><th>pictures</th>']
    for column in columns:
        parts.append(f'<th title="{escape(column.meaning)}">{escape(column.name)}</th>')
    parts.append("</tr>")
    for row in rows:
        parts.append(f"<tr><td>{escape(row.title)}</td><td>{row.people}</td>")
        if row.note:
            parts.append(f'<td class="note" colspan="{len(columns) + 1}">{escape(row.note)}</td></tr>')
            continue
        figures = "".join(f"<td>{text}</td>" for text in cells(row, columns))
        parts.append(f"<td>{len(row.pictures)}</td>{figures}</tr>")
    parts.append("</table></div>")
    return "".join(parts)


def _without_figures(rows: Sequence[Row], explained: Collection[str]) -> list[str]:
    """A line that names the columns which the table leaves out, and why.

    explained: columns of which the page has said it already. A table without a picture has none to name.
    """
    if not any(row.pictures for row in rows):
        return []
    shown = {column.name for column in known_columns(rows)}
    names = [column.name for column in COLUMNS if column.name not in shown and column.name not in explained]
    if not names:
        return []
    return [
        f"<p>Not in this table, because no picture gives a figure: {escape(', '.join(names))}. Most of them need faces "
        "that are found in the picture, some need two people in it, and copy-paste needs a second photo.</p>"
    ]


def _figures(row: Row, out: Path) -> list[str]:
    """The pictures of a row, each with the seed and the people. A picture holds its own workflow."""
    parts: list[str] = []
    for picture in row.pictures:
        address = quote(picture.path.relative_to(out).as_posix())
        caption = f"{row.title}, seed {picture.seed}: {', '.join(picture.names)}"
        parts.append(
            f'<figure><a href="{address}"><img loading="lazy" src="{address}" alt="{escape(caption)}"></a>'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    return parts
