"""likeness.csv: what was measured of every row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig import tables, whole

from core.measure import Report

from .output import disk_errors_told, lines_of
from .prompts import Job
from .seeds import seeds_of

COLUMNS = (*tables.COLUMNS, "seed", "kept")


@dataclass(frozen=True)
class MeasuredTry:
    """A try of a row, and a report for each of its pictures."""

    job: Job
    reports: Sequence[Report]


class Scores:
    """The lines of `tables.lines_of`, behind them the seed and whether that picture was kept.

    A row's are the last that were written under its name. vision: the file by which garments are compared, if they are.
    """

    def __init__(self, folder: Path, vision: str = "") -> None:
        self._path = folder / "likeness.csv"
        self.vision = vision
        self._lines: dict[str, list[dict[str, Any]]] = {}
        """By the names of rows."""
        for line in lines_of(self._path, COLUMNS):
            self._lines.setdefault(line["set"], []).append(line)
        # A line of UTF-16 ends with a zero too.
        if self._lines and not self._path.read_bytes().rstrip(b"\0").endswith((b"\n", b"\r")):
            # The last row was cut off.
            self._lines.popitem()
        self._write()

    def has(self, job: Job, count: int) -> bool:
        """Whether a row was measured with at least so many tries, its garments by the same file."""
        lines = self._lines.get(job.row.name, [])
        if self.vision and all(line.get("recogniser") != self.vision for line in lines):
            return False
        seeds = {line["seed"] for line in lines}
        return len(seeds) >= count

    def keep(self, job: Job, files: Sequence[str], tries: Sequence[MeasuredTry], kept_number: int) -> None:
        """Write what was measured of a row. files: the pictures that were kept, those of try number `kept_number`."""
        name = job.row.name
        lines: list[dict[str, Any]] = []
        for measured_try in tries:
            lines += self._lines_of_try(name, files, measured_try, kept_number)
        is_known = name in self._lines
        self._lines[name] = lines
        if is_known:
            self._write()
            return
        with disk_errors_told(self._path.parent), self._path.open("ab") as file:
            file.write(tables.as_csv(_cells(lines)))

    def _lines_of_try(
        self, name: str, files: Sequence[str], measured_try: MeasuredTry, kept_number: int
    ) -> Iterator[dict[str, Any]]:
        first_seed = next(seeds_of(measured_try.job.prompt), None)
        ending = {
            "seed": "" if first_seed is None else first_seed.value,
            "kept": "yes" if measured_try.job.try_number == kept_number else "no",
        }
        for file, report in zip(files, measured_try.reports, strict=True):
            for line in tables.lines_of(name, file, report):
                if line["state"] == tables.PART:
                    line["recogniser"] = self.vision
                yield {**line, **ending}

    def _write(self) -> None:
        lines: list[dict[str, Any]] = []
        for lines_of_row in self._lines.values():
            lines += lines_of_row
        with disk_errors_told(self._path.parent):
            whole.write(self._path, tables.as_csv([COLUMNS, *_cells(lines)]))


def _cells(lines: Iterable[Mapping[str, Any]]) -> Iterator[list[Any]]:
    for line in lines:
        yield [line.get(column, "") for column in COLUMNS]
