"""What a run will take, told by its first rows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from environment import SetupError

from core.errors import counted
from core.models.manifest import human

FIRST = 10
"""Rows after which it is told."""


def estimate(seconds: float, sizes: Sequence[int], left: int, folder: Path) -> str:
    """seconds: from the end of the first of these rows, which waited for the models, to the end of the last; sizes: of
    their pictures; left: rows to come.

    Raises SetupError where the disk cannot take these even if each were as small as the smallest.
    """
    free, each, size = shutil.disk_usage(folder).free, seconds / (len(sizes) - 1), mean(sizes)
    told = (
        f"{each:.1f} s and {human(round(size))} a row: {counted(left, 'row')} to come take "
        f"{duration(left * each)} and {human(round(left * size))}, and {human(free)} are free."
    )
    if left * min(sizes) > free:
        raise SetupError(f"{folder} has no room for all. {told} What is done is there; make room and run it again.")
    return f"{told} That does not fit: make room while it runs." if left * size > free else told


def duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"
