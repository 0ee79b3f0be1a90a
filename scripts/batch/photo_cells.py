"""Which file the cell of a photo names: one in the folder of photos, or a saved person, who may wear a look."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

from shared.given_files import Unreadable, plain_path

from core.checks.text import COLON, pieces, plain
from core.pictures.files import ENDINGS

from .file_names import FileNames
from .folders import Folder
from .rows import BadRow, shown
from .saved_people import SavedPeople
from .worker import PERSON_FILE

_KEPT_CELLS = 2**14
"""So many cells are remembered, also those that name nothing."""
_MOST_PATH_LETTERS = 20_000
"""No path is longer, with each of its bytes as %20: of a cell, which may hold a whole picture, no more is looked for
and remembered."""
_DATA = "data:"
"""How the address begins that holds a picture itself."""
_MOST_ADVISED = 100
"""So many cells that name nothing are told what is near. That takes long, and nobody reads more."""


@dataclass(frozen=True)
class FoundFile:
    """A file that a cell names. stamp: as of `Folder.stamp`. look: of a saved person, as their file calls it, "" for
    none; None where the cell does not say."""

    folder: Folder
    name: str
    stamp: str
    look: str | None = None

    @property
    def is_person(self) -> bool:
        return self.name.lower().endswith(PERSON_FILE)


class NamedLook(NamedTuple):
    """What stands before the colon of a cell, and behind it, each "" for nothing."""

    file: str
    look: str


def look_in(cell: str) -> NamedLook | None:
    r"""The person and the look that a cell names, as "anna: red coat"; None where it names no look.

    A colon in quotation marks is none, nor is that of C:\people or file:///people.
    """
    end = -1
    for piece in pieces(cell, COLON)[:-1]:
        end += len(piece) + 1
        if not cell[end + 1 :].startswith(("/", "\\")):
            return NamedLook(cell[:end].strip(), plain(cell[end + 1 :]))
    return None


class PhotoCells:
    """Finds what cells name. photos: the folder of photos. saved_people: the saved people whom a cell may name."""

    def __init__(self, photos: Folder, saved_people: SavedPeople) -> None:
        self._photos = photos
        self._saved_people = saved_people
        self._advised = 0

    def found(self, column: str, cell: str) -> FoundFile:
        """The file that a cell names. Raises BadRow."""
        found = self._looked_up(cell[:_MOST_PATH_LETTERS])
        if isinstance(found, str):
            raise BadRow(f"{column} is {shown(cell)}{found}")
        return found

    @lru_cache(_KEPT_CELLS)  # noqa: B019 - there is one for all rows, which lives as long as the run
    def _looked_up(self, cell: str) -> FoundFile | str:
        """The file that a cell names, or why there is none, which goes on behind the cell."""
        named = look_in(cell)
        # A file's own name may have a colon.
        found = self._file(plain_path(cell), advises=named is None)
        return found if isinstance(found, FoundFile) or named is None else self._with_look(named, found)

    def _with_look(self, named: NamedLook, no_file: str) -> FoundFile | str:
        """The file that the cell names before its colon. no_file: why the whole cell names none."""
        if not named.file:
            return ", which names a look and nobody who wears it: write it behind a person, as in anna: red coat."
        if f"{named.file}:".lower() == _DATA:
            return no_file
        found = self._file(plain_path(named.file))
        if isinstance(found, str):
            return found
        if not found.is_person:
            return f". {found.name} is a photo: only people of Save Person have looks."
        return self._wearing(found, named.look)

    def _wearing(self, found: FoundFile, meant: str) -> FoundFile | str:
        """The file of a person with the look that is meant, or why there is none."""
        # Here, because torch takes seconds to be there.
        from core.cast import Look
        from core.persons.looks import BadLook, chosen

        from .saved_looks import MOST_BEGIN_BYTES, names_of_looks

        try:
            names = names_of_looks(found.folder.begin(found.name, MOST_BEGIN_BYTES))
            look = chosen(meant, [Look(name, ()) for name in names], found.name)
        except Unreadable as problem:
            return f". {found.folder.place(found.name)} {problem}."
        except BadLook as problem:
            return f". {problem}"
        return replace(found, look=look.name if look else "")

    def _file(self, cell: str, advises: bool = True) -> FoundFile | str:
        """The file whose name a cell is, or why there is none. advises: whether to say what is near."""
        folder = f"{self._photos.address}/".replace("\\", "/")
        inside = cell.replace("\\", "/")
        if "://" not in inside:
            inside = posixpath.normpath(inside)
        inside = inside.removeprefix(folder)
        name = posixpath.normpath(inside)
        if "://" in inside or inside[: len(_DATA)].lower() == _DATA:
            put = f"put the file into {self._photos.address} and write its name"
            return f". Addresses, and pictures in cells, are not read: {put}."
        if name.startswith("../") or os.path.isabs(name):
            return f", which is outside of {self._photos.address}."
        entry = name if self._photos.stamp(name) else self._names.meant(name)
        if entry is not None:
            return FoundFile(self._photos, entry, self._photos.stamp(entry))
        person = self._saved_people.path(cell)
        if person is not None:
            bank = Folder(str(person.parent))
            return FoundFile(bank, person.name, bank.stamp(person.name))
        in_the_way = self._photos.no_file(name)
        if in_the_way:
            return f". {self._photos.place(name)} is {in_the_way}."
        return f", which is not in {self._photos.address}.{self._advice(cell, name) if advises else ''}"

    def _advice(self, cell: str, name: str) -> str:
        """Sentences on what is near a cell that names nothing."""
        if self._advised == _MOST_ADVISED:
            return ""
        self._advised += 1
        near = self._names.near(name)
        advice = f" Nearest: {', '.join(near)}." if near else ""
        if os.path.splitext(cell)[1].lower() not in ENDINGS:
            advice += self._saved_people.nobody_called(cell)
        return advice

    @cached_property
    def _names(self) -> FileNames:
        return FileNames(self._photos.names)
