"""Folders below .cache that are made once per version: whole or not at all, and one version of each kind.

The name of a version is a hash of everything that goes into it. A process that uses a version holds a lock on a file in
its folder until the process ends. Whoever asks for a version removes the other versions of its kind that no process
holds: one version of the toy model is 0.9 GB. A time of last use would not do in the place of the lock: it keeps old
versions for as long as it lasts, and a run that takes longer loses the files that it reads.

A `.cache` that is a link belongs to another clone, and a disk may have no locks. There nothing is removed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from core.models.files import unfinished_folder

from .locks import lock_alone, lock_shared

LOCK = ".in_use"
UNFINISHED = "unfinished-"
_HELD: dict[Path, IO[bytes]] = {}
"""The lock of every version that this process uses."""


def version_folder(folder: Path, write: Callable[[Path], None]) -> Path:
    """The folder of a version, made where it is not there. No other process removes it before this process ends.

    write: puts everything into the empty folder that it is called with. The folder is moved to its place when it is
    whole, and nothing is left of it where `write` raises or is stopped. Raises OSError.
    """
    while not _hold(folder):
        _make(folder, write)
    _remove_unused(folder)
    return folder


def _make(folder: Path, write: Callable[[Path], None]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(folder.parent, UNFINISHED) as unfinished:
        try:
            with _open(unfinished) as lock:
                lock_shared(lock, folder.parent)
                write(unfinished)
            os.replace(unfinished, folder)
        except OSError:
            was_removed = not unfinished.is_dir()
            # Another process may have made the folder first, or removed this one just before it was moved.
            if not folder.is_dir() and not was_removed:
                raise


def _hold(folder: Path) -> bool:
    """Lock a version for this process. False where there is no such folder."""
    if folder in _HELD and folder.is_dir():
        return True
    try:
        lock = _open(folder)
    except FileNotFoundError:
        return False
    lock_shared(lock, folder.parent)
    # Whoever removes a version holds its lock alone, so the folder may be gone when this process gets the lock.
    if not _is_in_place(lock, folder):
        lock.close()
        return False
    _HELD[folder] = lock
    return True


def _remove_unused(used: Path) -> None:
    """Remove the other versions beside `used`, and unfinished ones, as far as no process holds them."""
    kind = used.parent
    if kind.is_symlink() or kind.parent.is_symlink():
        return
    for folder in sorted(kind.iterdir()):
        if folder != used and folder.is_dir():
            # It is somebody else's just now, or no longer there.
            with contextlib.suppress(OSError):
                _remove(folder)


def _remove(folder: Path) -> None:
    """Raises OSError where a process holds it. On a disk without locks, where nobody knows that, it stays."""
    with _open(folder) as lock:
        if sys.platform == "win32":
            lock.close()
        elif not lock_alone(lock, folder.parent):
            return
        with unfinished_folder(folder.parent, UNFINISHED) as leaving:
            folder.rename(leaving / folder.name)


def _open(folder: Path) -> IO[bytes]:
    return (folder / LOCK).open("ab")


def _is_in_place(lock: IO[bytes], folder: Path) -> bool:
    try:
        there = (folder / LOCK).stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(lock.fileno()))
