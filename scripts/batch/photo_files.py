"""Photos and saved people that travel with a row: photos are read through, under names that every disk takes."""

import hashlib
import re
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import PurePath

from shared.given_files import Unreadable

from core.checks.errors import BadPhoto
from core.pictures.files import read_picture

from .folders import Folder, size_in
from .rows import BadRow

_MOST_STEM_LETTERS = 100
_MOST_ENDING_LETTERS = 20
"""Of a photo's name, in the name under which it travels."""
_MOST_BYTES = 10**9
"""Of a photo or another file in a cell."""
_DIGITS = 12
"""Of the hash in a name."""
_MOST_KEPT_BYTES = 2**26
"""Of the photos that are kept for the rows to come: many rows have the same people."""
_whole_photos: set[str] = set()
"""The hashes of photos that have been read through."""
_MOST_WHOLE_PHOTOS = 100_000


@dataclass(frozen=True)
class _Copy:
    """A file as it travels, under the name that it has then."""

    name: str
    data: bytes


class _Kept:
    """The files that were read last, each read once however many threads want it."""

    def __init__(self) -> None:
        self._copies: OrderedDict[Hashable, _Copy] = OrderedDict()
        self._bytes = 0
        self._changing = threading.Lock()
        # Whoever wants a file that another thread reads waits for that one. A few files wait for others that way too.
        self._reading = [threading.Lock() for _ in range(64)]

    def copy(self, key: Hashable, read: Callable[[], _Copy]) -> _Copy:
        """What `read` gives, or has given for this key."""
        with self._reading[hash(key) % len(self._reading)]:
            with self._changing:
                if key in self._copies:
                    self._copies.move_to_end(key)
                    return self._copies[key]
            copy = read()
            with self._changing:
                self._copies[key] = copy
                self._bytes += len(copy.data)
                while self._bytes > _MOST_KEPT_BYTES:
                    _, oldest = self._copies.popitem(last=False)
                    self._bytes -= len(oldest.data)
            return copy


_kept = _Kept()


def put(
    folder: Folder,
    name: str,
    files: dict[str, bytes],
    is_picture: bool = True,
    stamp: str = "",
    look: str | None = None,
    said: tuple[str, ...] | None = None,
) -> str:
    """Put a file among the files of a row, and return its name there: its own in plain letters, and a hash of what is
    in it.

    is_picture: whether ComfyUI will read it as a picture. It would take what there is of one: of half a JPEG the rest
    is grey, of a telephone's HEIC it takes the first piece. stamp: of the file, if it is known: one with the same stamp
    is not read again. look: of a saved person, which travels with this look alone, "" with none, None with those that
    the row wears. said: as of `with_looks_worn`; None for the file as it is.

    Raises BadRow for a file that is empty or cannot be read, and for a picture that is not whole or
    of a kind that the pack does not read, whatever its name says.
    """
    if stamp:
        key = (folder.address, name, stamp, is_picture, look, said)
        copy = _kept.copy(key, lambda: _copy(folder, name, is_picture, size_in(stamp), look, said))
    else:
        copy = _copy(folder, name, is_picture, None, look, said)
    files[copy.name] = copy.data
    return copy.name


def _copy(
    folder: Folder, name: str, is_picture: bool, size: int | None, look: str | None, said: tuple[str, ...] | None
) -> _Copy:
    """A file, read. size: if it is known. look, said: see `put`. Raises BadRow."""
    place = folder.place(name)
    path = PurePath(place)
    try:
        data = folder.read(name, _MOST_BYTES, size)
        digest = hashlib.sha256(data).hexdigest()
        if look is not None:
            from .saved_looks import with_look_alone

            data = with_look_alone(data, look)
            # Of what it is made of: safetensors writes metadata in any order.
            digest = hashlib.sha256(f"{digest} {look}".encode()).hexdigest()
        elif said is not None:
            from .saved_looks import with_looks_worn

            worn = with_looks_worn(data, said)
            if worn is not data:
                data, digest = worn, hashlib.sha256(f"{digest} {said}".encode()).hexdigest()
    except Unreadable as cause:
        raise BadRow(f"{place} {cause}.") from cause
    if not data:
        raise BadRow(f"{place} is empty.")
    if is_picture and digest not in _whole_photos:
        try:
            read_picture(place, data)
        except BadPhoto as cause:
            why = str(cause).removeprefix(f"{path.name} cannot be read: ")
            raise BadRow(f"{place} cannot be read as a picture: {why}") from cause
        if len(_whole_photos) == _MOST_WHOLE_PHOTOS:
            _whole_photos.clear()
        _whole_photos.add(digest)
    return _Copy(f"{_plain(path.stem)[:_MOST_STEM_LETTERS]}-{digest[:_DIGITS]}{_ending(path.suffix)}", data)


def _plain(text: str) -> str:
    """What of a text every disk and every HTTP library takes: Windows refuses a colon, aiohttp drops a backslash."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"\W+", "-", letters).strip("-") or "photo"


def _ending(suffix: str) -> str:
    return f".{_plain(suffix.lower())[:_MOST_ENDING_LETTERS]}" if suffix else ""
