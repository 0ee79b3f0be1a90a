"""Fetches published files with huggingface_hub, also from elsewhere.

Its are connections that break, half a file, the mirror (HF_ENDPOINT) of Hugging Face and its tokens. Ours is what it
does not do: a file comes under the name that its loader looks for, and is moved there when it is known
to be the published one, by length and SHA-256 and as no web page; what somebody else put there stays; nothing longer
comes than is published; files of a zip are taken out wherever they lie in it; GITHUB_ENDPOINT names a mirror of GitHub.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from io import BufferedWriter, FileIO
from pathlib import Path, PurePath
from typing import Any

from environment import SetupError, as_typed, disk_problem, say

from core.models.files import no_model, sha256, unfinished, unfinished_folder
from core.models.manifest import File, Model
from core.text import plain

try:
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
    from huggingface_hub.file_download import http_get
except ImportError as error:
    install = f"{as_typed(sys.executable)} -m pip install huggingface_hub"
    raise SetupError(f"Downloading needs the Python package {error.name}. Install it: {install}") from error
except ValueError as error:  # huggingface_hub reads its addresses when it is imported
    raise SetupError(f"HF_ENDPOINT is no address: {error}.") from error

_HUB = re.compile(r"https://huggingface\.co/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_UNFINISHED = ".fetching-"
_LONGEST = 10**11
"""Bytes of a file of which nobody says how long it is."""


class FetchError(Exception):
    """Why a file did not come; the text says what to do."""


class NotThere(FetchError):
    """The server knows no file of this address."""


def fetch_model(model: Model, root: Path) -> str:
    """Fetch all of a model into `root`, the folder of its key. Why it did not come, empty where it is there."""
    try:
        there = [_unpacked(file, root) for file in model.files if model.archive]
        if there and all(there):
            say(f"{model.title} is there already.")
            return ""
        for file in model.fetched:
            _fetch_file(model, file, root)
        if model.archive:
            _unpack(root / model.archive.names[0], model.files, root)
    except FetchError as problem:
        return str(problem)
    except OSError as problem:
        return disk_problem(problem, root) or str(problem)
    return ""


def _unpacked(file: File, root: Path) -> bool:
    """Whether it is there, also in the second folder of the same name that unpacking makes. Raises FetchError."""
    path = root / file.names[0]
    return any(_is(place, file) for place in (path, path.parent / path.parent.name / path.name))


def _fetch_file(model: Model, file: File, root: Path) -> None:
    """Under the first of its names that its server knows."""
    problem: FetchError | None = None
    for name in file.names:
        url = model.url_of(file, name)
        say(f"{name} from {url}")
        try:
            if not _fetch(url, file, root / name):
                say(f"{root / name} is there already.")
            return
        except NotThere as error:
            problem = problem or error
    if problem:
        raise problem


def _fetch(url: str, file: File, target: Path) -> bool:
    """False where it was there already. Raises FetchError."""
    try:
        hub = _HUB.fullmatch(url)
        published = _said(hub, file) if hub else file
        if _is(target, published):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear(target.parent)
        with unfinished_folder(target.parent, _UNFINISHED) as folder:
            if hub:
                repository, revision, name = hub.groups()
                came = Path(huggingface_hub.hf_hub_download(repository, name, revision=revision, local_dir=folder))
            else:
                came = _from_elsewhere(url, folder / target.name, published)
            if what := _wrong(came, published):
                raise FetchError(f"What came from {url} is {what}. Run it again; if it stays so, look at its page.")
            os.replace(came, target)
    except FetchError:
        raise
    except Exception as error:  # the library hands on whatever those below it raise
        of_the_disk = disk_problem(error, target.parent) if isinstance(error, OSError) else None
        if of_the_disk:
            raise FetchError(of_the_disk) from error
        raise FetchError(f"{url} does not come: {plain(error, 600)}") from error
    return True


def _clear(folder: Path) -> None:
    """Take away what runs have left that were killed: nothing has been written to it for an hour."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        if time.time() - max(path.stat().st_mtime for path in (left, *left.rglob("*"))) > 3600:
            shutil.rmtree(left, ignore_errors=True)


def _said(hub: re.Match[str], file: File) -> File:
    """With the length and SHA-256 that Hugging Face says. Raises FetchError for another file than is known."""
    try:
        repository, revision, name = hub.groups()
        told = huggingface_hub.get_hf_file_metadata(huggingface_hub.hf_hub_url(repository, name, revision=revision))
    except EntryNotFoundError as error:
        raise NotThere(f"{hub[0]} is not there (404). Look at its page for where it has gone.") from error
    except HfHubHTTPError as error:
        if (status := error.response.status_code) not in (401, 403):
            raise
        advice = "Accept its terms on its page, make a token there and set HF_TOKEN."
        raise FetchError(f"{hub[0]} needs an account ({status}). {advice}") from error
    if file.exact and told.size not in (None, file.size):
        raise FetchError(f"{hub[0]} is {told.size} bytes long instead of {file.size}: another file. Look at its page.")
    digest = told.etag.lower() if told.etag and len(told.etag) == 64 else None
    return replace(file, size=told.size or file.size, exact=bool(told.size or file.exact), sha256=file.sha256 or digest)


class _Limited(BufferedWriter):
    """A file that takes so many bytes."""

    def __init__(self, path: str, most: int) -> None:
        super().__init__(FileIO(path, "w"))
        self._most = most

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._most:
            raise FetchError(f"more than the {self._most} bytes come that are published")
        return super().write(data)


def _from_elsewhere(url: str, target: Path, file: File) -> Path:
    mirror = os.environ.get("GITHUB_ENDPOINT", "").strip().rstrip("/")
    with _Limited(str(target), (file.exact and file.size) or _LONGEST) as limited:
        http_get(mirror + url.removeprefix("https://github.com") if mirror else url, limited)
    return target


def _is(target: Path, file: File) -> bool:
    """Whether what lies there is the file that would come; an empty one or a web page may be replaced.

    Raises FetchError for any other, which may be somebody's own, and for what is no file.
    """
    if not target.exists():
        return False
    if not target.is_file():
        raise FetchError(f"{target} is in the way: it is no file. Move it away.")
    length = target.stat().st_size
    if not length or no_model(target) or unfinished(target):
        return False
    if _wrong(target, file):
        raise FetchError(f"{target} is there and is another file ({length} bytes). Move it away to have it downloaded.")
    return True


def _wrong(path: Path, file: File) -> str:
    """What a file is that is not the published one, empty where it is."""
    length = path.stat().st_size
    if not length:
        return "empty"
    if what := no_model(path):
        return what
    if file.fits(length) is False:
        return f"{length} bytes long instead of {file.size}"
    if file.sha256 and (found := sha256(path)) != file.sha256:
        return f"another file: its SHA-256 is {found}, {file.sha256} is published"
    return ""


def _unpack(archive: Path, wanted: Sequence[File], root: Path) -> None:
    """Take files out of a zip, wherever in it they lie; then remove the zip. Raises FetchError."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {Path(name).name: name for name in opened.namelist() if not name.endswith("/")}
            for file in wanted:
                _take_out(opened, members[PurePath(file.names[0]).name], file, root / file.names[0])
    except KeyError as error:
        raise FetchError(f"{archive} holds no {error.args[0]}. Delete it and run it again.") from error
    except OSError:
        raise
    except Exception as error:  # there is hardly an exception that a damaged zip does not raise
        raise FetchError(f"{archive} cannot be unpacked ({plain(error, 600)}). Delete it and run it again.") from error
    archive.unlink()


def _take_out(archive: zipfile.ZipFile, member: str, file: File, target: Path) -> None:
    """Raises BadZipFile for what is not published, and before it fills the disk for what weights never pack down to."""
    known = archive.getinfo(member)
    if file.fits(known.file_size) is False or known.file_size > max(1 << 20, 20 * known.compress_size):
        raise zipfile.BadZipFile(f"{member} has {known.file_size} bytes, {known.compress_size} packed")
    target.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(target.parent, _UNFINISHED) as folder:
        part = folder / target.name
        with archive.open(member) as source, part.open("xb") as opened:
            shutil.copyfileobj(source, opened, 1 << 20)
        if what := _wrong(part, file):
            raise zipfile.BadZipFile(f"{member} is {what}")
        os.replace(part, target)
