"""Rows handed out to workers, and to another worker where one ends.

local_workers.py starts workers on this machine, ray_workers.py on Ray. Both give futures of concurrent.futures.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

from environment import Host, SetupError, say

from .prompts import Job
from .worker import Outcome, WorkerHost

DEATHS = 3
"""So many workers may end during a row, and so many rows may be given up one after the other."""
LATE = 2
"""So often a row may take too long."""
_LOOK_SECONDS = 1
"""How often it is checked whether a row takes too long."""
_MOST_LETTERS = 600
"""Of the end of a log in a message."""


class WorkerHandle(Protocol):
    """A worker, wherever it runs. No call waits; an exception in a future is the end of the worker."""

    @property
    def ready(self) -> Future[WorkerHost]:
        """Ends when its ComfyUI answers."""
        ...

    def object_info(self) -> Future[dict[str, Any]]:
        """Every class of nodes that its ComfyUI has."""
        ...

    def run(self, job: Job) -> Future[Outcome]:
        """Run the prompt of a job. It is asked for one at a time."""
        ...

    def end(self) -> None:
        """End the worker and all that it has started, in whatever state it is."""
        ...


class WorkerSource(Protocol):
    """Where workers run."""

    @property
    def count(self) -> int:
        """How many of them run at a time."""
        ...

    def start(self, number: int) -> WorkerHandle:
        """Start a worker. number: from 0 to count - 1; one that replaces another has its number."""
        ...


@dataclass(frozen=True)
class FinishedJob:
    """A job, and what became of it."""

    job: Job
    outcome: Outcome


@dataclass
class _Place:
    """A place for a worker, and for the next one where it has ended.

    job, outcome: of the row that the worker has. since: when it got that row, in seconds of the monotonic clock.
    """

    number: int
    worker: WorkerHandle
    is_ready: bool = False
    job: Job | None = None
    outcome: Future[Outcome] | None = None
    since: float = 0.0

    @property
    def awaited(self) -> Future[Any] | None:
        """What is waited for here: the worker's start, or its row. None where it has nothing to do."""
        if not self.is_ready:
            return self.worker.ready
        return self.outcome

    def hand_out(self, job: Job) -> None:
        self.job = job
        self.outcome = self.worker.run(job)
        self.since = time.monotonic()

    def clear(self) -> None:
        self.job = None
        self.outcome = None


class Crew:
    """Workers, which start at once; use it in a `with` statement, at whose end they end.

    host: the ComfyUI that all should have. limit: seconds that a row may take.
    """

    def __init__(self, source: WorkerSource, host: Host, limit: float = 3600) -> None:
        self._source = source
        self._host = str(host)
        self._limit = limit
        self._places = [_Place(number, source.start(number)) for number in range(source.count)]
        self._deaths: Counter[int] = Counter()
        """How many workers ended during a row, by its line: in all pictures of the row together."""
        self._late: Counter[int] = Counter()
        """How often a row took too long, by its line."""
        self._lines_given_up: set[int] = set()
        """One after the other, without a row between them that came to its end."""
        self._again: deque[Job] = deque()
        """Jobs whose worker has ended."""

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        # Beside each other, because each may take a while.
        with ThreadPoolExecutor(max(1, len(self._places))) as threads:
            list(threads.map(lambda place: place.worker.end(), self._places))

    @property
    def count(self) -> int:
        """How many workers there are: those that run and those that start."""
        return len(self._places)

    def object_info(self) -> dict[str, Any]:
        """What the first worker's ComfyUI has that answers. Raises SetupError where no worker starts."""
        while True:
            for place in self._places:
                if place.is_ready:
                    return place.worker.object_info().result()
            list(self._finished())

    def results(self, jobs: Iterator[Job]) -> Iterator[FinishedJob]:
        """What becomes of each job, in the order in which they end. Raises SetupError where no worker is left."""
        while True:
            are_handed_out = self._hand_out(jobs)
            if are_handed_out and not any(place.job for place in self._places):
                return
            yield from self._finished()

    def _hand_out(self, jobs: Iterator[Job]) -> bool:
        """Give every idle worker a job. True where there was none for one of them."""
        for place in self._places:
            if not place.is_ready or place.job:
                continue
            job = self._again.popleft() if self._again else next(jobs, None)
            if job is None:
                return True
            place.hand_out(job)
        return False

    def _finished(self) -> Iterator[FinishedJob]:
        """Wait for whatever comes first: a worker that is ready, a row, a worker's end."""
        waiting = [place for place in self._places if place.awaited is not None]
        wait([place.awaited for place in waiting if place.awaited is not None], _LOOK_SECONDS, FIRST_COMPLETED)
        for place in waiting:
            if place.awaited is None or not place.awaited.done():
                yield from self._check_time(place)
            elif place.job is None or place.outcome is None:
                self._welcome(place)
            else:
                yield from self._take(place, place.job, place.outcome)

    def _take(self, place: _Place, job: Job, future: Future[Outcome]) -> Iterator[FinishedJob]:
        """What became of a row that has come to its end, or whose worker has."""
        cause = future.exception()
        if cause is None:
            outcome = future.result()
            _require_room(outcome.error)
            place.clear()
            self._lines_given_up.clear()
            yield FinishedJob(job, outcome)
            return
        reason = _reason(cause)
        _require_room(reason)
        line = job.row.line
        self._deaths[line] += 1
        at_last = f"{DEATHS} workers ended during this row. The last: {reason}"
        yield from self._replace(
            place, job, self._deaths[line] >= DEATHS, f"A worker ended during line {line}", at_last
        )

    def _check_time(self, place: _Place) -> Iterator[FinishedJob]:
        """Replace a worker whose row takes too long."""
        if place.job is None or time.monotonic() - place.since <= self._limit:
            return
        line = place.job.row.line
        self._late[line] += 1
        why = f"Line {line} was not done after {self._limit:g} s"
        at_last = (
            f"{why}. It was tried {LATE} times, and each time its ComfyUI was ended. If it needs longer, say how "
            "many seconds: --row-limit."
        )
        yield from self._replace(place, place.job, self._late[line] >= LATE, f"{why}: its ComfyUI is ended", at_last)

    def _welcome(self, place: _Place) -> None:
        """A worker that has started gets rows; one that could not start is left out.

        Raises SetupError where no other is left.
        """
        cause = place.worker.ready.exception()
        if cause is not None:
            place.worker.end()
            self._places.remove(place)
            if not self._places:
                raise SetupError(f"No worker starts: {_reason(cause)}")
            say(f"A worker does not start, the others go on without it: {_reason(cause)}")
            return
        place.is_ready = True
        host = place.worker.ready.result()
        if host.version != self._host:
            say(f"A worker has {host.version} ({host.place}), not {self._host}: its pictures may differ a little.")

    def _replace(self, place: _Place, job: Job, is_given_up: bool, message: str, at_last: str) -> Iterator[FinishedJob]:
        """Start another worker in the place of one, and hand its row out again.

        is_given_up: the row is not handed out again. message: for the user, where it is. at_last: why it is given up.
        Raises SetupError when one row after the other is given up.
        """
        place.worker.end()
        self._places[self._places.index(place)] = _Place(place.number, self._source.start(place.number))
        if not is_given_up:
            say(f"{message}; the row goes to another one, which is started.")
            self._again.append(job)
            return
        self._lines_given_up.add(job.row.line)
        if len(self._lines_given_up) == DEATHS:
            raise SetupError(f"{DEATHS} rows one after the other were given up. {at_last}")
        yield FinishedJob(job, Outcome(error=at_last))


def _require_room(error: str) -> None:
    """Raises SetupError for the error of a full disk, which is no row's fault."""
    if os.strerror(errno.ENOSPC) in error:
        raise SetupError(f"The disk of a worker is full: make room and run the same again. {error}")


def _reason(error: BaseException) -> str:
    """The text of an error: of Ray's the cause inside the actor, of a log its end."""
    text = str(getattr(error, "cause", None) or error) or type(error).__name__
    if len(text) > _MOST_LETTERS:
        return f"… {text[-_MOST_LETTERS:]}"
    return text
