"""A file of which another one takes the place for a while, as where a user loads a new version of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import folder_paths


@contextmanager
def exchanged(path: Path) -> Iterator[None]:
    """A file of zeros of the same size lies at a path, with a time of its own; afterwards the first one, as it was."""
    first = path.with_name(f"{path.name}.first")
    size = path.stat().st_size
    path.rename(first)
    try:
        with path.open("wb") as file:
            file.truncate(size)  # takes no room on the disk, however large the file is
        yield
    finally:
        first.replace(path)


def model_file(key: str, name: str) -> Path:
    """A file that the host finds in its model folders, behind all links. name: as in its loader's menu."""
    path = folder_paths.get_full_path(key, name)
    assert path is not None, f"{name} is not in models/{key}"
    return Path(path).resolve()
