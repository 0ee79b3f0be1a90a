"""What the page shows beside the pictures of rows: photos where they lie, and pictures out of files of saved people."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from shared.given_files import Unreadable

from core.checks.errors import LikenessError

from .folders import Folder, without_login

if TYPE_CHECKING:
    from torch import Tensor

    from core.cast import Person

_LONGEST_SIDE = 512
"""Of a picture out of a file, px."""


@dataclass(frozen=True)
class Beside:
    """What a row's picture is held against. column: whose cell names it. label: what is below it. place: of its file.
    data: a saved person's file, whose place is its name among the files of the row."""

    column: str
    label: str
    place: str
    data: bytes = field(default=b"", repr=False)


class BesideWriter:
    """Puts the pictures of saved people into a folder of the run, each once. Several threads may use it.

    within: the folder below that of the run.
    """

    def __init__(self, folder: Folder, within: str) -> None:
        self._folder = folder
        self._within = within
        self._writing = threading.Lock()
        self._places: dict[str, list[str]] = {}
        """Of the pictures of each person who has been looked at."""

    def entry(self, beside: Iterable[Beside]) -> list[list[str]]:
        """The column, the label and the place of each picture, as they stand in an entry of a list."""
        texts: list[list[str]] = []
        for one in beside:
            for place in self._of_person(one) if one.data else [one.place]:
                texts.append([one.column, one.label, place])
        return texts

    def _of_person(self, one: Beside) -> list[str]:
        """Where the pictures of a saved person are; [""] where none can be read."""
        with self._writing:
            if one.place not in self._places:
                self._places[one.place] = list(self._written(one)) or [""]
            return self._places[one.place]

    def _written(self, one: Beside) -> Iterator[str]:
        stem = PurePosixPath(one.place).stem
        for number, picture in enumerate(_pictures_of(one.data)):
            # The name has a hash of what is in the person's file: one of this name is this one.
            name = f"{self._within}/{stem}-{number}.jpg"
            # Another worker may write it too. On a full disk the row's own picture says so.
            with suppress(OSError):
                if not self._folder.stamp(name):
                    self._folder.write(name, picture)
            yield without_login(self._folder.place(name))


def _pictures_of(data: bytes) -> list[bytes]:
    """The pictures in a file of a person, as JPEG; none where it cannot be read: what draws the row has read it."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    from core.persons.saving import from_tensors

    from .saved_looks import metadata_of

    try:
        person = from_tensors(load(data), metadata_of(data), "")
    except (SafetensorError, LikenessError, Unreadable, ValueError, LookupError, AttributeError):
        return []
    return [_as_jpeg(picture) for picture in _shown_of(person)]


def _shown_of(person: Person) -> Sequence[Tensor]:
    """The first photo, and what is worn in the newest look: the one that a cell names, if it does. (H, W, 3) each."""
    from core.parts.cut_outs import piece_of_part
    from core.persons.looks import part_of

    portraits = person.portraits.loose if person.portraits else person.crops
    worn = [piece_of_part(part_of(picture)) for look in person.looks[-1:] for picture in look.pictures]
    return [*portraits[:1], *worn]


def _as_jpeg(picture: Tensor) -> bytes:
    from core.pictures.previews import as_picture

    small = as_picture(picture)
    small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return file.getvalue()
