"""Photos and saved people that travel with a row: read through, under names that every disk takes."""

import hashlib
import io
import warnings
from pathlib import Path

from evaluate import FORMATS, PICTURES
from PIL import Image, UnidentifiedImageError
from readable import Unreadable, bytes_of

from core.errors import BadPhoto
from core.picture_files import read_picture
from core.text import in_one_line

from .rows import BadRow, cut

_MOST_STEM_BYTES = 160
"""Of a photo's name, in the name under which it travels."""
_MOST_BYTES = 10**9
"""Of a photo or another file in a cell."""
_DIGITS = 12
"""Of the hash in a name."""
_whole_photos: set[str] = set()
"""The hashes of photos that have been read through: many rows have the same photos."""


def put(path: Path, files: dict[str, bytes]) -> str:
    """Put a file among the files of a row, and return its name there: its own, and a hash of its content.

    Raises BadRow for a file that is empty or cannot be read, and for a photo that is not whole.
    """
    try:
        data = bytes_of(path, _MOST_BYTES)
    except Unreadable as cause:
        raise BadRow(f"{path} {cause}.") from cause
    if not data:
        raise BadRow(f"{path} is empty.")
    digest = hashlib.sha256(data).hexdigest()
    suffix = path.suffix.lower()
    if suffix in PICTURES and digest not in _whole_photos:
        try:
            _read_through(data)
        except Exception as cause:  # there is hardly an exception that Pillow does not raise on arbitrary bytes
            without_metadata = _without_metadata(path)
            if without_metadata is None:
                raise BadRow(f"{path} cannot be read as a picture: {_why(cause)}") from cause
            data = without_metadata
            suffix = ".png"
        else:
            _whole_photos.add(digest)
    name = f"{cut(path.stem, _MOST_STEM_BYTES)}-{digest[:_DIGITS]}{suffix}"
    files[name] = data
    return name


def _why(error: Exception) -> str:
    """Pillow's reason in a sentence."""
    if isinstance(error, UnidentifiedImageError):
        return "it is in no format of one."
    return in_one_line(error)


def _without_metadata(path: Path) -> bytes | None:
    """The picture as a PNG, upright, for one whose metadata stop Pillow, and older ComfyUIs with it.

    None where the picture itself is damaged.
    """
    try:
        picture = read_picture(str(path), FORMATS)
    except BadPhoto:
        return None
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _read_through(data: bytes) -> None:
    """Raises where a picture is not whole. ComfyUI takes what there is of one, and the rest of the face is grey."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data)) as picture:
            # Load Image turns the picture by it.
            picture.getexif()
        with Image.open(io.BytesIO(data)) as picture:
            if picture.format == "JPEG":
                # verify() does not look into a JPEG. Reading it at an eighth of its size is quick.
                picture.draft("L", (1, 1))
                picture.load()
            else:
                picture.verify()
