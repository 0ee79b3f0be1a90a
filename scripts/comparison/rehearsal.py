"""A rehearsal: people are drawn with the toy model's files, under the names that the templates have.

The figures of such a run say nothing; it shows that the path is whole, from the folder to report.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import folder_paths
from toy.in_host import as_published, files_in

STEPS = 4
"""Of the toy model's pictures."""
SIZE = (512, 384)
"""Of its pictures (width, height)."""
SAYS_NOTHING = "drawn by a toy model: the figures say nothing"


@contextmanager
def toy_in(folder: Path) -> Iterator[None]:
    """Its files are those that the host finds, in a folder of their own, while this lasts."""
    before = dict(folder_paths.folder_names_and_paths)
    models = folder / "models"
    with files_in(folder / "files") as files:
        as_published(files, models)
        for kind in models.iterdir():
            folder_paths.folder_names_and_paths[kind.name] = ([str(kind)], set())  # all files
        folder_paths.filename_list_cache.clear()
        try:
            yield
        finally:
            folder_paths.folder_names_and_paths.clear()
            folder_paths.folder_names_and_paths.update(before)
            folder_paths.filename_list_cache.clear()
