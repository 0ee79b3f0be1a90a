"""The folder of a run: pictures under the names of their rows, done.csv, failed.csv.

It is all that a run leaves, and all that the next one needs to go on. Every file is written beside its place and moved
there whole; done.csv names it afterwards. So whatever stops a run, a picture is there and recorded, or there and made
again under the same name, or not there.
"""

import codecs
import contextlib
import errno
import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from environment import SetupError
from rig import whole
from rig.locks import lock_alone
from rig.tables import as_csv
from rig.workflow import Prompt

from .prompts import Job
from .rows import Row, each_line_alone
from .worker import SavedFile

DONE = ("line", "name", "fingerprint", "files", "seconds")
FAILED = ("line", "name", "reason")
_BETWEEN = "|"
"""Between the names of several files. No name has it in it."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PROMPT = b"tEXtprompt\0"
"""How the chunk of a PNG begins, behind its length, that has the prompt in it."""
_AROUND_CHUNK = 12
"""Bytes of a chunk of a PNG besides its data: the length, the type and the checksum, 4 each."""


@dataclass(frozen=True)
class DoneRow:
    """A row whose pictures are in the folder. seconds: how long it took. size: bytes of its pictures."""

    seconds: float
    size: int


class Output:
    """The folder of a run, which is one run's at a time.

    Raises SetupError where another run has it, and for a folder that holds other things.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failed = 0
        done = folder / "done.csv"
        with disk_errors_told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._require_own_folder(done)
            self._lock = self._locked()
            for unfinished in folder.glob(".*.part"):
                unfinished.unlink()
            self._done = {entry["name"]: entry for entry in lines_of(done, DONE)}
            # Written anew, without a line that was cut off.
            lines = [[entry[column] for column in DONE] for entry in self._done.values()]
            whole.write(done, as_csv([DONE, *lines]))
            self._done_file = done.open("ab")
            self._failed_file = (folder / "failed.csv").open("wb")
            # As Excel wants it.
            self._failed_file.write(codecs.BOM_UTF8)
            _append(self._failed_file, FAILED)

    def _require_own_folder(self, done: Path) -> None:
        """Raises SetupError for a folder that holds other things than a run's."""
        if done.is_file():
            return
        for entry in self.folder.iterdir():
            if not entry.name.startswith("."):
                raise SetupError(f"{self.folder} has no done.csv, but {entry.name}: take an empty folder for --output.")

    def _locked(self) -> IO[bytes]:
        """The file whose lock says that a run has the folder. Raises SetupError where another run has it."""
        lock = (self.folder / ".lock").open("ab")
        try:
            lock_alone(lock, self.folder)
        except BlockingIOError as cause:
            lock.close()
            raise SetupError(
                f"Another run writes into {self.folder}: wait for it, or name another --output."
            ) from cause
        return lock

    def has(self, job: Job) -> bool:
        """Whether this row's pictures are there, made of the same prompt and photos."""
        entry = self._done.get(job.row.name)
        if entry is None or entry["fingerprint"] != job.fingerprint:
            return False
        files = _files(entry)
        return bool(files) and all((self.folder / name).is_file() for name in files)

    def done_row(self, name: str) -> DoneRow | None:
        """How long a row took and how large its pictures are; None where that is unknown."""
        entry = self._done.get(name)
        if entry is None:
            return None
        size = 0
        try:
            for file in _files(entry):
                size += (self.folder / file).stat().st_size
            return DoneRow(float(entry["seconds"]), size)
        except (OSError, ValueError):
            return None

    def keep(self, job: Job, pictures: Sequence[SavedFile], seconds: float) -> list[str]:
        """Write a row's pictures and return their names. Those of an earlier run give way."""
        name = job.row.name
        files: list[str] = []
        for number, picture in enumerate(pictures, 1):
            if len(pictures) == 1:
                files.append(f"{name}{picture.ending}")
            else:
                files.append(f"{name}_{number}of{len(pictures)}{picture.ending}")
        entry = {
            "line": str(job.row.line),
            "name": name,
            "fingerprint": job.fingerprint,
            "files": _BETWEEN.join(files),
            "seconds": f"{seconds:.2f}",
        }
        earlier_files = _files(self._done[name]) if name in self._done else []
        with disk_errors_told(self.folder):
            for file, picture in zip(files, pictures, strict=True):
                whole.write(self.folder / file, picture.data)
            for file in earlier_files:
                if file not in files:
                    (self.folder / file).unlink(missing_ok=True)
            _append(self._done_file, [entry[column] for column in DONE])
        self._done[name] = entry
        return files

    def refuse(self, row: Row, reason: str) -> None:
        """Write a row that cannot be made into failed.csv."""
        self.failed += 1
        with disk_errors_told(self.folder):
            _append(self._failed_file, (row.line, row.name, " ".join(reason.split())))

    def close(self) -> None:
        self._done_file.close()
        self._failed_file.close()
        self._lock.close()


@contextlib.contextmanager
def disk_errors_told(folder: Path) -> Iterator[None]:
    """Raises SetupError, in one sentence, for what the disk says against writing into a folder."""
    try:
        yield
    except OSError as cause:
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = f"{folder} is full"
            advice = "make room and run the same again"
        else:
            problem = f"{cause.filename2 or cause.filename or folder} cannot be written to ({cause.strerror})"
            advice = "mend that and run the same again, or name another --output"
        raise SetupError(f"{problem}: what is done is there; {advice}.") from cause


def lines_of(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """The whole lines of a file of ours, as we or a spreadsheet saved it; it may end anywhere.

    Raises SetupError where it is no such file.
    """
    if not path.is_file():
        return
    lines = each_line_alone(path)
    count = len(columns)
    first = next(lines, [*columns])
    # Spreadsheets write empty cells behind a table.
    if first[:count] != [*columns] or any(first[count:]):
        raise SetupError(
            f"{path} begins with {','.join(first)[:80]!r}, not with {','.join(columns)}: put back the one of the last "
            "run, or take an empty folder for --output."
        )
    for cells in lines:
        if len(cells) >= count and not any(cells[count:]):
            yield dict(zip(columns, cells, strict=False))


def _files(entry: Mapping[str, str]) -> list[str]:
    """The pictures of a row; nothing else, whatever somebody has put into the file."""
    name = entry["name"]
    return [file for file in entry["files"].split(_BETWEEN) if file.startswith(name) and Path(file).name == file]


def _append(file: IO[bytes], line: Sequence[Any]) -> None:
    file.write(as_csv([line]))
    file.flush()


def with_prompt(picture: bytes, prompt: Prompt) -> bytes:
    """A PNG of ComfyUI with the prompt of its row: with the photos in it, without what was put beside or in their place
    for this run. Other files are returned as they are."""
    if not picture.startswith(_PNG):
        return picture
    parts = [_PNG]
    place = len(_PNG)
    while place < len(picture):
        (length,) = struct.unpack_from(">I", picture, place)
        end = place + length + _AROUND_CHUNK
        chunk = picture[place:end]
        if chunk[4:].startswith(_PROMPT):
            chunk = _png_chunk(_PROMPT + json.dumps(prompt).encode())
        parts.append(chunk)
        place = end
    return b"".join(parts)


def _png_chunk(data: bytes) -> bytes:
    """A chunk of a PNG. data: its type, of 4 letters, and what is in it."""
    return struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
