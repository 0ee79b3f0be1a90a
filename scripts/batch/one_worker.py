"""Workers that threads of this process drive.

One with a ComfyUI of its own, servers (servers.py) or those on Ray (ray_workers.py). faults.py says which of them makes
what, and what follows where a row is not made.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

import environment
from environment import SetupError

from .faults import Crew, Fault, Finished, Standing, Trial
from .worker import OwnWorker

_MOST_PAUSE = 10.0
"""Seconds until a worker is asked again that does not answer, at first; one that answers and makes nothing waits
longer."""
_Driven = TypeVar("_Driven", bound="DrivenWorkers")
_LOOK_SECONDS = 0.5
"""So often Ctrl-C is looked for, on systems where nothing that waits is interrupted."""


@dataclass(frozen=True)
class WorkerSettings:
    """What all workers of a run have. models: folders besides ComfyUI's own. limit: seconds that a row may take. run:
    what no other run is called; later runs are sorted behind earlier ones."""

    models: tuple[str, ...] = ()
    limit: float = 3600
    run: str = field(default_factory=lambda: f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%f}")

    def name(self, number: int) -> str:
        """Of a worker."""
        return f"{self.run}-{number}"

    def worker(self, number: int) -> OwnWorker:
        """A worker with the ComfyUI of this machine, wherever this is called. Raises SetupError where there is none."""
        hosts = environment.find_hosts()
        if not hosts:
            raise SetupError("There is no ComfyUI on this machine: set COMFYUI_PATH before ray start.")
        models = [Path(folder) for folder in self.models]
        return OwnWorker(self.name(number), hosts[0], Path(sys.executable), models, self.limit)


class Maker(Protocol):
    """What workers do with tasks."""

    def make(self, worker: Any, task: Any) -> Any:
        """What becomes of a task."""
        ...

    def kept(self, worker: str, task: Any) -> Any:
        """What a worker that ended has made of a task all the same; None where it is to be made again. worker: its
        name."""
        ...


class Workers(Protocol):
    """Whoever makes tasks. version: of their ComfyUI, such as "ComfyUI 0.33.0"."""

    version: str

    @property
    def count(self) -> int:
        """How many make tasks."""
        ...

    def object_info(self) -> dict[str, Any]:
        """Every class of nodes that their ComfyUI has. Raises SetupError where none starts."""
        ...

    def results(self, maker: Maker, tasks: Iterable[Any]) -> Iterator[Finished]:
        """What becomes of each task by `maker.make`, in the order in which they end."""
        ...


class DrivenWorkers:
    """Workers that threads of this process drive, a thread for each row; use it in a `with` statement.

    A worker has a `label` for messages; `is_back`, which says whether it answers again, and raises Fault where that
    does not help; `stop`, and `clear` for when nobody is at work any more.
    """

    patience = 300.0
    """So many seconds a worker is waited for that does not answer, where there is no other."""
    end_seconds = 10.0
    """How long workers have to end, and threads whose rows are being written. What is not listed then is made again by
    the next run."""

    def __init__(self, workers: Sequence[Any]) -> None:
        self.version: str = workers[0].version if workers else ""
        self._crew = Crew(self._ask, self.patience)
        for worker in workers:
            self._crew.add(worker)
        self._threads: list[threading.Thread] = []
        """Those that make rows."""
        self._asking: list[threading.Thread] = []
        self._events: SimpleQueue[Trial | tuple[Standing, Fault | None]] = SimpleQueue()
        """Tasks that have ended, and workers that were asked."""
        self._is_over = threading.Event()

    @property
    def count(self) -> int:
        return sum(standing.works for standing in self._crew.standings) or 1

    def __enter__(self: _Driven) -> _Driven:
        return self

    def __exit__(self, *_: object) -> None:
        """All end at the same time: one that does not answer holds up nobody."""
        self._is_over.set()
        ending = [_started(standing.worker.stop) for standing in self._crew.standings]
        give_up = time.monotonic() + self.end_seconds
        for thread in [*ending, *self._threads]:
            thread.join(max(0.0, give_up - time.monotonic()))
        for standing in self._crew.standings:
            standing.worker.clear()

    def object_info(self) -> dict[str, Any]:
        return self._crew.standings[0].worker.object_info()

    def results(self, maker: Maker, tasks: Iterable[Any]) -> Iterator[Finished]:
        """What becomes of each task by `maker.make`, in the order in which they end. Raises SetupError where no worker
        is left."""
        to_come = iter(tasks)
        is_over = False

        def task() -> Any:
            nonlocal is_over
            new = None if is_over else next(to_come, None)
            is_over = is_over or new is None
            return new

        while True:
            self._hand_out(maker, task)
            if is_over and self._crew.is_idle:
                return
            finished = self._wait()
            if finished:
                yield finished

    def _hand_out(self, maker: Maker, task: Any) -> None:
        """Give every worker what it has room for, those first that have the least."""
        is_given = True
        while is_given:
            is_given = False
            for standing in sorted(self._crew.standings, key=lambda one: len(one.trials)):
                trial = self._crew.next_for(standing, task)
                if trial:
                    is_given = True
                    self._threads.append(_started(lambda given=trial: self._attempt(maker, given)))

    def _attempt(self, maker: Maker, trial: Trial) -> None:
        assert trial.at
        trial.error = None
        try:
            trial.made = self._made(trial.at.worker, maker, trial.task)
        except BaseException as cause:  # noqa: BLE001 - whose fault it is is found out where the results are taken
            trial.error = cause
        self._events.put(trial)

    def _made(self, worker: Any, maker: Maker, task: Any) -> Any:
        return maker.make(worker, task)

    def _wait(self) -> Finished | None:
        """Heed what happens next, if something does soon. Raises SetupError where no worker is left."""
        self._crew.require_one()
        try:
            event = self._events.get(timeout=_LOOK_SECONDS)
        except Empty:
            return None
        if isinstance(event, Trial):
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            return self._crew.ended(event)
        standing, fault = event
        standing.is_asked = False
        if fault:
            self._crew.take_out(standing, fault)
        return None

    def _ask(self, standing: Standing, pause: float) -> None:
        """Have a worker asked from so many seconds on whether it answers."""
        self._asking = [thread for thread in self._asking if thread.is_alive()]
        self._asking.append(_started(lambda: self._asked(standing, pause)))

    def _asked(self, standing: Standing, pause: float) -> None:
        while not self._is_over.wait(pause):
            try:
                if standing.worker.is_back():
                    self._events.put((standing, None))
                    return
            except Fault as fault:
                self._events.put((standing, fault))
                return
            pause = min(2 * pause, max(pause, _MOST_PAUSE))


def _started(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class OneWorker(DrivenWorkers):
    """A worker with a ComfyUI of its own on this machine."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__([settings.worker(0)])

    def __exit__(self, *arguments: object) -> None:
        self._is_over.set()
        # However long it takes: no ComfyUI of ours stays.
        self._crew.standings[0].worker.stop()
        super().__exit__(*arguments)
