"""Files that a script is told to read: nothing that is none is opened, and nothing is read without end.

Standard library only.
"""

from __future__ import annotations

import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)
"""What is no file, by its mode: reading it may wait for ever, or never end."""


class Unreadable(Exception):
    """Why a path is not read; the text goes on behind its name."""


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
    """Raises Unreadable for what is no file, is not there, or is longer than `most` bytes."""
    try:
        state = path.stat()
    except OSError as cause:
        raise Unreadable(f"cannot be read: {cause.strerror}") from cause
    except ValueError as cause:  # letters that no file's name has
        raise Unreadable("is no name of a file") from cause
    for is_kind, kind in _KINDS:
        if is_kind(state.st_mode):
            raise Unreadable(f"is {kind}, not a file")
    if state.st_size > most:
        raise Unreadable(f"has {state.st_size:,} bytes, which is {too_long(most).removeprefix('is ')}")


def too_long(most: int) -> str:
    """What Unreadable says of a file with more than `most` bytes."""
    return f"is too long: at most {most:,} bytes are read"
