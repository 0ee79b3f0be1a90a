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
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from environment import ROOT, SetupError, say

from core.checks.text import as_typed

from .one_worker import Finished, Maker, WorkerSettings
from .worker import TRIES, shortened

HERE = "local"
"""The address by which Ray is started on this machine."""
_END_SECONDS = 60
"""How long a worker has to end by itself."""
_ANSWER_SECONDS = 10
"""How long a cluster has to answer."""
_CLIENT_PORT = 10001
"""Ray's own for programs outside of the cluster; an address may leave its port out."""
_CALL_SECONDS = 1
"""So long a call takes, where its tasks are shorter than that."""
_MOST_ROWS = 1000
_PACK = (
    "__init__.py", "bridge", "core", "locales", "models_manifest.json", "nodes", "pictures", "pyproject.toml",
    "scripts", "subgraphs", "web", "workflows",
)  # fmt: skip
"""What machines of a cluster get; not what a user keeps in the pack's folder, such as pictures."""
_LOOK_SECONDS = 10
"""So often it is looked for GPUs of machines that have joined."""
_QUIET_SECONDS = 30
"""After so long without a worker the wait is told, and from then on every _TELL_SECONDS."""
_TELL_SECONDS = 60
NO_RAY = (
    'Several workers run on Ray, which is not installed: {python} -m pip install "ray[default]". '
    "One worker needs no Ray: leave --workers and --address out."
)


class RayWorkers:
    """Workers that are actors of Ray's, each with a ComfyUI. Ray puts them onto machines and GPUs. For one that ends
    another is started, on any machine that has room for it; use it in a `with` statement.

    address: of a cluster, or HERE. count: where it is more than there are GPUs, they share them; None: as many as there
    are GPUs, those of machines that join later too; one here where there is no GPU. settings: of the workers. host: the
    ComfyUI that all should have. place: what is theirs alone, as long as they run. Raises SetupError without Ray or
    without the cluster.
    """

    def __init__(
        self, address: str, count: int | None, settings: WorkerSettings, host: str, place: str | None = None
    ) -> None:
        self._ray = _imported_ray(address)
        _join(self._ray, address)
        self._settings = settings
        self.version = host
        self._place = place
        # Of this machine's own scripts. To a cluster they are sent with the actor.
        self._scripts = str(ROOT / "scripts") if address == HERE else None
        # Two calls at a time, so that a worker can be stopped while it has rows. It waits for its GPU, not for CPUs:
        # several start on a machine of any size.
        self._class = self._ray.remote(num_cpus=0, max_concurrency=2, max_restarts=0)(_actor_class())
        gpus = self._gpus()
        # The machines of a cluster may join later.
        at_least = 1 if address == HERE else 0
        self.count = count or gpus or at_least
        # Whole GPUs, or parts of which several make a whole one.
        share = 1 / math.ceil(self.count / gpus) if gpus else 0
        self._takes_new_gpus = count is None
        self._gpus_taken = gpus
        self._started = 0
        self._workers: list[_Worker] = []
        self._starting: dict[Any, _Worker] = {}
        self._tell_at = time.monotonic() + _QUIET_SECONDS
        self._call_rows = 1
        self._again: list[_Call] = []
        """Of workers that have ended."""
        for index in range(self.count):
            self._start(index, share)

    def _gpus(self) -> int:
        return int(self._ray.cluster_resources().get("GPU", 0))

    def _start(self, index: int, share: float) -> None:
        """Start a worker. index: as of _Worker. Raises SetupError where another run has a worker of this name, as one
        that was killed has for a moment still."""
        # A machine can import nothing of ours before the actor is there.
        sent = self._ray.cloudpickle.dumps(self._settings)
        name = f"worker {index} of {self._place}" if self._place else None
        actor_class = self._class.options(name=name, num_gpus=share, scheduling_strategy="SPREAD")
        number = self._started
        self._started += 1
        give_up = time.monotonic() + _END_SECONDS
        while True:
            try:
                actor = actor_class.remote(self._scripts, sent, number, os.environ.get("OMP_NUM_THREADS"))
                break
            except self._ray.exceptions.ActorAlreadyExistsError as cause:
                if time.monotonic() > give_up:
                    raise SetupError(
                        f"Another run writes into {self._place}: wait for it, or name another --output."
                    ) from cause
                # Short, for rows wait meanwhile: Ray frees the name of a worker that was killed at once.
                time.sleep(0.1)
        worker = _Worker(actor, index, share, self._settings.name(number))
        self._workers.append(worker)
        self._starting[actor.version.remote()] = worker

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        ended = [worker.actor.stop.remote() for worker in self._workers]
        self._ray.wait(ended, num_returns=len(ended), timeout=_END_SECONDS)
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._ray.shutdown()

    def object_info(self) -> dict[str, Any]:
        """What the first worker's ComfyUI has that answers. Raises SetupError where no worker starts or answers."""
        reason = ""
        for _ in range(TRIES):
            while not (ready := [worker for worker in self._workers if worker.is_ready]):
                self._wait({})
            try:
                return self._ray.get(ready[0].actor.object_info.remote())
            except self._ray.exceptions.RayTaskError as cause:
                raise SetupError(_reason(cause)) from cause
            except self._ray.exceptions.RayActorError as cause:
                reason = _reason(cause)
                self._start_another(ready[0], cause)
        raise SetupError(f"{TRIES} workers ended when they were asked for their nodes. The last: {reason}")

    def results(self, maker: Maker, tasks: Iterable[Any]) -> Iterator[Finished]:
        """What becomes of each task by `maker.make`, in the order in which they end.

        Fast ones are handed out some at a time. Raises SetupError where no worker is left.
        """
        sent = self._ray.put(self._ray.cloudpickle.dumps(maker))
        to_do = iter(tasks)
        busy: dict[Any, _Worker] = {}
        while True:
            for worker in self._workers:
                if worker.is_ready and not worker.call.tasks:
                    worker.call = self._again.pop() if self._again else _Call(list(islice(to_do, self._call_rows)))
                    if worker.call.tasks:
                        worker.since = time.monotonic()
                        busy[worker.actor.make.remote([sent], worker.call.tasks)] = worker
            if not busy and any(worker.is_ready for worker in self._workers):
                return
            for reference in self._wait(busy):
                yield from self._taken(busy.pop(reference), reference, maker)

    def _wait(self, busy: Mapping[Any, _Worker]) -> list[Any]:
        """Those calls that have ended, if any; workers that start have begun or are left out. Raises SetupError."""
        calls = [*busy, *self._starting]
        ended: list[Any] = []
        if calls:
            ended, _ = self._ray.wait(calls, num_returns=1, timeout=_LOOK_SECONDS)
        else:
            time.sleep(_LOOK_SECONDS)
        for reference in ended:
            if reference in self._starting:
                self._has_started(self._starting.pop(reference), reference)
        if self._takes_new_gpus:
            gpus = self._gpus()
            while self._gpus_taken < gpus:
                self._gpus_taken += 1
                self._start(self.count, 1)
                self.count += 1
        self._tell_of_waiting()
        return [reference for reference in ended if reference in busy]

    def _tell_of_waiting(self) -> None:
        """Say from time to time that no worker has started."""
        now = time.monotonic()
        if any(worker.is_ready for worker in self._workers):
            self._tell_at = now + _QUIET_SECONDS
        elif now >= self._tell_at:
            self._tell_at = now + _TELL_SECONDS
            if self._workers:
                say(f"0 of {len(self._workers)} workers have started. Where no GPU is free they wait (see ray status).")
            else:
                say("The cluster has no GPU yet: rows wait for one. With --workers 1 a worker starts without.")

    def _has_started(self, worker: _Worker, reference: Any) -> None:
        """A worker that has started gets rows; one that could not start is left out. Raises SetupError."""
        try:
            version = self._ray.get(reference)
        except self._ray.exceptions.RayError as cause:
            if getattr(cause, "actor_init_failed", True):
                self._leave_out(worker, cause)
            else:
                self._start_another(worker, cause)
            return
        worker.is_ready = True
        if version != self.version:
            say(f"A worker has {version}, not {self.version}: its pictures may differ a little.")

    def _leave_out(self, worker: _Worker, cause: BaseException) -> None:
        """Go on without a worker. Raises SetupError where no other is left."""
        self._workers.remove(worker)
        if not self._workers:
            raise SetupError(f"No worker starts: {_reason(cause)}")
        say(f"A worker does not start, the others go on without it: {_reason(cause)}")

    def _start_another(self, worker: _Worker, cause: BaseException) -> None:
        """In the place of a worker that has ended, or whose machine has."""
        say(f"A worker has ended, and another is started: {_reason(cause)}")
        self._workers.remove(worker)
        # One that is only out of reach makes no rows that others make, and leaves its name to the next.
        self._ray.kill(worker.actor)
        self._start(worker.index, worker.share)

    def _taken(self, worker: _Worker, reference: Any, maker: Maker) -> Iterator[Finished]:
        """What became of the tasks of a call that has ended. Where its worker has ended too, each task that was not
        made is tried again, alone."""
        call, worker.call = worker.call, _Call([])
        try:
            made = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as cause:
            raise SetupError(_reason(cause)) from cause
        except self._ray.exceptions.RayActorError as cause:
            self._start_another(worker, cause)
            for task, kept in zip(call.tasks, maker.kept(worker.name, call.tasks), strict=True):
                if kept is not None:
                    yield Finished(task, kept)
                elif len(call.tasks) > 1:
                    self._again.append(_Call([task]))
                elif call.tries < TRIES:
                    self._again.append(_Call([task], call.tries + 1))
                else:
                    yield Finished(task, None, f"{TRIES} workers ended during this row. The last: {_reason(cause)}")
            return
        rows_made = sum(maker.is_made(one) for one in made)
        self._call_rows = rows_of_next_call(self._call_rows, time.monotonic() - worker.since, rows_made)
        yield from map(Finished, call.tasks, made)


def rows_of_next_call(rows: int, seconds: float, rows_made: int) -> int:
    """How many rows the next call has: about those of a second, and at most twice as many as the last.

    seconds: of the last call. rows_made: how many of its rows have pictures; those that fail take milliseconds, which
    says nothing of the next.
    """
    if not rows_made:
        return rows
    of_a_second = int(_CALL_SECONDS * rows_made / max(seconds, 1e-6))
    return max(1, min(_MOST_ROWS, 2 * rows, of_a_second))


@dataclass
class _Call:
    """A call of a worker's `make`, with several tasks. tries: how often it is made, this time included."""

    tasks: list[Any]
    tries: int = 1


@dataclass
class _Worker:
    """A worker. index: which of those that run at once, from 0; one that is started for another that has ended has its
    index. share: of a GPU. name: of this one alone, for its list of what it has made. call: what it makes, since
    when."""

    actor: Any
    index: int
    share: float
    name: str
    is_ready: bool = False
    call: _Call = field(default_factory=lambda: _Call([]))
    since: float = 0.0


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

    class Actor:
        """A worker. scripts: the folder of these scripts; without it the pack came with the actor."""

        def __init__(self, scripts: str | None, settings: bytes, number: int, threads: str | None) -> None:
            import os
            import sys
            from pathlib import Path

            sys.path.insert(0, scripts or str(Path.cwd() / "scripts"))
            # Ray allows one thread where nobody has said how many.
            os.environ.pop("OMP_NUM_THREADS", None)
            if threads:
                os.environ["OMP_NUM_THREADS"] = threads
            from ray import cloudpickle

            self._worker = cloudpickle.loads(settings).worker(number)
            self._worker.start()
            self._sent: Any = None
            self._maker: Any = None

        def version(self) -> str:
            return self._worker.version

        def object_info(self) -> dict[str, Any]:
            return self._worker.object_info()

        def make(self, sent: list[Any], tasks: list[Any]) -> list[Any]:
            if self._sent != sent[0]:
                import ray
                from ray import cloudpickle

                self._maker = cloudpickle.loads(ray.get(sent[0]))
                self._sent = sent[0]
            return self._maker.make(self._worker, tasks)

        def stop(self) -> None:
            self._worker.stop()

    return Actor


def _reason(error: BaseException) -> str:
    """The text of an error: of Ray's the cause inside the actor, of a log its end."""
    return shortened(str(getattr(error, "cause", None) or error) or type(error).__name__)
