"""Temporary folders of a run. Those of a process that was killed are removed by the next one.

Whose they are is said by a lock, which ends with the process. Its number says nothing: in two containers that share a
disk, or on two machines, one number is two processes.
"""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from .locks import take_alone

_FOLDERS = "likeness-batch-"
"""How they begin."""
_LOCK = ".lock"


class _LockedFolder(tempfile.TemporaryDirectory[str]):
    """A temporary folder with a lock, where its disk has locks. Without one it is never taken for abandoned."""

    def __init__(self) -> None:
        super().__init__(prefix=_FOLDERS)
        self._lock: IO[bytes] | None = None
        if os.name == "nt":  # where a folder with an open file cannot be removed
            return
        # It gets its name when it is held: another process would take it, and the folder with it.
        unnamed = Path(self.name, f"{_LOCK}.new")
        self._lock = unnamed.open("wb")
        with suppress(OSError):
            take_alone(self._lock)
            unnamed.rename(Path(self.name, _LOCK))

    def cleanup(self) -> None:
        super().cleanup()
        if self._lock:
            self._lock.close()


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is removed at the end of a `with` statement."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
        # Another's lock, no lock yet or any more, or a disk without locks: it stays.
        with suppress(OSError), (folder / _LOCK).open("r+b") as lock:
            take_alone(lock)
            shutil.rmtree(folder, ignore_errors=True)
    return _LockedFolder()
