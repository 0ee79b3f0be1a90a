"""Files as files: what lies below a folder, and what is in one by its bytes. Standard library only."""

import codecs
import errno
import hashlib
import os
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
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


def files_below(root: str, most: int | None = None) -> list[tuple[str, str]]:
    """Name relative to `root` and path of every file below it, or of the first `most`, in the order of `walk`. A link
    that leads nowhere is among them."""
    start = len(os.path.join(root, ""))
    paths = (os.path.join(folder, name) for folder, names in walk(root) for name in sorted(names))
    return [(path[start:], path) for path in islice(paths, most)]


def dead_link(path: str) -> str | None:
    """Where a link leads, if nothing is there; None for files, for other links and where nothing is of that name."""
    try:
        return os.readlink(path) if os.path.islink(path) and not os.path.exists(path) else None
    except (OSError, ValueError):  # it has gone meanwhile; a name that no file can have
        return None


def by_name(roots: Sequence[str], endings: tuple[str, ...]) -> dict[str, str]:
    """Name relative to its folder -> path of the files with these endings, sorted; of several, that in the first."""
    paths = {
        name: path
        for root in reversed(roots)
        for name, path in files_below(root)
        if name.lower().endswith(endings) and os.path.isfile(path)
    }
    return dict(sorted(paths.items()))


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
    """What a file is that is no model at all, by its first bytes; None where they do not tell. Raises OSError for what
    is no file: opening a pipe would wait for ever, and a device has no end."""
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


def is_zip(path: Path) -> bool:
    """Whether a file is a zip, whole or not: Python's own answer is an error where its end is damaged."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def sha256(path: Path) -> str:
    """In hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
