"""One worker: a headless ComfyUI that takes prompts and gives the files they save."""

import math
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environment import Host, say
from shared.host_server import HostError, HostServer
from shared.host_server import Run as HostRun
from shared.workflow import Prompt, title

from .temporary import temporary_folder

_ATTEMPTS = 3
PERSON_FILE = ".safetensors"
"""How the file of a saved person ends."""
REPORT = "likeness_report"
"""What Measure Likeness shows its figures under, as JSON."""
_TEXT = "text"
"""What the host shows texts under."""
WORKER_NODES = Path(__file__).parent / "worker_nodes"
"""A pack of nodes that the workers alone have."""
TRIES = 2
"""So often a row is tried during which ComfyUI ends or takes too long."""
_MOST_LETTERS = 600
"""Of the end of a log in a message."""


@dataclass(frozen=True)
class SavedFile:
    """A file that a prompt has saved. ending: with its dot, such as .png. node: that saved it."""

    ending: str
    data: bytes = field(repr=False)
    node: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a prompt: its files, or an error of a node. seconds: how long its nodes took. is_given_up: whether
    it ended ComfyUI each time that it was tried. texts: as of `shown_texts`."""

    files: list[SavedFile] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""
    is_given_up: bool = False
    texts: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """A headless ComfyUI in a temporary folder of its own. One that ends is started again.

    name: what no other worker is called. host: a ComfyUI of this machine. models: folders with one sub-folder per model
    key, besides its own. limit: seconds that a prompt may take.
    """

    def __init__(
        self, name: str, host: Host, python: Path, models: Iterable[Path] = (), limit: float = math.inf
    ) -> None:
        self.name = name
        self._host = host
        self._limit = limit
        self._folder = temporary_folder()
        self._starting = threading.Lock()
        self._is_running = False
        self._is_stopped = False
        packs = [*packs_of(host), WORKER_NODES]
        self._server = HostServer(host, python, Path(self._folder.name) / "host", models, packs=packs)

    @property
    def version(self) -> str:
        """Of its ComfyUI, such as "ComfyUI 0.33.0"."""
        return str(self._host)

    def start(self) -> None:
        """Start its ComfyUI, if it does not run. Raises HostError."""
        with self._starting:
            if self._is_stopped:
                raise HostError("It was ended before it began.")
            if not self._is_running:
                self._server.__enter__()
                self._is_running = True

    def object_info(self) -> dict[str, Any]:
        """Every class of nodes that its ComfyUI has."""
        self.start()
        return self._server.object_info()

    def run(self, prompt: Prompt, files: Mapping[str, bytes]) -> Outcome:
        """Run a prompt. files: what it reads, by the names that it has for them.

        A prompt during which ComfyUI ends, or that takes too long, is tried again in the next one.
        """
        reason = ""
        for _ in range(TRIES):
            began = time.monotonic()
            try:
                self.start()
                began = time.monotonic()
                return self._tried(prompt, files)
            except (HostError, OSError) as cause:
                reason = shortened(str(cause))
                if time.monotonic() - began >= self._limit:
                    reason = too_slow(self._limit)
                self._end_host()
            if self._is_stopped:
                break
            say(f"ComfyUI ended during a row, and is started again: {reason}")
        return Outcome(error=f"ComfyUI ended {TRIES} times during this row. The last: {reason}", is_given_up=True)

    def _tried(self, prompt: Prompt, files: Mapping[str, bytes]) -> Outcome:
        try:
            for name, data in files.items():
                self._put(name, data)
            for _ in range(_ATTEMPTS):
                outcome = self._attempt(prompt)
                if outcome is not None:
                    return outcome
                # ComfyUI has not run a node again that saved the same for an earlier prompt. Now it runs all of them.
                self._server.free()
            return Outcome(error="ComfyUI named files that are not there.")
        finally:
            for name in files:
                self._path(name).unlink(missing_ok=True)

    def _end_host(self) -> None:
        with self._starting:
            self._server.stop()
            self._is_running = False

    def _attempt(self, prompt: Prompt) -> Outcome | None:
        """Run a prompt once; None where ComfyUI names files of an earlier prompt, which are no longer there."""
        run = self._server.attempt(prompt, timeout=None if math.isinf(self._limit) else self._limit)
        seconds = sum(run.seconds.values())
        if run.error or run.status != "success":
            return Outcome(error=reason_of(run, prompt), seconds=seconds)
        files = self._take_saved(run)
        if files is None:
            return None
        # What is said of this folder, which ends with the worker, is meant for that of its ComfyUI.
        own, lasting = str(self._server.base / "models"), str(self._host.path / "models")
        texts = {node: text.replace(own, lasting) for node, text in shown_texts(run).items()}
        return Outcome(files, seconds, texts=texts)

    def stop(self) -> None:
        """End it, also while another thread starts it, which makes folders and a process until it sees this."""
        self._is_stopped = True
        self._server.stop()
        self._end_host()
        self._folder.cleanup()

    def _take_saved(self, run: HostRun) -> list[SavedFile] | None:
        """Everything that a prompt saved, in the order of its nodes, taken out of ComfyUI's folder.

        None where a node was not run again: another prompt's file may have got the name of its file since.
        """
        saved: list[tuple[str, Path]] = []
        is_lost = False
        for node, entry in named_files(run):
            path = self._server.file(entry)
            if entry.get("type") == "temp":
                # Previews would fill the disk, and ComfyUI reads the names of all of them before it writes another.
                path.unlink(missing_ok=True)
            elif entry.get("type") == "output":
                saved.append((node, path))
                is_lost = is_lost or node in run.cached or not path.is_file()
        if is_lost:
            return None
        files = [SavedFile(path.suffix, path.read_bytes(), node) for node, path in saved]
        for _, path in saved:
            path.unlink()
        return files

    def _put(self, name: str, data: bytes) -> None:
        """Write a file to where the prompt's nodes look for it."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if name.endswith(PERSON_FILE):
            # Load Person tells by the time of a file whether it has changed. The name has a hash of the content.
            os.utime(path, (0, 0))

    def _path(self, name: str) -> Path:
        return self._server.base / "input" / name


def reason_of(run: HostRun, prompt: Prompt) -> str:
    """Why a prompt has made nothing, with the title of the node that failed."""
    node = run.error_node
    if node in prompt:
        node = title(prompt, node)
    if node:
        return f"{node}: {run.error_text}"
    return run.error or f"It ended as {run.status or 'nothing'}."


def too_slow(limit: float) -> str:
    """Why a row ended that took as long as it may. limit: seconds."""
    return f"It was not done after {limit:g} s. --row-limit gives it more seconds."


def shortened(text: str) -> str:
    """A text, or the end of it where it is a log."""
    return text if len(text) <= _MOST_LETTERS else f"… {text[-_MOST_LETTERS:]}"


def shown_texts(run: HostRun) -> dict[str, str]:
    """What nodes show as text, by their ids: Preview as Text, and the figures of Measure Likeness."""
    texts: dict[str, str] = {}
    for node, outputs in run.outputs.items():
        for key in (_TEXT, REPORT):
            shown = outputs.get(key)
            if isinstance(shown, list) and shown and isinstance(shown[-1], str):
                texts[node] = shown[-1]
    return texts


def named_files(run: HostRun) -> list[tuple[str, Mapping[str, str]]]:
    """Every file that the host names of a prompt: the node, and {"filename", "subfolder", "type"}."""
    named: list[tuple[str, Mapping[str, str]]] = []
    for node, outputs in run.outputs.items():
        for entries in outputs.values():
            if not isinstance(entries, list):
                continue
            for entry in entries:
                if isinstance(entry, dict) and entry.get("filename"):
                    named.append((node, entry))
    return named


def packs_of(host: Host) -> list[Path]:
    """The other packs of a ComfyUI, which a workflow may need: all that it loads, and what lies beside it.

    ComfyUI-Manager is left out, because it installs packs, and a copy of this pack, because the worker has ours.
    """
    folder = host.path / "custom_nodes"
    if not folder.is_dir():
        return []
    packs: list[Path] = []
    for path in sorted(folder.iterdir()):
        is_left_out = path.name.endswith(".disabled") or path.name.lower() in ("__pycache__", "comfyui-manager")
        is_ours = (path / "models_manifest.json").is_file() and (path / "nodes" / "id_patch").is_dir()
        if path.exists() and not is_left_out and not is_ours:
            packs.append(path)
    return packs
