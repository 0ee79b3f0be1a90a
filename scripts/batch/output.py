"""The folder of a run: pictures under the names of their rows, and what says which rows are done.

Every worker appends what it has made to a list of its own, once the pictures are there, and the driver takes a row for
made when it is listed; the lists are joined when they are read. So whatever ends, a picture is there and listed, or
there and made again under the same name, or not there.
done.csv, likeness.csv and index.html are written out of the lists when a run ends. failed.csv grows while it runs: on a
disk where it lies, for a store in a temporary folder, from where it is put into the store now and then. Nothing of it
is kept in memory, but the rows of the page while that is written.
"""

import codecs
import contextlib
import csv
import json
import math
import platform
import re
import shutil
import struct
import time
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

import numpy as np
from environment import SetupError, pack_version, unwritable
from shared import tables
from shared.tables import as_csv
from shared.workflow import Prompt

from core.checks.names import folded
from core.checks.text import number_in

from . import page
from .beside import Beside, BesideWriter
from .estimate import RowCosts
from .folders import Folder, StoreFolder
from .locks import lock_alone, lock_shared
from .page import Again, Failure
from .rows import Part, Row, key_of, number_of, problem_of_name
from .temporary import temporary_folder
from .worker import SavedFile

DONE = ("line", "name", "fingerprint", "files", "seconds")
FAILED = ("line", "name", "reason")
SCORES = (*tables.COLUMNS, "seed", "kept")
LISTS = "done"
"""The folder of the lists."""
PEOPLE = f"{LISTS}/people"
"""The folder of pictures out of files of saved people, for the page."""
_FAILED_FILE = re.compile(r"failed(\.\d+(of\d+))?\.csv")
"""Of a whole table, or of a part of so many."""
_MOST_CELL_LETTERS = 1000
"""Of a cell that the page shows."""
_KINDS = {"line": int, "name": str, "fingerprint": str, "files": list, "sizes": list, "seconds": (int, float),
          "tries": int, "vision": str}  # fmt: skip
"""What an entry of a list always has."""
_LATER_KINDS = {"scores": list, "moved_seeds": int, "cells": dict, "beside": list}
"""What it may have besides."""
_ROWS_IN_FOLDER = 1000
_LOCK_SECONDS = 5
_FAILED_SECONDS = 10
_MOST_OF_A_RUN = 0.1
"""How much of its time a run spends on putting failed.csv into a store, which takes longer with every row."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PROMPT = b"tEXtprompt\0"
"""How the chunk of a PNG begins, behind its length, that has the prompt in it."""
_AROUND_CHUNK = 12
"""Bytes of a chunk of a PNG besides its data: the length, the type and the checksum, 4 each."""


@dataclass(frozen=True)
class Task:
    """A row that a worker makes. fingerprint: what its pictures are made of."""

    row: Row
    fingerprint: str


@dataclass(frozen=True)
class Measuring:
    """What is measured of each row. tries: of how many pictures, of which the best is kept. vision: the file by which
    garments are compared, if they are. garment_share: see `seeds.best_try`."""

    tries: int = 1
    vision: str = ""
    garment_share: float | None = None

    def is_in(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry of a list has been measured so, and its best picture chosen so."""
        is_chosen_so = self.tries == 1 or self.garment_share == entry.get("garment_share")
        return entry["tries"] >= self.tries and self.vision in ("", entry["vision"]) and is_chosen_so


# --- What a worker writes


class PictureWriter:
    """Where a worker puts the pictures of its rows. name: of the worker, which has a list of its own. made_by: the
    versions that make them. moved_seeds: how far their seeds are from those of the rows."""

    def __init__(self, folder: Folder, name: str, made_by: str = "", moved_seeds: int = 0) -> None:
        self._folder = folder
        self._made_by = made_by
        self._moved_seeds = moved_seeds
        self._beside = BesideWriter(folder, PEOPLE)
        self._lock: IO[bytes] | None = None
        if not isinstance(folder, StoreFolder):
            if not any(name.startswith("failed.") for name in folder.sizes()):
                raise SetupError(
                    f"{folder.address} is another folder on {platform.node()}: name one for --output that all machines "
                    "reach by the same path, such as a share, or s3://bucket/folder."
                )
            # The next run waits until the workers of a driver that was killed have ended.
            self._lock = (folder.path / ".lock").open("ab")
            lock_shared(self._lock, folder.path)
        self._list = folder.list_of(f"{LISTS}/{name}")

    def keep(
        self,
        task: Task,
        pictures: Sequence[SavedFile],
        seconds: float,
        measuring: Measuring | None = None,
        scores: Sequence[Mapping[str, Any]] = (),
        beside: Sequence[Beside] = (),
        seeds: Collection[int] = (),
    ) -> None:
        """Write a row's pictures, and add its entry to the list. scores: the lines of likeness.csv. beside: what the
        page shows beside them. seeds: which they were drawn with."""
        files = names_of(task.row, [picture.ending for picture in pictures])
        for file, picture in zip(files, pictures, strict=True):
            self._folder.put(picture.path, file)
        cells = {column: cell[:_MOST_CELL_LETTERS] for column, cell in task.row.cells.items()}
        if seeds:  # not those of the cells where they were moved, or the best of several tries is kept
            cells["drawn with seed"] = ", ".join(map(str, sorted(seeds)))
        entry: dict[str, Any] = {
            "line": task.row.line,
            "name": task.row.name,
            "fingerprint": task.fingerprint,
            "files": files,
            "sizes": [picture.size for picture in pictures],
            "seconds": round(seconds, 2),
            "tries": measuring.tries if measuring else 0,
            "vision": measuring.vision if measuring else "",
            "garment_share": measuring.garment_share if measuring else None,
            "made_by": self._made_by,
            "moved_seeds": self._moved_seeds,
            "cells": cells,
            "beside": self._beside.entry(beside),
        }
        if scores:
            entry["scores"] = scores
        self._list.add(json.dumps(entry).encode())

    def close(self) -> None:
        """Leave the folder to others."""
        if self._lock:
            self._lock.close()


def saved_folder(folder: Path) -> TemporaryDirectory[str]:
    """A folder for what one row saves, in that of its worker. Raises SetupError where there is no room on this
    machine."""
    with disk_errors_told(Folder(str(folder))):
        return TemporaryDirectory(dir=folder)


def made_by(host: str) -> str:
    """What makes pictures, in words. host: a ComfyUI and its version."""
    return f"Likeness {pack_version()}, {host}"


def size_kept(folder: Folder, worker: str, task: Task) -> int | None:
    """How large the pictures of a row are that a worker has made before it ended; None where it has not."""
    lists = [file for file in _lists(folder) if file.startswith(f"{worker}.")]
    for entry in _entries(folder, lists):
        if (entry["name"], entry["fingerprint"]) == (task.row.name, task.fingerprint):
            return sum(entry["sizes"])
    return None


def names_of(row: Row, endings: Sequence[str]) -> list[str]:
    """The files of a row's pictures: those of the first thousand lines in the folder itself, of each further thousand
    in one below it."""
    folder = row.line // _ROWS_IN_FOLDER
    name = f"{folder:05}/{row.name}" if folder else row.name
    if len(endings) == 1:
        return [f"{name}{endings[0]}"]
    return [f"{name}_{number}of{len(endings)}{ending}" for number, ending in enumerate(endings, 1)]


# --- What the run reads


class Output:
    """The folder of a run, or of a part of one. On a disk it is one run's at a time; a store has no locks. Until
    `begin` it stays as it was: a run that is refused before leaves the files of earlier ones, and no new folder.

    only: the names of the rows that the run is for; empty: all. moved_seeds: how far a row's seeds have to be from its
    own, so that it is done; None: as far as they are. Raises SetupError where another run has it on a disk, and for a
    folder that holds other things.
    """

    def __init__(
        self,
        folder: Folder,
        measuring: Measuring | None = None,
        part: Part | None = None,
        only: Sequence[str] = (),
        moved_seeds: int | None = None,
    ) -> None:
        self.folder = folder
        self._only = set(map(key_of, only))
        self._again: Again | None = None
        ending = part.ending if part else ""
        self.failed_name = f"failed{ending}.csv"
        self._lock_name = f".lock{ending}"
        self.failed = 0
        self.first_failure = ""
        """The row that failed first, and why."""
        self.earlier = RowCosts()
        """What the rows have taken that are done."""
        with disk_errors_told(folder):
            self._require_own_folder()
            is_store = isinstance(folder, StoreFolder)
            self._new_folders = [] if is_store else _not_there(folder.path)
            self._lock = None if is_store else _locked(folder.path, self._lock_name)
            self._read_lists(measuring, moved_seeds)
            self._temporary = temporary_folder()
            failed_path = Path(self._temporary.name) / "failed.csv"
            self._failed_rows = failed_path.open("wb")
            # It begins as Excel wants it.
            self._failed_rows.write(codecs.BOM_UTF8 + as_csv([FAILED]))
            self._is_begun = False
            self._show_failed_again = math.inf

    def begin(self, again: Again | None = None) -> None:
        """Rows can be made: failed.csv of an earlier run gives way to that of this one. again: how the page's reader
        makes a row once more."""
        self._again = again
        with disk_errors_told(self.folder):
            self._clear_failures()
            if not isinstance(self.folder, StoreFolder):
                self._failed_rows.close()
                failed_path = self.folder.path / self.failed_name
                shutil.copyfile(self._failed_rows.name, failed_path)
                self._failed_rows = failed_path.open("ab")
            self._show_failed()
        self._is_begun = True

    def _clear_failures(self) -> None:
        """What failed.csv and its like of earlier runs say of the rows of this run is no longer so. Machines that make
        other parts of as many write files of their own meanwhile."""
        count = _count_in(self.failed_name)
        for name in _failed_files(self.folder):
            is_own = name == self.failed_name
            if not self._only:
                if not is_own and (count is None or _count_in(name) != count):
                    self.folder.remove(name)
                continue
            all_failures = list(_failures(self.folder, [name]))
            others = [one for one in all_failures if key_of(one.name) not in self._only]
            lines = as_csv([one.line, one.name, one.reason] for one in others)
            if is_own:
                self._failed_rows.write(lines)
            elif len(others) < len(all_failures):
                self.folder.write(name, codecs.BOM_UTF8 + as_csv([FAILED]) + lines)

    def _require_own_folder(self) -> None:
        """Raises SetupError for a folder that holds other things than a run's."""
        if _lists(self.folder):
            return
        names = self.folder.sizes()
        own_names = ("done.csv", page.NAME) if "done.csv" in names else ()
        for name in names:
            if not name.startswith((".", "failed.")) and name not in own_names:
                raise SetupError(
                    f"{self.folder.address} has no folder {LISTS}, but {name}: take an empty folder for --output."
                )

    def _read_lists(self, measuring: Measuring | None, moved_seeds: int | None) -> None:
        """Read what earlier runs have made, for `has`: the keys of names, in order, and beside each the fingerprint of
        its last entry, and what made it.

        They are hashes of 64 bits and a number in plain arrays, 20 bytes a row, because a table may have millions of
        rows. The fingerprint is 0 where pictures are gone or cut off, not measured as is asked for, or of other seeds:
        no row has this one, so the row is made again.
        """
        names, fingerprints, versions = array("Q"), array("Q"), array("I")
        numbers: dict[str, int] = {}
        sizes_in = lru_cache(16)(self.folder.sizes)
        for entry in _entries(self.folder, _lists(self.folder)):
            is_usable = measuring is None or measuring.is_in(entry)
            is_usable = is_usable and moved_seeds in (None, entry.get("moved_seeds", 0))
            for file, size in zip(entry["files"], entry["sizes"], strict=False):
                parent, _, name = file.rpartition("/")
                is_usable = is_usable and sizes_in(parent).get(name) == size
            if is_usable and entry["files"]:
                self.earlier.add(entry["seconds"], sum(entry["sizes"]))
            names.append(key_of(entry["name"]))
            fingerprints.append(number_of(entry["fingerprint"]) if is_usable else 0)
            versions.append(numbers.setdefault(str(entry.get("made_by", "")), len(numbers)))
        last = _last(names)
        self._names = array("Q", np.frombuffer(names, np.uint64)[last].tobytes())
        self._fingerprints = array("Q", np.frombuffer(fingerprints, np.uint64)[last].tobytes())
        self._versions = array("I", np.frombuffer(versions, np.uintc)[last].tobytes())
        self._version_names = list(numbers)

    @property
    def free_bytes(self) -> int | None:
        """Room on the disk of the folder; None of a store."""
        if isinstance(self.folder, StoreFolder):
            return None
        return shutil.disk_usage(self.folder.address).free

    def has(self, name: int, fingerprint: str) -> bool:
        """Whether a row has its pictures, made of the same things. name: its key."""
        place = bisect_left(self._names, name)
        is_known = place < len(self._names) and self._names[place] == name
        return is_known and self._fingerprints[place] == number_of(fingerprint)

    def made_by(self, name: int) -> str:
        """The versions that made a row that is done; "" where its list does not say. name: its key."""
        return self._version_names[self._versions[bisect_left(self._names, name)]]

    def refuse(self, row: Row, reason: str) -> None:
        """Write a row that cannot be made into failed.csv, where it can be read some seconds after `begin`."""
        self.failed += 1
        in_one_line = " ".join(reason.split())
        self.first_failure = self.first_failure or f"{row.name}: {in_one_line}"
        with disk_errors_told(self.folder):
            self._failed_rows.write(as_csv([(row.line, row.name, in_one_line)]))
            if time.monotonic() >= self._show_failed_again:
                self._show_failed()

    def _show_failed(self) -> None:
        """All that has been written into failed.csv is in the folder."""
        begun = time.monotonic()
        self._failed_rows.flush()
        if isinstance(self.folder, StoreFolder):
            self.folder.put(Path(self._failed_rows.name), self.failed_name)
        told = time.monotonic()
        self._show_failed_again = told + max(_FAILED_SECONDS, (told - begun) / _MOST_OF_A_RUN)

    def close(self) -> None:
        """Write the rest of failed.csv, and out of the lists done.csv and the page; likeness.csv where something was
        measured."""
        if not self._is_begun:
            self._leave()
            return
        with self._temporary, disk_errors_told(self.folder):
            with self._failed_rows:
                self._show_failed()
            names = array("Q", (key_of(entry["name"]) for entry in _entries(self.folder, _lists(self.folder))))
            is_last = np.zeros(len(names), bool)
            is_last[_last(names)] = True
            self._remove_replaced(names, is_last)
            self._write_tables(Path(self._temporary.name), is_last)
            self._write_page(is_last)
        if self._lock:
            self._lock.close()

    def _write_page(self, is_last: Any) -> None:
        entries = _entries(self.folder, _lists(self.folder))
        last_entries = (entry for number, entry in enumerate(entries) if is_last[number])
        failures = _failures(self.folder, _failed_files(self.folder))
        self.folder.write(page.NAME, page.as_html(self.folder, last_entries, failures, self._again))

    def _leave(self) -> None:
        """Of a run that has not begun nothing stays."""
        with self._temporary:
            self._failed_rows.close()
        if self._lock:
            self._lock.close()
        with contextlib.suppress(OSError):  # somebody else has put something there
            if self._new_folders:
                Path(self.folder.place(self._lock_name)).unlink()
            for path in self._new_folders:
                path.rmdir()

    def _write_tables(self, temporary: Path, is_last: Any) -> None:
        done_path, scores_path = temporary / "done.csv", temporary / "likeness.csv"
        is_measured = False
        with done_path.open("wb") as done, scores_path.open("wb") as scores:
            done.write(as_csv([DONE]))
            scores.write(as_csv([SCORES]))
            for number, entry in enumerate(_entries(self.folder, _lists(self.folder))):
                if is_last[number]:
                    done.write(
                        as_csv([[*(entry[key] for key in DONE[:3]), "|".join(entry["files"]), entry["seconds"]]])
                    )
                    lines = entry.get("scores", ())
                    scores.write(as_csv([line.get(key, "") for key in SCORES] for line in lines))
                    is_measured = is_measured or bool(lines)
        for path in [done_path, scores_path] if is_measured else [done_path]:
            self.folder.put(path, path.name)

    def _remove_replaced(self, names: Sequence[int], is_last: Any) -> None:
        """Remove the pictures of earlier runs whose rows have others now."""
        replaced = {names[number] for number in np.flatnonzero(~is_last).tolist()}
        if not replaced:
            return
        kept: set[str] = set()
        others: set[str] = set()
        for number, entry in enumerate(_entries(self.folder, _lists(self.folder))):
            if names[number] in replaced:
                (kept if is_last[number] else others).update(entry["files"])
        twins = {folded(file): file for file in kept}
        sizes_in = lru_cache(16)(self.folder.sizes)

        def is_there(file: str) -> bool:
            parent, _, name = file.rpartition("/")
            return name in sizes_in(parent)

        for file in others - kept:
            # On a disk that does not tell capitals Anna.png is anna.png, which is kept: it has one name for both.
            if is_there(file) and is_there(twins.get(folded(file), file)):
                self.folder.remove(file)


def _failed_files(folder: Folder) -> list[str]:
    return sorted(name for name in folder.sizes() if _FAILED_FILE.fullmatch(name))


def _count_in(failed_name: str) -> str | None:
    """Of how many parts one wrote a file of failed rows, as of4; None for a run of all rows."""
    named = _FAILED_FILE.fullmatch(failed_name)
    return named[2] if named else None


def _failures(folder: Folder, files: Sequence[str]) -> Iterator[Failure]:
    """The rows that failed. Programs may have saved these files again as they like."""
    texts = (line.decode(errors="replace") for line in folder.lines(files))
    with contextlib.suppress(csv.Error):
        for cells in csv.reader(texts):
            if len(cells) == len(FAILED) and (line := number_in(cells[0])) is not None:
                yield Failure(line, cells[1], cells[2])


def _lists(folder: Folder) -> list[str]:
    """The lists in a folder, those of earlier runs first."""
    return sorted(name for name in folder.sizes(LISTS) if name.endswith(".jsonl"))


def _entries(folder: Folder, lists: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What is in lists, which may end anywhere and hold anything: entries as `keep` writes them, no others."""
    for line in folder.lines([f"{LISTS}/{name}" for name in lists]):
        with contextlib.suppress(ValueError, OverflowError, RecursionError):
            entry = json.loads(line)
            if _is_entry(entry):
                yield entry


def _is_entry(entry: Any) -> bool:
    """Whether a value is an entry that `keep` has written: what is read from it is there, and it names no file but
    those of its row."""
    if not isinstance(entry, dict):
        return False
    values = cast("dict[str, Any]", entry)
    if not all(isinstance(values.get(key), kind) for key, kind in _KINDS.items()):
        return False
    if not all(isinstance(values.get(key, kind()), kind) for key, kind in _LATER_KINDS.items()):
        return False
    if not all(isinstance(line, dict) for line in values.get("scores", [])) or values.get("moved_seeds", 0) < 0:
        return False
    if not all(isinstance(cell, str) for cell in values.get("cells", {}).values()):
        return False
    if not all(isinstance(one, list) and [*map(type, one)] == [str, str] for one in values.get("beside", [])):
        return False
    files, sizes = values["files"], values["sizes"]
    if len(files) != len(sizes) or not all(isinstance(size, int) for size in sizes):
        return False
    row = Row(values["line"], values["name"], {})
    own_files = names_of(row, [PurePosixPath(str(file)).suffix for file in files])
    return files == own_files and not problem_of_name(row.name) and math.isfinite(values["seconds"])


def _last(names: Sequence[int]) -> Any:
    """The place of the last of each name, in the order of the names."""
    # unique gives the first of each, which is the last one counted from the end.
    backwards = np.frombuffer(array("Q", names), np.uint64)[::-1]
    _, places = np.unique(backwards, return_index=True)
    return len(backwards) - 1 - places


def _not_there(folder: Path) -> list[Path]:
    """The folders that are to be made for this one, itself first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _locked(folder: Path, name: str) -> IO[bytes]:
    """The file whose lock says that a run has the folder: its workers have it too. Raises SetupError where another run
    has it, also after some seconds: workers of a driver that was killed end then."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / name).open("ab")
    give_up = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            lock_alone(lock, folder)
            lock_shared(lock, folder)
            return lock
        except BlockingIOError as cause:
            if time.monotonic() > give_up:
                lock.close()
                raise SetupError(f"Another run writes into {folder}: wait for it, or name another --output.") from cause
            time.sleep(0.2)


@contextlib.contextmanager
def disk_errors_told(folder: Folder) -> Iterator[None]:
    """Raises SetupError, in one sentence, for what the disk says against writing into a folder."""
    try:
        yield
    except OSError as cause:
        raise SetupError(f"{unwritable(cause, folder.address)} What was made so far is kept.") from cause


# --- Pictures


def set_prompt(picture: Path, prompt: Prompt) -> None:
    """Put the prompt of its row into a PNG of ComfyUI, without what was put beside it for this run. Other files stay as
    they are."""
    with picture.open("rb") as file:
        if file.read(len(_PNG)) != _PNG:
            return
        data = file.read()
    parts = [_PNG]
    place = 0
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + length + _AROUND_CHUNK
        chunk = data[place:end]
        if chunk[4:].startswith(_PROMPT):
            chunk = _png_chunk(_PROMPT + json.dumps(prompt).encode())
        parts.append(chunk)
        place = end
    picture.write_bytes(b"".join(parts))


def _png_chunk(data: bytes) -> bytes:
    """A chunk of a PNG. data: its type, of 4 letters, and what is in it."""
    return struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
