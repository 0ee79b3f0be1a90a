"""Files as files: what lies below a folder, and what is in one by its bytes. Standard library only."""

import codecs
import hashlib
import os
import shutil
import time
import zipfile
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TypeVar
from uuid import uuid4

from ..checks.names import among, ending

SAFETENSORS = (".safetensors", ".sft")
WEIGHTS = (*SAFETENSORS, ".bin", ".pth", ".pt")
"""Endings of files of tensors that our loaders read."""

UNFINISHED = (".aria2", ".part", ".crdownload", ".download", ".fdmdownload", ".opdownload", ".incomplete", ".st")
"""Endings that download programs put behind the name of a file, for what they keep beside it until it is whole."""

BESIDE_FILES = "._"
"""How names begin of the files that a Mac writes onto a stick or a network drive, and into a zip: beside
scrfd.onnx lies ._scrfd.onnx, which holds what the disk has no place for and is no model, whatever its ending."""

_OF_SYSTEMS = {
    ".git",
    "__macosx",
    *("$recycle.bin", "system volume information"),  # Windows
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),  # Synology and QNAP
    "lost+found",
}
"""Folders of deleted files, old states and small copies that a system puts among others without hiding them, in small
letters."""

PathT = TypeVar("PathT", str, Path)
Stamp = tuple[str, int, int]
"""Path, size in bytes and time of the last change of a file: what a loaded file is remembered by."""


def stamp(path: str) -> Stamp:
    """Path, size and time of a file. They change when another file takes its place."""
    state = os.stat(path)
    # Copied and unpacked files keep the modification time of their source, so a new file may have an old mtime. The
    # ctime is set by the system when the file comes here, and no program can set it back.
    return path, state.st_size, max(state.st_mtime_ns, state.st_ctime_ns)


def write_whole(path: str, data: bytes) -> None:
    """Write a file so that at any time it is there whole or not at all.

    The bytes are written under a random name in the same folder, and the file is renamed when it is complete. So no
    link of the final name is followed, and two processes do not write into one file. Raises OSError, and ValueError for
    letters that no file name has.
    """
    with _part_file(path, data) as part_file:
        os.replace(part_file, path)


def write_new(path: str, data: bytes) -> None:
    """As `write_whole`, but a file that is there stays. Raises FileExistsError where there is one, or a link, even if
    another process has made it just now; and what `write_whole` raises."""
    with _part_file(path, data) as part_file:
        try:
            os.link(part_file, path)  # unlike a rename it replaces nothing, on any system
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links, such as FAT: an empty file takes the name first
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            os.replace(part_file, path)


@contextmanager
def _part_file(path: str, data: bytes) -> Generator[str, None, None]:
    """A context with a file of these bytes under a random name in the folder of `path`; it is removed at the end."""
    part_file = os.path.join(os.path.dirname(path), f".{uuid4().hex}.part")
    try:
        with open(part_file, "xb") as file:
            file.write(data)
        yield part_file
    finally:
        with suppress(OSError):
            os.remove(part_file)


@contextmanager
def unfinished_folder(parent: Path, prefix: str) -> Generator[Path, None, None]:
    """A context with a new folder in `parent`. The caller makes something in it, and moves it away once it is complete.
    At the end of the context the folder is removed with all that is left in it.

    The name is chosen before the folder is made. `tempfile.TemporaryDirectory` learns the name when the folder is there
    already, and a signal between the two, such as Ctrl-C, leaves the folder behind. Raises OSError.
    """
    folder = parent / f"{prefix}{uuid4().hex[:8]}"
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_of_system(folder: str) -> bool:
    """Whether a folder holds what a system keeps for itself, by its name."""
    return folder.lower() in _OF_SYSTEMS


def walk(root: str, links: bool = True) -> Iterator[tuple[str, list[str]]]:
    """Every folder below `root`, itself included, and the names of the files in it, level by level.

    Folders of a system are left out, and so is what a Mac writes beside other files. A folder that cannot be read does
    not come. links: whether links to folders are followed. A folder that is reached in several ways comes once, under
    its shortest path: links may go in circles, which would never end.
    """
    visited: set[str] = set()
    waiting = deque([root])
    while waiting:
        folder = waiting.popleft()
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        this_folder = next(os.walk(folder), None)  # the first step of os.walk; none where the folder cannot be read
        if this_folder is None:
            continue
        _, subfolders, names = this_folder
        yield folder, [name for name in names if not name.startswith(BESIDE_FILES)]
        # Real folders first, so that a link beside one does not take its name.
        for name in sorted(subfolders, key=lambda name: (os.path.islink(os.path.join(folder, name)), name)):
            path = os.path.join(folder, name)
            if not is_of_system(name) and (links or not os.path.islink(path)):
                waiting.append(path)


class FileBelow(NamedTuple):
    """A file below a folder. name: relative to the folder."""

    name: str
    path: str


def files_below(root: str, most_files: int) -> list[FileBelow]:
    """The first `most_files` files below `root` in the order of `walk`. Links that lead nowhere are among them."""
    files = chain.from_iterable(_files_in(folder, names, root) for folder, names in walk(root))
    return list(islice(files, most_files))


def _files_in(folder: str, names: Sequence[str], root: str) -> Iterator[FileBelow]:
    """The files of these names in a folder, which is `root` or lies below it, sorted."""
    root_length = len(os.path.join(root, ""))
    for name in sorted(names):
        path = os.path.join(folder, name)
        yield FileBelow(path[root_length:], path)


def dead_link(path: str) -> str | None:
    """The target of a link that leads nowhere; None for files, for other links and where nothing is of that name."""
    return os.readlink(path) if os.path.islink(path) and not os.path.exists(path) else None


@dataclass(frozen=True, eq=False)
class Listing:
    """All files below a folder, as they were when it was looked through.

    dead_links: links that lead nowhere, which are none of the files. folders: every folder that was looked into -> the
    time of its last change then, as `_changed` gives it. Dead links are among them, because a folder may appear behind
    one. Two listings are equal only where they are the same object.
    """

    files: tuple[FileBelow, ...]
    dead_links: tuple[FileBelow, ...]
    folders: Mapping[str, int]

    @property
    def holds(self) -> bool:
        """Whether the listing is still right: no file has come, gone or got another name since, which would have
        changed the time of its folder."""
        return all(_changed(folder) == then for folder, then in self.folders.items())


_SETTLED_NS = 2_000_000_000
"""A listing is kept only if all its folders were last changed at least this long (in nanoseconds) before it began. FAT
stores times in steps of two seconds, so a second change within such a step would leave the folder's time as it is."""
_ABSENT = -1
"""The time of a folder that is not there, or that may not be looked into."""
# (folder, whether along links) -> its last listing.
_listings: dict[tuple[str, bool], Listing] = {}


def listing(root: str, links: bool = True) -> Listing:
    """All files below a folder. links: whether also along links to folders.

    The listing is kept, unless a folder was changed too shortly before (_SETTLED_NS). The next call returns the same
    one if no file has come or gone: the host asks for menus at every check of a prompt. The host keeps its own lists in
    the same way.
    """
    last_listing = _listings.get((root, links))
    if last_listing and last_listing.holds:
        return last_listing
    start_time = time.time_ns()
    folders = {root: _changed(root)}  # also where it cannot be walked
    files: list[FileBelow] = []
    dead_links: list[FileBelow] = []
    for folder, names in walk(root, links):
        folders[folder] = _changed(folder)
        for file in _files_in(folder, names, root):
            (files if dead_link(file.path) is None else dead_links).append(file)
    # A link that leads nowhere may lead to a folder later, as to that of a disk that is not mounted yet.
    folders.update((link.path, _ABSENT) for link in dead_links)
    new_listing = Listing(tuple(files), tuple(dead_links), folders)
    _listings.pop((root, links), None)  # the last one is wrong by now, whether or not the new one is kept
    if max(folders.values()) < start_time - _SETTLED_NS:
        _listings[root, links] = new_listing
    return new_listing


def _changed(folder: str) -> int:
    """When something last came into a folder or went out of it, in nanoseconds; _ABSENT where it cannot be read."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return _ABSENT


def by_name(roots: Sequence[str], endings: tuple[str, ...]) -> dict[str, str]:
    """The files with these endings below some folders: name relative to the folder -> path, sorted by name.

    Of several files with one name, the one in the first of the folders is taken.
    """
    paths: dict[str, str] = {}
    # Reversed, so that a file of an earlier folder replaces that of a later one.
    for root in reversed(roots):
        for name, path in listing(root).files:
            if name.lower().endswith(endings) and os.path.isfile(path):
                paths[name] = path
    return dict(sorted(paths.items()))


def spelled_otherwise(names: Iterable[str], path_of_name: Mapping[str, PathT]) -> PathT | None:
    """The path of the file that is there under one of these names in another spelling; None where there is none.

    The first name with such a file decides, see names.among. path_of_name: of the files that were listed; one of them
    may be a link to nowhere.
    """
    for name in names:
        entry = among(name, path_of_name)
        if entry and os.path.isfile(path_of_name[entry]):
            return path_of_name[entry]
    return None


# Beginnings of files in small letters -> what the file is.
IN_PLACE_OF_A_FILE = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (b"\x1f\x8b", "a file packed with gzip"),
    (b"7z\xbc\xaf\x27\x1c", "a file packed with 7-Zip"),
    (b"rar!\x1a\x07", "a file packed with RAR"),
    (b"\xfd7zxz", "a file packed with xz"),
    (b"\x28\xb5\x2f\xfd", "a file packed with zstd"),
    (b"bzh", "a file packed with bzip2"),
)
"""What any download may have brought instead of the file, be it a model or a photo."""
_NOT_A_MODEL = (
    *IN_PLACE_OF_A_FILE,
    (b"<!doctype html", "a web page (HTML) saved under a model's name"),
    (b"<html", "a web page (HTML) saved under a model's name"),
    (b"<?xml", "a web page (XML) saved under a model's name"),
    (b'{"error', "an error answer of the download server"),
    (b"gguf", "a GGUF file, which other nodes read"),
    (b"\x89png", "a picture (PNG), not a model"),
    (b"\xff\xd8\xff", "a picture (JPEG), not a model"),
    (b"gif8", "a picture (GIF), not a model"),
    (b"riff", "a picture (WebP), a video or a sound, not a model"),
)
# Bytes that no text holds, and that stand in the binary header of every model. Tab, line ends and the escape of
# coloured console output occur in texts.
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\f\r\x1b")


def no_model(path: Path) -> str | None:
    """What a file is, in words, if it is no model at all; None where it may be a model.

    Decided by its first bytes and its ending; of a zip, by the names in it. Raises OSError where there is no file.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    kind = _kind_of_no_model(path, head)
    return f"{kind} ({path.stat().st_size} bytes)" if kind else None


def _kind_of_no_model(path: Path, head: bytes) -> str | None:
    """As `no_model`, without the size. head: the first bytes, of which there is one at least."""
    if not any(head):  # room for a download that has stopped; tarfile takes zeros for an empty archive
        return "damaged or cut off while downloading"
    if is_safetensors(path):  # whose first bytes are a length, and may be those of anything
        return None
    start = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    for beginning, description in _NOT_A_MODEL:
        if start.startswith(beginning) and ending(path.name) != ".gguf":
            return description
    if ending(path.name) != ".json" and is_text(head):
        return "JSON, not a model" if start.startswith((b"{", b"[")) else "text, not a model"
    # torch's own files are zips too, with a data.pkl in them.
    members = zip_members(path) if ending(path.name) in (*WEIGHTS, ".onnx") else []
    if members and not any(name.rpartition("/")[2] == "data.pkl" for name in members):
        return "a file packed with zip"
    return None


def is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors, by its first bytes and not by its name: the length of the header, then the header,
    which is JSON."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def unfinished(path: Path) -> str | None:
    """What an unfinished download is, in words; None for any other file.

    It is known by a file that the download program keeps beside it.
    """
    for mark in UNFINISHED:
        if os.path.isfile(f"{path}{mark}"):
            return f"a download that has not ended, or {path.name}{mark} beside it was left over"
    return None


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are text, in UTF-16 too: text has no control characters.

    A zero byte is a control character. In UTF-16 every Latin letter has one, so there zeros are left out. UTF-16 is
    known by its first two bytes; two zeros in a row mean something else that begins with them. No other text begins
    with the byte 0xFF, and every JPEG does.
    """
    is_utf_16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and b"\0\0" not in head
    if head.startswith(b"\xff") and not is_utf_16:
        return False
    letters = head.replace(b"\0", b"") if is_utf_16 else head
    return _CONTROL.isdisjoint(letters)


def is_zip(path: Path) -> bool:
    """Whether a file is a zip, by its end. False where the end is damaged: there zipfile.is_zipfile may raise."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def zip_members(path: Path) -> list[str]:
    """The names in a zip, in small letters, as torch finds them; none in what is no zip, or a damaged one."""
    return [member.filename.lower() for member in _members(path)]


def is_packed(path: Path) -> bool:
    """Whether a file in a zip is larger than it lies there."""
    return any(member.file_size > member.compress_size for member in _members(path))


def _members(path: Path) -> list[zipfile.ZipInfo]:
    if not is_zip(path):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError):
        return []


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
