"""Ranges of a sampling run's schedule: in percent, as nodes set them, and in sigmas, as a run reads them.

A node knows percentages alone. Which sigmas these are is known by the run: a node after ours (ModelSamplingDiscrete,
ModelSamplingFlux, RescaleCFG's relatives) may give the MODEL another schedule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...core.checks.errors import BadRange

BEFORE_THE_FIRST = 999999999.9
"""The sigma that the host gives for 0 % of every schedule: above that of any step."""


@dataclass(frozen=True)
class SigmaRange:
    """A range of sigmas, from `first` down to `last`, both included."""

    first: float
    last: float

    def contains(self, sigma: float) -> bool:
        return self.first >= sigma >= self.last

    def overlap(self, other: SigmaRange) -> SigmaRange:
        """The sigmas that lie in both ranges; a range that contains none where they do not meet."""
        return SigmaRange(min(self.first, other.first), max(self.last, other.last))


NO_SIGMAS = SigmaRange(first=-math.inf, last=math.inf)


@dataclass(frozen=True)
class ScheduleRange:
    """A part of the schedule. start, end: 0..1, as in the host's start_percent and end_percent.

    What a user sets has start <= end (`checked`). What several nodes set together may start after its end: such a
    range is empty, and its sigmas contain none.
    """

    start: float = 0.0
    end: float = 1.0

    @property
    def is_whole(self) -> bool:
        return self.start <= 0 and self.end >= 1

    @property
    def is_empty(self) -> bool:
        """Whether it is of no length, as a user sets it to switch something off."""
        return self.start >= self.end

    @property
    def for_control_net(self) -> tuple[float, float]:
        """start and end for the host's ControlNets, which work in steps at both ends, too. Of an empty range they are
        the end of the schedule, where no step begins."""
        return (1.0, 1.0) if self.is_empty else (self.start, self.end)

    def checked(self, what: str) -> ScheduleRange:
        """The same range. Raises BadRange where it ends before it starts.

        A range of no length (start = end) passes: users set it to switch something off. what: what works in the range,
        for the message, such as "The ControlNet".
        """
        if self.start > self.end:
            why = f"{what} starts at {self.start:g} and ends at {self.end:g} of the schedule, so it would never work."
            raise BadRange(why, "Set the start below the end.")
        return self

    def in_sigmas(self, model_sampling: Any) -> SigmaRange:
        """The sigmas of this part of the schedule. model_sampling: the host's, of the MODEL that samples.

        A range from 0 % on begins above every sigma: the first sigma of some schedulers is higher than the highest one
        of the MODEL's schedule. An empty range has none, also where a step begins exactly there.
        """
        if self.is_empty:
            return NO_SIGMAS
        first = BEFORE_THE_FIRST if self.start <= 0 else float(model_sampling.percent_to_sigma(self.start))
        return SigmaRange(first, float(model_sampling.percent_to_sigma(self.end)))

    def __str__(self) -> str:
        return f"from {self.start:.0%} to {self.end:.0%} of the schedule"


WHOLE_SCHEDULE = ScheduleRange()


def steps_of(sigmas: Tensor) -> Sequence[float]:
    """The sigma at which each step of a run begins. sigmas: (steps + 1,), the last of which is where the run ends."""
    return sigmas[:-1].tolist()  # one question to a GPU and not one for each step


def is_unfinished(sigmas: Tensor) -> bool:
    """Whether a run with this schedule, (steps + 1,), ends with noise left, so that another one goes on from there."""
    return float(sigmas[-1]) > 0
