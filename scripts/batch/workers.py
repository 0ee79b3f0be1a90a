"""Rows handed to workers, two at a time each, and handed to others where a worker ends: in this process, or on Ray."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from environment import Host, SetupError, say

from .inputs import Job
from .worker import Made, Worker

IN_FLIGHT = 2
"""Rows of one worker: while one is made the next one waits there."""
DEATHS = 3
"""So many workers may end during a row, and so many may not start before the run is given up."""


class Hand(Protocol):
    """A worker wherever it is. ready: which ComfyUI it has, once it answers."""

    ready: Future[str]

    def object_info(self) -> Future[dict[str, Any]]: ...
    def run(self, job: Job) -> Future[Made]: ...
    def end(self) -> None: ...


@dataclass
class _Place:
    """For a worker, and for the next one where it has ended. flying: what it was given, in order."""

    hand: Hand
    ready: bool = False
    flying: dict[Future[Made], Job] = field(default_factory=dict)

    @property
    def waited_for(self) -> set[Future[Any]]:
        return set(self.flying) if self.ready else {self.hand.ready}


class Crew:
    """Workers, which start at once; use it in a `with` statement, at whose end they end."""

    def __init__(self, start: Callable[[], Hand], count: int) -> None:
        self._start, self._places = start, [_Place(start()) for _ in range(count)]
        self._deaths: Counter[int] = Counter()
        self._again: deque[Job] = deque()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for place in self._places:
            place.hand.end()

    def object_info(self) -> dict[str, Any]:
        """Of the first that answers. Raises SetupError where none does."""
        while not any(place.ready for place in self._places):
            self._next()
        return next(place for place in self._places if place.ready).hand.object_info().result()

    def made(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Made]]:
        """What becomes of each, in the order in which they end. Raises SetupError where no worker is left."""
        while self._hand_out(jobs):
            yield from self._next()

    def _hand_out(self, jobs: Iterator[Job]) -> bool:
        """Whether any is being made."""
        for _ in range(IN_FLIGHT):  # one for each before anybody's second
            for place in (place for place in self._places if place.ready and len(place.flying) < IN_FLIGHT):
                if job := self._again.popleft() if self._again else next(jobs, None):
                    place.flying[place.hand.run(job)] = job
        return bool(self._again) or any(place.flying for place in self._places)

    def _next(self) -> list[tuple[Job, Made]]:
        """Wait for whatever comes first: a worker that is ready, a row, a worker's end."""
        found: list[tuple[Job, Made]] = []
        ended, _ = wait(set().union(*(place.waited_for for place in self._places)), return_when=FIRST_COMPLETED)
        for place in list(self._places):
            if place.hand.ready in ended and not place.ready:
                self._began(place)
            for future in [future for future in place.flying if future in ended]:
                if cause := future.exception():
                    found += self._died(place, cause)
                    break
                found.append((place.flying.pop(future), future.result()))
        return found

    def _began(self, place: _Place) -> None:
        if cause := place.hand.ready.exception():
            place.hand.end()
            self._places.remove(place)
            if not self._places:
                raise SetupError(f"No worker starts. {cause}")
            say(f"A worker does not start, the others go on without it: {cause}")
        else:
            place.ready = True

    def _died(self, place: _Place, cause: BaseException) -> list[tuple[Job, Made]]:
        """Another worker in its place. The row that it was at is counted against; those behind it only waited."""
        first, *behind = place.flying.values()
        place.hand.end()
        place.hand, place.ready, place.flying = self._start(), False, {}
        self._deaths[first.row.line] += 1
        say(f"A worker ended during line {first.row.line}; its rows go to others, and another one is started.")
        self._again.extend(behind)
        if self._deaths[first.row.line] < DEATHS:
            self._again.append(first)
            return []
        return [(first, Made(error=f"{DEATHS} workers ended during this row; of the last: {cause}"))]


# --- In this process


class Here:
    """One worker without Ray."""

    def __init__(self, host: Host, python: Path, models: list[Path]) -> None:
        self._worker = Worker(host, python, models)
        self._threads = ThreadPoolExecutor(IN_FLIGHT)
        self.ready = self._threads.submit(self._worker.start)

    def object_info(self) -> Future[dict[str, Any]]:
        return self._threads.submit(self._worker.object_info)

    def run(self, job: Job) -> Future[Made]:
        return self._threads.submit(self._worker.run, job.prompt, job.photos)

    def end(self) -> None:
        self._worker.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
