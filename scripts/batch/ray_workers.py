"""Workers on Ray: of a cluster, or of a Ray that is started on this machine."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import sys
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

from environment import ROOT, SetupError, say

from .prompts import Job
from .worker import Outcome, WorkerHost

HERE = "local"
"""The address by which Ray is started on this machine."""
_END_SECONDS = 60
"""How long a worker has to end by itself."""
_ANSWER_SECONDS = 10
"""How long a cluster has to answer."""
_CLIENT_PORT = 10001
"""Ray's own for programs outside of the cluster; an address may leave its port out."""
NO_RAY = (
    '--address runs the workers on Ray, which is not installed: {python} -m pip install "ray[default]". '
    "On one machine Ray is not needed: leave --address out."
)


class RayWorker:
    """A WorkerHandle of an actor of Ray's."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._actor = actor
        self._ready = self._call("start")

    @property
    def ready(self) -> Future[WorkerHost]:
        return self._ready

    def object_info(self) -> Future[dict[str, Any]]:
        return self._call("object_info")

    def run(self, job: Job) -> Future[Outcome]:
        return self._call("run", job.prompt, job.files)

    def end(self) -> None:
        self._ray.wait([self._actor.call.remote("stop")], timeout=_END_SECONDS)
        self._ray.kill(self._actor)

    def _call(self, method: str, *arguments: Any) -> Future[Any]:
        return self._actor.call.remote(method, *arguments).future()


class RayWorkers:
    """A WorkerSource: actors of Ray's, each with a ComfyUI.

    address: of a cluster, or HERE. count: where it is more than there are GPUs, they share them; None: as many as there
    are GPUs, or one. models: folders with one sub-folder per model key. Raises SetupError without Ray or without the
    cluster.
    """

    def __init__(self, address: str, count: int | None, models: list[str]) -> None:
        self._ray = _imported_ray(address)
        _join(self._ray, address)
        gpus = int(self._ray.cluster_resources().get("GPU", 0))
        self._count = count or gpus or 1
        self._models = models
        # Of this machine's own scripts. To a cluster they are sent with the actor.
        self._scripts = str(ROOT / "scripts") if address == HERE else None
        # Whole GPUs, or parts of which several make a whole one.
        share = 1 / math.ceil(self._count / gpus) if gpus else 0
        # Two calls at a time, so that a worker can be stopped while it has a row.
        self._actor = self._ray.remote(_actor_class()).options(
            num_cpus=0, num_gpus=share, max_concurrency=2, scheduling_strategy="SPREAD"
        )

    @property
    def count(self) -> int:
        return self._count

    def start(self, number: int) -> RayWorker:
        # Ray chooses the machine and its GPU, so the number means nothing here.
        actor = self._actor.remote(self._scripts, self._models, os.environ.get("OMP_NUM_THREADS"))
        return RayWorker(self._ray, actor)


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
        raise SetupError(NO_RAY.format(python=sys.executable)) from None
    return ray


def _join(ray: Any, address: str) -> None:
    """Join a cluster, or start Ray here. Raises SetupError."""
    if ":" in address:
        _require_answer(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == HERE:
        options["include_dashboard"] = True
    else:
        # Each machine runs this pack, and the ComfyUI that it finds there.
        options["runtime_env"] = {"working_dir": str(ROOT), "excludes": [".git", ".venv", ".cache", "tests", "output"]}
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

        def __init__(self, scripts: str | None, models: list[str], threads: str | None) -> None:
            import os
            import sys
            from pathlib import Path

            sys.path.insert(0, scripts or str(Path.cwd() / "scripts"))
            # Ray allows one thread where nobody has said how many.
            os.environ.pop("OMP_NUM_THREADS", None)
            if threads:
                os.environ["OMP_NUM_THREADS"] = threads
            import environment

            from batch.worker import Worker

            hosts = environment.find_hosts()
            if not hosts:
                raise environment.SetupError("There is no ComfyUI on this machine: set COMFYUI_PATH before ray start.")
            self._worker = Worker(hosts[0], Path(sys.executable), [Path(folder) for folder in models])

        def call(self, method: str, *arguments: Any) -> Any:
            return getattr(self._worker, method)(*arguments)

    return Actor
