"""The folders that loaders search for model files, looked through once for a diagnosis."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .files import files_below

MOST = 10_000
"""Files that are looked at below a folder, the nearest first: a link may lead to a whole disk."""


class Folders(dict[str, Sequence[str]]):
    """Model key -> the folders searched for it, the first being where a download goes; "" -> those that hold them all.
    What lies in them is looked up once."""

    def __init__(self, known: Mapping[str, Sequence[str]]) -> None:
        super().__init__(known)
        self._listed: dict[str, list[tuple[str, str]]] = {}

    def listed(self, root: str) -> Iterator[tuple[str, Path]]:
        """Relative name and path of the nearest files below a folder."""
        if root not in self._listed:
            self._listed[root] = files_below(root, MOST + 1)
        for name, path in self._listed[root][:MOST]:
            yield name, Path(path)

    def everything(self) -> Iterator[Path]:
        """Every file in any of the folders, once."""
        # Real path -> the folder as it is configured: several keys may name one folder.
        roots: dict[str, str] = {}
        for folders in self.values():
            for root in folders:
                roots[os.path.realpath(root)] = root
        for real, root in roots.items():
            is_inside_another = any(real.startswith(os.path.join(other, "")) for other in roots if other != real)
            if is_inside_another:
                continue
            for _, path in self.listed(root):
                yield path

    def crowded(self) -> list[str]:
        """The folders with more files than are looked at."""
        return [root for root, files in self._listed.items() if len(files) > MOST]
