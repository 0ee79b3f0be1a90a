"""The folders that loaders search for model files, looked through once for a diagnosis."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .files import files_below

MOST = 10_000
"""The most files that are looked at below a folder, those of the upper levels first: a link may lead to a whole
disk."""


class Folders(dict[str, Sequence[str]]):
    """Model key -> the folders searched for it, of which the first is where a download goes.

    The key "" has the folders that hold all models. The files below a folder are looked up once and then remembered.
    """

    def __init__(self, folders: Mapping[str, Sequence[str]]) -> None:
        super().__init__(folders)
        self._listed: dict[str, list[tuple[str, Path]]] = {}

    def listed(self, root: str) -> Iterator[tuple[str, Path]]:
        """Relative name and path of the first MOST files below a folder."""
        if root not in self._listed:
            # Path objects are made once: every model of a report goes through them, and making one takes longer than
            # comparing its name. One file more than MOST is looked up: it tells `crowded` that there are more.
            self._listed[root] = [(name, Path(path)) for name, path in files_below(root, MOST + 1)]
        yield from self._listed[root][:MOST]

    def everything(self) -> Iterator[Path]:
        """Every file below any of the folders, once, also where one folder lies inside another."""
        # Real path -> the folder as it is configured: several keys may name one folder.
        roots: dict[str, str] = {}
        for folders in self.values():
            for root in folders:
                roots[os.path.realpath(root)] = root
        for real, root in roots.items():
            is_inside_another = any(real.startswith(os.path.join(outer, "")) for outer in roots if outer != real)
            if not is_inside_another:
                for _, path in self.listed(root):
                    yield path

    def crowded(self) -> list[str]:
        """The folders with more files than are looked at."""
        return [root for root, files in self._listed.items() if len(files) > MOST]
