"""Temporary folders of a run. Those of a process that was killed are removed by the next one."""

import os
import shutil
import tempfile
from pathlib import Path

_FOLDERS = "likeness-batch-"
"""How they begin. The number of the process follows, so that another one sees whose they were."""


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is removed at the end of a `with` statement."""
    _remove_abandoned_folders()
    return tempfile.TemporaryDirectory(prefix=f"{_FOLDERS}{os.getpid()}-")


def _remove_abandoned_folders() -> None:
    """Remove what workers of this machine have left that were killed."""
    if os.name == "nt":
        # os.kill(process, 0) would end that process there.
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
        process = folder.name.removeprefix(_FOLDERS).split("-")[0]
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError):
            continue
