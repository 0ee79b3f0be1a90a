"""One worker in this process, for whoever has one ComfyUI; ray_workers.py has several."""

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
from typing import Any, Protocol

import environment
from environment import SetupError

from .worker import Worker

ROWS_AT_ONCE = 3
"""Of a worker: while one is in its ComfyUI, the next is read and the last is written."""
_END_SECONDS = 10
"""How long threads have to end whose rows are being written. What is not listed then is made again by the next run."""
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

    def make(self, worker: Any, tasks: Sequence[Any]) -> list[Any]:
        """What becomes of each of some tasks."""
        ...

    def is_made(self, made: Any) -> bool:
        """Whether a task has become what was wanted. made: of one, by `make`."""
        ...

    def kept(self, worker: str, tasks: Sequence[Any]) -> list[Any]:
        """What a worker that ended has made of tasks all the same; None of those that are to be made again. worker: its
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


class OneWorker:
    """A worker in this process; use it in a `with` statement."""

    count = 1

    def __init__(self, settings: WorkerSettings) -> None:
        self._worker = settings.worker(0)
        self.version = self._worker.version
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> OneWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.stop()
        give_up = time.monotonic() + _END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, give_up - time.monotonic()))

    def object_info(self) -> dict[str, Any]:
        return self._worker.object_info()

    def results(self, maker: Maker, tasks: Iterable[Any]) -> Iterator[Finished]:
        to_do: SimpleQueue[Any] = SimpleQueue()
        ended: SimpleQueue[Finished | BaseException] = SimpleQueue()
        arguments = (self._worker, maker, to_do, ended)
        self._threads = [threading.Thread(target=_drive, args=arguments, daemon=True) for _ in range(ROWS_AT_ONCE)]
        for thread in self._threads:
            thread.start()
        to_come = iter(tasks)
        at_work = 0
        try:
            while True:
                for task in islice(to_come, ROWS_AT_ONCE - at_work):
                    to_do.put(task)
                    at_work += 1
                if not at_work:
                    return
                end = _next_of(ended)
                at_work -= 1
                if isinstance(end, BaseException):
                    raise end
                yield end
        finally:
            for _ in self._threads:
                to_do.put(_NO_MORE)


def _drive(worker: Worker, maker: Maker, to_do: SimpleQueue[Any], ended: SimpleQueue[Finished | BaseException]) -> None:
    """Make one task after the other."""
    while (task := to_do.get()) is not _NO_MORE:
        try:
            (made,) = maker.make(worker, [task])
            ended.put(Finished(task, made))
        except BaseException as cause:  # noqa: BLE001 - it is raised where the results are taken
            ended.put(cause)


def _next_of(queue: SimpleQueue[Any]) -> Any:
    while True:
        try:
            return queue.get(timeout=_LOOK_SECONDS)
        except Empty:
            continue
