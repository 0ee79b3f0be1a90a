"""A figure against the number of people in a picture, a curve for each method: an SVG without a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from .rows import Row

BASELINES = ("InstantIDs chained", "faces one by one")
"""How the titles of rows begin that others are compared with; their curves are dashed."""
_SIZE = (820, 430)
_LEFT, _TOP, _RIGHT, _BOTTOM = 56, 52, 560, 372
"""The axes, in pixels."""
_LINE_HEIGHT = 17
_MARKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""On the vertical axis."""
_COLOURS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#444444", "#8c510a")
"""Okabe and Ito's, which people with any vision tell apart."""
_CHANCE = "#999999"
_FONT = 'font-family="system-ui, sans-serif"'


@dataclass(frozen=True)
class Curve:
    """The figure of one method. values: by the number of people in a picture, from few to many."""

    title: str
    values: Mapping[int, float]


@dataclass(frozen=True)
class _Line:
    """A curve as it is drawn. points: x and y in pixels. dashed: whether it is a baseline."""

    title: str
    colour: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def curves(rows: Sequence[Row], column: str) -> list[Curve]:
    """The curves of a column, in the order of the rows. Rows of one title are one curve.

    Numbers of people without the figure are left out, and so is a method that has it nowhere.
    """
    by_title: dict[str, dict[int, float]] = {}
    for row in rows:
        value = row.figures.get(column)
        if value is not None:
            by_title.setdefault(row.title, {})[row.people] = value
    return [Curve(title, dict(sorted(values.items()))) for title, values in by_title.items()]


def association_svg(rows: Sequence[Row]) -> str:
    """Association against people, beside chance; "" where no row has two numbers of people."""
    method_curves = curves(rows, "association")
    if not any(len(curve.values) > 1 for curve in method_curves):
        return ""
    most = max(people for curve in method_curves for people in curve.values)
    lines: list[_Line] = []
    for number, curve in enumerate(method_curves):
        points = [_pixel(people, value, most) for people, value in curve.values.items()]
        dashed = curve.title.startswith(BASELINES)
        lines.append(_Line(curve.title, _COLOURS[number % len(_COLOURS)], points, dashed))
    chance = [_pixel(people, 1 / people, most) for people in range(2, most + 1)]
    lines.append(_Line("by chance", _CHANCE, chance))
    width, height = _SIZE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" {_FONT}>',
        "<title>Association against the number of people in a picture</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *_axes(most),
    ]
    for line in lines:
        parts += _drawn(line)
    parts += _labels(lines)
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _pixel(people: float, value: float, most: int) -> tuple[float, float]:
    """Where a value stands. most: people at the right end of the axis, of which the left end has one."""
    across = (people - 1) / (most - 1)
    return _LEFT + across * (_RIGHT - _LEFT), _BOTTOM - value * (_BOTTOM - _TOP)


def _axes(most: int) -> list[str]:
    parts: list[str] = []
    for mark in _MARKS:
        _, y = _pixel(1, mark, most)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{mark:.1f}", "end"))
    for people in range(1, most + 1):
        x, _ = _pixel(people, 0, most)
        parts.append(_text(x, _BOTTOM + 18, str(people), "middle"))
    corners = f"{_LEFT},{_TOP} {_LEFT},{_BOTTOM} {_RIGHT},{_BOTTOM}"
    parts.append(f'<polyline points="{corners}" fill="none" stroke="#333"/>')
    parts.append(_text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, "people in a picture", "middle"))
    parts.append(_text(_LEFT, 28, "Association: the share of people in their own places", "start", 15))
    return parts


def _drawn(line: _Line) -> list[str]:
    dashes = ' stroke-dasharray="6 4"' if line.dashed else ""
    if line.colour == _CHANCE:
        dashes = ' stroke-dasharray="2 3"'
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line.points)
    parts = [f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="2"{dashes}/>']
    if line.colour != _CHANCE:
        for x, y in line.points:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{line.colour}"/>')
    return parts


def _labels(lines: Sequence[_Line]) -> list[str]:
    """The titles beside the ends of the lines, none above another."""
    from_top = sorted(lines, key=lambda line: line.points[-1][1])
    heights = _apart([line.points[-1][1] for line in from_top])
    parts: list[str] = []
    beside = _RIGHT + 34
    for line, height in zip(from_top, heights, strict=True):
        x, y = line.points[-1]
        parts.append(
            f'<line x1="{x + 6:.1f}" y1="{y:.1f}" x2="{beside - 4}" y2="{height:.1f}" stroke="#cccccc" '
            'stroke-width="1"/>'
        )
        parts.append(_text(beside, height + 4, line.title, "start", 13, line.colour))
    return parts


def _apart(heights: Sequence[float]) -> list[float]:
    """Heights from the top down, moved so that there is a line between any two: upwards, and down again from the top of
    the axes where they would leave the picture."""
    moved: list[float] = []
    lowest = _BOTTOM + _LINE_HEIGHT / 2
    for height in reversed(heights):
        moved.insert(0, min(height, lowest))
        lowest = moved[0] - _LINE_HEIGHT
    highest = float(_TOP)
    for number, height in enumerate(moved):
        moved[number] = max(height, highest)
        highest = moved[number] + _LINE_HEIGHT
    return moved


def _text(x: float, y: float, text: str, anchor: str, size: int = 13, colour: str = "#222") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
    )
