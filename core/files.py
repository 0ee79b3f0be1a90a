"""Files as files: what lies in a folder, and what is in one by its bytes. Standard library only."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path


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


# What the first bytes of a file that is no model at all look like.
_NOT_A_MODEL = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (b"<!doctype html", "a web page (HTML) saved under a model's name"),
    (b"<html", "a web page (HTML) saved under a model's name"),
    (b"<?xml", "a web page (XML) saved under a model's name"),
    (b'{"error', "an error answer of the download server"),
)


def no_model(path: Path) -> str | None:
    """What a file is that is no model at all, by its first bytes; None where they do not tell."""
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    size = path.stat().st_size
    return next((f"{what} ({size} bytes)" for start, what in _NOT_A_MODEL if head.startswith(start)), None)


def sha256(path: Path) -> str:
    """In hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
