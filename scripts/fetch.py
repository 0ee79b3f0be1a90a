"""Fetches published files: what is on Hugging Face with huggingface_hub, the rest with pooch.

Theirs are connections that break, half a file, the cache and the mirror (HF_ENDPOINT) of Hugging Face and its tokens.
Ours is what they do not do: a file comes under the name that its loader looks for, and is moved there when it is known
to be the published one, by length and SHA-256 and as no web page; what somebody else put there stays; files of a zip
are taken out wherever they lie in it; GITHUB_ENDPOINT names a mirror of GitHub.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

from environment import SetupError, say

from core.models.files import no_model, sha256
from core.models.manifest import File, Model
from core.text import plain

try:
    import huggingface_hub
    import pooch
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
except ImportError as error:
    install = f'"{sys.executable}" -m pip install huggingface_hub pooch tqdm'
    raise SetupError(f"Downloading needs the Python package {error.name}. Install it: {install}") from error

_HUB = re.compile(r"https://huggingface\.co/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_UNFINISHED = ".fetching-"
_AGAIN = 2
"""Further attempts where a server has no ranges to go on with."""


class FetchError(Exception):
    """Why a file did not come; the text says what to do."""


class NotThere(FetchError):
    """The server knows no file of this address."""


def fetch_model(model: Model, root: Path) -> str:
    """Fetch all of a model into `root`, the folder of its key. Why it did not come, empty where it is there."""
    unpacked = {PurePath(file.names[0]).name: root / file.names[0] for file in model.files}
    if model.archive and all(map(_there, unpacked.values())):
        say(f"{model.title} is there already.")
        return ""
    try:
        for file in model.fetched:
            _fetch_file(model, file, root)
        if model.archive:
            _unpack(root / model.archive.names[0], unpacked)
    except (FetchError, OSError) as problem:
        return str(problem)
    return ""


def _there(path: Path) -> bool:
    """Also in the second folder of the same name that unpacking makes. What is empty or a web page is to come anew."""
    places = (path, path.parent / path.parent.name / path.name)
    return any(place.is_file() and place.stat().st_size and not no_model(place) for place in places)


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
    if target.exists() and not target.is_file():
        raise FetchError(f"{target} is in the way: it is no file. Move it away.")
    try:
        hub = _HUB.fullmatch(url)
        size, digest = _said(hub) if hub else (None, None)
        digest = file.sha256 or digest
        if target.exists() and _is(target, file, size, digest):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear(target.parent)
        with TemporaryDirectory(prefix=_UNFINISHED, dir=target.parent) as folder:
            came = _from_hub(hub, folder) if hub else _from_elsewhere(url, folder, target.name)
            _verify(came, url, file, size, digest)
            os.replace(came, target)
    except FetchError:
        raise
    except Exception as error:  # both libraries hand on whatever the libraries below them raise
        raise FetchError(f"{url} does not come: {plain(error, 600)}") from error
    return True


def _clear(folder: Path) -> None:
    """Take away what runs have left that were killed: nothing has been written to it for an hour."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        if time.time() - max(path.stat().st_mtime for path in (left, *left.rglob("*"))) > 3600:
            shutil.rmtree(left, ignore_errors=True)


def _said(hub: re.Match[str]) -> tuple[int | None, str | None]:
    """Length and SHA-256 of a file, as far as Hugging Face says."""
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
    return told.size, told.etag if told.etag and len(told.etag) == 64 else None


def _from_hub(hub: re.Match[str], folder: str) -> Path:
    repository, revision, name = hub.groups()
    return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision, local_dir=folder))


def _from_elsewhere(url: str, folder: str, name: str) -> Path:
    mirror = os.environ.get("GITHUB_ENDPOINT", "").strip().rstrip("/")
    address = mirror + url.removeprefix("https://github.com") if mirror else url
    store = pooch.create(folder, "", registry={name: None}, urls={name: address}, retry_if_failed=_AGAIN)
    downloader: Any = pooch.HTTPDownloader(progressbar=True, chunk_size=1 << 20)
    came = Path(store.fetch(name, downloader=downloader))
    came.chmod(0o666 & ~_umask())  # pooch writes for its owner only
    return came


def _umask() -> int:
    os.umask(mask := os.umask(0))
    return mask


def _is(target: Path, file: File, size: int | None, digest: str | None) -> bool:
    """Whether the file that lies there is the one that would come; one that is no model may be replaced.

    Raises FetchError for any other, which may be somebody's own.
    """
    length = target.stat().st_size
    if not length or no_model(target):
        return False
    alike = size == length if size else file.fits(length) is not False
    if alike and digest in (None, sha256(target)):
        return True
    raise FetchError(f"{target} is there and is another file ({length} bytes). Move it away to have it downloaded.")


def _verify(came: Path, url: str, file: File, size: int | None, digest: str | None) -> None:
    """Raises FetchError for anything else than what is published."""
    length, expected = came.stat().st_size, file.size if file.exact else size
    what = no_model(came) if length else "empty"
    if not what and expected not in (None, length):
        what = f"{length} bytes long instead of {expected}"
    if not what and digest and (found := sha256(came)) != digest:
        what = f"another file: its SHA-256 is {found}, {digest} is published"
    if what:
        raise FetchError(f"What came from {url} is {what}. Run it again; if it stays so, look at its page.")


def _unpack(archive: Path, wanted: Mapping[str, Path]) -> None:
    """Take files out of a zip, wherever in it they lie: name -> target; then remove the zip. Raises FetchError."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {Path(name).name: name for name in opened.namelist() if not name.endswith("/")}
            for name, target in wanted.items():
                _take_out(opened, members[name], target)
    except KeyError as error:
        raise FetchError(f"{archive} holds no {error.args[0]}. Delete it and run it again.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        # RuntimeError: encrypted, or packed in a way that Python does not know.
        raise FetchError(f"{archive} cannot be unpacked ({error}). Delete it and run it again.") from error
    archive.unlink()


def _take_out(archive: zipfile.ZipFile, member: str, target: Path) -> None:
    """Raises BadZipFile for what is no model, and before it fills the disk for what weights never pack down to."""
    known = archive.getinfo(member)
    if not known.file_size or known.file_size > max(1 << 20, 20 * known.compress_size):
        raise zipfile.BadZipFile(f"{member} has {known.file_size} bytes, {known.compress_size} packed")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with archive.open(member) as source, part.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        if what := no_model(part):
            raise zipfile.BadZipFile(f"{member} is {what}")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
