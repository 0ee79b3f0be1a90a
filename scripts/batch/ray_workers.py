"""Workers on Ray: of a cluster, or of a Ray that is started on this machine."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from environment import ROOT, SetupError, say

from core.checks.text import as_typed

from .faults import ROWS_AT_ONCE, TRIES, Fault, Finished, Happened, Standing
from .one_worker import DrivenWorkers, Maker, WorkerSettings
from .worker import shortened

HERE = "local"
"""The address by which Ray is started on this machine."""
_THREAD_SECONDS = 10
_NAME_SECONDS = 60
"""How long the name of a worker may stay another's that was killed."""
_ANSWER_SECONDS = 10
"""How long a cluster has to answer."""
_CLIENT_PORT = 10001
"""Ray's own for programs outside of the cluster; an address may leave its port out."""
_PACK = (
    "__init__.py", "bridge", "core", "locales", "models_manifest.json", "nodes", "pictures", "pyproject.toml",
    "scripts", "subgraphs", "web", "workflows",
)  # fmt: skip
"""What machines of a cluster get; not what a user keeps in the pack's folder, such as pictures."""
_QUIET_SECONDS = 30
"""After so long without a worker the wait is told, and from then on every _TELL_SECONDS."""
_TELL_SECONDS = 60
NO_RAY = (
    'Several workers run on Ray, which is not installed: {python} -m pip install "ray[default]". '
    "One worker needs no Ray: leave --workers and --address out."
)


class RayWorkers(DrivenWorkers):
    """Workers that are actors of Ray's, each with a ComfyUI. Ray puts them onto machines and GPUs, and starts one that
    ends again, on any machine that has room for it; use it in a `with` statement.

    address: of a cluster, or HERE. count: None: as many as Ray finds GPUs for, those of machines that join later or
    that it starts for them too. settings: of the workers. host: the ComfyUI that all should have. place: what is theirs
    alone, as long as they run. gpus: of each worker; None: one, or none where this machine has none. Raises SetupError
    without Ray, without the cluster, and where this machine has too few GPUs.
    """

    patience = math.inf
    """Ray starts them again, as soon as a GPU is free."""
    end_seconds = 20.0

    def __init__(
        self,
        address: str,
        count: int | None,
        settings: WorkerSettings,
        host: str,
        place: str | None = None,
        gpus: float | None = None,
    ) -> None:
        super().__init__([])
        self.version = host
        self._ray = _imported_ray(address)
        # Ray prints pages of its own there whenever a worker ends. What is to be known of that we say on stderr.
        self._quiet = contextlib.redirect_stdout(_Nowhere())
        self._quiet.__enter__()
        try:
            _join(self._ray, address)
            self._begin(address, count, settings, place, gpus)
        except BaseException:
            self._ray.shutdown()
            self._quiet.__exit__(None, None, None)
            raise

    def _begin(
        self, address: str, count: int | None, settings: WorkerSettings, place: str | None, gpus: float | None
    ) -> None:
        """Ask Ray for the first workers."""
        self._settings = settings
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
        # Calls run side by side, and one more is there to start a ComfyUI, and one to stop it. An actor waits for its
        # GPU, not for CPUs: several start on a machine of any size. Calls wait while it is started again, but for those
        # that say otherwise.
        self._class = self._ray.remote(
            num_cpus=0,
            num_gpus=self._share,
            max_concurrency=ROWS_AT_ONCE + 2,
            max_restarts=-1,
            max_task_retries=-1,
        )(_actor_class())
        self._takes_more = count is None and self._share > 0 and address != HERE
        self._tell_at = time.monotonic() + _QUIET_SECONDS
        self._sent: tuple[Maker, Any] | None = None
        """What makes rows, and as Ray has it."""
        self._sending = threading.Lock()
        for _ in range(count or (int(gpus_there / self._share) if self._share else 0) or 1):
            self._start()

    def _gpus(self) -> int:
        return int(self._ray.cluster_resources().get("GPU", 0))

    def _start(self) -> None:
        """Ask Ray for a worker. Raises SetupError where another run has a worker of this name, as one that was killed
        has for a moment still."""
        # A machine can import nothing of ours before the actor is there.
        sent = self._ray.cloudpickle.dumps(self._settings)
        number = len(self._crew.standings)
        name = f"worker {number} of {self._place}" if self._place else None
        actor_class = self._class.options(name=name, scheduling_strategy="SPREAD")
        give_up = time.monotonic() + _NAME_SECONDS
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
        standing = self._crew.add(RayWorker(self._ray, actor, number + 1, self.version))
        standing.is_asked = True
        self._ask(standing, 0)

    def __exit__(self, *arguments: object) -> None:
        try:
            super().__exit__(*arguments)
            # Ray aborts this process where a thread still waits for an answer. Now that its actors are killed it comes.
            for thread in [*self._threads, *self._asking]:
                thread.join(_THREAD_SECONDS)
            self._ray.shutdown()
        finally:
            self._quiet.__exit__(None, None, None)

    def object_info(self) -> dict[str, Any]:
        """What the first worker's ComfyUI has that answers. Raises SetupError where no worker starts or answers."""
        while not (ready := self._ready()):
            self._wait()
        try:
            return self._ray.get(ready[0].worker.actor.object_info.remote())
        except self._ray.exceptions.RayTaskError as cause:
            raise SetupError(_reason(cause)) from cause
        except self._ray.exceptions.RayActorError as cause:
            raise SetupError(
                f"{TRIES} workers ended when they were asked for their nodes. The last: {_reason(cause)}"
            ) from cause

    def _ready(self) -> list[Standing]:
        return [standing for standing in self._crew.standings if standing.works]

    def _made(self, worker: RayWorker, maker: Maker, task: Any) -> Any:
        return worker.make(self._sent_once(maker), maker, task)

    def _sent_once(self, maker: Maker) -> Any:
        """A maker as Ray has it, whom all workers are given. A worker that were given two would have two lists of one
        name, and in a store each would write over what the other has written."""
        with self._sending:  # by one of the threads that hand out rows
            if self._sent is None or self._sent[0] is not maker:
                self._sent = (maker, self._ray.put(self._ray.cloudpickle.dumps(maker)))
            return self._sent[1]

    def _wait(self) -> Finished | None:
        self._grow()
        self._tell_of_waiting()
        return super()._wait()

    def _grow(self) -> None:
        """Ask for more workers where all have what they can take. Where one does not start, those that would be asked
        for in its place would not start either."""
        standings = self._crew.standings
        is_enough = any(standing.room > 0 or standing.out is Happened.UNFIT for standing in standings)
        is_starting = any(standing.is_asked and not standing.out for standing in standings)
        if self._takes_more and not is_enough and not is_starting:
            # Ray asks for machines where actors wait, and starts those that wait where a machine joins.
            for _ in self._ready():
                self._start()

    def _tell_of_waiting(self) -> None:
        """Say from time to time that no worker has started."""
        now = time.monotonic()
        if self._ready():
            self._tell_at = now + _QUIET_SECONDS
        elif now >= self._tell_at:
            self._tell_at = now + _TELL_SECONDS
            count = len(self._crew.standings)
            say(f"0 of {count} workers have started. Where no GPU is free they wait (see ray status).")
            if self._share and not self._gpus():
                say("The cluster has no GPU yet, and is asked for one. With --gpus 0 --workers 1 a worker needs none.")


class RayWorker:
    """An actor of Ray's, as it is driven. version: the ComfyUI that it should have."""

    def __init__(self, ray: Any, actor: Any, number: int, version: str) -> None:
        self._ray = ray
        self.actor = actor
        self.label = f"Worker {number}"
        self._version = version
        self._name = ""
        """Of its process, for the list of what this has made; "" until it has started."""
        self._ending = threading.Lock()
        self._process = actor.begin.remote()
        """A call that ends when there is a process."""

    def make(self, sent: Any, maker: Maker, task: Any) -> Any:
        """What becomes of a task by the maker that Ray was sent. Raises Fault."""
        name = self._name
        try:
            return self._ray.get(self.actor.make.remote([sent], task))
        except self._ray.exceptions.RayTaskError as cause:
            if isinstance(cause.cause, SetupError):
                # What is wrong on its machine need not be on others.
                raise Fault(Happened.UNFIT, str(cause.cause)) from None
            raise cause.cause from None
        except self._ray.exceptions.RayActorError as cause:
            self._end(name)
            kept = maker.kept(name, task)
            if kept is not None:
                return kept
            raise Fault(Happened.ENDED, _reason(cause)) from cause

    def _end(self, name: str) -> None:
        """Have Ray start another process in the place of one that has ended. One that is only out of reach is ended
        too: it makes no rows that others make."""
        with self._ending:
            if self._name == name:
                self._name = ""
                self._ray.kill(self.actor, no_restart=False)
                self._process = self.actor.begin.remote()

    def is_back(self) -> bool:
        """Wait until it has a process and a ComfyUI that runs. Raises Fault where that does not start."""
        try:
            self._name, version, machine = self._ray.get(self.actor.introduction.remote())
        except self._ray.exceptions.RayError as cause:
            raise Fault(Happened.UNFIT, f"it does not start: {_reason(cause)}") from cause
        self.label = f"{self.label.partition(' on ')[0]} on {machine}"
        if version != self._version:
            say(f"{self.label} has {version}, not {self._version}: its pictures may differ a little.")
        return True

    def stop(self) -> None:
        """End it by itself where it has begun, also while it starts."""
        if self._ray.wait([self._process], timeout=0)[0]:
            self._ray.wait([self.actor.stop.remote()], timeout=RayWorkers.end_seconds)

    def clear(self) -> None:
        self._ray.kill(self.actor)


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
    beginning = _Beginning(lambda: ray.init(address, **options))
    try:
        context = beginning.result()
    except Exception as cause:  # Ray raises bare ones, such as when starting takes too long
        place = ""
        if address != HERE:
            place = f" at {address}, which may want its RAY_AUTH_MODE and RAY_AUTH_TOKEN here too"
        raise SetupError(f"Ray does not start{place}: {cause}") from cause
    if context.dashboard_url:
        say(f"Ray's dashboard: http://{context.dashboard_url}")


class _Nowhere(io.TextIOBase):
    """Takes what is printed."""

    def write(self, text: str) -> int:
        return len(text)


class _Beginning:
    """Something that begins in a thread of its own, which lives as long as this process.

    There Ray leaves the handlers of signals alone, by which it would end this script as it likes; and its processes end
    with the thread that has started them.
    """

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._begin = begin
        self._has_begun = threading.Event()
        self._result: Any = None
        self._error: Exception | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._begin()
        except Exception as cause:  # noqa: BLE001 - it is raised where the result is taken
            self._error = cause
        self._has_begun.set()
        threading.Event().wait()

    def result(self) -> Any:
        """What has begun. Whoever stops the script meanwhile waits until that can be ended, so that nothing stays."""
        try:
            while not self._has_begun.wait(0.5):
                pass
        except BaseException:
            self._has_begun.wait()
            raise
        finally:
            # Beneath Python Ray has put one of its own into the place of this handler.
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        if self._error:
            raise self._error
        return self._result


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

        def introduction(self) -> tuple[str, str, str]:
            import platform

            self._worker.start()
            return self._worker.name, self._worker.version, platform.node()

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

        @ray.method(max_task_retries=0)
        def stop(self) -> None:
            self._worker.stop()
            self._worker.clear()

    return Actor


def _reason(error: BaseException) -> str:
    """The text of an error: of Ray's the cause inside the actor, of a log its end."""
    cause = getattr(error, "cause", None)
    if cause is not None:
        return shortened(str(cause) or type(cause).__name__)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # Where there is a traceback in Ray's page, its last line is the reason, else the first.
    return shortened(lines[-1] if "ray::" in str(error) else lines[0])
