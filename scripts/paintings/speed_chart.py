"""The chart of docs/speed.md: what people cost in a step, drawn from the table of docs/dev/bench.md."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from core.lettering import font_for

SIZE = (850, 530)
PLOT = (60, 50, 520, 470)
"""Left, top, right and bottom of the axes, in pixels."""
PEOPLE = (1, 2, 4, 8, 12)
MARKS = (1, 1.5, 2, 3, 5, 10, 20)
"""On the vertical axis, which is logarithmic."""
SCALE = 2
"""It is drawn so many times as large, so that lines have soft edges."""
OURS = (0, 158, 115)
ELSEWHERE = (213, 94, 0)
GREY = (150, 150, 150)
INK = (40, 40, 40)
LINE_HEIGHT = 17
LABELS = {
    "**ID-Patch**, with or without ID tokens by region": "ID-Patch",
    "**InstantID**": "InstantID",
    "**IP-Adapter FaceID**": "IP-Adapter FaceID",
    "**StoryMaker**": "StoryMaker",
    "**PhotoMaker**": "PhotoMaker",
    "**Prompt per Person**, 77 tokens each": "Prompt per Person",
    "**second pass** with ID-Patch, all faces as rows of 768 px": "second pass with ID-Patch, 768 px",
    "a ControlNet": "a ControlNet",
    "InstantIDs chained, one prompt": "InstantIDs chained",
    "InstantIDs with a prompt each": "InstantIDs with a prompt each",
    "IP-Adapters with masks, a common prompt and one each": "IP-Adapters with masks, a prompt each",
    "masks on conditioning, a common prompt and one each": "masks on conditioning",
    "attention couple, a common prompt and one each": "attention couple",
    "crop and detail, 1024 px per face": "crop and detail",
}
"""Rows of the table that are shown, and what is written beside their lines."""


class Curve(NamedTuple):
    """A row of the table. costs: by the number of people, in steps without people."""

    label: str
    color: tuple[int, int, int]
    costs: dict[int, float]


def curves(page: Path) -> list[Curve]:
    """The rows of the first table that has a number for each number of people. Raises ValueError for one that lacks."""
    rows: dict[str, list[str]] = {}
    for line in page.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows.setdefault(cells[0], cells[1:])
    found: list[Curve] = []
    for row, label in LABELS.items():
        if row not in rows:
            raise ValueError(f"{page} has no row that begins with: {row}")
        costs: dict[int, float] = {}
        for people, cell in zip(PEOPLE, rows[row], strict=False):
            if re.fullmatch(r"[\d.]+", cell):
                costs[people] = float(cell)
        color = OURS if row.startswith("**") else ELSEWHERE
        if row == "a ControlNet":
            color = GREY
        found.append(Curve(label, color, costs))
    return found


def chart(page: Path) -> Image.Image:
    """A curve for each row, with its label at the right."""
    picture = Image.new("RGB", (SIZE[0] * SCALE, SIZE[1] * SCALE), "white")
    pen = ImageDraw.Draw(picture)
    _axes(pen)
    shown = curves(page)
    for curve in shown:
        points = [_pixel(people, cost) for people, cost in curve.costs.items()]
        pen.line(points, curve.color, 2 * SCALE, "curve")
        for x, y in points:
            pen.ellipse((x - 3 * SCALE, y - 3 * SCALE, x + 3 * SCALE, y + 3 * SCALE), curve.color)
    _labels(pen, shown)
    return picture.resize(SIZE, Image.Resampling.LANCZOS)


def _pixel(people: float, cost: float) -> tuple[float, float]:
    left, top, right, bottom = PLOT
    across = (people - PEOPLE[0]) / (PEOPLE[-1] - PEOPLE[0])
    up = math.log(cost / MARKS[0]) / math.log(MARKS[-1] / MARKS[0])
    return (left + across * (right - left)) * SCALE, (bottom - up * (bottom - top)) * SCALE


def _axes(pen: ImageDraw.ImageDraw) -> None:
    left, top, right, bottom = (side * SCALE for side in PLOT)
    pen.line((left, top, left, bottom, right, bottom), INK, SCALE)
    for people in PEOPLE:
        x, _ = _pixel(people, MARKS[0])
        pen.text((x, bottom + 8 * SCALE), str(people), INK, _font(13), anchor="ma")
    for mark in MARKS:
        _, y = _pixel(PEOPLE[0], mark)
        pen.line((left, y, right, y), (230, 230, 230), 1)
        pen.text((left - 8 * SCALE, y), f"{mark:g}", INK, _font(13), anchor="rm")
    middle = (left + right) / 2
    pen.text((middle, bottom + 30 * SCALE), "people in a picture of SDXL, 1024 px", INK, _font(14), anchor="ma")
    title = "Work of a step, in steps without people: counted, not timed"
    pen.text((left, 16 * SCALE), title, INK, _font(17), anchor="la")


def _labels(pen: ImageDraw.ImageDraw, shown: list[Curve]) -> None:
    """A line for each label, none above another, joined with the end of its curve."""
    ends: list[tuple[float, float, Curve]] = []
    for curve in shown:
        x, y = _pixel(*max(curve.costs.items()))
        ends.append((y, x, curve))
    # From the lowest curve upwards; each label makes room for the one below.
    lowest = (PLOT[3] + 4) * SCALE
    for y, x, curve in sorted(ends, key=lambda end: -end[0]):
        height = min(y, lowest)
        lowest = height - LINE_HEIGHT * SCALE
        text_x = (PLOT[2] + 40) * SCALE
        pen.line((x + 5 * SCALE, y, text_x - 4 * SCALE, height), (200, 200, 200), SCALE)
        pen.text((text_x, height), curve.label, curve.color, _font(13), anchor="lm")


def _font(size: int) -> Any:
    return font_for("", size * SCALE)
