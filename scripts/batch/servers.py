"""Workers that are ComfyUIs which run already, on whatever machine: photos are uploaded, pictures come back."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any
from urllib.error import HTTPError

from environment import SetupError, say
from shared.host_server import Event, HostError, RunningHost
from shared.host_server import Run as HostRun
from shared.workflow import Prompt

from .one_worker import DrivenWorkers, WorkerEnded, WorkerSettings
from .worker import Outcome, SavedFile, named_files, reason_of, shortened, shown_texts, too_slow

_BACK_SECONDS = 300
"""So long a server that has stopped is asked whether it runs again."""
_FIRST_PAUSE = 1.0
_MOST_PAUSE = 10.0


class Servers(DrivenWorkers):
    """Servers that make rows, until no one is left; use it in a `with` statement. Raises SetupError where one does not
    answer."""

    def __init__(self, urls: Sequence[str], settings: WorkerSettings) -> None:
        workers = [ServerWorker(settings.name(number), url, settings.limit) for number, url in enumerate(urls)]
        super().__init__(workers)
        for worker in workers[1:]:
            if worker.version != self.version:
                say(f"{worker.url} has {worker.version}, not {self.version}: its pictures may differ a little.")

    def object_info(self) -> dict[str, Any]:
        """The nodes that all have."""
        infos = [worker.object_info() for worker in self._workers]
        return {kind: node for kind, node in infos[0].items() if all(kind in info for info in infos)}


class ServerWorker:
    """A ComfyUI at a URL. Several threads may run prompts: it has a queue, and does not wait for the next one.

    name: what no other worker is called. limit: seconds that a prompt may take. Raises SetupError where it does not
    answer.
    """

    def __init__(self, name: str, url: str, limit: float) -> None:
        self.name = name
        self._server = RunningHost(url, limit)
        self.url = self._server.url
        self._limit = limit
        self._sent: set[str] = set()
        self._is_stopped = threading.Event()
        try:
            self.version = f"ComfyUI {self._server.get('/system_stats')['system']['comfyui_version']} of a server"
        except (OSError, ValueError, LookupError, TypeError) as cause:
            raise SetupError(f"No ComfyUI answers at {self.url} ({cause}): start it, or leave it out.") from cause

    def object_info(self) -> dict[str, Any]:
        """Every class of nodes that it has. Raises SetupError."""
        try:
            return self._server.object_info()
        except (OSError, ValueError) as cause:
            raise SetupError(f"{self.url} does not answer any more ({cause}): start it, or leave it out.") from cause

    def run(self, prompt: Prompt, files: Mapping[str, bytes]) -> Outcome:
        """Run a prompt. files: what it reads, by the names that it has for them. Raises WorkerEnded where the server
        has stopped, or is longer at the prompt than it may."""
        begun: list[float] = []

        def on_event(event: Event) -> None:
            if event["type"] == "execution_start":
                begun.append(time.monotonic())

        try:
            for name, data in files.items():
                self._send(name, data)
            try:
                return self._outcome(self._server.attempt(prompt, on_event, timeout=None), prompt)
            except FileNotFoundError:
                self._server.free()
                return self._outcome(self._server.attempt(prompt, on_event, timeout=None), prompt)
        except HTTPError as cause:
            # Such as 413: a photo that is larger than it takes. Of 5xx a proxy in front of it is the reason.
            if cause.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                return Outcome(error=f"{self.url} refuses it: {cause}")
            reason = str(cause)
        except (HostError, OSError, ValueError, LookupError, TypeError, AttributeError) as cause:
            reason = shortened(str(cause))
        if begun and time.monotonic() - begun[0] >= self._limit:
            reason = too_slow(self._limit)
        raise WorkerEnded(f"{self.url}: {reason}", is_of_task=bool(begun))

    def _send(self, name: str, data: bytes) -> None:
        """Upload a file, which is called after what is in it, once."""
        if name in self._sent:
            return
        called = self._server.upload(name, data, may_replace=True)
        if called != name:
            raise HostError(f"It calls {name} {called}")
        self._sent.add(name)

    def _outcome(self, run: HostRun, prompt: Prompt) -> Outcome:
        seconds = sum(run.seconds.values())
        if run.error or run.status != "success":
            return Outcome(error=reason_of(run, prompt), seconds=seconds)
        files: list[SavedFile] = []
        for node, entry in named_files(run):
            if entry.get("type") == "output":
                files.append(SavedFile(PurePosixPath(entry["filename"]).suffix, self._fetched(entry), node))
        return Outcome(files, seconds, texts=shown_texts(run))

    def _fetched(self, entry: Mapping[str, str]) -> bytes:
        """Raises FileNotFoundError where ComfyUI names the file of an earlier prompt, which somebody has removed."""
        try:
            return self._server.fetched(entry)
        except HTTPError as cause:
            if cause.code == HTTPStatus.NOT_FOUND:
                raise FileNotFoundError(entry["filename"]) from cause
            raise

    def is_back(self) -> bool:
        """Wait for a server that has stopped; whether it answers again."""
        self._sent.clear()
        give_up = time.monotonic() + _BACK_SECONDS
        pause = _FIRST_PAUSE
        while not self._is_stopped.wait(pause) and time.monotonic() < give_up:
            with contextlib.suppress(OSError, ValueError):
                self._server.get("/system_stats")
                self._server.withdraw(abandoned_only=True)
                return True
            pause = min(2 * pause, _MOST_PAUSE)
        return False

    def stop(self) -> None:
        """Leave it as it runs, without what this run has asked of it."""
        self._is_stopped.set()
        with contextlib.suppress(OSError):
            self._server.withdraw()
