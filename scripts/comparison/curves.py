"""Association against the number of people in a picture: an SVG, a curve for each method, without a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from .rows import Row

BASELINES = ("InstantIDs chained", "faces one by one")
"""How the titles of rows begin that others are compared with; their curves are dashed."""
_BY_CHANCE = "by chance"
_LEFT, _TOP, _RIGHT, _BOTTOM = 56, 52, 560, 372
"""The axes, in pixels."""
_NAMES = _RIGHT + 34
_LINE_HEIGHT = 24
_COLOURS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#444444", "#8c510a")
"""Okabe and Ito's, which people with any vision tell apart."""


@dataclass(frozen=True)
class _Curve:
    """A curve as it is drawn. dashes: as SVG has them. points: x and y in pixels. has_dots: whether each has a dot."""

    title: str
    colour: str
    dashes: str
    points: Sequence[tuple[float, float]]
    has_dots: bool = True


def association_svg(rows: Sequence[Row]) -> str:
    """Association against people, beside chance; "" where no method has two numbers of people. Rows of one title are
    one curve."""
    by_title: dict[str, dict[int, float]] = {}
    for row in rows:
        value = row.figures.get("association")
        if value is not None:
            by_title.setdefault(row.title, {})[row.people] = value
    if not any(len(values) > 1 for values in by_title.values()):
        return ""
    most = max(people for values in by_title.values() for people in values)
    curves: list[_Curve] = []
    for number, (title, values) in enumerate(by_title.items()):
        dashes = "6 4" if title.startswith(BASELINES) else "none"
        curves.append(_Curve(title, _COLOURS[number % len(_COLOURS)], dashes, _points(values, most)))
    chance = {people: 1 / people for people in range(2, most + 1)}
    curves.append(_Curve(_BY_CHANCE, "#999999", "2 3", _points(chance, most), has_dots=False))
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 430" width="820" role="img" '
        'font-family="system-ui, sans-serif">',
        "<title>Association against the number of people in a picture</title>",
        '<rect width="820" height="430" fill="white"/>',
        *_axes(most),
    ]
    for curve in curves:
        parts += _drawn(curve)
    return "\n".join([*parts, *_names(curves), "</svg>"]) + "\n"


def _points(values: Mapping[int, float], most: int) -> list[tuple[float, float]]:
    """The pixels of values by the number of people. most: people at the right end of the axis."""
    return [(_across(people, most), _height(value)) for people, value in sorted(values.items())]


def _across(people: int, most: int) -> float:
    return _LEFT + (_RIGHT - _LEFT) / (most - 1) * (people - 1)


def _height(value: float) -> float:
    return _BOTTOM - value * (_BOTTOM - _TOP)


def _axes(most: int) -> list[str]:
    parts = [
        _text(_LEFT, 28, "Association: the share of people in their own places", size=15),
        _text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, "people in a picture", "middle"),
    ]
    for tenths in range(0, 11, 2):
        y = _height(tenths / 10)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{tenths / 10:.1f}", "end"))
    for people in range(1, most + 1):
        parts.append(_text(_across(people, most), _BOTTOM + 18, f"{people}", "middle"))
    return parts


def _drawn(curve: _Curve) -> list[str]:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in curve.points)
    line = f'stroke="{curve.colour}" stroke-width="2" stroke-dasharray="{curve.dashes}"'
    parts = [f'<polyline points="{points}" fill="none" {line}/>']
    if curve.has_dots:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{curve.colour}"/>' for x, y in curve.points]
    return parts


def _names(curves: Sequence[_Curve]) -> list[str]:
    """The titles from the top down as the curves end, each with a line from there."""
    between = min(_LINE_HEIGHT, (_BOTTOM - _TOP) / (len(curves) - 1))
    parts: list[str] = []
    for number, curve in enumerate(sorted(curves, key=lambda curve: curve.points[-1][1])):
        x, y = curve.points[-1]
        beside = _TOP + between * number
        parts.append(f'<line x1="{x + 6:.1f}" y1="{y:.1f}" x2="{_NAMES - 4}" y2="{beside:.1f}" stroke="#cccccc"/>')
        parts.append(_text(_NAMES, beside + 4, curve.title, colour=curve.colour))
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 13, colour: str = "#222") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
    )
