"""Rows handed to workers, and handed to others where a worker ends: in this process, or on Ray."""

from __future__ import annotations

import errno
import logging
import math
import os
import signal
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from environment import ROOT, Host, SetupError, say

from .prompts import Job
from .worker import Made, Worker

DEATHS = 3
"""So many workers may end during a row, and so many rows may be given up one after the other."""
LATE = 2
"""So often a row may take too long."""
_END_SECONDS, _ANSWER_SECONDS, _LOOK_SECONDS = 60, 10, 1
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
        self.ready: Future[tuple[str, str]] = call("start")

    def object_info(self) -> Future[dict[str, Any]]:
        return self._call("object_info")

    def run(self, job: Job) -> Future[Made]:
        return self._call("run", job.prompt, job.photos)


@dataclass
class _Place:
    """For a worker, and the next one where it has ended. waits: for it to be ready, or for its row; None: it is idle.
    since: when it was given its row."""

    hand: Hand
    waits: Future[Any] | None
    ready: bool = False
    job: Job | None = None
    since: float = 0.0

    def give(self, job: Job) -> None:
        self.job, self.waits, self.since = job, self.hand.run(job), time.monotonic()


class Crew:
    """Workers, which start at once; use it in a `with` statement, at whose end they end.

    host: the ComfyUI that all should have. limit: seconds that a row may take.
    """

    def __init__(self, start: Callable[[], Hand], count: int, host: Host, limit: float = 3600) -> None:
        self._start, self._host, self._limit = start, str(host), limit
        self._places = [self._place() for _ in range(count)]
        self._ends: Counter[tuple[int, int]] = Counter()
        self._lost = 0
        self._again: deque[Job] = deque()

    def _place(self) -> _Place:
        hand = self._start()
        return _Place(hand, hand.ready)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        with ThreadPoolExecutor(max(1, len(self._places))) as threads:
            list(threads.map(lambda place: place.hand.end(), self._places))

    def object_info(self) -> dict[str, Any]:
        """Of the first that answers. Raises SetupError where none does."""
        while not any(place.ready for place in self._places):
            list(self._next())
        return next(place for place in self._places if place.ready).hand.object_info().result()

    def made(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Made]]:
        """What becomes of each, in the order in which they end. Raises SetupError where no worker is left."""
        while True:
            for place in self._places:
                if place.ready and not place.job:
                    if not (job := self._again.popleft() if self._again else next(jobs, None)):
                        break
                    place.give(job)
            else:
                yield from self._next()
                continue
            if not any(place.job for place in self._places):
                return
            yield from self._next()

    def _next(self) -> Iterator[tuple[Job, Made]]:
        """Wait for whatever comes first: a worker that is ready, a row, a worker's end."""
        busy = [place for place in self._places if place.waits]
        wait([place.waits for place in busy if place.waits], _LOOK_SECONDS, FIRST_COMPLETED)
        for place in busy:
            if not (place.waits and place.waits.done()):
                yield from self._check_time(place)
            elif not place.job:
                self._began(place)
            elif cause := place.waits.exception():
                _room(_said(cause))
                at_last = f"{DEATHS} workers ended during this row. The last: {_said(cause)}"
                now = f"A worker ended during line {place.job.row.line}"
                yield from self._replace(place, place.job, DEATHS, now, at_last)
            else:
                job, made = place.job, place.waits.result()
                _room(made.error)
                place.job, place.waits, self._lost = None, None, 0
                yield job, made

    def _check_time(self, place: _Place) -> Iterator[tuple[Job, Made]]:
        """Another worker where a row takes too long."""
        if place.job and time.monotonic() - place.since > self._limit:
            why = f"Line {place.job.row.line} was not done after {self._limit:g} s"
            at_last = (
                f"{why}. It was tried {LATE} times, and each time its ComfyUI was ended. If it needs longer, say how "
                "many seconds: --row-limit."
            )
            yield from self._replace(place, place.job, LATE, f"{why}: its ComfyUI is ended", at_last)

    def _began(self, place: _Place) -> None:
        if cause := place.hand.ready.exception():
            place.hand.end()
            self._places.remove(place)
            if not self._places:
                raise SetupError(f"No worker starts: {_said(cause)}")
            say(f"A worker does not start, the others go on without it: {_said(cause)}")
            return
        place.ready, place.waits, (host, where) = True, None, place.hand.ready.result()
        if host != self._host:
            say(f"A worker has {host} ({where}), not {self._host}: its pictures may differ a little.")

    def _replace(self, place: _Place, job: Job, times: int, now: str, at_last: str) -> Iterator[tuple[Job, Made]]:
        """Another worker in its place, and its row counted against.

        times: after so many ends of this kind the row is given up. now, at_last: what is said before and then.
        Raises SetupError when one row after the other is given up.
        """
        place.hand.end()
        self._places[self._places.index(place)] = self._place()
        self._ends[job.row.line, times] += 1
        if self._ends[job.row.line, times] < times:
            say(f"{now}; the row goes to another one, which is started.")
            self._again.append(job)
            return
        self._lost += 1
        if self._lost == DEATHS:
            raise SetupError(f"{DEATHS} rows one after the other were given up. {at_last}")
        yield job, Made(error=at_last)


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
    worker, threads = Worker(host, python, models), ThreadPoolExecutor(1)

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
        # Whoever reaches a port of Ray's runs any code: none is open to the network, as on Windows and macOS, and where
        # Ray knows tokens its own is asked for (~/.ray/auth_token). Read when Ray is imported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault("RAY_AUTH_MODE", "token")
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
    stops = signal.getsignal(signal.SIGTERM)
    try:
        context = ray.init(address or "local", **options)
    except Exception as cause:  # Ray raises bare ones, such as when starting takes too long
        where = f" at {address}, which may want its RAY_AUTH_MODE and RAY_AUTH_TOKEN here too" if address else ""
        raise SetupError(f"Ray does not start{where}: {cause}") from cause
    finally:
        signal.signal(signal.SIGTERM, stops)  # Ray puts a way to end of its own in its place
    if context.dashboard_url:
        say(f"Ray's dashboard: http://{context.dashboard_url}")
    gpus = int(ray.cluster_resources().get("GPU", 0))
    count = workers or gpus or 1
    # Whole GPUs, or parts of which several make a whole one.
    share = 1 / math.ceil(count / gpus) if gpus else 0
    actor = ray.remote(_actor_class()).options(
        num_cpus=0, num_gpus=share, max_concurrency=2, scheduling_strategy="SPREAD"
    )
    scripts = None if address else str(ROOT / "scripts")

    def start() -> Hand:
        made: Any = actor.remote(scripts, models, os.environ.get("OMP_NUM_THREADS"))

        def end() -> None:
            ray.wait([made.call.remote("stop")], timeout=_END_SECONDS)
            ray.kill(made)

        return Hand(lambda name, *given: made.call.remote(name, *given).future(), end)

    return start, count


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
