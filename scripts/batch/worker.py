"""One worker: a headless ComfyUI that takes prompts and gives the files they save."""

import os
import platform
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from environment import Host
from rig.host_server import HostError, HostServer
from rig.host_server import Run as HostRun
from rig.workflow import Prompt, title

_ATTEMPTS = 3
PERSON_FILE = ".safetensors"
"""How the file of a saved person ends."""
BESIDE = Path(__file__).parent / "beside"
"""A pack of nodes that the workers alone have."""
_FOLDERS = "likeness-batch-"
"""How the folders of workers begin. The number of the process follows, so that another one sees whose they were."""


class WorkerDied(Exception):
    """The worker's ComfyUI is no more."""


@dataclass(frozen=True)
class WorkerHost:
    """The ComfyUI of a worker. version: such as "ComfyUI 0.33.0". place: its folder and its machine, for messages."""

    version: str
    place: str


@dataclass(frozen=True)
class SavedFile:
    """A file that a prompt has saved. ending: with its dot, such as .png."""

    ending: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What became of a prompt: its files, or an error of a node. seconds: how long its nodes took."""

    files: list[SavedFile] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""


class Worker:
    """A headless ComfyUI in a temporary folder of its own.

    host: a ComfyUI of this machine. models: folders with one sub-folder per model key, besides its own. variables:
    environment variables for its ComfyUI, such as the GPU that it may use.
    """

    def __init__(
        self,
        host: Host,
        python: Path,
        models: Iterable[Path] = (),
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.host = host
        _remove_abandoned_folders()
        self._starting = threading.Lock()
        self._is_stopped = False
        self._folder = Path(tempfile.mkdtemp(prefix=_prefix()))
        packs = [*packs_of(host), BESIDE]
        self._server = HostServer(host, python, self._folder / "host", models, packs=packs, variables=variables)

    def start(self) -> WorkerHost:
        """Start its ComfyUI. Raises HostError."""
        with self._starting:
            if self._is_stopped:
                raise HostError("It was ended before it began.")
            self._server.__enter__()
        return WorkerHost(str(self.host), f"{self.host.path} on {platform.node()}")

    def object_info(self) -> dict[str, Any]:
        return self._server.object_info()

    def run(self, prompt: Prompt, files: Mapping[str, bytes]) -> Outcome:
        """Run a prompt. files: what it reads, by the names that it has for them. Raises WorkerDied."""
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
        except (HostError, OSError, KeyError) as cause:
            raise WorkerDied(str(cause)) from cause
        finally:
            for name in files:
                self._path(name).unlink(missing_ok=True)

    def _attempt(self, prompt: Prompt) -> Outcome | None:
        """Run a prompt once; None where ComfyUI names files of an earlier prompt, which are no longer there."""
        run = self._server.attempt(prompt, timeout=None)
        seconds = sum(run.seconds.values())
        if run.error or run.status != "success":
            return Outcome(error=_reason(run, prompt), seconds=seconds)
        files = self._take_saved(run)
        if files is None:
            return None
        if not files:
            return Outcome(seconds=seconds, error="The workflow saved no picture.")
        return Outcome(files, seconds)

    def stop(self) -> None:
        """End it, also while another thread starts it, which makes folders and a process until it sees this."""
        self._is_stopped = True
        self._server.stop()
        with self._starting:
            self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _take_saved(self, run: HostRun) -> list[SavedFile] | None:
        """Everything that a prompt saved, in the order of its nodes, taken out of ComfyUI's folder.

        None where a node was not run again: another prompt's file may have got the name of its file since.
        """
        paths: list[Path] = []
        is_lost = False
        for node, entry in _named_files(run):
            path = self._server.file(entry)
            if entry.get("type") == "temp":
                # Previews would fill the disk, and ComfyUI reads the names of all of them before it writes another.
                path.unlink(missing_ok=True)
            elif entry.get("type") == "output":
                paths.append(path)
                is_lost = is_lost or node in run.cached or not path.is_file()
        if is_lost:
            return None
        files = [SavedFile(path.suffix, path.read_bytes()) for path in paths]
        for path in paths:
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
        """Where a file of a prompt lies: saved people are in the face bank, everything else is an input."""
        if name.endswith(PERSON_FILE):
            return self._server.base / "models" / "likeness_faces" / name
        return self._server.base / "input" / name


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is removed at the end of a `with` statement; where the process is killed, the next run does it."""
    return tempfile.TemporaryDirectory(prefix=_prefix())


def _prefix() -> str:
    """How the temporary folders of this process begin."""
    return f"{_FOLDERS}{os.getpid()}-"


def _reason(run: HostRun, prompt: Prompt) -> str:
    """Why a prompt has made nothing, with the title of the node that failed."""
    node = run.error_node
    if node in prompt:
        node = title(prompt, node)
    if node:
        return f"{node}: {run.error_text}"
    return run.error or f"It ended as {run.status or 'nothing'}."


def _named_files(run: HostRun) -> list[tuple[str, Mapping[str, str]]]:
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


def _remove_abandoned_folders() -> None:
    """Remove what workers of this machine have left that were killed."""
    if os.name == "nt":
        # os.kill(process, 0) would end that process there.
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
        process = folder.name.removeprefix(_FOLDERS).split("-")[0]
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError):
            continue


def packs_of(host: Host) -> list[Path]:
    """The other packs of a ComfyUI, which a workflow may need.

    ComfyUI-Manager is left out, because it installs packs, and a copy of this pack, because the worker has ours.
    """
    folder = host.path / "custom_nodes"
    if not folder.is_dir():
        return []
    packs: list[Path] = []
    for path in sorted(folder.iterdir()):
        is_pack = (path / "__init__.py").is_file() and path.suffix != ".disabled"
        is_ours = (path / "models_manifest.json").is_file() and (path / "nodes" / "id_patch").is_dir()
        if is_pack and not is_ours and path.name.lower() != "comfyui-manager":
            packs.append(path)
    return packs
