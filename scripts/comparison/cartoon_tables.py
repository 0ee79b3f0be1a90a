"""What --miniature leaves: tables of its own figures, sheets, pictures, and docs/dev/miniature_methods.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import environment
from pack.core import previews
from PIL import Image
from rig.tables import as_csv
from torch import Tensor

from . import page
from .columns import COLUMNS
from .curves import association_svg
from .rows import Row

PAGE = environment.ROOT / "docs" / "dev" / "miniature_methods.md"
CURVES = PAGE.with_name("likeness_association.svg")
Line = dict[str, Any]
"""A row of a table: setting, column, and figures."""
Pictures = dict[tuple[str, str], Tensor]
"""By row and column of the sheet, (H, W, 3)."""


class Answer(NamedTuple):
    """What the miniature answers to a question."""

    lines: list[Line]
    pictures: Pictures
    rows: Sequence[Row] = ()
    """The same with the columns of --people, and all pictures in files; empty where the question has none."""


def write(name: str, answer: Answer, out: Path) -> None:
    """Write the table of a question, its sheet and its pictures, and the page where there are rows for one."""
    lines, pictures, rows = answer
    (out / name).mkdir(parents=True, exist_ok=True)
    if rows:
        write_columns(name, rows, out)
    else:
        for names, pixels in pictures.items():
            previews.as_picture(pixels).save(out / name / f"{', '.join(names)}.png")
    (out / f"{name}.md").write_text(table(lines), "utf-8")
    columns = columns_of(lines)
    cells = [[line.get(column, "") for column in columns] for line in lines]
    (out / f"{name}.csv").write_bytes(as_csv([columns, *cells]))
    page.sheet(pictures).save(out / f"{name}.jpg", quality=80)
    environment.say(f"{out / name}.jpg\n{table(lines)}")


def write_columns(name: str, rows: Sequence[Row], out: Path) -> None:
    """Write the columns of --people of a question of the miniature: a table, and a page with all pictures."""
    import comfyui_version
    import torch

    from .colour_judging import UNREAD

    about = {
        "drawn by": "the miniature, a toy model: these figures say nothing of the released weights",
        "ComfyUI": comfyui_version.__version__,
        "torch": torch.__version__,
    }
    (out / f"{name}_columns.md").write_text(page.as_markdown(rows, COLUMNS), "utf-8")
    (out / f"{name}_columns.csv").write_bytes(page.as_csv(rows, COLUMNS))
    page.write("Methods beside each other", {name: rows}, COLUMNS, about, UNREAD, out)
    environment.say(f"{out / 'index.html'}")


def table(lines: Sequence[Line]) -> str:
    """Without columns of which nothing is known."""
    columns: list[str] = []
    for column in columns_of(lines):
        if any(_cell(line.get(column)) != "-" for line in lines):
            columns.append(column)
    rows = [columns, ["---"] * len(columns)]
    for line in lines:
        rows.append([_cell(line.get(column)) for column in columns])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def columns_of(lines: Sequence[Line]) -> list[str]:
    """The columns of all lines of a table, in their order."""
    columns: dict[str, None] = {}
    for line in lines:
        columns |= dict.fromkeys(line)
    return list(columns)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return f"{value + 0.0:.2f}" if isinstance(value, float) else str(value)


def into_docs(name: str, answer: Answer) -> None:
    """Put the figures of a question into the page, and with rows the curves of association beside it."""
    into_page(name, table(answer.lines), page.sheet(answer.pictures))
    if answer.rows:
        CURVES.write_text(association_svg(answer.rows), "utf-8")


def into_page(name: str, text: str, picture: Image.Image) -> None:
    """Between the page's marks of this question, with its sheet."""
    file = PAGE.with_name(f"likeness_{name}.jpg")
    picture.save(file, quality=70)
    begin = f"<!-- {name}: written by scripts/compare.py -->\n"
    end = f"<!-- end of {name} -->"
    before, marked = PAGE.read_text("utf-8").split(begin)
    _, behind = marked.split(end)
    link = f"![{name.capitalize()}, drawn]({file.name})"
    PAGE.write_text(f"{before}{begin}\n{text}\n{link}\n\n{end}{behind}", "utf-8")
