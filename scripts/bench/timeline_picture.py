"""The picture of a timeline: one row per kind of work, time from left to right, two runs at one scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
from PIL import Image, ImageDraw, ImageFont

from bench.trace import ROWS, Work, busy, span, sums

WIDE, LEFT, RIGHT, HIGH, GAP = 1800, 290, 210, 30, 6
INK, PALE, PAPER = "#222222", "#777777", "#ffffff"


def save(title: str, sides: dict[str, list[Work]], file: Path) -> None:
    """sides: by what each is called; the first is ours, below it what it is measured beside."""
    shown = {what: [row for row in ROWS if any(piece.row == row for piece in work)] for what, work in sides.items()}
    high = 120 + sum(100 + (HIGH + GAP) * len(rows) for rows in shown.values())
    image = Image.new("RGB", (WIDE, high), PAPER)
    canvas, longest = ImageDraw.Draw(image), max(map(span, sides.values()))
    write(canvas, 20, 14, title, 26)
    text = (
        "Each bar is a piece of work at the time it ran; where no row has one, the device waits. Red and orange is "
        "done by the nodes, text by region and looking at parts in place of the model's own attention."
    )
    write(canvas, 20, 50, text, 17, PALE)
    top = 90
    for what, work in sides.items():
        top = panel(image, canvas, top, what, work, shown[what], longest)
    image.save(file)


def panel(
    image: Image.Image, canvas: Any, top: int, what: str, work: Sequence[Work], rows: Sequence[str], longest: float
) -> int:
    """One side, all of `longest` milliseconds wide; where it ends."""
    whole, total = sums(work), span(work)
    write(canvas, 20, top, f"{what}: {total:.1f} ms, the device is busy {busy(work):.0%} of it", 20)
    top += 34
    for row in rows:
        bars = coverage([piece for piece in work if piece.row == row], longest)
        image.paste(tinted(bars, ROWS[row]), (LEFT, top))
        write(canvas, 20, top + 4, row, 17, ROWS[row] if row.startswith("Likeness") else INK)
        share = f"{whole[row]:.1f} ms  {whole[row] / total:.0%}" if total else ""
        write(canvas, WIDE - RIGHT + 14, top + 4, share, 17)
        top += HIGH + GAP
    scale(canvas, top, longest)
    return top + 66


def coverage(work: Sequence[Work], longest: float) -> Any:
    """(columns,): how much of each column of the picture this work fills."""
    columns = WIDE - LEFT - RIGHT
    # Each piece adds its covered length between two borders: the running sum of its ends, read at every border.
    borders = numpy.linspace(0, longest, columns + 1)
    done = numpy.zeros(columns + 1)
    for piece in work:
        done += numpy.clip(borders - piece.start, 0, piece.end - piece.start)
    return numpy.clip(numpy.diff(done) / (longest / columns or 1), 0, 1)


def tinted(bars: Any, color: str) -> Image.Image:
    """A row: paper where nothing runs, the colour where all of a column is filled; a little is seen, too."""
    paper, full = (numpy.array(Image.new("RGB", (1, 1), one).getpixel((0, 0)), float) for one in ("#f3f3f3", color))
    seen = numpy.where(bars > 0, 0.25 + 0.75 * bars, 0)[:, None]
    line = (paper * (1 - seen) + full * seen).astype(numpy.uint8)
    return Image.fromarray(numpy.repeat(line[None], HIGH, axis=0))


def scale(canvas: Any, top: int, longest: float) -> None:
    """A line of milliseconds below the rows."""
    columns = WIDE - LEFT - RIGHT
    canvas.line([(LEFT, top), (LEFT + columns, top)], fill=PALE)
    power = 10 ** len(str(int(longest / 2))) / 10
    tick = next((t for t in (power, 2 * power, 5 * power, 10 * power) if longest / t <= 8), 10 * power)
    for number in range(int(longest / tick) + 1):
        x = LEFT + round(columns * number * tick / longest)
        canvas.line([(x, top), (x, top + 6)], fill=PALE)
        write(canvas, x - 8, top + 8, f"{number * tick:g}" + (" ms" if number == 0 else ""), 14, PALE)


def write(canvas: Any, x: float, y: float, text: str, size: int, color: str = INK) -> None:
    canvas.text((x, y), text, fill=color, font=ImageFont.load_default(size))
