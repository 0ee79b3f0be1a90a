"""Workers that threads of this process drive: one with a ComfyUI of its own, or servers (servers.py)."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

import environment
from environment import SetupError

from .worker import TRIES, Worker

ROWS_AT_ONCE = 3
"""Of a worker: while one is in its ComfyUI, the next is read and the last is written."""
_END_SECONDS = 10
"""How long threads have to end whose rows are being written. What is not listed then is made again by the next run."""
_Driven = TypeVar("_Driven", bound="DrivenWorkers")
_MOST_IN_VAIN = 3
"""So many tasks may one after the other end a worker that is back after each: then it gets no more of them."""
_NO_MORE = object()
"""In the place of a task: the thread ends."""
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

    def worker(self, number: int) -> Worker:
        """A worker with the ComfyUI of this machine, wherever this is called. Raises SetupError where there is none."""
        hosts = environment.find_hosts()
        if not hosts:
            raise SetupError("There is no ComfyUI on this machine: set COMFYUI_PATH before ray start.")
        models = [Path(folder) for folder in self.models]
        return Worker(self.name(number), hosts[0], Path(sys.executable), models, self.limit)


@dataclass(frozen=True)
class Finished:
    """A task, and what became of it: what the maker says, or the reason why its workers ended."""

    task: Any
    made: Any
    error: str = ""


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


class WorkerEnded(Exception):
    """A worker that does not make a task to its end, which others may. is_of_task: whether it was at this task."""

    def __init__(self, reason: str, is_of_task: bool) -> None:
        super().__init__(reason)
        self.is_of_task = is_of_task


@dataclass
class _Trial:
    """A task and what came of it: `finished` by the maker, or the error that ended it. ended: the workers that ended
    during it."""

    task: Any
    ended: list[Any] = field(default_factory=list)
    finished: Finished | None = None
    error: BaseException | None = None

    def is_given_up(self, left: Sequence[Any]) -> bool:
        """Whether it ends whoever makes it: several workers, or the last one that is left each time. left: the worker
        of each thread."""
        is_last_worker = len(set(left)) == 1
        return len(self.ended if is_last_worker else set(self.ended)) >= TRIES


class DrivenWorkers:
    """Workers, each driven by ROWS_AT_ONCE threads of this process; use it in a `with` statement."""

    def __init__(self, workers: Sequence[Any]) -> None:
        self._workers = workers
        self._threads: list[threading.Thread] = []
        self.count = len(workers)
        self.version: str = workers[0].version

    def __enter__(self: _Driven) -> _Driven:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        give_up = time.monotonic() + _END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, give_up - time.monotonic()))

    def object_info(self) -> dict[str, Any]:
        return self._workers[0].object_info()

    def results(self, maker: Maker, tasks: Iterable[Any]) -> Iterator[Finished]:
        """What becomes of each task by `maker.make`, in the order in which they end. Raises SetupError where no worker
        is left."""
        to_do: SimpleQueue[Any] = SimpleQueue()
        ended: SimpleQueue[Any] = SimpleQueue()
        self._threads = []
        left = [*self._workers] * ROWS_AT_ONCE
        for worker in left:
            thread = threading.Thread(target=_drive, args=(worker, maker, to_do, ended), daemon=True)
            self._threads.append(thread)
            thread.start()
        try:
            yield from _handed_out(tasks, to_do, ended, left)
        finally:
            for _ in self._threads:
                to_do.put(_NO_MORE)


def _handed_out(
    tasks: Iterable[Any], to_do: SimpleQueue[Any], ended: SimpleQueue[Any], left: list[Any]
) -> Iterator[Finished]:
    """Tasks for threads, and what becomes of them. left: the worker of each. A worker that ends gives its tasks
    back."""
    to_come = iter(tasks)
    at_work = 0
    reason = ""
    while True:
        for task in islice(to_come, max(0, len(left) - at_work)):
            to_do.put(_Trial(task))
            at_work += 1
        if not at_work:
            return
        trial = _next_of(ended)
        if not isinstance(trial, _Trial):
            left.remove(trial)
            if not left:
                raise SetupError(f"No server answers any more: start one and run the same again. The last: {reason}")
        elif trial.finished:
            at_work -= 1
            yield trial.finished
        elif not isinstance(trial.error, WorkerEnded):
            assert trial.error
            raise trial.error
        else:
            reason = str(trial.error)
            if trial.is_given_up(left):
                at_work -= 1
                often = f"Servers ended or hung {TRIES} times during this row"
                yield Finished(trial.task, None, f"{often}. The last: {reason}")
            else:
                to_do.put(trial)


def _drive(worker: Any, maker: Maker, to_do: SimpleQueue[Any], ended: SimpleQueue[Any]) -> None:
    """Make one task after the other. The worker, in the place of a trial, says that this thread makes no more."""
    in_vain = 0
    while (trial := to_do.get()) is not _NO_MORE:
        error: BaseException | None = None
        try:
            trial.finished = Finished(trial.task, maker.make(worker, trial.task))
            in_vain = 0
        except WorkerEnded as cause:
            error = cause
            in_vain += 1
            trial.ended += [worker] * cause.is_of_task
        except BaseException as cause:  # noqa: BLE001 - it is raised where the results are taken
            error = cause
        trial.error = error
        # From here on the trial may be another thread's.
        ended.put(trial)
        if in_vain and (in_vain == _MOST_IN_VAIN or not worker.is_back()):
            ended.put(worker)
            return


def _next_of(queue: SimpleQueue[Any]) -> Any:
    while True:
        try:
            return queue.get(timeout=_LOOK_SECONDS)
        except Empty:
            continue


class OneWorker(DrivenWorkers):
    """A worker with a ComfyUI of its own on this machine."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._worker = settings.worker(0)
        super().__init__([self._worker])
