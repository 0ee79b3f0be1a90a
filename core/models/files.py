"""Files as files: what lies below a folder, and what is in one by its bytes. Standard library only."""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from uuid import uuid4

SAFETENSORS = (".safetensors", ".sft")
WEIGHTS = (*SAFETENSORS, ".bin", ".pth", ".pt")
"""Endings of files of tensors that our loaders read."""

Stamp = tuple[str, int, int]
"""Path, size in bytes and time of the last change of a file: what a loaded file is remembered by."""


def stamp(path: str) -> Stamp:
    """What tells this file from the one that was here before."""
    state = os.stat(path)
    # Copies and what is unpacked bear the time of their source; when a file came here nobody can set.
    return path, state.st_size, max(state.st_mtime_ns, state.st_ctime_ns)


def write_whole(path: str, data: bytes) -> None:
    """Write a file that is there whole or not at all. Raises OSError, and ValueError for letters no file name has.

    Under a short name of its own until it is complete: it follows no link, and meets no other process.
    """
    unfinished = os.path.join(os.path.dirname(path), f".{uuid4().hex}.part")
    try:
        with open(unfinished, "xb") as file:
            file.write(data)
        os.replace(unfinished, path)
    finally:
        with suppress(OSError, ValueError):
            os.remove(unfinished)


def walk(root: str) -> Iterator[tuple[str, list[str]]]:
    """Every folder below `root`, itself included, and the names of the files in it.

    Along links, but level by level and into every folder once, under its shortest name: links may go in circles, and
    two of them in one folder would never end.
    """
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
            yield folder, names
            waiting.extend(os.path.join(folder, name) for name in below if name != ".git")


_Mark = tuple[int, int, int, int]
# Nanoseconds. A folder that changed just before it was looked at may change again under the same time: some file
# systems count in steps of two seconds.
_SETTLED = 2 * 10**9


@dataclass(frozen=True)
class _Look:
    """What lay below a folder, and the marks of all folders by which that still holds; None: nothing was there."""

    began: int
    ended: int
    marks: tuple[tuple[str, _Mark | None], ...]
    files: tuple[tuple[str, str], ...]
    whole: bool

    def holds(self) -> bool:
        return all(_mark(path) == mark and self._settled(mark) for path, mark in self.marks)

    def _settled(self, mark: _Mark | None) -> bool:
        return mark is None or not self.began - _SETTLED < mark[2] <= self.ended


_looks: dict[tuple[str, int], _Look] = {}


def files_below(root: str, most: int = sys.maxsize) -> tuple[tuple[str, str], ...]:
    """Name relative to `root` and path of every file below it, or of the first `most`, in the order of `walk`.

    Folders are walked again only when one of them has changed, as with the host's own lists: it asks for names and
    paths several times per prompt. A link that leads nowhere is among the files.
    """
    look = _looks.get((root, most))
    if look is None or not look.holds():
        look = _looks[root, most] = _look(root, most)
    return look.files


def cut_short(root: str, most: int) -> bool:
    """Whether the last look below a folder has ended before the last file."""
    look = _looks.get((root, most))
    return look is not None and not look.whole


def by_name(roots: Sequence[str], endings: tuple[str, ...]) -> dict[str, str]:
    """Name relative to its folder -> path of the files with these endings, sorted; of several, that in the first."""
    paths = {
        name: path
        for root in reversed(roots)
        for name, path in files_below(root)
        if name.lower().endswith(endings) and os.path.isfile(path)
    }
    return dict(sorted(paths.items()))


def _look(root: str, most: int) -> _Look:
    began, found, left = time.time_ns(), list[tuple[str, _Mark | None, list[str]]](), most
    for folder, names in walk(root):
        found.append((folder, _mark(folder), sorted(names)[:left]))
        left -= len(names)
        if left < 0:
            break
    paths = [os.path.join(folder, name) for folder, _, names in found for name in names]
    # A link that leads nowhere now may lead to a folder later, without a change of the folder it lies in.
    marks = (
        {root: None}
        | {folder: mark for folder, mark, _ in found}
        | {path: None for path in paths if not os.path.exists(path)}
    )
    start = len(os.path.join(root, ""))
    files = tuple((path[start:], path) for path in paths)
    return _Look(began, time.time_ns(), tuple(marks.items()), files, whole=left >= 0)


def _mark(path: str) -> _Mark | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    # The last tells of changed permissions, too, except on Windows.
    return state.st_dev, state.st_ino, state.st_mtime_ns, state.st_ctime_ns


# What the first bytes of a file that is no model at all look like.
_NOT_A_MODEL = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (b"<!doctype html", "a web page (HTML) saved under a model's name"),
    (b"<html", "a web page (HTML) saved under a model's name"),
    (b"<?xml", "a web page (XML) saved under a model's name"),
    (b'{"error', "an error answer of the download server"),
)


# What no text holds, and the lengths and kinds at the beginning of every model do.
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\f\r\x1b")


def no_model(path: Path) -> str | None:
    """What a file is that is no model at all, by its first bytes; None where they do not tell.

    Raises OSError for what is no file: opening a pipe would wait for ever, and a device has no end.
    """
    if not path.is_file():
        path.stat()
        raise OSError(errno.EINVAL, "it is no file", str(path))
    with path.open("rb") as file:
        head = file.read(512)
    size, start = path.stat().st_size, head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    known = (what for begins, what in _NOT_A_MODEL if start.startswith(begins))
    what = next(known, "text, not a model" if path.suffix != ".json" and _is_text(head) else None)
    return what and f"{what} ({size} bytes)"


def _is_text(head: bytes) -> bool:
    """UTF-16 has a zero beside every Latin letter, the length at the beginning of a safetensors file several."""
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and b"\0\0" not in head
    return bool(head) and _CONTROL.isdisjoint(head.replace(b"\0", b"") if wide else head)


def sha256(path: Path) -> str:
    """In hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
