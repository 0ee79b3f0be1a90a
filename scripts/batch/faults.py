"""Whose fault it is that a row was not made: the row's, its worker's or the run's, for workers of all kinds.

A worker says what happened. `Happened` is the table of what follows, `Crew` applies it:

- A row that two workers fail at fails, and the next one is made. So does one that fails on the only worker there is.
- A worker that alone fails at several rows one after the other, or that can make none, is named and gets no more. It
  is asked again now and then, and gets one row, until it makes one.
- The run ends where no worker is left, or where rows one after the other end whoever makes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from environment import SetupError, say
from tqdm import tqdm

ROWS_AT_ONCE = 3
"""Of a worker: while one is in its ComfyUI, the next is read and the last is written."""
TRIES = 2
"""So many workers may fail at a row."""
_SEVERAL = 3
"""So many rows one after the other are no chance."""
_LONGEST_PAUSE = 600.0
_MOST_TOLD = 3
"""So many workers are named where none is left."""
_FULL = ("No space left on device", "Disk quota exceeded", "File too large", "not enough space on the disk")
"""What systems say of a disk that is full, also those of other machines."""


@dataclass(frozen=True)
class Rule:
    """What follows. is_suspect: whether the row may be the reason. pause: so many seconds the worker gets no rows, and
    is asked then whether it answers; None: it goes on. is_waited_for: whether a run that has no other worker waits for
    it. said: of the worker, behind its name and before the reason."""

    said: str
    is_suspect: bool
    pause: float | None
    is_waited_for: bool


class Happened(Enum):
    """What may happen to a row at a worker."""

    FAILED = Rule("fails at rows that others make", True, None, False)
    """The worker says that it cannot make this row."""
    ENDED = Rule("has ended or hung at a row, and gets others when it answers again", True, 1.0, True)
    """It ended while it made this row, or was longer at it than it may."""
    SILENT = Rule("does not answer, and gets rows when it does again", False, 1.0, True)
    """It does not answer, and was not at this row."""
    LOST = Rule("loses the rows that it is given", False, None, False)
    """It has this row no more, as its queue was cleared, or did not come to it in the time that a row may take."""
    UNFIT = Rule("makes no rows, and gets one now and then", False, 60.0, False)
    """It can make none: its disk is full, it wants a login, it does not start."""


class Fault(Exception):
    """A row was not made. reason: in words."""

    def __init__(self, happened: Happened, reason: str) -> None:
        super().__init__(happened, reason)
        self.happened = happened
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


def failure(reason: str) -> Fault:
    """What an error says that a worker has met at a row: a full disk is no row's fault."""
    if any(words in reason for words in _FULL):
        return Fault(Happened.UNFIT, f"its disk is full, make room there ({reason})")
    return Fault(Happened.FAILED, reason)


@dataclass(frozen=True)
class Finished:
    """A task, and what became of it: what the maker says, or the reason why it was not made."""

    task: Any
    made: Any
    error: str = ""


@dataclass(eq=False)
class Standing:
    """A worker, and what is known of it.

    trials: what it makes. strikes: how many rows one after the other were not made by its fault. suspected: rows that
    it failed at since it made one, of which nobody knows yet whose fault that is. out: why it gets no rows, or one to
    see whether it makes it; None: it works. reason: of that, in words. since: when that was. is_asked: whether it is
    asked, and gets none. outages: how often it was out since it made a row. turn: how often in all.
    """

    worker: Any
    trials: list[Trial] = field(default_factory=list)
    strikes: int = 0
    suspected: list[Trial] = field(default_factory=list)
    out: Happened | None = None
    reason: str = ""
    since: float = 0.0
    is_asked: bool = False
    outages: int = 0
    turn: int = 0

    @property
    def works(self) -> bool:
        return not self.out and not self.is_asked

    @property
    def room(self) -> int:
        """How many rows it may be given now."""
        most = 0 if self.is_asked else 1 if self.out else ROWS_AT_ONCE
        is_left_alone = any(trial.is_alone for trial in self.trials)
        return 0 if is_left_alone else most - len(self.trials)


@dataclass(eq=False)
class Trial:
    """A task that is tried. failed: the workers that failed at it. is_alone: whether it may have ended one, and is made
    beside no other. at: the worker that makes it. turn: how often that had been out when it began. made: what the maker
    says. error: what ended it."""

    task: Any
    failed: list[Standing] = field(default_factory=list)
    is_alone: bool = False
    at: Standing | None = None
    turn: int = 0
    made: Any = None
    error: BaseException | None = None


class Crew:
    """The workers of a run. ask: called with one that is out and the seconds after which it is to be asked. patience:
    for so many seconds one is waited for that does not answer, where there is no other."""

    def __init__(self, ask: Callable[[Standing, float], None], patience: float) -> None:
        self.standings: list[Standing] = []
        self._ask = ask
        self._patience = patience
        self._again: list[Trial] = []
        self._deadly = 0
        """How many rows one after the other have ended their workers."""

    def add(self, worker: Any) -> Standing:
        self.standings.append(Standing(worker))
        return self.standings[-1]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is made, and nothing waits to be tried again."""
        return not self._again and not any(standing.trials for standing in self.standings)

    def next_for(self, standing: Standing, task: Callable[[], Any]) -> Trial | None:
        """What a worker is to make now; None for nothing. task: gives the next one, None where there is none."""
        if standing.room <= 0:
            return None
        for trial in self._again:
            if standing in trial.failed and self._others(trial):
                continue
            if trial.is_alone and standing.trials:
                return None
            self._again.remove(trial)
            return self._given(standing, trial)
        # Where it has failed several times others look first whether that is the rows' fault.
        if len(standing.suspected) >= _SEVERAL and self._others(standing.suspected[-1]):
            return None
        new = task()
        return None if new is None else self._given(standing, Trial(new))

    def _given(self, standing: Standing, trial: Trial) -> Trial:
        standing.trials.append(trial)
        trial.at = standing
        trial.turn = standing.turn
        return trial

    def _others(self, trial: Trial) -> bool:
        """Whether somebody can try it who has not failed at it."""
        return any(not standing.is_asked and standing not in trial.failed for standing in self.standings)

    def ended(self, trial: Trial) -> Finished | None:
        """What became of a task; None where it is to be tried again. Raises what ends the run."""
        assert trial.at
        trial.at.trials.remove(trial)
        if trial.error is None:
            self._made(trial, trial.at)
            return Finished(trial.task, trial.made)
        fault = trial.error
        if isinstance(fault, Exception) and not isinstance(fault, (Fault, SetupError)):
            # What nobody has thought of is told of its row, and of its worker where others make that row.
            fault = failure(f"{type(fault).__name__}: {fault}")
        if not isinstance(fault, Fault):
            raise fault
        return self._failed(trial, trial.at, fault)

    def _made(self, trial: Trial, standing: Standing) -> None:
        self._deadly = 0
        # One that was only written when its worker went out does not say that this is back.
        if trial.turn == standing.turn:
            standing.strikes = standing.outages = 0
            standing.suspected.clear()
            if standing.out:
                standing.out = None
                _tell(f"{standing.worker.label} makes rows again.")
        for other in trial.failed:
            if trial in other.suspected:
                other.suspected.remove(trial)
                self._strike(other, Happened.FAILED, other.reason)

    def _failed(self, trial: Trial, standing: Standing, fault: Fault) -> Finished | None:
        happened, rule = fault.happened, fault.happened.value
        # Rows that were on their way to a worker when it went out say the same again.
        is_news = trial.turn == standing.turn
        if rule.is_suspect:
            trial.failed.append(standing)
            standing.suspected.append(trial)
        if is_news:
            standing.reason = fault.reason
            if rule.pause is not None:
                self.take_out(standing, fault)
            elif not rule.is_suspect:
                self._strike(standing, happened, fault.reason)
        others = self._others(trial)
        if not rule.is_suspect or (len(trial.failed) < TRIES and (others or happened is Happened.ENDED)):
            trial.is_alone = trial.is_alone or happened is Happened.ENDED
            self._again.append(trial)
            return None
        for other in trial.failed:
            if trial in other.suspected:
                other.suspected.remove(trial)
        if happened is not Happened.ENDED:
            self._deadly = 0
            return Finished(trial.task, None, fault.reason)
        self._deadly += 1
        reason = f"{TRIES} workers ended or hung at this row. The last: {standing.worker.label}: {fault.reason}"
        if self._deadly == _SEVERAL:
            raise SetupError(f"{_SEVERAL} rows one after the other ended their workers. {reason}")
        return Finished(trial.task, None, reason)

    def _strike(self, standing: Standing, happened: Happened, reason: str) -> None:
        standing.strikes += 1
        if standing.strikes >= _SEVERAL and not standing.is_asked:
            why = f"it {happened.value.said}, {_SEVERAL} one after the other. The last: {reason}"
            self.take_out(standing, Fault(Happened.UNFIT, why))

    def take_out(self, standing: Standing, fault: Fault) -> None:
        """A worker gets no more rows until it answers again. It is named once, and again where the reason is worse."""
        rule = fault.happened.value
        assert rule.pause is not None
        is_worse = fault.happened is Happened.UNFIT and standing.out is not Happened.UNFIT
        if not standing.out:
            standing.since = time.monotonic()
        if not standing.out or is_worse:
            _tell(f"{standing.worker.label} {rule.said}: {fault.reason}")
        standing.out = fault.happened
        standing.reason = fault.reason
        standing.turn += 1
        standing.outages += 1
        standing.is_asked = True
        self._ask(standing, min(rule.pause * 2 ** (standing.outages - 1), _LONGEST_PAUSE))

    def require_one(self) -> None:
        """Raises SetupError where no worker is left, nor one that is waited for."""
        now = time.monotonic()
        for standing in self.standings:
            if not standing.is_asked or standing.trials:
                return
            if not standing.out or (standing.out.value.is_waited_for and now - standing.since < self._patience):
                return
        reasons = [f"{one.worker.label}: {one.reason.rstrip('.')}." for one in self.standings[:_MOST_TOLD]]
        raise SetupError(f"No worker is left that makes rows. {' '.join(reasons)} Mend that and run the same again.")


def _tell(text: str) -> None:
    """Say something in a line of its own while a bar is shown."""
    with tqdm.external_write_mode():
        say(text)
