"""Fetches published files with huggingface_hub, also from elsewhere.

Its are connections that break, the mirror (HF_ENDPOINT) of Hugging Face and its tokens. Ours is what it does not do: a
download that ended goes on where it stopped; a file comes under the name that its loader looks for, and is moved there
when it is known to be the published one, by length and SHA-256 and as no web page; what somebody else put there stays;
nothing longer comes than is published; files of a zip are taken out wherever they lie in it; GITHUB_ENDPOINT names a
mirror of GitHub.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import BufferedWriter, FileIO
from pathlib import Path, PurePath
from typing import Any
from uuid import uuid4

from environment import SetupError, disk_problem, say

from core.checks.text import as_typed, plain
from core.models.files import no_model, sha256, unfinished, unfinished_folder
from core.models.manifest import File, Model, human

try:
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers, logging
except ImportError as error:
    install = f"{as_typed(sys.executable)} -m pip install huggingface_hub"
    raise SetupError(f"Downloading needs the Python package {error.name}. Install it: {install}") from error
except ValueError as error:  # huggingface_hub reads its addresses when it is imported
    raise SetupError(f"HF_ENDPOINT is no address: {error}.") from error

_HUB = re.compile(r"https://huggingface\.co/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_UNFINISHED = ".fetching-"
_UNPACKED = ".unpacking-"
_PART = "part"
_UNPACKED_SECONDS = 3600
_UNFINISHED_SECONDS = 7 * 24 * 3600
"""What nobody has written to for so long is taken away. What came of a file waits longer for the rest of it."""
_MOST_LETTERS = 100
"""Of a file's name in that of the folder in which it is fetched."""
_LONGEST = 10**11
"""Bytes of a file of which nobody says how long it is."""


# Its own lines on what it tries again would come between ours.
logging.set_verbosity_error()


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
    hub = _HUB.fullmatch(url)
    address = _address(url, hub)
    try:
        published = _said(address, file) if hub else file
        if _is(target, published):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = _unfinished_folder(target, published, address)
        _clear(target, folder)
        with _kept_if_stopped(folder):
            # To a mirror of GitHub nobody's token for Hugging Face goes.
            return _come(address, published, folder, target, build_hf_headers() if hub else {})
    except FetchError:
        raise
    except Exception as error:  # the library hands on whatever those below it raise
        of_the_disk = disk_problem(error, target.parent) if isinstance(error, OSError) else None
        if of_the_disk:
            raise FetchError(of_the_disk) from error
        if _status(error) == 404:
            raise NotThere(f"{address} is not there (404). Look at its page for where it has gone.") from error
        raise FetchError(f"{address} does not come: {plain(_reason(error), 600)}") from error


def _address(url: str, hub: re.Match[str] | None) -> str:
    """Where a file is asked for: at a mirror, if one is named."""
    if hub:
        repository, revision, name = hub.groups()
        return huggingface_hub.hf_hub_url(repository, name, revision=revision)
    mirror = os.environ.get("GITHUB_ENDPOINT", "").strip().rstrip("/")
    return mirror + url.removeprefix("https://github.com") if mirror else url


def _status(error: Exception) -> int:
    """What a server answered; 0 where none did."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) else 0


def _reason(error: Exception) -> str:
    """Without the library's advice to read what its status means."""
    return str(error).partition("For more information check")[0].strip()


def _unfinished_folder(target: Path, published: File, address: str) -> Path:
    """Where a download begins, and goes on another day. Another file of the same name has another one."""
    known = published.sha256 or _etag(address)
    digest = hashlib.sha256(f"{published.size} {known}".encode()).hexdigest()
    return target.parent / f"{_beginning(target)}{digest[:8] if known else uuid4().hex[:8]}"


def _beginning(target: Path) -> str:
    return f"{_UNFINISHED}{target.name[:_MOST_LETTERS]}-"


def _etag(address: str) -> str:
    """What a server says that changes with a file, "" where it does not say it."""
    try:
        answer = huggingface_hub.get_session().head(address, follow_redirects=True, timeout=10)
        return answer.headers.get("ETag", "") if answer.status_code == 200 else ""
    except Exception:  # noqa: BLE001 - as the library raises it; the download itself says what is wrong
        return ""


@contextmanager
def _kept_if_stopped(folder: Path) -> Iterator[None]:
    """Around a download: the folder stays where the user stops it or the connection ends, and it is said what lies in
    it. Otherwise the folder goes."""
    try:
        yield
    except (FetchError, OSError) as error:
        if isinstance(error, FetchError) or disk_problem(error, folder):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        came = _length(folder / _PART)
        if came:
            say(f"{human(came)} have come and lie in {folder}: run the same again to go on.")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _come(address: str, published: File, folder: Path, target: Path, headers: dict[str, str]) -> bool:
    """Fetch a file into a folder, go on there with what has come before, and move it to its place when it is whole.
    False where another process has done so meanwhile. Raises FetchError, and whatever the library raises."""
    folder.mkdir(mode=0o700, exist_ok=True)
    with WeakFileLock(folder / ".lock"):
        if _is(target, published):
            return False
        part = folder / _PART
        for goes_on in (_length(part) > 0, False):
            try:
                _fetched(address, part, published, headers)
                what = _wrong(part, published)
                if not what:
                    os.replace(part, target)
                    break
            except (FetchError, OSError, HfHubHTTPError) as error:
                if not (goes_on and _is_of_another_file(error)):
                    raise
                what = str(error)
            if not goes_on:
                raise FetchError(f"What came from {address} is {what}. Run it again; if it stays so, look at its page.")
            # What came before is damaged, or of another file: it begins anew.
            part.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _is_of_another_file(error: Exception) -> bool:
    """Whether what the server says does not go with what has come before."""
    return isinstance(error, FetchError) or _status(error) == 416 or "Consistency check failed" in str(error)


def _clear(target: Path, folder: Path) -> None:
    """Take away what is left of other files of this name, and what runs have left that were killed long ago."""
    for left in target.parent.glob(".*-*"):
        if left == folder or not left.name.startswith((_UNFINISHED, _UNPACKED)):
            continue
        is_replaced = left.name.startswith(_beginning(target))
        kept_seconds = _UNFINISHED_SECONDS if left.name.startswith(_UNFINISHED) else _UNPACKED_SECONDS
        last = max(path.stat().st_mtime for path in (left, *left.rglob("*")))
        if is_replaced or time.time() - last > kept_seconds:
            shutil.rmtree(left, ignore_errors=True)


def _said(address: str, file: File) -> File:
    """With the length and SHA-256 that Hugging Face says. Raises FetchError for another file than is known."""
    try:
        told = huggingface_hub.get_hf_file_metadata(address)
    except EntryNotFoundError as error:
        raise NotThere(f"{address} is not there (404). Look at its page for where it has gone.") from error
    except HfHubHTTPError as error:
        if (status := error.response.status_code) not in (401, 403):
            raise
        advice = "Accept its terms on its page, make a token there and set HF_TOKEN."
        raise FetchError(f"{address} needs an account ({status}). {advice}") from error
    if file.exact and told.size not in (None, file.size):
        raise FetchError(f"{address} is {told.size} bytes long instead of {file.size}: another file. Look at its page.")
    digest = told.etag.lower() if told.etag and len(told.etag) == 64 else None
    return replace(file, size=told.size or file.size, exact=bool(told.size or file.exact), sha256=file.sha256 or digest)


class _Limited(BufferedWriter):
    """A file that grows to so many bytes."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(FileIO(path, "a"))
        self._most = most

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._most:
            raise FetchError(f"more than the {self._most} bytes come that are published")
        return super().write(data)


def _fetched(address: str, part: Path, published: File, headers: dict[str, str]) -> None:
    """Fetch the rest of a file behind what has come of it. Raises whatever the library raises."""
    size = published.size if published.exact else None
    if size and _length(part) == size:
        return
    with _Limited(part, size or _LONGEST) as limited:
        http_get(address, limited, resume_size=limited.tell(), headers=headers)


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
    with unfinished_folder(target.parent, _UNPACKED) as folder:
        part = folder / target.name
        with archive.open(member) as source, part.open("xb") as opened:
            shutil.copyfileobj(source, opened, 1 << 20)
        if what := _wrong(part, file):
            raise zipfile.BadZipFile(f"{member} is {what}")
        os.replace(part, target)
