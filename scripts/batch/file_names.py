"""The names of many files: which of them a cell means, in whatever spelling, and which are like it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property

from core.checks.names import Names, folded, grouped

_AROUND = 100


class FileNames:
    """Names that are gone through once, however many are looked for.

    endings: in small letters; of these a cell may leave out the one that a name has.
    """

    def __init__(self, names: Iterable[str], endings: Sequence[str] = ()) -> None:
        self._names = dict.fromkeys(names)
        self._endings = endings
        self._whole = Names(self._names)

    def meant(self, name: str) -> str | None:
        """The name that a cell means; None where it means none, or may mean several, as both.pt and both.bin."""
        found = self._whole.meant(name)
        if found is not None:
            return found
        stem = self._stems.meant(name)
        alike = self._by_stem[stem] if stem is not None else []
        return alike[0] if len(alike) == 1 else None

    def near(self, name: str, most: int = 3, cutoff: float = 0.6) -> list[str]:
        """At most so many names, without such endings, that are like one, the nearest first. cutoff: how alike, from
        0 to 1.

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

    def _stem(self, name: str) -> str:
        """A name without its ending, if that may be left out."""
        letters = name.lower()
        left_out = next((ending for ending in self._endings if letters.endswith(ending)), "")
        return name[: len(name) - len(left_out)]

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return grouped(self._names, self._stem)

    @cached_property
    def _stems(self) -> Names:
        return Names(self._by_stem)

    @cached_property
    def _by_letters(self) -> dict[str, list[str]]:
        return grouped(self._by_stem, folded)

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._by_letters)

    @cached_property
    def _sorted_by_ends(self) -> list[str]:
        return sorted(key[::-1] for key in self._by_letters)


def _around(key: str, keys: Sequence[str]) -> Sequence[str]:
    """Those of sorted keys that stand around one."""
    place = bisect_left(keys, key)
    return keys[max(0, place - _AROUND) : place + _AROUND]
