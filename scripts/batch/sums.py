"""The last line of a run: how many rows are done, how long one took, and where the pictures are."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sums:
    """What became of the rows of a table.

    rows: of the table. made: of this run. failed: refused before the run or failed in it. seconds: how long the run
    took, all workers together, without their start.
    """

    rows: int
    made: int
    failed: int
    seconds: float

    def sentence(self, folder: Path) -> str:
        """The last line of a run. folder: of the pictures."""
        done = self.rows - self.failed
        earlier = done - self.made
        text = f"Rows: {done} done"
        if earlier:
            text += f" ({earlier} of them earlier)"
        text += f", {self.failed} failed"
        if self.made:
            text += f", {self.seconds / self.made:.1f} s per row"
        if not done:
            return f"{text}. There is no picture."
        return f"{text}. The pictures are in {folder}"
