"""The names of many files: which of them a name means, in whatever spelling, and which are like it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property

from core.names import folded, spelled

_AROUND = 100


class FileNames:
    """Names that are gone through once, however many are looked for."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(dict.fromkeys(names))

    def meant(self, name: str) -> str | None:
        """What `core.names.among` finds: the name itself, else the only one that is spelled so, else the only one with
        the same letters, large or small."""
        alike = self._by_spelling.get(spelled(name), [])
        if name in alike:
            return name
        alike = alike or self._by_letters.get(folded(name), [])
        return alike[0] if len(alike) == 1 else None

    def near(self, name: str, most: int, cutoff: float = 0.6) -> list[str]:
        """At most so many names that are like one, the nearest first. cutoff: how alike, from 0 to 1.

        One is compared with those that stand around it in the alphabet, by their beginnings and by their ends: with
        100,000 it would take seconds.
        """
        key = folded(name)
        beginnings = _around(key, self._sorted)
        ends = [end[::-1] for end in _around(key[::-1], self._sorted_by_ends)]
        near: list[str] = []
        for found in get_close_matches(key, dict.fromkeys([*beginnings, *ends]), most, cutoff):
            near += self._by_letters[found]
        return near[:most]

    @cached_property
    def _by_spelling(self) -> dict[str, list[str]]:
        return _grouped(self._names, spelled)

    @cached_property
    def _by_letters(self) -> dict[str, list[str]]:
        return _grouped(self._names, folded)

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._by_letters)

    @cached_property
    def _sorted_by_ends(self) -> list[str]:
        return sorted(key[::-1] for key in self._by_letters)


def _grouped(names: Iterable[str], form: Callable[[str], str]) -> dict[str, list[str]]:
    """The names by a form that several may have."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(form(name), []).append(name)
    return groups


def _around(key: str, keys: Sequence[str]) -> Sequence[str]:
    """Those of sorted keys that stand around one."""
    place = bisect_left(keys, key)
    return keys[max(0, place - _AROUND) : place + _AROUND]
