"""Folders wherever they are: on this machine, or anywhere that fsspec reaches, such as s3://bucket/folder.

Names in a folder have slashes. Both kinds of folders can be sent to another process.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from environment import SetupError, python_command, say
from shared import whole
from shared.given_files import Unreadable, bytes_of, require_file, too_long

from core.models.files import dead_link, files_below

from .temporary import temporary_folder

_MOST_NAMES = 100_000
"""Files below a folder among which a name is looked for in another spelling."""
_MOST_TABLE_BYTES = 10**11
STORE_SECONDS = 300
"""So long a store that does not answer is asked again."""
_KEPT_LISTINGS = 64
_READ_AT_ONCE = 16
"""So many lists of a store."""


def folder_of(address: str) -> Folder:
    """The folder at an address: a path, or what fsspec calls a URL."""
    return StoreFolder(address) if "://" in address else Folder(address)


@contextmanager
def _read_errors_told(place: str) -> Iterator[None]:
    """Raises SetupError, in one sentence, for what a disk or a store says against reading a place."""
    try:
        yield
    except OSError as cause:
        raise SetupError(f"{place} cannot be read: {cause.strerror or cause}.") from cause


class Folder:
    """A folder on this machine."""

    def __init__(self, address: str) -> None:
        self.address = os.path.abspath(address)

    @property
    def path(self) -> Path:
        return Path(self.address)

    def place(self, name: str) -> str:
        """What a file is called in messages."""
        return os.path.join(self.address, name)

    def is_there(self) -> bool:
        return os.path.isdir(self.address)

    def stamp(self, name: str) -> str:
        """A text that changes with a file, its size first; "" where there is none."""
        try:
            state = os.stat(self.place(name))
        except (OSError, ValueError):  # letters that no file's name has
            return ""
        return f"{state.st_size} {state.st_mtime_ns}" if os.path.isfile(self.place(name)) else ""

    def no_file(self, name: str) -> str:
        """What lies under a name and is no file, in words; "" where nothing does."""
        path = self.place(name)
        leads_to = dead_link(path)
        if leads_to is not None:
            return f"a link to {leads_to}, and there is no file: its disk may not be connected"
        if os.path.isdir(path):
            return "a folder, not a file"
        with suppress(ValueError):
            return "no file" if os.path.lexists(path) else ""
        return ""

    @cached_property
    def names(self) -> list[str]:
        """The files below it. They are asked for once."""
        names: list[str] = []
        for name, path in files_below(self.address, _MOST_NAMES):
            if os.path.isfile(path):
                names.append(name.replace(os.sep, "/"))
        return names

    def sizes(self, folder: str = "") -> dict[str, int]:
        """The files in a folder, which need not be there, and how many bytes each has. Raises SetupError."""
        sizes: dict[str, int] = {}
        place = self.place(folder)
        with _read_errors_told(place), suppress(FileNotFoundError), os.scandir(place) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # one that a worker has just given its final name
                    if entry.is_file():
                        sizes[entry.name] = entry.stat().st_size
        return sizes

    def read(self, name: str, most: int, size: int | None = None) -> bytes:
        """Raises Unreadable for what is no file or has more bytes than `most`. size: of the file, if it is known."""
        return bytes_of(self.path / name, most)

    def begin(self, name: str, count: int) -> bytes:
        """The first bytes of a file, so many at most. Raises Unreadable."""
        try:
            with open(self.place(name), "rb") as file:
                return file.read(count)
        except OSError as cause:
            raise Unreadable(f"cannot be read: {cause.strerror}") from cause

    def lines(self, names: Sequence[str]) -> Iterator[bytes]:
        """The lines of files, one file after the other. Raises SetupError."""
        for name in names:
            with _read_errors_told(self.place(name)), open(self.place(name), "rb") as file:
                yield from file

    def copied(self, name: str) -> Path:
        """A copy of a file, which stays as it is while this process runs, whoever edits the file. Raises SetupError."""
        copies = temporary_folder()
        atexit.register(copies.cleanup)
        copy = Path(copies.name, os.path.basename(name))
        try:
            with _read_errors_told(self.place(name)):
                self._copy(name, str(copy))
        except Unreadable as cause:
            raise SetupError(f"{self.place(name)} {cause}.") from cause
        return copy

    def _copy(self, name: str, copy: str) -> None:
        require_file(self.path / name, _MOST_TABLE_BYTES)
        shutil.copyfile(self.place(name), copy)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, which is there whole or not at all. Raises OSError."""
        whole.written(self.path / name, lambda unfinished: unfinished.write_bytes(data))

    def put(self, file: Path, name: str) -> None:
        """Write a file of this machine into the folder, where it is whole or not at all. Raises OSError."""
        whole.written(self.path / name, lambda unfinished: shutil.copyfile(file, unfinished))

    def remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(self.place(name))

    def list_of(self, name: str) -> List:
        """A list that lines are appended to."""
        return List(self, name)


class List:
    """Lines that the threads of one process append to a file. Nothing is synced: what a machine that loses its power
    has not written is made again."""

    def __init__(self, folder: Folder, name: str) -> None:
        path = folder.path / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        # The last line of a process that was killed may have no end.
        if self._file.tell():
            self._file.write(b"\n")

    def add(self, line: bytes) -> None:
        self._file.write(line + b"\n")
        self._file.flush()


class StoreFolder(Folder):
    """A folder that fsspec reaches. A store that does not answer is asked again for some minutes."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._has_answered = False

    @cached_property
    def _files(self) -> Any:
        """Raises SetupError without fsspec, or without the package for this kind of store."""
        try:
            from fsspec.core import url_to_fs
            from fsspec.implementations.dirfs import DirFileSystem

            store, path = url_to_fs(self.address, use_listings_cache=False)
        except (ImportError, ValueError) as cause:
            raise SetupError(
                f"{self.address} is opened by fsspec and a package for its kind of store ({cause}), such as: "
                f"{python_command()} -m pip install fsspec s3fs"
            ) from cause
        return DirFileSystem(path, store)

    def place(self, name: str) -> str:
        return f"{self.address}/{name}"

    def is_there(self) -> bool:
        """Without asking again, see `_asked`. A store without files has no folders."""
        try:
            self._asked("ls", "")
        except FileNotFoundError:
            return False
        except OSError as cause:
            raise SetupError(str(cause)) from cause
        return True

    def _asked(self, call: str, *arguments: Any, **options: Any) -> Any:
        """What a store answers to a call of fsspec's. Raises OSError. One that has never answered is asked once: its
        address or key is wrong, or it is down, and nothing is lost yet."""
        files = self._files
        give_up = time.monotonic() + (STORE_SECONDS if self._has_answered else 0)
        pause = 1.0
        while True:
            try:
                answer = getattr(files, call)(*arguments, **options)
                self._has_answered = True
                return answer
            except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError):
                self._has_answered = True
                raise
            except Exception as cause:  # each store has errors of its own
                if time.monotonic() >= give_up:
                    hint = "" if self._has_answered else ". Look at its address (for S3 AWS_ENDPOINT_URL) and your keys"
                    raise OSError(f"{self.address} does not answer: {cause}{hint}") from cause
                say(f"{self.address} does not answer, and is asked again: {cause}")
            time.sleep(pause)
            pause = min(2 * pause, 30)

    def stamp(self, name: str) -> str:
        parent, _, last = name.rpartition("/")
        return _stamps(self, parent).get(last, "")

    def no_file(self, name: str) -> str:
        return ""

    @cached_property
    def names(self) -> list[str]:
        with _read_errors_told(self.address):
            return self._asked("find", "")[:_MOST_NAMES]

    def files(self, folder: str) -> dict[str, dict[str, Any]]:
        """What fsspec says of each file in a folder. Raises SetupError."""
        entries: list[dict[str, Any]] = []
        with _read_errors_told(self.place(folder)), suppress(FileNotFoundError):
            entries = self._asked("ls", folder, detail=True)
        return {entry["name"].rpartition("/")[2]: entry for entry in entries if entry["type"] == "file"}

    def sizes(self, folder: str = "") -> dict[str, int]:
        return {name: entry["size"] for name, entry in self.files(folder).items()}

    def read(self, name: str, most: int, size: int | None = None) -> bytes:
        try:
            known_size: int = self._asked("size", name) if size is None else size
            data: bytes = self._asked("cat_file", name) if known_size <= most else b""
        except OSError as cause:
            raise Unreadable(f"cannot be read: {cause}") from cause
        if max(known_size, len(data)) > most:
            raise Unreadable(too_long(most))
        return data

    def begin(self, name: str, count: int) -> bytes:
        try:
            return self._asked("cat_file", name, start=0, end=count)
        except OSError as cause:
            raise Unreadable(f"cannot be read: {cause}") from cause

    def lines(self, names: Sequence[str]) -> Iterator[bytes]:
        with ThreadPoolExecutor(_READ_AT_ONCE) as readers:
            for first in range(0, len(names), _READ_AT_ONCE):
                for content in readers.map(self._content, names[first : first + _READ_AT_ONCE]):
                    yield from content.splitlines()

    def _content(self, name: str) -> bytes:
        """What is in a file. fsspec's own call for several files takes a name with brackets in it for a pattern."""
        with _read_errors_told(self.place(name)):
            return self._asked("cat_file", name)

    def _copy(self, name: str, copy: str) -> None:
        self._asked("get_file", name, copy)

    def write(self, name: str, data: bytes) -> None:
        self._asked("pipe_file", name, data)

    def put(self, file: Path, name: str) -> None:
        self._asked("put_file", str(file), name)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._asked("rm_file", name)

    def list_of(self, name: str) -> List:
        return StoreList(self, name)


class StoreList(List):
    """A store has nothing to append to: the last lines are written again with those that are added.

    Many lines in a file make more to write, few make more files to read when a run goes on: with 200 a row with
    a prompt and two photos costs 60 kB beside its picture, and a million rows are 5,000 files.
    """

    MOST_LINES = 200

    def __init__(self, folder: StoreFolder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._writing = threading.Lock()
        self._lines: list[bytes] = []
        """All lines of the file that is being written, also those of them that are in the store already."""
        self._written_lines = 0
        """How many of these are in the store."""
        self._file_number: int | None = None

    def _next_number(self) -> int:
        """The files of a list are NAME.00000.jsonl and so on. Those that are there already stay as they are: the next
        one has the number behind theirs."""
        parent, _, last = self._name.rpartition("/")
        numbers = [file.removeprefix(f"{last}.").removesuffix(".jsonl") for file in self._folder.sizes(parent)]
        return max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)

    def add(self, line: bytes) -> None:
        self._lines.append(line + b"\n")
        with self._writing:
            if self._file_number is None:
                self._file_number = self._next_number()
            # Lines that other threads add meanwhile go into the next writing, all at once.
            count = len(self._lines)
            if count > self._written_lines:
                self._folder.write(f"{self._name}.{self._file_number:05}.jsonl", b"".join(self._lines[:count]))
            self._written_lines = count
            if count >= self.MOST_LINES:
                del self._lines[:count]
                self._written_lines = 0
                self._file_number += 1


@lru_cache(_KEPT_LISTINGS)
def _stamps(folder: StoreFolder, name: str) -> dict[str, str]:
    """The files in a folder, and a text that changes with each, its size first."""
    stamps: dict[str, str] = {}
    for file, entry in folder.files(name).items():
        changed = [str(entry[key]) for key in ("ETag", "etag", "md5Hash", "LastModified", "mtime") if key in entry]
        stamps[file] = f"{entry['size']} {''.join(changed[:1])}"
    return stamps


def without_login(address: str) -> str:
    """An address without the name and the password in it, as others may read it. A path stays as it is."""
    return re.sub(r"^([\w+.-]+://)[^/]*@", r"\1", address)


def size_in(stamp: str) -> int:
    """How many bytes a file has, by its stamp."""
    return int(stamp.split()[0])
