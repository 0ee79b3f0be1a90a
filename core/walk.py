"""What is in a folder and below it, along links."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from itertools import islice


def walk(root: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk along links, but level by level and into every folder once, under its shortest name: links may go in
    circles, and two of them in one folder would never end. Folders taken out of the second list are not entered."""
    seen: set[str] = set()
    waiting = deque([root])
    while waiting:
        folder = waiting.popleft()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        for _, below, names in islice(os.walk(folder), 1):
            # Real folders first, so that a link beside one does not take its name.
            below.sort(key=lambda name: (os.path.islink(os.path.join(folder, name)), name))
            yield folder, below, names
            waiting.extend(os.path.join(folder, name) for name in below if name != ".git")
