"""Which names mean the same file or person, whoever wrote them. Standard library only.

Windows writes folder\\file where other systems write folder/file, and a Mac writes a letter and its accent as two.
Terminals and tables begin a name with ./ or .\\, which means the folder itself.

web/names.js does the same in the page.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

from .text import BLANK, MOST_NAME_LETTERS, UNNAMED, items_in, number_in, pieces, plain, unquoted

NameT = TypeVar("NameT")
FormT = TypeVar("FormT")

_FOLDER_ITSELF = re.compile(r"^(?:\./+)+")
"""What a name may begin with that leads nowhere: a dot for the folder itself."""
_STAYS_THERE = re.compile(r"(?<=[^/])/(?:\.?/)+")
"""Several slashes, or slashes with a dot between them, inside of a name. Two slashes at its beginning are the name of
a computer on Windows."""

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07", "'"))


def spelled(name: str) -> str:
    """A name as it would be written if all systems wrote alike: with slashes, without a dot for the folder itself, and
    letters with their accents (NFC)."""
    slashed = name.replace("\\", "/")
    shortest = _STAYS_THERE.sub("/", _FOLDER_ITSELF.sub("", slashed))
    return unicodedata.normalize("NFC", shortest)


def same_name(name: str, other: str) -> bool:
    """Whether two names mean the same file. Names that differ in capitals are different names."""
    return spelled(name) == spelled(other)


def among(name: str, offered: Iterable[str]) -> str | None:
    """The name in a list that a given name means, as `Names.meant` says."""
    return Names(offered).meant(name)


def folded(name: str) -> str:
    """A name in a form that is the same for all its spellings and for large and small letters.

    People are compared so, and files on disks on which names that differ in capitals are one file.
    """
    return spelled(name).casefold()


def of_person(name: str) -> str:
    """The form in which names of people are compared: one plain line, folded, with straight apostrophes and without
    quotation marks around it."""
    return folded(plain(unquoted(name), MOST_NAME_LETTERS)).translate(_APOSTROPHES)


def mentions(text: str, name: str) -> bool:
    """Whether the name of a person or of a look stands in a text, in any of its spellings; it may be part of a word."""
    return of_person(name) in folded(plain(text)).translate(_APOSTROPHES)


class Meant(NamedTuple):
    """A word of a text, a name or a number, and the indices of the people that it may mean."""

    word: str
    people: list[int]


class People:
    """People whom texts may mean. names: of all of them; their numbers are counted from 1."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._by_form: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            self._by_form.setdefault(of_person(name), []).append(index)
        # Messages call the unnamed person 2 "person 2". After all names, because somebody may bear that very name.
        for index, name in enumerate(names):
            if name == UNNAMED:
                self._by_form.setdefault(of_person(f"{name} {index + 1}"), [index])

    def called(self, text: str) -> list[int]:
        """The indices of all people of this name; without any, that of the person of this number; else []."""
        people = self._by_form.get(of_person(text), [])
        number = number_in(unquoted(text)) or 0
        if not people and 0 < number <= len(self.names):
            return [number - 1]
        return people

    def meant(self, text: str) -> list[Meant]:
        """Whom a list means that somebody typed. An item is a name, a number, or several of them with spaces between.

        Items without a word are left out.
        """
        words: list[str] = []
        for item in filter(None, items_in(text)):
            parts = [unquoted(part) for part in pieces(item, BLANK)]
            means_parts = any(self.called(part) or number_in(part) is not None for part in parts)
            # "Anna Lee" is one name where somebody is called so, or where no part of it means anybody.
            words += parts if means_parts and not self.called(item) else [item]
        return [Meant(word, self.called(word)) for word in words]


def ending(name: str) -> str:
    """The ending of a name in small letters, ".safetensors" of Anna.SAFETENSORS; "" where it has none."""
    last = spelled(name).rpartition("/")[2]
    stem, dot, letters = last.rpartition(".")
    return f".{letters.lower()}" if dot and stem else ""  # .bashrc has no stem, and so no ending


class Names:
    """A list of names, which is gone through once, however many are looked for in it."""

    def __init__(self, offered: Iterable[str]) -> None:
        self._offered = dict.fromkeys(offered)

    def meant(self, name: str) -> str | None:
        """The name in the list that a given name means; None where no name or more than one may be meant.

        It is the name itself, if it is in the list. Otherwise it is the only name that `spelled` makes the same. Where
        there is no such name, it is the only one that `folded` makes the same: capitals come last, because on most
        disks of Linux names that differ in capitals are two files.
        """
        if name in self._offered:
            return name
        alike = self._by_spelling.get(spelled(name)) or self._by_letters.get(folded(name), [])
        return alike[0] if len(alike) == 1 else None

    @cached_property
    def _by_spelling(self) -> dict[str, list[str]]:
        return grouped(self._offered, spelled)

    @cached_property
    def _by_letters(self) -> dict[str, list[str]]:
        return grouped(self._offered, folded)


def grouped(names: Iterable[NameT], form: Callable[[NameT], FormT]) -> dict[FormT, list[NameT]]:
    """Names, or their numbers, grouped by a form that several may have: form -> those that have it, in their order."""
    groups: dict[FormT, list[NameT]] = {}
    for name in names:
        groups.setdefault(form(name), []).append(name)
    return groups
