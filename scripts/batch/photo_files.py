"""Photos and saved people that travel with a row: photos are read through, under names that every disk takes."""

import hashlib
from pathlib import PurePath

from shared.given_files import Unreadable

from core.checks.errors import BadPhoto
from core.pictures.files import read_picture

from .folders import Folder
from .rows import BadRow, cut

_MOST_STEM_BYTES = 160
"""Of a photo's name, in the name under which it travels."""
_MOST_BYTES = 10**9
"""Of a photo or another file in a cell."""
_DIGITS = 12
"""Of the hash in a name."""
_whole_photos: set[str] = set()
"""The hashes of photos that have been read through: many rows have the same photos."""
_MOST_WHOLE_PHOTOS = 100_000


def put(folder: Folder, name: str, files: dict[str, bytes], is_picture: bool = True) -> str:
    """Put a file among the files of a row, and return its name there: its own, and a hash of its content.

    is_picture: whether ComfyUI will read it as a picture. It would take what there is of one: of half a JPEG the rest
    is grey, of a telephone's HEIC it takes the first piece. Raises BadRow for a file that is empty or cannot be read,
    and for a picture that is not whole or of a kind that the pack does not read, whatever its name says.
    """
    place = folder.place(name)
    path = PurePath(place)
    try:
        data = folder.read(name, _MOST_BYTES)
    except Unreadable as cause:
        raise BadRow(f"{place} {cause}.") from cause
    if not data:
        raise BadRow(f"{place} is empty.")
    digest = hashlib.sha256(data).hexdigest()
    if is_picture and digest not in _whole_photos:
        try:
            read_picture(place, data)
        except BadPhoto as cause:
            why = str(cause).removeprefix(f"{path.name} cannot be read: ")
            raise BadRow(f"{place} cannot be read as a picture: {why}") from cause
        if len(_whole_photos) == _MOST_WHOLE_PHOTOS:
            _whole_photos.clear()
        _whole_photos.add(digest)
    name_of_copy = f"{cut(path.stem, _MOST_STEM_BYTES)}-{digest[:_DIGITS]}{path.suffix.lower()}"
    files[name_of_copy] = data
    return name_of_copy
