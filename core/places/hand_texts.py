"""Texts that a hand writes in the editor or at the keyboard: JSON, each level of which is looked at, and its outlines.

An outline is ["+", x, y, x, y, ...] or ["-", ...]: what lies in it is added, or taken away. web/picture_pane.js has the
same rules and limits of outlines, tests/support/outlines.json is for both.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..cast import Outline, Point
from ..checks.errors import counted
from ..checks.limits import ARRANGED_LETTERS, too_much
from ..checks.text import plain

FURTHEST = 100.0
"""The largest number of a point, and the smallest below 0."""
_MOST_OUTLINES, _MOST_POINTS = 64, 400


class Unreadable(ValueError):
    """A text that cannot be read. Its own text is the end of a sentence."""


def value_in(text: str) -> object:
    """The value in a text of JSON. Raises Unreadable for more than ARRANGED_LETTERS, for what is no JSON, and for a
    name that stands twice in one table, of which JSON would take the last one."""
    why = too_much(len(text), ARRANGED_LETTERS, "letter")
    if why:
        raise Unreadable(why)
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_without_twice)
    except Unreadable:
        raise
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is not JSON") from error


def _no_constant(word: str) -> Any:
    raise Unreadable(f"{word} is no number")


def _without_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f"{plain(twice, 40)!r} stands twice in one table")
    return table


# What reads a value is called with it and with where it stands, in words. Each raises Unreadable.


def shown(value: object) -> str:
    """What stands where something else is needed, in a few letters."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return plain(json.dumps(value, ensure_ascii=False), 40)


def table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"{where} is {shown(value)}, not a table")
    return cast("Mapping[str, Any]", value)


def items(value: object, where: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise Unreadable(f"{where} is {shown(value)}, not a list")
    return cast("Sequence[Any]", value)


def number(value: object, where: str, least: float = -FURTHEST, most: float = FURTHEST) -> float:
    is_number = type(value) in (int, float)
    if not is_number or not least <= cast("float", value) <= most:
        raise Unreadable(f"{where} is {shown(value)}, not a number from {least:g} to {most:g}")
    return float(cast("float", value))


def point(value: object, where: str) -> Point:
    numbers = items(value, where)
    if len(numbers) != 2:
        raise Unreadable(f"{where} has {counted(len(numbers), 'number')}, not two")
    return (number(numbers[0], where), number(numbers[1], where))


def outlines(value: object, where: str) -> tuple[Outline, ...]:
    """The points are in the unit of the text."""
    found = items(value, where)
    if len(found) > _MOST_OUTLINES:
        raise Unreadable(f"{where} has {len(found)} outlines, more than {_MOST_OUTLINES}")
    return tuple(_outline(outline, f"an outline of {where}") for outline in found)


def _outline(value: object, where: str) -> Outline:
    sign, *numbers = items(value, where) or [None]
    if sign not in ("+", "-"):
        raise Unreadable(f'{where} begins with {shown(sign)}, not with "+" or "-"')
    if len(numbers) % 2 or not 3 <= len(numbers) // 2 <= _MOST_POINTS:
        why = f"{where} has {counted(len(numbers), 'number')}, not two for each of 3 to {_MOST_POINTS} points"
        raise Unreadable(why)
    flat = [number(one, where) for one in numbers]
    return Outline(sign == "+", tuple(zip(flat[::2], flat[1::2], strict=True)))
