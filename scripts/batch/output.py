"""The folder of a run: pictures under the names of their rows, done.csv, failed.csv.

It is all that a run leaves, and all that the next one needs to go on. Every file is written beside its place and moved
there whole; done.csv names it afterwards. So whatever stops a run, a picture is there and recorded, or there and made
again under the same name, or not there.
"""

import codecs
import contextlib
import csv
import errno
import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from environment import SetupError
from evaluate import as_csv
from filelock import FileLock, Timeout
from rig import whole
from rig.workflow import Prompt

from .prompts import Job
from .rows import Row

DONE = ("line", "name", "fingerprint", "files", "seconds")
FAILED = ("line", "name", "reason")
_BETWEEN = "|"
"""Between the names of several files, in none of which it can be."""
_PNG, _PROMPT = b"\x89PNG\r\n\x1a\n", b"tEXtprompt\0"


class Output:
    """One run's at a time. Raises SetupError where another is at it, and for a folder that holds other things."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.failed = folder, 0
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            done = folder / "done.csv"
            others = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
            if others and not done.is_file():
                raise SetupError(f"{folder} has no done.csv, but {others[0]}: take an empty folder for --output.")
            self._lock = FileLock(folder / ".lock", timeout=0)
            try:
                self._lock.acquire()
            except Timeout as cause:
                raise SetupError(f"Another run writes into {folder}: wait for it, or name another --output.") from cause
            for unfinished in folder.glob(".*.part"):
                unfinished.unlink()
            self._done = {entry["name"]: entry for entry in lines_of(done, DONE)}
            # Written anew, without a line that was cut off.
            rows = ([entry[column] for column in DONE] for entry in self._done.values())
            whole.write(done, as_csv([DONE, *rows]))
            self._done_file, self._failed_file = done.open("ab"), (folder / "failed.csv").open("wb")
            self._failed_file.write(codecs.BOM_UTF8)  # as Excel wants it
            _append(self._failed_file, FAILED)

    def has(self, job: Job) -> bool:
        """Whether this row's pictures are there, made of the same prompt and photos."""
        entry = self._done.get(job.row.name)
        files = _files(entry)
        there = bool(files) and all((self.folder / name).is_file() for name in files)
        return there and entry is not None and entry["fingerprint"] == job.fingerprint

    def keep(self, job: Job, pictures: Sequence[tuple[str, bytes]], seconds: float) -> list[str]:
        """Write a row's pictures, each an ending and its bytes; their names. Those of an earlier run give way."""
        name, count = job.row.name, len(pictures)
        numbers = [""] if count == 1 else [f"_{number}of{count}" for number in range(1, count + 1)]
        files = [f"{name}{number}{ending}" for number, (ending, _) in zip(numbers, pictures, strict=True)]
        with writing(self.folder):
            for file, (_, data) in zip(files, pictures, strict=True):
                whole.write(self.folder / file, data)
            for earlier in set(_files(self._done.get(name))) - set(files):
                (self.folder / earlier).unlink(missing_ok=True)
            entry = [job.row.line, name, job.fingerprint, _BETWEEN.join(files), f"{seconds:.2f}"]
            _append(self._done_file, entry)
        self._done[name] = dict(zip(DONE, map(str, entry), strict=True))
        return files

    def refuse(self, row: Row, reason: str) -> None:
        self.failed += 1
        with writing(self.folder):
            _append(self._failed_file, (row.line, row.name, " ".join(reason.split())))

    def close(self) -> None:
        self._done_file.close()
        self._failed_file.close()
        self._lock.release()


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What the disk says against it, in one sentence."""
    try:
        yield
    except OSError as cause:
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            what, mend = f"{folder} is full", "make room and run the same again"
        else:
            what = f"{cause.filename2 or cause.filename or folder} cannot be written to ({cause.strerror})"
            mend = "mend that and run the same again, or name another --output"
        raise SetupError(f"{what}: what is done is there; {mend}.") from cause


def lines_of(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """The whole lines of a file of ours, as we or a spreadsheet saved it; it may end anywhere.

    Raises SetupError where it is no such file.
    """
    csv.field_size_limit(2**31 - 1)  # a row may have the names of thousands of pictures
    first, *lines = path.read_text("utf-8-sig", "replace").split("\n") if path.is_file() else [""]
    separator = max(",;\t", key=first.count)
    if first and first.strip().split(separator) != list(columns):
        raise SetupError(
            f"{path} begins with {first[:80]!r}, not with {','.join(columns)}: put back the one of the last run, or "
            "take an empty folder for --output."
        )
    for line in lines:  # each for itself, so that one with a lost quote takes no other along
        for cells in csv.reader([line], delimiter=separator):
            if len(cells) == len(columns):
                yield dict(zip(columns, cells, strict=True))


def _files(entry: Mapping[str, str] | None) -> list[str]:
    """Those of a row; of nothing else, whatever somebody has put into the file."""
    named = entry["files"].split(_BETWEEN) if entry else []
    return [file for file in named if entry and file.startswith(entry["name"]) and Path(file).name == file]


def _append(file: IO[bytes], line: Sequence[Any]) -> None:
    file.write(as_csv([line]))
    file.flush()


def with_prompt(picture: bytes, prompt: Prompt) -> bytes:
    """A PNG of ComfyUI with the prompt of its row: with the photos in it, without what was put beside or in
    their place for this run. Of other files nothing is changed."""
    if not picture.startswith(_PNG):
        return picture
    parts, place = [_PNG], len(_PNG)
    while place < len(picture):
        end = place + 12 + struct.unpack_from(">I", picture, place)[0]
        chunk = picture[place:end]
        if chunk[4:].startswith(_PROMPT):
            data = _PROMPT + json.dumps(prompt).encode()
            chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
        parts.append(chunk)
        place = end
    return b"".join(parts)
