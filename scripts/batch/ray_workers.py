"""Workers on Ray: of a cluster, or of a Ray that is started on this machine."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from environment import ROOT, SetupError, say

from core.checks.text import as_typed

from .one_worker import ROWS_AT_ONCE, Finished, Maker, WorkerSettings
from .worker import TRIES, shortened

HERE = "local"
"""The address by which Ray is started on this machine."""
_END_SECONDS = 60
"""How long a worker has to end by itself."""
_ANSWER_SECONDS = 10
"""How long a cluster has to answer."""
_CLIENT_PORT = 10001
"""Ray's own for programs outside of the cluster; an address may leave its port out."""
_PACK = (
    "__init__.py", "bridge", "core", "locales", "models_manifest.json", "nodes", "pictures", "pyproject.toml",
    "scripts", "subgraphs", "web", "workflows",
)  # fmt: skip
"""What machines of a cluster get; not what a user keeps in the pack's folder, such as pictures."""
_LOOK_SECONDS = 10
"""So often it is looked whether a worker has started."""
_QUIET_SECONDS = 30
"""After so long without a worker the wait is told, and from then on every _TELL_SECONDS."""
_TELL_SECONDS = 60
NO_RAY = (
    'Several workers run on Ray, which is not installed: {python} -m pip install "ray[default]". '
    "One worker needs no Ray: leave --workers and --address out."
)


class RayWorkers:
    """Workers that are actors of Ray's, each with a ComfyUI. Ray puts them onto machines and GPUs, and starts one that
    ends again, on any machine that has room for it; use it in a `with` statement.

    address: of a cluster, or HERE. count: None: as many as Ray finds GPUs for, those of machines that join later or
    that it starts for them too. settings: of the workers. host: the ComfyUI that all should have. place: what is theirs
    alone, as long as they run. gpus: of each worker; None: one, or none where this machine has none. Raises SetupError
    without Ray, without the cluster, and where this machine has too few GPUs.
    """

    def __init__(
        self,
        address: str,
        count: int | None,
        settings: WorkerSettings,
        host: str,
        place: str | None = None,
        gpus: float | None = None,
    ) -> None:
        self._ray = _imported_ray(address)
        _join(self._ray, address)
        self._settings = settings
        self.version = host
        self._place = place
        # Of this machine's own scripts. To a cluster they are sent with the actor.
        self._scripts = str(ROOT / "scripts") if address == HERE else None
        gpus_there = self._gpus()
        is_without = address == HERE and not gpus_there
        self._share = gpus if gpus is not None else float(not is_without)
        if address == HERE and count and count * self._share > gpus_there:
            raise SetupError(
                f"{count} workers do not have a GPU each here, where there are {gpus_there}: say how much of one each "
                f"has by --gpus {math.floor(100 * gpus_there / count) / 100:g}, or start fewer."
            )
        # Calls run side by side, and one more is there to stop a worker. It waits for its GPU, not for CPUs: several
        # start on a machine of any size. Calls wait while it is started again, but for those that say otherwise.
        self._class = self._ray.remote(
            num_cpus=0,
            num_gpus=self._share,
            max_concurrency=ROWS_AT_ONCE + 1,
            max_restarts=-1,
            max_task_retries=-1,
        )(_actor_class())
        self._takes_more = count is None and self._share > 0 and address != HERE
        self._workers: list[_Worker] = []
        self._starting: dict[Any, _Worker] = {}
        self._tell_at = time.monotonic() + _QUIET_SECONDS
        self._again: list[_Call] = []
        """Each with a row that may have ended its worker, which runs alone."""
        for _ in range(count or (int(gpus_there / self._share) if self._share else 0) or 1):
            self._start()

    @property
    def count(self) -> int:
        return len(self._ready()) or 1

    def _gpus(self) -> int:
        return int(self._ray.cluster_resources().get("GPU", 0))

    def _ready(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.name]

    def _start(self) -> None:
        """Ask Ray for a worker. Raises SetupError where another run has a worker of this name, as one that was killed
        has for a moment still."""
        # A machine can import nothing of ours before the actor is there.
        sent = self._ray.cloudpickle.dumps(self._settings)
        name = f"worker {len(self._workers)} of {self._place}" if self._place else None
        actor_class = self._class.options(name=name, scheduling_strategy="SPREAD")
        give_up = time.monotonic() + _END_SECONDS
        while True:
            try:
                actor = actor_class.remote(self._scripts, sent, os.environ.get("OMP_NUM_THREADS"))
                break
            except self._ray.exceptions.ActorAlreadyExistsError as cause:
                if time.monotonic() > give_up:
                    raise SetupError(
                        f"Another run writes into {self._place}: wait for it, or name another --output."
                    ) from cause
                time.sleep(0.1)
        worker = _Worker(actor)
        self._workers.append(worker)
        self._await(worker)

    def _await(self, worker: _Worker) -> None:
        """A worker that has no process yet gets its rows when that has begun."""
        worker.name = ""
        worker.process = worker.actor.begin.remote()
        self._starting[worker.actor.introduction.remote()] = worker

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        # Those that start too, but for those that wait for a GPU.
        begun = [worker for worker in self._workers if self._ray.wait([worker.process], timeout=0)[0]]
        ended = [worker.actor.stop.remote() for worker in begun]
        if ended:
            self._ray.wait(ended, num_returns=len(ended), timeout=_END_SECONDS)
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._ray.shutdown()

    def object_info(self) -> dict[str, Any]:
        """What the first worker's ComfyUI has that answers. Raises SetupError where no worker starts or answers."""
        while not (ready := self._ready()):
            self._wait({})
        try:
            return self._ray.get(ready[0].actor.object_info.remote())
        except self._ray.exceptions.RayTaskError as cause:
            raise SetupError(_reason(cause)) from cause
        except self._ray.exceptions.RayActorError as cause:
            raise SetupError(
                f"{TRIES} workers ended when they were asked for their nodes. The last: {_reason(cause)}"
            ) from cause

    def results(self, maker: Maker, tasks: Iterable[Any]) -> Iterator[Finished]:
        """What becomes of each task by `maker.make`, in the order in which they end. Raises SetupError where no worker
        is left."""
        sent = self._ray.put(self._ray.cloudpickle.dumps(maker))
        to_do = iter(tasks)
        busy: dict[Any, _Call] = {}
        while True:
            for worker in self._ready():
                while call := self._next_call(worker, to_do):
                    call.begin(worker)
                    busy[worker.actor.make.remote([sent], call.task)] = call
            if not busy and self._ready():
                return
            for reference in self._wait(busy):
                finished = self._taken(busy.pop(reference), reference, maker)
                if finished:
                    yield finished

    def _next_call(self, worker: _Worker, to_do: Iterator[Any]) -> _Call | None:
        """What a worker is to make besides what it makes; None for nothing."""
        if len(worker.calls) == ROWS_AT_ONCE or any(call.tries for call in worker.calls):
            return None
        if self._again:
            return None if worker.calls else self._again.pop()
        task = next(to_do, None)
        return None if task is None else _Call(task)

    def _wait(self, busy: Mapping[Any, _Call]) -> list[Any]:
        """Those calls that have ended, if any; workers that start have begun or are left out. Raises SetupError."""
        ended, _ = self._ray.wait([*busy, *self._starting], num_returns=1, timeout=_LOOK_SECONDS)
        for reference in ended:
            if reference in self._starting:
                self._has_started(self._starting.pop(reference), reference)
        ready = self._ready()
        if self._takes_more and not self._starting and len(busy) >= ROWS_AT_ONCE * len(ready):
            # Ray asks for machines where actors wait, and starts those that wait where a machine joins.
            for _ in ready:
                self._start()
        self._tell_of_waiting()
        return [reference for reference in ended if reference in busy]

    def _tell_of_waiting(self) -> None:
        """Say from time to time that no worker has started."""
        now = time.monotonic()
        if self._ready():
            self._tell_at = now + _QUIET_SECONDS
        elif now >= self._tell_at:
            self._tell_at = now + _TELL_SECONDS
            say(f"0 of {len(self._workers)} workers have started. Where no GPU is free they wait (see ray status).")
            if self._share and not self._gpus():
                say("The cluster has no GPU yet, and is asked for one. With --gpus 0 --workers 1 a worker needs none.")

    def _has_started(self, worker: _Worker, reference: Any) -> None:
        """A worker that has started gets rows; one that could not start is left out. Raises SetupError."""
        try:
            worker.name, version = self._ray.get(reference)
        except self._ray.exceptions.RayError as cause:
            self._workers.remove(worker)
            self._ray.kill(worker.actor)
            if not self._workers:
                raise SetupError(f"No worker starts: {_reason(cause)}") from cause
            say(f"A worker does not start, the others go on without it: {_reason(cause)}")
            # Those that would be asked for in its place would not start either.
            self._takes_more = False
            return
        if version != self.version:
            say(f"A worker has {version}, not {self.version}: its pictures may differ a little.")

    def _has_ended(self, worker: _Worker, cause: BaseException) -> None:
        say(f"A worker has ended, and another is started: {_reason(cause)}")
        # One that is only out of reach is ended too: it makes no rows that others make.
        self._ray.kill(worker.actor, no_restart=False)
        self._await(worker)

    def _taken(self, call: _Call, reference: Any, maker: Maker) -> Finished | None:
        """What became of the task of a call that has ended. Where its worker has ended too, it is tried again, alone,
        unless it was made."""
        worker = call.worker
        worker.calls.remove(call)
        try:
            made = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as cause:
            raise SetupError(_reason(cause)) from cause
        except self._ray.exceptions.RayActorError as cause:
            if worker.name == call.worker_name:
                self._has_ended(worker, cause)
            kept = maker.kept(call.worker_name, call.task)
            if kept is not None:
                return Finished(call.task, kept)
            if call.tries < TRIES:
                self._again.append(_Call(call.task, call.tries + 1))
                return None
            return Finished(call.task, None, f"{TRIES} workers ended during this row. The last: {_reason(cause)}")
        return Finished(call.task, made)


@dataclass(eq=False)
class _Worker:
    """A worker. process: a call that ends when there is one. name: of the process, for the list of what this has made;
    "" until it has started. calls: which it makes."""

    actor: Any
    process: Any = None
    name: str = ""
    calls: list[_Call] = field(default_factory=list)


@dataclass(eq=False)
class _Call:
    """A call of a worker's `make`. tries: how often its task is tried alone, this time included; 0 of one that is made
    beside others. worker_name: as it was when the call began."""

    task: Any
    tries: int = 0
    worker: _Worker = field(init=False)
    worker_name: str = field(init=False)

    def begin(self, worker: _Worker) -> None:
        self.worker = worker
        self.worker_name = worker.name
        worker.calls.append(self)


def _imported_ray(address: str) -> Any:
    """The module ray. Its settings are read when it is imported. Raises SetupError."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address == HERE:
        # Whoever reaches a port of Ray's runs any code: none is open to the network, as on Windows and macOS, and where
        # Ray knows tokens its own is asked for (~/.ray/auth_token).
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError:
        raise SetupError(NO_RAY.format(python=as_typed(sys.executable))) from None
    return ray


def _join(ray: Any, address: str) -> None:
    """Join a cluster, or start Ray here. Raises SetupError."""
    if ":" in address:
        _require_answer(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "likeness"}
    if address != HERE:
        # Each machine runs this pack, and the ComfyUI that it finds there.
        others = [f"/{path.name}" for path in ROOT.iterdir() if path.name not in _PACK]
        options["runtime_env"] = {"working_dir": str(ROOT), "excludes": others}
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        context = ray.init(address, **options)
    except Exception as cause:  # Ray raises bare ones, such as when starting takes too long
        place = ""
        if address != HERE:
            place = f" at {address}, which may want its RAY_AUTH_MODE and RAY_AUTH_TOKEN here too"
        raise SetupError(f"Ray does not start{place}: {cause}") from cause
    finally:
        # Ray puts a handler of its own in its place.
        signal.signal(signal.SIGTERM, on_terminate)
    if context.dashboard_url:
        say(f"Ray's dashboard: http://{context.dashboard_url}")


def _require_answer(address: str) -> None:
    """Raises SetupError where nothing listens: Ray would go on asking for many minutes."""
    try:
        url = address if "://" in address else f"//{address}"
        parts = urlsplit(url)
        connection = socket.create_connection((parts.hostname or "", parts.port or _CLIENT_PORT), _ANSWER_SECONDS)
        connection.close()
    except (OSError, ValueError) as cause:
        raise SetupError(
            f"Nothing answers at {address} ({cause}): start the cluster with ray start --head on its first machine, "
            "and give the address that this says."
        ) from cause


def _actor_class() -> type:
    """The class of the actors. It is sent as it is: a machine can import nothing of the pack before it has it."""
    import ray

    class Actor:
        """A worker. scripts: the folder of these scripts; without it the pack came with the actor."""

        def __init__(self, scripts: str | None, settings: bytes, threads: str | None) -> None:
            import os
            import sys
            import threading
            import time
            from pathlib import Path

            sys.path.insert(0, scripts or str(Path.cwd() / "scripts"))
            # Ray allows one thread where nobody has said how many.
            os.environ.pop("OMP_NUM_THREADS", None)
            if threads:
                os.environ["OMP_NUM_THREADS"] = threads
            from ray import cloudpickle

            # Each process has a name, and a list, of its own: one that is out of reach may still write into it.
            self._worker = cloudpickle.loads(settings).worker(time.time_ns())
            self._reading = threading.Lock()
            self._sent: Any = None
            self._maker: Any = None

        def begin(self) -> None:
            """Nothing: what is asked here is answered by a process."""

        def introduction(self) -> tuple[str, str]:
            self._worker.start()
            return self._worker.name, self._worker.version

        @ray.method(max_task_retries=TRIES - 1)
        def object_info(self) -> dict[str, Any]:
            return self._worker.object_info()

        @ray.method(max_task_retries=0)
        def make(self, sent: list[Any], task: Any) -> Any:
            with self._reading:
                if self._sent != sent[0]:
                    import ray
                    from ray import cloudpickle

                    self._maker = cloudpickle.loads(ray.get(sent[0]))
                    self._sent = sent[0]
                maker = self._maker
            return maker.make(self._worker, task)

        def stop(self) -> None:
            self._worker.stop()

    return Actor


def _reason(error: BaseException) -> str:
    """The text of an error: of Ray's the cause inside the actor, of a log its end."""
    return shortened(str(getattr(error, "cause", None) or error) or type(error).__name__)
