"""Workers of this machine: each ComfyUI is asked by a thread of this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from environment import Host

from .prompts import Job
from .worker import Outcome, Worker, WorkerHost

_T = TypeVar("_T")


class LocalWorker:
    """A WorkerHandle of a ComfyUI on this machine."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._thread = ThreadPoolExecutor(1)
        self._ready = self._call(worker.start)

    @property
    def ready(self) -> Future[WorkerHost]:
        return self._ready

    def object_info(self) -> Future[dict[str, Any]]:
        return self._call(self._worker.object_info)

    def run(self, job: Job) -> Future[Outcome]:
        return self._call(lambda: self._worker.run(job.prompt, job.files))

    def end(self) -> None:
        self._worker.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _call(self, function: Callable[[], _T]) -> Future[_T]:
        return self._thread.submit(function)


class LocalWorkers:
    """A WorkerSource: ComfyUIs of this machine, which share its GPUs.

    models: folders with one sub-folder per model key, besides ComfyUI's own. gpus: the names of the GPUs as
    CUDA_VISIBLE_DEVICES has them; none without a GPU of NVIDIA's or AMD's.
    """

    def __init__(self, host: Host, python: Path, models: Sequence[Path], count: int, gpus: Sequence[str]) -> None:
        self._host = host
        self._python = python
        self._models = models
        self._count = count
        self._gpus = gpus

    @property
    def count(self) -> int:
        return self._count

    def start(self, number: int) -> LocalWorker:
        return LocalWorker(Worker(self._host, self._python, self._models, self.variables(number)))

    def variables(self, number: int) -> dict[str, str]:
        """The environment variables by which a worker has one of the GPUs, shared where there are more workers.

        A worker that is alone has them all, as a ComfyUI that is started by hand.
        """
        if not self._gpus or self._count == 1:
            return {}
        return {"CUDA_VISIBLE_DEVICES": self._gpus[number % len(self._gpus)]}


def visible_gpus(count: int) -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them. count: how many torch sees of them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    if not names:
        names = [str(number) for number in range(count)]
    return names[:count]
