"""Rows handed to workers, two at a time each, and handed to others where a worker ends: in this process, or on Ray."""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from environment import ROOT, Host, SetupError, say

from .estimate import duration
from .prompts import Job
from .worker import About, Made, Worker

IN_FLIGHT = 2
"""Rows of one worker: while one is made the next one waits there."""
DEATHS = 3
"""So many workers may end during a row, and so many rows may be given up one after the other."""
LATE = 2
"""So often a row may take too long."""
_END_SECONDS, _ANSWER_SECONDS, _LOOK_SECONDS = 15, 10, 1
_LONGER, _LEAST_SECONDS = 10, 600
"""Too long is so many times what the longest row before took, and no less than that: a row may be a large one, or wait
for its models to be read."""
_WORD_SECONDS = 60
"""A row that takes longer, and three times as long as any before, is named; again when that time has doubled."""
_SAID = 600
"""Letters of what a log ends with."""
NO_RAY = (
    'Several workers are run by Ray, which is not installed: {python} -m pip install "ray[default]". '
    "One worker on this machine needs none: --workers 1."
)


class Hand:
    """A worker wherever it is. call: one of its methods, by name. end: of it and all it has begun. ready: once it
    answers."""

    def __init__(self, call: Callable[..., Future[Any]], end: Callable[[], object]) -> None:
        self._call, self.end = call, end
        self.ready: Future[About] = call("start")

    def object_info(self) -> Future[dict[str, Any]]:
        return self._call("object_info")

    def run(self, job: Job) -> Future[Made]:
        return self._call("run", job.prompt, job.photos)


@dataclass
class _Place:
    """For a worker, and the next one where it has ended. flying: what it was given, in order. since, warn_after: when
    it came to the first of these, and after how many seconds that row is named."""

    hand: Hand
    ready: bool = False
    flying: dict[Future[Made], Job] = field(default_factory=dict)
    since: float = 0.0
    warn_after: float = 0.0

    @property
    def waited_for(self) -> set[Future[Any]]:
        return set(self.flying) if self.ready else {self.hand.ready}


class Crew:
    """Workers, which start at once; use it in a `with` statement, at whose end they end.

    host: the ComfyUI that all should have. limit: seconds that a row may take, else as the longest one before says.
    """

    def __init__(self, start: Callable[[], Hand], count: int, host: Host, limit: float | None = None) -> None:
        self._start, self._places, self._host = start, [_Place(start()) for _ in range(count)], str(host)
        self._limit, self._longest = limit, 0.0
        self._ends: Counter[tuple[int, int]] = Counter()
        self._lost = 0
        self._again: deque[Job] = deque()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        with ThreadPoolExecutor(max(1, len(self._places))) as threads:
            list(threads.map(lambda place: place.hand.end(), self._places))

    def object_info(self) -> dict[str, Any]:
        """Of the first that answers. Raises SetupError where none does."""
        while not any(place.ready for place in self._places):
            self._next()
        return next(place for place in self._places if place.ready).hand.object_info().result()

    def made(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Made]]:
        """What becomes of each, in the order in which they end. Raises SetupError where no worker is left."""
        self._longest = 0.0  # of rows of one kind: what is looked at before them takes no time
        while not self._handed_out(jobs) or any(place.flying for place in self._places):
            yield from self._next()

    def _handed_out(self, jobs: Iterator[Job]) -> bool:
        """Whether there was none for somebody who has room."""
        for _ in range(IN_FLIGHT):  # one for each before anybody's second
            for place in (place for place in self._places if place.ready and len(place.flying) < IN_FLIGHT):
                job = self._again.popleft() if self._again else next(jobs, None)
                if job is None:
                    return True
                if not place.flying:
                    self._restart_clock(place)
                place.flying[place.hand.run(job)] = job
        return False

    def _next(self) -> list[tuple[Job, Made]]:
        """Wait for whatever comes first: a worker that is ready, a row, a worker's end."""
        found: list[tuple[Job, Made]] = []
        waited_for = set[Future[Any]]().union(*(place.waited_for for place in self._places))
        ended, _ = wait(waited_for, _LOOK_SECONDS, FIRST_COMPLETED)
        for place in list(self._places):
            if place.hand.ready in ended and not place.ready:
                self._began(place)
            # What was made counts, and then that the worker has ended.
            for future in sorted(ended & place.flying.keys(), key=lambda one: one.exception() is not None):
                if cause := future.exception():
                    found += self._died(place, cause)
                    break
                _room(future.result().error)
                found.append((place.flying.pop(future), future.result()))
                if not future.result().error:
                    self._longest = max(self._longest, time.monotonic() - place.since)
                self._restart_clock(place)
                self._lost = 0
            if place.flying and not next(iter(place.flying)).done():
                found += self._check_time(place)
        return found

    def _restart_clock(self, place: _Place) -> None:
        """It comes to its next row."""
        place.since, place.warn_after = time.monotonic(), max(_WORD_SECONDS, 3 * self._longest)

    def _check_time(self, place: _Place) -> list[tuple[Job, Made]]:
        """A word on a row that takes long; another worker where it takes too long."""
        took, line = time.monotonic() - place.since, next(iter(place.flying.values())).row.line
        most = self._limit or (max(_LEAST_SECONDS, _LONGER * self._longest) if self._longest else math.inf)
        before = f"the longest row before took {duration(self._longest)}" if self._longest else "no row was made before"
        if took > most:
            why = f"Line {line} was not done after {duration(most)}, and {before}"
            return self._replace(
                place,
                LATE,
                f"{why}: its ComfyUI is ended",
                f"{why}. It was tried {LATE} times, and each time its ComfyUI was ended. If it needs longer, say how "
                "many seconds: --row-limit.",
            )
        if took > place.warn_after:
            place.warn_after = 2 * took
            end = "No limit is known yet: --row-limit sets one."
            end = end if math.isinf(most) else f"After {duration(most)} its ComfyUI is ended (--row-limit)."
            say(f"Line {line} has been running for {duration(took)}; {before}. {end}")
        return []

    def _began(self, place: _Place) -> None:
        if cause := place.hand.ready.exception():
            place.hand.end()
            self._places.remove(place)
            if not self._places:
                raise SetupError(f"No worker starts: {_said(cause)}")
            say(f"A worker does not start, the others go on without it: {_said(cause)}")
            return
        place.ready, about = True, place.hand.ready.result()
        if about.host != self._host:
            say(f"A worker has {about.host} ({about.place}), not {self._host}: its pictures may differ a little.")

    def _died(self, place: _Place, cause: BaseException) -> list[tuple[Job, Made]]:
        _room(_said(cause))
        return self._replace(
            place,
            DEATHS,
            f"A worker ended during line {next(iter(place.flying.values())).row.line}",
            f"{DEATHS} workers ended during this row. The last: {_said(cause)}",
        )

    def _replace(self, place: _Place, times: int, now: str, at_last: str) -> list[tuple[Job, Made]]:
        """Another worker in its place. The row that it was at is counted against; those behind it only waited.

        times: after so many ends of this kind the row is given up. now, at_last: what is said before and then.
        Raises SetupError when one row after the other is given up.
        """
        first, *behind = place.flying.values()
        place.hand.end()
        place.hand, place.ready, place.flying = self._start(), False, {}
        self._ends[first.row.line, times] += 1
        self._again.extend(behind)
        if self._ends[first.row.line, times] < times:
            say(f"{now}; its rows go to others, and another one is started.")
            self._again.append(first)
            return []
        self._lost += 1
        if self._lost == DEATHS:
            raise SetupError(f"{DEATHS} rows one after the other were given up. {at_last}")
        return [(first, Made(error=at_last))]


def _room(error: str) -> None:
    """A full disk is no row's fault. Raises SetupError."""
    if os.strerror(errno.ENOSPC) in error:
        raise SetupError(f"The disk of a worker is full: make room and run the same again. {error}")


def _said(cause: BaseException) -> str:
    """Of an error in an actor its cause; of a log its end."""
    text = str(getattr(cause, "cause", None) or cause) or type(cause).__name__
    return text if len(text) <= _SAID else f"… {text[-_SAID:]}"


def here(host: Host, python: Path, models: list[Path]) -> Hand:
    """One in this process, without Ray."""
    worker, threads = Worker(host, python, models), ThreadPoolExecutor(IN_FLIGHT)

    def end() -> None:
        worker.stop()
        threads.shutdown(wait=False, cancel_futures=True)

    return Hand(lambda name, *given: threads.submit(getattr(worker, name), *given), end)


# --- On Ray


def on_ray(address: str | None, workers: int | None, models: list[str]) -> tuple[Callable[[], Hand], int]:
    """Join the cluster at `address`, or start Ray on this machine; what starts a worker there, and how many.

    workers: where there are more than GPUs, they share them. Raises SetupError without Ray or without the cluster.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if not address:
        _keep_to_this_machine()
    try:
        import ray
    except ImportError:
        raise SetupError(NO_RAY.format(python=sys.executable)) from None
    if address and ":" in address:
        _require_answer(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        # Each machine runs this pack, and the ComfyUI that it finds there.
        options["runtime_env"] = {"working_dir": str(ROOT), "excludes": [".git", ".venv", ".cache", "tests", "output"]}
    else:
        options["include_dashboard"] = True
    try:
        context = ray.init(address or "local", **options)
    except Exception as cause:  # Ray raises bare ones, such as when starting takes too long
        where = f" at {address}, which may want its RAY_AUTH_MODE and RAY_AUTH_TOKEN here too" if address else ""
        raise SetupError(f"Ray does not start{where}: {cause}") from cause
    if context.dashboard_url:
        say(f"Ray's dashboard: http://{context.dashboard_url}")
    gpus = int(ray.cluster_resources().get("GPU", 0))
    count = workers or gpus or 1
    # Whole GPUs, or parts of which several make a whole one.
    share = 1 / math.ceil(count / gpus) if gpus else 0
    actor = ray.remote(_actor_class()).options(
        num_cpus=0, num_gpus=share, max_concurrency=IN_FLIGHT + 1, scheduling_strategy="SPREAD"
    )
    scripts = None if address else str(ROOT / "scripts")

    def start() -> Hand:
        made: Any = actor.remote(scripts, models, os.environ.get("OMP_NUM_THREADS"))

        def end() -> None:
            ray.wait([made.call.remote("stop")], timeout=_END_SECONDS)
            ray.kill(made)

        return Hand(lambda name, *given: made.call.remote(name, *given).future(), end)

    return start, count


def _keep_to_this_machine() -> None:
    """Whoever reaches a port of Ray's runs any code: none is open to the network, as on Windows and macOS, and where
    Ray knows tokens its own is asked for (~/.ray/auth_token). Read when Ray is imported."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ.setdefault("RAY_AUTH_MODE", "token")


def _require_answer(address: str) -> None:
    """Raises SetupError where nothing listens: Ray would go on asking for many minutes."""
    try:
        at = urlsplit(address if "://" in address else f"//{address}")
        socket.create_connection((at.hostname or "", at.port or 10001), _ANSWER_SECONDS).close()
    except (OSError, ValueError) as cause:
        raise SetupError(
            f"Nothing answers at {address} ({cause}): start the cluster with ray start --head on its first machine, "
            "and give the address that this says."
        ) from cause


def _actor_class() -> type:
    """Sent as it is, for no machine can import it before it knows where this pack is there."""

    class Actor:
        """scripts: the folder of these; without it the pack came with the actor."""

        def __init__(self, scripts: str | None, models: list[str], threads: str | None) -> None:
            import os
            import sys
            from pathlib import Path

            sys.path.insert(0, scripts or str(Path.cwd() / "scripts"))
            # Ray allows one thread where nobody has said how many.
            os.environ.pop("OMP_NUM_THREADS", None)
            os.environ |= {"OMP_NUM_THREADS": threads} if threads else {}
            import environment

            from batch.worker import Worker

            hosts = environment.find_hosts()
            if not hosts:
                raise environment.SetupError("There is no ComfyUI on this machine: set COMFYUI_PATH before ray start.")
            self._worker = Worker(hosts[0], Path(sys.executable), [Path(folder) for folder in models])

        def call(self, method: str, *given: Any) -> Any:
            return getattr(self._worker, method)(*given)

    return Actor
