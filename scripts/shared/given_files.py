"""Files that a script is told to read: nothing that is none is opened, and nothing is read without end.

Standard library only.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.request import url2pathname

_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u201e": "\u201c", "\u2018": "\u2019", "\u00ab": "\u00bb"}
"""Around what is copied: Windows' "Copy as path", a shell's, and those that programs make of them."""
_URL = "file:"


class Unreadable(Exception):
    """Why a path is not read; the text goes on behind its name."""


def plain_path(text: str) -> str:
    """A path as people write or copy it, in quotes, as a URL such as file:///home/anna/my%20photo.jpg, or with the
    ~ of a home folder, which shells leave alone behind "=", as a path of this system. Other texts stay as they are."""
    path = text.strip()
    if len(path) > 1 and _QUOTES.get(path[0]) == path[-1]:
        path = path[1:-1].strip()
    if path[: len(_URL)].lower() != _URL:
        return os.path.expanduser(path)
    rest = path[len(_URL) :]
    if not rest.startswith("//"):
        return url2pathname(rest)
    machine, _, below = rest.removeprefix("//").partition("/")
    if machine in ("", "localhost"):
        return url2pathname(f"/{below}")
    return f"{os.sep}{os.sep}{machine}{os.sep}{url2pathname(below)}"


def bytes_of(path: Path, most: int) -> bytes:
    """What is in a file. Raises Unreadable for what is no file, before it is opened, and for more than `most` bytes."""
    require_file(path, most)
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as cause:
        raise Unreadable(f"cannot be read: {cause.strerror}") from cause
    if len(data) > most:  # it grows, or its system does not say how long it is
        raise Unreadable(too_long(most))
    return data


def require_file(path: Path, most: int) -> None:
    """Raises Unreadable for what is no file, such as a folder or a device, or is longer than `most` bytes."""
    try:
        size = path.stat().st_size
    except OSError as cause:
        raise Unreadable(f"cannot be read: {cause.strerror}") from cause
    except ValueError as cause:  # letters that no file's name has
        raise Unreadable("is no name of a file") from cause
    if not path.is_file():
        raise Unreadable("is no file")
    if size > most:
        raise Unreadable(too_long(most))


def too_long(most: int) -> str:
    """What Unreadable says of a file with more than `most` bytes."""
    return f"is too long: at most {most:,} bytes are read"
