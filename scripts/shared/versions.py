"""Folders below .cache that are made once per version: whole or not at all.

The name of a version is a hash of everything that goes into it. One version of the toy model is 0.9 GB, so whoever asks
for a version removes those of its kind that nobody has asked for in a day.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock  # torch brings it

from core.models.files import unfinished_folder

UNFINISHED = "unfinished-"
KEPT_SECONDS = 24 * 3600
"""Longer than any run that reads one."""


def version_folder(folder: Path, write: Callable[[Path], None]) -> Path:
    """The folder of a version, made where it is not there.

    write: puts everything into the empty folder that it is called with. The folder is moved to its place when it is
    whole, and nothing is left of it where `write` raises or is stopped. Raises OSError.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # One process at a time: a version that another one has just asked for does not go.
    with FileLock(folder.parent.with_suffix(".lock")):
        if not folder.is_dir():
            _make(folder, write)
        os.utime(folder)
        for other in sorted(folder.parent.iterdir()):
            if other.is_dir() and time.time() - other.stat().st_mtime > KEPT_SECONDS:
                _remove(other)
    return folder


def _make(folder: Path, write: Callable[[Path], None]) -> None:
    with unfinished_folder(folder.parent, UNFINISHED) as unfinished:
        write(unfinished)
        os.replace(unfinished, folder)


def _remove(folder: Path) -> None:
    """Moved away first: whatever is under its name is whole."""
    with unfinished_folder(folder.parent, UNFINISHED) as leaving:
        folder.rename(leaving / folder.name)
