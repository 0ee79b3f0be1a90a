"""Files that are there whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def written(path: Path, write: Callable[[Path], Any]) -> None:
    """A file that `write` makes under another name beside its place, moved there when it is whole.

    Raises OSError, and leaves nothing where it does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    try:
        write(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """A file of these bytes, moved to its place when it is whole and on the disk. Raises OSError as `written`."""

    def to_disk(unfinished: Path) -> None:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    written(path, to_disk)
