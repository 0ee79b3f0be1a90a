"""What the page shows beside the pictures of rows: photos where they lie, and pictures out of files of saved people."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

from shared.given_files import Unreadable

from core.checks.text import UNNAMED

from .folders import Folder, without_login

if TYPE_CHECKING:
    from torch import Tensor

_LONGEST_SIDE = 512
"""Of a picture out of a file, px."""


@dataclass(frozen=True)
class Beside:
    """What a row's picture is held against. who: what its column fills, in words. place: of its file. data: a saved
    person's file, whose place is its name among the files of the row."""

    who: str
    place: str
    data: bytes = field(default=b"", repr=False)


class BesideWriter:
    """Puts the pictures of saved people into a folder of the run, each once. within: the folder below that of the
    run."""

    def __init__(self, folder: Folder, within: str) -> None:
        self._folder = folder
        self._within = within
        self._of_people: dict[tuple[str, str], list[list[str]]] = {}
        """The entries of each person who has been looked at, by `who` and `place`."""

    def entry(self, beside: Iterable[Beside]) -> list[list[str]]:
        """The caption of each picture and its place, seen from the folder, as they stand in an entry of a list."""
        entry: list[list[str]] = []
        for one in beside:
            if not one.data:
                entry.append([f"{one.who}: {PurePath(one.place).name}", _seen_from(self._folder, one.place)])
                continue
            key = one.who, one.place
            if key not in self._of_people:
                self._of_people[key] = list(self._written(one))
            entry += self._of_people[key]
        return entry

    def _written(self, one: Beside) -> Iterator[list[str]]:
        stem = PurePath(one.place).stem
        for number, (caption, picture) in enumerate(_pictures_of(one)):
            # The name has a hash of what is in the person's file: one of this name is this one.
            name = f"{self._within}/{stem}-{number}.jpg"
            # Another worker may write it too. On a full disk the row's own picture says so.
            with suppress(OSError):
                if not self._folder.stamp(name):
                    self._folder.write(name, _as_jpeg(picture))
            yield [caption, name]


def _pictures_of(one: Beside) -> Iterator[tuple[str, Tensor]]:
    """A caption and a picture, (H, W, 3), of the first photo of a saved person, and of all that is worn in the newest
    look: the one that a cell names, if it does. None of a file that cannot be read: what draws the row has read it."""
    from core.persons.looks import shown

    from .saved_looks import person_in

    try:
        person = person_in(one.data)
    except Unreadable:
        return
    who = one.who if person.name == UNNAMED else person.name
    photos = person.portraits.loose if person.portraits else person.crops
    for photo in () if person.has_no_photo else photos[:1]:
        yield f"{who}: photo", photo
    for look in person.looks[-1:]:
        for picture in look.pictures:
            label = f", {picture.label}" if len(look.pictures) > 1 else ""
            yield f"{who}: {look.name}{label}", shown(picture)


def _as_jpeg(picture: Tensor) -> bytes:
    from core.pictures.previews import as_picture

    small = as_picture(picture)
    small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return file.getvalue()


def _seen_from(folder: Folder, place: str) -> str:
    """The place of a file, seen from a folder, with slashes; of a store as if it lay on a disk."""
    try:
        return os.path.relpath(place, without_login(folder.address)).replace(os.sep, "/")
    except ValueError:  # another drive of Windows
        return ""
