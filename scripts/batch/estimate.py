"""What a run will take, in time and room on the disk: before its first row by earlier rows, then by its first rows."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from environment import SetupError

from core.errors import counted
from core.models.manifest import human

from .output import DoneRow

FIRST_ROWS = 10
"""After so many rows of a run it is said what the others take."""
FIRST_SECONDS = 60
"""Or after so many seconds behind the first row, where rows take long."""
_LEAST_ROWS = 2
"""The first row waits for the models, so the time between rows is needed."""


@dataclass(frozen=True)
class Estimate:
    """What rows will take.

    rows: how many are to come. seconds: of one, all workers together. size: bytes of the pictures of one.
    smallest_size: bytes of the smallest. free: bytes on the disk.
    """

    rows: int
    seconds: float
    size: float
    smallest_size: int
    free: int

    def sentence(self) -> str:
        text = (
            f"{self.seconds:.1f} s and {human(round(self.size))} a row: {counted(self.rows, 'row')} to come take "
            f"{duration(self.rows * self.seconds)} and {human(round(self.rows * self.size))}; {human(self.free)} are "
            "free."
        )
        if self.rows * self.size > self.free:
            text += " They do not fit: make room while it runs."
        return text

    def require_room(self, folder: Path) -> None:
        """Raises SetupError where not even rows as small as the smallest fit."""
        if self.rows * self.smallest_size > self.free:
            raise SetupError(
                f"{folder} has no room for all rows. {self.sentence()} What is done is there; make room and run the "
                "same again, or name another --output."
            )


def by_earlier_rows(done: Sequence[DoneRow], rows: int, workers: int, free: int) -> Estimate | None:
    """What rows will take, by those that earlier runs have made. None where there are none.

    done: the earlier rows. rows: how many are to come. workers: how many make them at a time.
    """
    if not done:
        return None
    sizes = [row.size for row in done]
    seconds = mean(row.seconds for row in done) / max(1, workers)
    return Estimate(rows, seconds, mean(sizes), min(sizes), free)


class Pace:
    """How fast rows come. clock: gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: list[float] = []
        self._sizes: list[int] = []
        self._is_told = False

    def add(self, size: int) -> None:
        """A row has been made. size: bytes of its pictures."""
        self._ends.append(self._clock())
        self._sizes.append(size)

    def first_estimate(self, rows: int, free: int) -> Estimate | None:
        """What the other rows will take, once, when enough rows have been made; None before and afterwards.

        rows: how many are to come.
        """
        if self._is_told or len(self._ends) < _LEAST_ROWS:
            return None
        seconds = self._ends[-1] - self._ends[0]
        if len(self._ends) < FIRST_ROWS and seconds < FIRST_SECONDS:
            return None
        self._is_told = True
        if not rows:
            return None
        return Estimate(rows, seconds / (len(self._ends) - 1), mean(self._sizes), min(self._sizes), free)


def duration(seconds: float) -> str:
    """A time for people: 90 s, 25 min or 3.5 h."""
    minutes = seconds / 60
    if minutes < 2:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h"
