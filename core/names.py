"""Which names mean the same file or person, whoever wrote them. Standard library only.

Windows writes folder\\file where other systems write folder/file, and a Mac writes a letter and its accent as two.

web/names.js does the same in the page.
"""

import unicodedata
from collections.abc import Iterable


def spelled(name: str) -> str:
    """A name as it would be written if all systems wrote alike: with slashes, and letters with their accents (NFC)."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def same_name(name: str, other: str) -> bool:
    """Whether two names mean one file, capitals being told apart."""
    return spelled(name) == spelled(other)


def among(name: str, offered: Iterable[str]) -> str | None:
    """The name of a list that a name means.

    That is the same name, else the only one that differs in its spelling alone, else the only one that differs in
    capitals as well. None where there is none, or more than one of a kind. Capitals come last, because on most disks of
    Linux they tell two files apart.
    """
    names = list(dict.fromkeys(offered))
    if name in names:
        return name
    alike = [entry for entry in names if spelled(entry) == spelled(name)]
    if not alike:
        alike = [entry for entry in names if folded(entry) == folded(name)]
    return alike[0] if len(alike) == 1 else None


def folded(name: str) -> str:
    """A name in a form that is the same for all its spellings, capitals included: of files on disks that do not tell
    capitals apart, and of people."""
    return spelled(name).casefold()


def ending(name: str) -> str:
    """The ending of a name in small letters, ".safetensors" of Anna.SAFETENSORS; "" where it has none."""
    last = spelled(name).rpartition("/")[2]
    stem, dot, letters = last.rpartition(".")
    return f".{letters.lower()}" if dot and stem else ""  # .bashrc has no stem, and so no ending
