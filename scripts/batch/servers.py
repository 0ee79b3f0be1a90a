"""Workers that are ComfyUIs which run already, on whatever machine: photos are uploaded, pictures come back.

A server is a stranger: what it answers has limits, comes under endings of a list, and never ends this script.
"""

from __future__ import annotations

import codecs
import contextlib
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import HTTPError

from environment import SetupError, say
from shared.between import Between, Page, patient
from shared.host_server import Ended, HostError, Lost, Overdue, RunningHost, Silent
from shared.host_server import Run as HostRun

from core.checks.text import plain
from core.models.files import is_text

from .faults import Fault, Happened, failure
from .folders import Folder
from .one_worker import DrivenWorkers, WorkerSettings
from .output import disk_errors_told
from .worker import MOST_SAID, SavedFile, Worker, named_files, too_slow

_MOST_BYTES = 4 * 10**9
"""Of all that a row saves."""
_LONGEST_SECONDS = 7200
"""So long its files may come, of which there may be any number."""
_PAGE_SECONDS = 60
"""So long a file is asked for again in whose place a page comes."""
_MOST_VERSION_LETTERS = 40
_BYTES = (
    ".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".heic", ".jxl", ".tif", ".tiff", ".bmp", ".exr", ".psd",
    ".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v", ".flac", ".mp3", ".opus", ".ogg", ".wav", ".m4a", ".aac",
    ".glb", ".usdz", ".splat", ".ksplat", ".spz", ".latent", ".safetensors",
)  # fmt: skip
"""Endings of files that do not begin as a text."""
_NO_PAGES = (".hdr", ".gltf", ".obj", ".ply", ".stl", ".fbx", ".json")
"""Endings of files that may begin as a text, and do not begin as a page."""
_ENDINGS = (*_BYTES, *_NO_PAGES, ".txt", ".csv")
"""Of files that no system runs or opens as a page."""
_HEAD = 512
_LOGIN = "it wants a login: write http://NAME:PASSWORD@HOST, or http://HOST/?token=TOKEN as it was started with"
_ADVICE = (
    (socket.gaierror, "no machine is called so: look at its name"),
    (ConnectionRefusedError, "start it"),
    (
        ssl.SSLCertVerificationError,
        "its certificate is not trusted here: give the name that it is made for, or http://",
    ),
    (ssl.SSLError, "it does not speak https: give its address with http://"),
    (TimeoutError, "look whether it hangs, and whether a firewall is between"),
    (Page, "that is no ComfyUI, or a proxy answers in its place: look at its address, in a browser too"),
    (Between, "a proxy answers in its place: start it, or ask it less often"),
    (ConnectionError, "look whether that is a ComfyUI, and whether it wants https://"),
    (OSError, "look at its address, and at the network"),
)
"""What to do about each error of a connection; the first kind counts that an error is of."""


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
        infos = [standing.worker.object_info() for standing in self._crew.standings]
        return {kind: node for kind, node in infos[0].items() if all(kind in info for info in infos)}


class ServerWorker(Worker):
    """A ComfyUI at a URL. Several threads may run prompts: it has a queue, and does not wait for the next one.

    limit: seconds that a prompt may take. Raises SetupError where it does not answer.
    """

    takes_several = True

    def __init__(self, name: str, url: str, limit: float) -> None:
        server = RunningHost(url, limit)
        self.url = server.url
        self._sent: set[str] = set()
        try:
            version = server.require_answer()["system"]["comfyui_version"]
            self._version = f"ComfyUI {plain(version, _MOST_VERSION_LETTERS)} of a server"
        except (OSError, ValueError, LookupError, TypeError) as cause:
            raise _no_answer(f"No ComfyUI answers at {self.url}", cause) from cause
        super().__init__(name, self.url, limit)
        self._server = server

    @property
    def version(self) -> str:
        return self._version

    def object_info(self) -> dict[str, Any]:
        """Raises SetupError."""
        try:
            return self._server.object_info()
        except (OSError, ValueError) as cause:
            raise _no_answer(f"{self.url} does not answer any more", cause) from cause

    def is_back(self) -> bool:
        """Whether it answers; what it keeps of prompts that nobody waits for goes. Raises Fault where it wants a
        login."""
        self._sent.clear()
        try:
            self._server.require_answer()
            self._server.withdraw(abandoned_only=True)
        except (OSError, ValueError) as cause:
            fault = self._fault(cause)
            if fault.happened is Happened.UNFIT:
                raise fault from cause
            return False
        return True

    def stop(self) -> None:
        """Leave it as it runs, without what this run has asked of it."""
        with contextlib.suppress(OSError, ValueError):
            self._server.withdraw()

    def _require_ready(self) -> None:
        """One that hangs is not given a row, whose photos it would take minutes not to take."""
        self._server.require_answer()

    def _fault(self, cause: Exception) -> Fault:
        reason = plain(cause, MOST_SAID)
        if isinstance(cause, Overdue):
            return Fault(Happened.ENDED, too_slow(self._limit))
        if isinstance(cause, Lost):
            return Fault(Happened.LOST, reason)
        if isinstance(cause, HostError) and isinstance(cause.__cause__, HTTPError):
            answered = cause.__cause__
        else:
            answered = cause if isinstance(cause, HTTPError) else None
        if answered and answered.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return Fault(Happened.UNFIT, f"{reason}: {_LOGIN}")
        if isinstance(cause, Ended):
            return Fault(Happened.ENDED, reason)
        if isinstance(cause, (Silent, OSError)) and answered is None:
            return Fault(Happened.SILENT, reason)
        if isinstance(cause, (HostError, HTTPError)):
            return failure(f"{self.url} refuses it: {reason}")
        # Whatever else it sends, Python stumbles over it.
        return Fault(
            Happened.FAILED, f"{self.url} answers otherwise than ComfyUI does ({type(cause).__name__}: {reason})"
        )

    def _put(self, name: str, data: bytes) -> None:
        """Upload a file, which is called after what is in it, once."""
        if name in self._sent:
            return
        called = self._server.upload(name, data, may_replace=True)
        if called != name:
            raise HostError(f"it calls {name} {called}")
        self._sent.add(name)

    def _taken(self, run: HostRun, folder: Path) -> list[SavedFile]:
        files: list[SavedFile] = []
        left = _MOST_BYTES
        give_up = time.monotonic() + _LONGEST_SECONDS
        for node, entry in named_files(run):
            if entry.get("type") == "output":
                if time.monotonic() > give_up:
                    raise Fault(Happened.FAILED, f"Its files have not all come after {_LONGEST_SECONDS:g} s.")
                ending = PurePosixPath(entry["filename"]).suffix.lower()
                if ending not in _ENDINGS:
                    kinds = "pictures, films, sounds, models and texts are taken"
                    raise Fault(Happened.FAILED, f"It saved a file that ends in {ascii(ending)[:20]}: {kinds}.")
                file = SavedFile(ending, folder / f"{len(files)}{ending}", node)
                self._fetch_whole(entry, file, left)
                left -= file.size
                files.append(file)
        return files

    def _fetch_whole(self, entry: Mapping[str, str], file: SavedFile, most: int) -> None:
        """Write a file of the server's to this disk. Raises as `_fetch`, and Fault where something else comes."""
        name = ascii(entry["filename"])[:80]

        def fetch() -> None:
            self._fetch(entry, file.path, most)
            if not file.size:
                raise Page(f"The server sent {name} without a byte.")
            if _is_message(file):
                raise Page(f"The server sent a text in the place of {name}, such as the page of a proxy.")

        try:
            patient(fetch, _PAGE_SECONDS)
        except Page as cause:
            # It may be what a node has saved.
            raise Fault(Happened.FAILED, str(cause)) from cause

    def _fetch(self, entry: Mapping[str, str], path: Path, most: int) -> None:
        """Write a file of the server's to this disk as it comes. Raises FileNotFoundError where somebody has removed
        it, and SetupError where this disk is full."""
        try:
            with disk_errors_told(Folder(str(path.parent))):
                file = path.open("wb")
            with file:
                for piece in self._server.pieces_of(entry, most):
                    with disk_errors_told(Folder(str(path.parent))):
                        file.write(piece)
        except HTTPError as cause:
            if cause.code == HTTPStatus.NOT_FOUND:
                raise FileNotFoundError(entry["filename"]) from cause
            raise


def _is_message(file: SavedFile) -> bool:
    """Whether a file is a page or another text that says why the one of its name does not come."""
    with file.path.open("rb") as content:
        head = content.read(_HEAD)
    if file.ending in _NO_PAGES:
        return head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<")
    return file.ending in _BYTES and is_text(head)


def _no_answer(what: str, cause: Exception) -> SetupError:
    return SetupError(f"{what} ({plain(cause, MOST_SAID)}): {advice(cause)}, or leave it out.")


def advice(cause: Exception) -> str:
    """What to do where a server does not answer as ComfyUI does."""
    if isinstance(cause, HTTPError):
        if cause.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return _LOGIN
        if 300 <= cause.code < 400:
            place = plain(cause.headers.get("Location", "another place"), MOST_SAID)
            return f"it sends to {place}: give that address if you trust it"
        return "look whether that is the address of a ComfyUI, with all of its path"
    return next((text for kind, text in _ADVICE if isinstance(cause, kind)), "that is no ComfyUI: look at its address")
