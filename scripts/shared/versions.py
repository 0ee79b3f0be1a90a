"""Folders below .cache that are made once per version: whole or not at all.

The name of a version is a hash of everything that goes into it. One version of the toy model is 0.9 GB, so whoever asks
for a version removes those of its kind that nobody has asked for in a day.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from core.models.files import unfinished_folder

UNFINISHED = "unfinished-"
KEPT_SECONDS = 24 * 3600
"""Longer than any run that reads one."""


def version_folder(folder: Path, write: Callable[[Path], None]) -> Path:
    """The folder of a version, made where it is not there.

    write: puts everything into the empty folder that it is called with. The folder is moved to its place when it is
    whole, and nothing is left of it where `write` raises or is stopped. Raises OSError.
    """
    if not folder.is_dir():
        _make(folder, write)
    os.utime(folder)
    for other in sorted(folder.parent.iterdir()):
        with contextlib.suppress(OSError):  # another process takes it away just now
            if other.is_dir() and time.time() - other.stat().st_mtime > KEPT_SECONDS:
                _remove(other)
    return folder


def _make(folder: Path, write: Callable[[Path], None]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(folder.parent, UNFINISHED) as unfinished:
        write(unfinished)
        try:
            os.replace(unfinished, folder)
        except OSError:
            if not folder.is_dir():  # else another process has made it first
                raise


def _remove(folder: Path) -> None:
    """Moved away first: whatever is under its name is whole."""
    with unfinished_folder(folder.parent, UNFINISHED) as leaving:
        folder.rename(leaving / folder.name)
