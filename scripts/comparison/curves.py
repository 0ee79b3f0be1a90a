"""Association against the number of people in a picture: an SVG, a curve for each method, without a library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .rows import Row

BASELINES = ("InstantIDs chained", "faces one by one")
"""How the titles of rows begin that others are compared with; their curves are dashed."""
_CHANCE = "by chance"
_LEFT, _TOP, _RIGHT, _BOTTOM = 56, 52, 560, 372
"""The axes, in pixels."""
_NAMES = _RIGHT + 34
_LINE_HEIGHT = 24
_COLOURS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#444444", "#8c510a")
"""Okabe and Ito's, which people with any vision tell apart."""


def association_svg(rows: Sequence[Row]) -> str:
    """Association against people, beside chance; "" where no method has two numbers of people. Rows of one title are
    one curve."""
    curves: dict[str, dict[int, float]] = {}
    for row in rows:
        value = row.figures.get("association")
        if value is not None:
            curves.setdefault(row.title, {})[row.people] = value
    if not any(len(curve) > 1 for curve in curves.values()):
        return ""
    most = max(people for curve in curves.values() for people in curve)
    curves[_CHANCE] = {people: 1 / people for people in range(2, most + 1)}
    across = (_RIGHT - _LEFT) / (most - 1)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 430" width="820" role="img" '
        'font-family="system-ui, sans-serif">',
        "<title>Association against the number of people in a picture</title>",
        '<rect width="820" height="430" fill="white"/>',
        _text(_LEFT, 28, "Association: the share of people in their own places", size=15),
        _text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, "people in a picture", "middle"),
    ]
    for tenths in range(0, 11, 2):
        y = _height(tenths / 10)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{tenths / 10:.1f}", "end"))
    for people in range(1, most + 1):
        parts.append(_text(_LEFT + across * (people - 1), _BOTTOM + 18, f"{people}", "middle"))
    ends: list[tuple[float, float, str, str]] = []
    for number, (title, curve) in enumerate(curves.items()):
        colour = "#999999" if title == _CHANCE else _COLOURS[number % len(_COLOURS)]
        points = [(_LEFT + across * (people - 1), _height(value)) for people, value in sorted(curve.items())]
        dashes = "2 3" if title == _CHANCE else "6 4" if title.startswith(BASELINES) else "none"
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        )
        if title != _CHANCE:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        x, y = points[-1]
        ends.append((y, x, title, colour))
    # The names from the top down as the curves end, each with a line from there.
    between = min(_LINE_HEIGHT, (_BOTTOM - _TOP) / (len(ends) - 1))
    for number, (y, x, title, colour) in enumerate(sorted(ends)):
        beside = _TOP + between * number
        parts.append(f'<line x1="{x + 6:.1f}" y1="{y:.1f}" x2="{_NAMES - 4}" y2="{beside:.1f}" stroke="#cccccc"/>')
        parts.append(_text(_NAMES, beside + 4, title, colour=colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _height(value: float) -> float:
    return _BOTTOM - value * (_BOTTOM - _TOP)


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 13, colour: str = "#222") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
    )
