"""What a run will take, in time and room on the disk: before its first row by earlier rows, then by its first rows."""

from __future__ import annotations

from dataclasses import dataclass

from environment import SetupError
from tqdm import tqdm

from core.checks.errors import counted
from core.models.manifest import human

FIRST_ROWS = 10
"""After so many rows of a run it is said what the others take."""
FIRST_SECONDS = 60
"""Or after so many seconds behind the first row, where rows take long."""


@dataclass
class RowCosts:
    """What rows have taken. seconds: all together. size: bytes of all their pictures. smallest_size: of a row's."""

    count: int = 0
    seconds: float = 0.0
    size: int = 0
    smallest_size: int = 0

    def add(self, seconds: float, size: int) -> None:
        self.smallest_size = min(size, self.smallest_size) if self.count else size
        self.count += 1
        self.seconds += seconds
        self.size += size

    @property
    def is_enough(self) -> bool:
        """Whether it tells what further rows will take."""
        return self.count + 1 >= FIRST_ROWS or self.seconds >= FIRST_SECONDS

    def estimate(self, rows: int, free: int | None, folder: str, workers: int = 1) -> str:
        """A sentence on what so many more rows will take. workers: how many make them at a time. free: bytes on the
        disk of the folder, None of a store.

        Raises SetupError where not even rows as small as the smallest fit.
        """
        seconds = self.seconds / self.count / workers
        size = self.size / self.count
        text = f"{seconds:.1f} s and {human(round(size))} a row: {counted(rows, 'row')} to come take "
        text += f"{tqdm.format_interval(rows * seconds)} and {human(round(rows * size))}"
        if free is None:
            return f"{text}."
        text += f"; {human(free)} are free."
        if rows * self.smallest_size > free:
            raise SetupError(
                f"{folder} has no room for all rows. {text} What is done is there; make room and run the same again, "
                "or name another --output."
            )
        if rows * size > free:
            text += " They do not fit: make room while it runs."
        return text
