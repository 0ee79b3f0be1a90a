"""Photos and saved people that travel with a row: photos are read through, under names that every disk takes."""

import hashlib
from pathlib import Path

from rig.given_files import Unreadable, bytes_of

from core.errors import BadPhoto
from core.picture_files import read_picture

from .rows import BadRow, cut

_MOST_STEM_BYTES = 160
"""Of a photo's name, in the name under which it travels."""
_MOST_BYTES = 10**9
"""Of a photo or another file in a cell."""
_DIGITS = 12
"""Of the hash in a name."""
_whole_photos: set[str] = set()
"""The hashes of photos that have been read through: many rows have the same photos."""


def put(path: Path, files: dict[str, bytes], is_picture: bool = True) -> str:
    """Put a file among the files of a row, and return its name there: its own, and a hash of its content.

    is_picture: whether ComfyUI will read it as a picture. It would take what there is of one: of half a JPEG the rest
    is grey, of a telephone's HEIC it takes the first piece. Raises BadRow for a file that is empty or cannot be read,
    and for a picture that is not whole or of a kind that the pack does not read, whatever its name says.
    """
    try:
        data = bytes_of(path, _MOST_BYTES)
    except Unreadable as cause:
        raise BadRow(f"{path} {cause}.") from cause
    if not data:
        raise BadRow(f"{path} is empty.")
    digest = hashlib.sha256(data).hexdigest()
    if is_picture and digest not in _whole_photos:
        try:
            read_picture(str(path), data)
        except BadPhoto as cause:
            why = str(cause).removeprefix(f"{path.name} cannot be read: ")
            raise BadRow(f"{path} cannot be read as a picture: {why}") from cause
        _whole_photos.add(digest)
    name = f"{cut(path.stem, _MOST_STEM_BYTES)}-{digest[:_DIGITS]}{path.suffix.lower()}"
    files[name] = data
    return name
