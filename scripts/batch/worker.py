"""One worker: a headless ComfyUI that takes prompts and gives the files they save."""

import os
import platform
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environment import Host
from rig.host_server import HostError, HostServer
from rig.host_server import Run as HostRun
from rig.workflow import Prompt, title

_ATTEMPTS = 3
BESIDE = Path(__file__).parent / "beside"
"""Nodes of the workers' own."""
_FOLDERS = "likeness-batch-"
"""And the number of the process, by which another one sees whose they were."""


class WorkerDied(Exception):
    """Its ComfyUI is no more."""


@dataclass(frozen=True)
class Made:
    """What became of a row: its files, each an ending and its bytes, or an error of a node. seconds: in its nodes."""

    files: list[tuple[str, bytes]] = field(default_factory=list, repr=False)
    seconds: float = 0.0
    error: str = ""


class Worker:
    """host: a ComfyUI of this machine. models: folders with one sub-folder per model key, besides its own."""

    def __init__(self, host: Host, python: Path, models: Iterable[Path] = ()) -> None:
        self.host = host
        _clear_up()
        self._starts, self._ended = threading.Lock(), False
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDERS}{os.getpid()}-"))
        self._server = HostServer(host, python, self._folder / "host", models, packs=[*packs_of(host), BESIDE])

    def start(self) -> tuple[str, str]:
        """Which ComfyUI it has, and where. Raises HostError."""
        with self._starts:
            if self._ended:
                raise HostError("It was ended before it began.")
            self._server.__enter__()
        return str(self.host), f"{self.host.path} on {platform.node()}"

    def object_info(self) -> dict[str, Any]:
        return self._server.object_info()

    def run(self, prompt: Prompt, photos: Mapping[str, bytes]) -> Made:
        """Raises WorkerDied."""
        try:
            for name, data in photos.items():
                self._path(name).write_bytes(data)
            for _ in range(_ATTEMPTS):
                run = self._server.attempt(prompt, timeout=None)
                seconds = sum(run.seconds.values())
                if run.error or run.status != "success":
                    named = title(prompt, run.error_node) if run.error_node in prompt else run.error_node
                    text = f"{named}: {run.error_text}" if named else run.error
                    return Made(error=text or f"It ended as {run.status or 'nothing'}.", seconds=seconds)
                files = self._saved(run)
                if files is not None:
                    return Made(files, seconds, "" if files else "The workflow saved no picture.")
                # The same prompt as an earlier one, whose files are no longer here: it has to be made anew.
                self._server.free()
            return Made(error="ComfyUI named files that are not there.")
        except (HostError, OSError, KeyError) as cause:
            raise WorkerDied(str(cause)) from cause
        finally:
            for name in photos:
                self._path(name).unlink(missing_ok=True)

    def stop(self) -> None:
        """Also of one that is still starting in another thread, which makes folders and a process until it sees it."""
        self._ended = True
        self._server.stop()
        with self._starts:
            self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _saved(self, run: HostRun) -> list[tuple[str, bytes]] | None:
        """Everything the prompt saved, in the order of its nodes, taken out of the folder; None where it is gone.

        So it is where ComfyUI did not run the node again: another prompt's file may have got that name since.
        """
        named = [
            (node, entry)
            for node, outputs in run.outputs.items()
            for shown in outputs.values()
            if isinstance(shown, list)
            for entry in shown
            if isinstance(entry, dict) and entry.get("filename")
        ]
        # Previews would fill the disk, and for each one ComfyUI reads the names of all.
        for entry in (entry for _, entry in named if entry.get("type") == "temp"):
            self._server.file(entry).unlink(missing_ok=True)
        saved = [(node, self._server.file(entry)) for node, entry in named if entry.get("type") == "output"]
        if any(node in run.cached or not path.is_file() for node, path in saved):
            return None
        paths = [path for _, path in saved]
        files = [(path.suffix, path.read_bytes()) for path in paths]
        for path in paths:
            path.unlink()
        return files

    def _path(self, name: str) -> Path:
        """Of a file that a prompt reads."""
        return self._server.base / "input" / name


def _clear_up() -> None:
    """What workers of this machine have left that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*") if os.name != "nt" else ():
        process = folder.name.removeprefix(_FOLDERS).split("-")[0]
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError):
            continue


def packs_of(host: Host) -> list[Path]:
    """The other packs of a ComfyUI, which a workflow may need; not ours, and not the one that installs packs."""
    folder = host.path / "custom_nodes"
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        path
        for path in found
        if (path / "__init__.py").is_file() and path.suffix != ".disabled" and path.name.lower() != "comfyui-manager"
        if not ((path / "models_manifest.json").is_file() and (path / "nodes" / "id_patch").is_dir())
    ]
