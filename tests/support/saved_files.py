"""Files that a prompt has saved, as a worker hands them on."""

import tempfile
from itertools import count
from pathlib import Path

from batch.worker import SavedFile

_folder = tempfile.TemporaryDirectory()
_numbers = count()


def saved(data: bytes, ending: str = ".png", node: str = "") -> SavedFile:
    path = Path(_folder.name, f"{next(_numbers)}{ending}")
    path.write_bytes(data)
    return SavedFile(ending, path, node)
