"""One worker: a headless ComfyUI that takes prompts and gives the files they save."""

import math
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environment import Host
from shared.host_server import HostError, HostServer
from shared.host_server import Run as HostRun
from shared.workflow import Prompt, title

from .faults import Fault, Happened, failure
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
_MOST_LETTERS = 600
"""Of the end of a log in a message."""


@dataclass(frozen=True)
class SavedFile:
    """A file that a prompt has saved. ending: with its dot, such as .png. path: where it lies until its row is done.
    node: that saved it."""

    ending: str
    path: Path
    node: str = ""

    @property
    def size(self) -> int:
        return self.path.stat().st_size


@dataclass(frozen=True)
class Outcome:
    """What became of a prompt: its files, or an error of a node. seconds: how long its nodes took. texts: as of
    `shown_texts`."""

    files: list[SavedFile] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """A headless ComfyUI in a temporary folder of its own, which may be started again.

    name: what no other worker is called. host: a ComfyUI of this machine. models: folders with one sub-folder per model
    key, besides its own. limit: seconds that a prompt may take.
    """

    label = "ComfyUI"

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

    def is_back(self) -> bool:
        """Start its ComfyUI, if it does not run. Raises Fault."""
        try:
            self.start()
        except (HostError, OSError) as cause:
            raise Fault(Happened.UNFIT, f"it does not start: {shortened(str(cause))}") from cause
        return True

    @property
    def folder(self) -> Path:
        """For the files of rows, until they are done. It goes with the worker."""
        return Path(self._folder.name)

    def run(self, prompt: Prompt, files: Mapping[str, bytes], folder: Path) -> Outcome:
        """Run a prompt. files: what it reads, by the names that it has for them. folder: for what it saves. Raises
        Fault where ComfyUI ends or takes too long, and where its disk does not take the files."""
        self.is_back()
        began = time.monotonic()
        try:
            with _disk_errors_told():
                for name, data in files.items():
                    self._put(name, data)
            return self._tried(prompt, folder)
        except (HostError, OSError) as cause:
            reason = shortened(str(cause))
            if time.monotonic() - began >= self._limit:
                reason = too_slow(self._limit)
            self._end_host()
            raise Fault(Happened.ENDED, reason) from cause
        finally:
            for name in files:
                self._path(name).unlink(missing_ok=True)

    def _tried(self, prompt: Prompt, folder: Path) -> Outcome:
        for _ in range(_ATTEMPTS):
            outcome = self._attempt(prompt, folder)
            if outcome is not None:
                return outcome
            # ComfyUI has not run a node again that saved the same for an earlier prompt. Now it runs all of them.
            self._server.free()
        return Outcome(error="ComfyUI named files that are not there.")

    def _end_host(self) -> None:
        with self._starting:
            self._server.stop()
            self._is_running = False

    def _attempt(self, prompt: Prompt, folder: Path) -> Outcome | None:
        """Run a prompt once; None where ComfyUI names files of an earlier prompt, which are no longer there."""
        run = self._server.attempt(prompt, timeout=None if math.isinf(self._limit) else self._limit)
        seconds = sum(run.seconds.values())
        if run.error or run.status != "success":
            return Outcome(error=reason_of(run, prompt), seconds=seconds)
        with _disk_errors_told():
            files = self._take_saved(run, folder)
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

    def clear(self) -> None:
        """Remove its folder, when no more is read there."""
        self._folder.cleanup()

    def _take_saved(self, run: HostRun, folder: Path) -> list[SavedFile] | None:
        """Everything that a prompt saved, in the order of its nodes, moved from ComfyUI's folder into another one.

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
        files: list[SavedFile] = []
        for number, (node, path) in enumerate(saved):
            taken = folder / f"{number}{path.suffix}"
            shutil.move(path, taken)
            files.append(SavedFile(path.suffix, taken, node))
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


@contextmanager
def _disk_errors_told() -> Iterator[None]:
    """Raises Fault where a disk does not take or give a file: ComfyUI runs all the same."""
    try:
        yield
    except OSError as cause:
        raise failure(shortened(str(cause))) from cause


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
