"""One worker, whichever ComfyUI it has; and one with a headless ComfyUI of its own (servers.py has the others)."""

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

from environment import Host, SetupError
from shared.host_server import HostError, HostServer, RunningHost
from shared.host_server import Run as HostRun
from shared.workflow import Prompt, title

from core.checks.text import plain

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
MOST_SAID = 2000
"""Letters of what a ComfyUI says of an error, in a message: its nodes and a server may say anything."""
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
    """A ComfyUI that takes prompts and gives the files they save, one of our own or one that runs already.

    name: what no other worker is called. label: for messages. folder: for the files of rows, until they are done; it
    goes with the worker. takes_several: whether it may be given a prompt while it is at another, as it has a queue.
    """

    takes_several = False
    _server: RunningHost

    def __init__(self, name: str, label: str, limit: float) -> None:
        """limit: seconds that a prompt may take."""
        self.name = name
        self.label = label
        self._limit = limit
        self._temporary = temporary_folder()
        self.folder = Path(self._temporary.name)

    @property
    def version(self) -> str:
        """Of its ComfyUI, such as "ComfyUI 0.33.0"."""
        raise NotImplementedError

    def object_info(self) -> dict[str, Any]:
        """Every class of nodes that its ComfyUI has."""
        raise NotImplementedError

    def is_back(self) -> bool:
        """Whether it answers, and can be given rows. Raises Fault where it cannot for long."""
        raise NotImplementedError

    def stop(self) -> None:
        """End what it is at."""
        raise NotImplementedError

    def clear(self) -> None:
        """Remove its folder, when no more is read there."""
        self._temporary.cleanup()

    def run(self, prompt: Prompt, files: Mapping[str, bytes], folder: Path) -> Outcome:
        """Run a prompt. files: what it reads, by the names that it has for them. folder: for what it saves. Raises
        Fault where its ComfyUI does not make it."""
        try:
            self._require_ready()
            for name, data in files.items():
                self._put(name, data)
            for _ in range(_ATTEMPTS):
                try:
                    return self._outcome(self._server.attempt(prompt), prompt, folder)
                except FileNotFoundError:
                    # ComfyUI has not run a node again that saved the same for an earlier prompt, whose file is gone
                    # or another's now. Now it runs all of them.
                    self._server.free()
            return Outcome(error="ComfyUI named files that are not there.")
        except (Fault, SetupError):
            raise
        except Exception as cause:
            raise self._fault(cause) from cause
        finally:
            self._remove(files)

    def _outcome(self, run: HostRun, prompt: Prompt, folder: Path) -> Outcome:
        if run.error or run.status != "success":
            return Outcome(error=reason_of(run, prompt), seconds=run.seconds)
        return Outcome(self._taken(run, folder), run.seconds, texts=self._texts(run))

    def _texts(self, run: HostRun) -> Mapping[str, str]:
        return shown_texts(run)

    def _require_ready(self) -> None:
        """Raises Fault or OSError where it cannot be given a row."""

    def _put(self, name: str, data: bytes) -> None:
        """Bring a file to where the prompt's nodes look for it. Raises Fault, HostError or OSError."""
        raise NotImplementedError

    def _remove(self, names: Iterable[str]) -> None:
        """Take away what `_put` brought, where it is in the way."""

    def _taken(self, run: HostRun, folder: Path) -> list[SavedFile]:
        """Everything that a prompt saved, in the order of its nodes, in another folder. Raises FileNotFoundError where
        ComfyUI names the file of an earlier prompt."""
        raise NotImplementedError

    def _fault(self, cause: Exception) -> Fault:
        """What an error says of the worker that has made no outcome."""
        raise NotImplementedError


class OwnWorker(Worker):
    """A headless ComfyUI in a temporary folder of its own, which may be started again.

    host: a ComfyUI of this machine. models: folders with one sub-folder per model key, besides its own. limit: seconds
    that a prompt may take.
    """

    def __init__(
        self, name: str, host: Host, python: Path, models: Iterable[Path] = (), limit: float = math.inf
    ) -> None:
        super().__init__(name, "ComfyUI", limit)
        self._host = host
        self._starting = threading.Lock()
        self._is_running = False
        self._is_stopped = False
        self._began = 0.0
        """When the row began that is made; one at a time."""
        packs = [*packs_of(host), WORKER_NODES]
        self._own = self._server = HostServer(host, python, self.folder / "host", models, packs=packs, limit=limit)

    @property
    def version(self) -> str:
        return str(self._host)

    def start(self) -> None:
        """Start its ComfyUI, if it does not run. Raises HostError."""
        with self._starting:
            if self._is_stopped:
                raise HostError("It was ended before it began.")
            if not self._is_running:
                self._own.__enter__()
                self._is_running = True

    def object_info(self) -> dict[str, Any]:
        self.start()
        return self._own.object_info()

    def is_back(self) -> bool:
        """Start its ComfyUI, if it does not run. Raises Fault."""
        try:
            self.start()
        except (HostError, OSError) as cause:
            raise Fault(Happened.UNFIT, f"it does not start: {shortened(str(cause))}") from cause
        return True

    def stop(self) -> None:
        """End it, also while another thread starts it, which makes folders and a process until it sees this."""
        self._is_stopped = True
        self._own.stop()
        self._end_host()

    def _end_host(self) -> None:
        with self._starting:
            self._own.stop()
            self._is_running = False

    def _require_ready(self) -> None:
        self.is_back()
        self._began = time.monotonic()

    def _fault(self, cause: Exception) -> Fault:
        """Whatever it is, its ComfyUI is started again."""
        if not isinstance(cause, (HostError, OSError)):
            return failure(f"{type(cause).__name__}: {cause}")
        is_too_slow = time.monotonic() - self._began >= self._limit
        reason = too_slow(self._limit) if is_too_slow else shortened(str(cause))
        self._end_host()
        return Fault(Happened.ENDED, reason)

    def _texts(self, run: HostRun) -> Mapping[str, str]:
        """What is said of a folder that ends with the worker is meant for that of its ComfyUI."""
        own, lasting = str(self._own.base / "models"), str(self._host.path / "models")
        return {node: text.replace(own, lasting) for node, text in shown_texts(run).items()}

    def _taken(self, run: HostRun, folder: Path) -> list[SavedFile]:
        """Moved from ComfyUI's folder. Of a node that was not run again another prompt's file may have got the name of
        its file since."""
        saved: list[tuple[str, Path]] = []
        is_lost = False
        with _disk_errors_told():
            for node, entry in named_files(run):
                path = self._own.file(entry)
                if entry.get("type") == "temp":
                    # Previews would fill the disk, and ComfyUI reads the names of all before it writes another.
                    path.unlink(missing_ok=True)
                elif entry.get("type") == "output":
                    saved.append((node, path))
                    is_lost = is_lost or node in run.cached or not path.is_file()
        if is_lost:
            raise FileNotFoundError(run.id)
        with _disk_errors_told():
            files: list[SavedFile] = []
            for number, (node, path) in enumerate(saved):
                taken = folder / f"{number}{path.suffix}"
                shutil.move(path, taken)
                files.append(SavedFile(path.suffix, taken, node))
            return files

    def _put(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with _disk_errors_told():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if name.endswith(PERSON_FILE):
                # Load Person tells by the time of a file whether it has changed. The name has a hash of the content.
                os.utime(path, (0, 0))

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._own.base / "input" / name


@contextmanager
def _disk_errors_told() -> Iterator[None]:
    """Raises Fault where a disk does not take or give a file: ComfyUI runs all the same."""
    try:
        yield
    except OSError as cause:
        raise failure(shortened(str(cause))) from cause


def reason_of(run: HostRun, prompt: Prompt) -> str:
    """Why a prompt has made nothing, in one line, with the title of the node that failed."""
    node = run.error_node
    if node in prompt:
        node = title(prompt, node)
    said = f"{node}: {run.error_text}" if node else run.error
    return plain(said, MOST_SAID) or f"It ended as {run.status or 'nothing'}."


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
