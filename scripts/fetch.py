"""Fetches one file over HTTP so that in the end it is whole or not there. Standard library only.

It is written as <name>.part; beside it <name>.part.json says what it is the beginning of and keeps others away. A run
that was stopped goes on where it was. What the server says of length and SHA-256 is held against what has come.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from http.client import HTTPException, HTTPMessage, InvalidURL
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from core.files import no_model, sha256
from core.manifest import human
from core.text import plain

ATTEMPTS = 5
"""In a row without a new byte."""

_CHUNK = 1 << 20
_TIMEOUT = 60
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
# Host -> the variables in which people keep its token.
_TOKENS = {
    "huggingface.co": ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_API_TOKEN"),
    "civitai.com": ("CIVITAI_API_TOKEN", "CIVITAI_TOKEN"),
}
# Host -> the variable with the address of a mirror of it.
_MIRRORS = {"huggingface.co": "HF_ENDPOINT", "github.com": "GITHUB_ENDPOINT"}


Tell = Callable[[int, "int | None"], None]
"""Called with the bytes that are there and their total."""


class FetchError(Exception):
    """Why a file did not come; the text says what to do."""


class NotThere(FetchError):
    """The server knows no file of this address."""


class _TryAgain(Exception):
    """What may be over in a moment."""


@dataclass(frozen=True)
class _Answer:
    """What the server says of the whole file. validator: tells this file from a later one of the same address."""

    url: str
    total: int | None = None
    sha256: str | None = None
    validator: str | None = None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; the token goes to no other server. Keeps what Hugging Face says of a file before it sends
    people to where the file lies."""

    def __init__(self) -> None:
        self.linked: dict[str, str] = {}

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        self.linked.update({name.lower(): value for name, value in headers.items()})
        followed = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if followed and token and _origin(newurl) == _origin(req.full_url):
            followed.add_unredirected_header("Authorization", token)
        return followed


def _origin(url: str) -> tuple[str, str]:
    return urlsplit(url).scheme, urlsplit(url).netloc


def token_for(url: str, variables: Mapping[str, str]) -> str | None:
    """The token for the host of `url`, from the usual variables; never for an address that is not encrypted."""
    parts = urlsplit(url)
    names = _TOKENS.get(parts.hostname or "", ()) if parts.scheme == "https" else ()
    return next((token for name in names if (token := variables.get(name, "").strip())), None)


def mirrored(url: str, variables: Mapping[str, str]) -> str:
    """The address at the mirror that HF_ENDPOINT or GITHUB_ENDPOINT names. Raises FetchError where that is none."""
    parts = urlsplit(url)
    variable = _MIRRORS.get(parts.hostname or "", "")
    mirror = variables.get(variable, "").strip().rstrip("/")
    try:
        found = mirror.startswith(("https://", "http://")) and urlsplit(mirror).hostname
    except ValueError:
        found = None
    if mirror and not found:
        raise FetchError(f"{variable} is {mirror!r}, which is no address. Set it to https:// and the mirror's name.")
    return mirror + url.removeprefix(f"{parts.scheme}://{parts.netloc}") if mirror else url


def fetch(
    url: str,
    target: Path,
    size: int | None = None,
    sha256: str | None = None,
    token: str | None = None,
    tell: Tell = lambda done, total: None,
    wait: float = 1.0,
) -> bool:
    """Fetch `url` to `target`; False where it was there already.

    size, sha256: as published, None where nobody says. wait: seconds before the second attempt, doubled for each
    further one. Raises FetchError; what has come stays for the next run unless it is wrong.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, side = (target.with_name(target.name + ending) for ending in (".part", ".part.json"))
    known = _Answer(url, size, sha256)
    for path in (target, part, side):
        if (path.exists() and not path.is_file()) or (path != target and path.is_symlink()):
            raise FetchError(
                f"{path} is in the way: it is {'a link' if path.is_symlink() else 'no file'}. Move it away."
            )
    if target.exists() and (size or sha256) and _is(target, known):
        return False
    with _alone(side, part, target) as notes:
        answer = _insistently(lambda: _attempt(known, target, part, notes, token, tell), part, wait)
        if answer:
            _verify(part, answer)
            os.replace(part, target)
        return answer is not None


def _insistently(attempt: Callable[[], _Answer | None], part: Path, wait: float) -> _Answer | None:
    """As many attempts as bring something, and a few more."""
    tries = 0
    while True:
        before = _length(part)
        try:
            return attempt()
        except _TryAgain as problem:
            tries = 1 if _length(part) > before else tries + 1
            if tries >= ATTEMPTS:
                raise FetchError(f"{part.stem} does not come: {problem}. Run it again later; it goes on.") from problem
            time.sleep(wait * 2 ** (tries - 1))


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


@contextlib.contextmanager
def _alone(side: Path, part: Path, target: Path) -> Iterator[IO[str]]:
    """The side file, held so that no second process writes the same file; the system lets go when this one ends."""
    with _held(side, target) as notes:
        try:
            yield notes
        finally:
            if not part.exists():
                if os.name == "nt":
                    notes.close()  # Windows removes no file that is open
                side.unlink(missing_ok=True)


def _held(side: Path, target: Path) -> IO[str]:
    """The side file, open and locked. One that was opened just before its holder removed it locks nobody out."""
    while True:
        notes = side.open("a+", encoding="utf-8")
        try:
            _lock(notes)
            if side.exists() and os.path.samestat(os.fstat(notes.fileno()), side.stat()):
                return notes
        except OSError as error:
            notes.close()
            raise FetchError(f"{target} is being downloaded by another process; wait for it.") from error
        notes.close()


def _lock(file: IO[str]) -> None:
    if os.name == "nt":
        import msvcrt

        file.seek(1 << 30)  # behind everything: Windows lets nobody read what is locked
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _attempt(known: _Answer, target: Path, part: Path, notes: IO[str], token: str | None, tell: Tell) -> _Answer | None:
    """Ask for what is missing and write it; None where `target` is the file already."""
    noted = _noted(notes)
    have = _length(part) if noted.url == known.url and noted.validator else 0
    with _opened(known.url, have, noted.validator, token) as response:
        answer = _answer(known, response, have)
        if target.exists() and _is(target, answer):
            return None
        if response.status == 200:
            have = 0
        elif response.status == 416:
            if have != noted.total:
                part.unlink(missing_ok=True)
                raise _TryAgain("the server has less than what is here")
            return replace(noted, sha256=known.sha256 or noted.sha256)
        _room(part, have, answer.total)
        _note(notes, answer)
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            file.truncate()
            _copy(response, file, have, answer.total, tell)
    if answer.total is not None and _length(part) < answer.total:
        raise _TryAgain(f"the connection ended after {_length(part)} of {answer.total} bytes")
    return answer


def _noted(notes: IO[str]) -> _Answer:
    notes.seek(0)
    try:
        return _Answer(**json.loads(notes.read() or "{}"))
    except (TypeError, ValueError, RecursionError):
        return _Answer("")


def _note(notes: IO[str], answer: _Answer) -> None:
    notes.seek(0)
    notes.truncate()
    notes.write(json.dumps(asdict(answer)))
    notes.flush()


@contextlib.contextmanager
def _opened(url: str, have: int, validator: str | None, token: str | None) -> Iterator[Any]:
    """The server's answer with status 200, 206 or 416, and what it said before a redirect as `linked`."""
    request = urllib.request.Request(url, headers={"User-Agent": "likeness", "Accept-Encoding": "identity"})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    if have and validator:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", validator)
    redirects = _Redirects()
    try:
        with urllib.request.build_opener(redirects).open(request, timeout=_TIMEOUT) as response:
            response.linked = redirects.linked
            yield response
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise _refused(url, error.code) from error
        error.linked = redirects.linked  # pyright: ignore[reportAttributeAccessIssue]
        yield error
    except (ValueError, InvalidURL) as error:
        raise FetchError(f"{url} leads to something that is no address or no answer ({plain(error, 200)}).") from error
    except urllib.error.URLError as error:
        why = plain(error.reason, 200)
        raise _TryAgain(f"{urlsplit(url).hostname} cannot be reached ({why})") from error
    except (HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _TryAgain(f"the connection broke ({plain(error, 200)})") from error


def _refused(url: str, status: int) -> Exception:
    if status in (408, 425, 429) or status >= 500:
        return _TryAgain(f"the server answers {status}")
    if status in (401, 403):
        names = _TOKENS.get(urlsplit(url).hostname or "", _TOKENS["huggingface.co"])
        return FetchError(
            f"{url} needs an account ({status}). Accept its terms on its page, make a token there and set {names[0]}."
        )
    if status in (404, 410):
        return NotThere(f"{url} is not there ({status}). Look at its page for where it has gone.")
    return FetchError(f"{url} does not come: the server answers {status}.")


def _answer(known: _Answer, response: Any, have: int) -> _Answer:
    """What the headers say, and that they fit what is known. Raises FetchError."""
    headers = response.headers
    if headers.get_content_type() in ("text/html", "application/xhtml+xml") and response.status != 416:
        raise FetchError(f"{known.url} gives a web page, not the file: open it in a browser to see what it wants.")
    total = headers.get("Content-Length")
    if response.status in (206, 416):
        start, _, total = headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if response.status == 206 and start.split("-")[0] != str(have):
            raise FetchError(f"{known.url}: asked for what follows byte {have}, the server sends {start}.")
    size = int(total) if total and total.isdigit() else None
    if None not in (size, known.total) and size != known.total:
        raise FetchError(f"{known.url} has {size} bytes, {known.total} are published: it is another file now.")
    linked = response.linked.get("x-linked-etag", "").strip('"')
    sha256 = known.sha256 or (linked if len(linked) == 64 else None)
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    return _Answer(known.url, known.total if size is None else size, sha256, validator)


def _is(target: Path, answer: _Answer) -> bool:
    """Whether the file that lies there is the one that would come; one that is no model may be replaced.

    Raises FetchError for any other, which may be somebody's own.
    """
    if no_model(target) or not _length(target):
        return False
    alike = answer.total in (None, _length(target))
    if alike and answer.sha256 in (None, sha256(target)):
        return True
    raise FetchError(
        f"{target} is there and is another file ({_length(target)} bytes, {answer.total} at {answer.url}). Move it "
        "away to have it downloaded."
    )


def _room(part: Path, have: int, total: int | None) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise FetchError(f"{part.parent} has room for {human(free)}, {human(total - have)} are to come. Make room.")


def _copy(response: Any, file: IO[bytes], have: int, total: int | None, tell: Tell) -> None:
    done = have
    while chunk := response.read(_CHUNK):
        try:
            file.write(chunk)
            file.flush()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise FetchError(
                f"The disk is full after {human(done)} of {human(total)} of {file.name}. Make room and run it again; "
                "it goes on."
            ) from error
        done += len(chunk)
        tell(done, total)
    os.fsync(file.fileno())


def _verify(part: Path, answer: _Answer) -> None:
    """Raises FetchError and takes away what is wrong, so that the next run begins anew."""
    what = no_model(part) if _length(part) else "empty"
    if not what and answer.total not in (None, _length(part)):
        what = f"{_length(part)} bytes long instead of {answer.total}"
    if not what and answer.sha256 and (found := sha256(part)) != answer.sha256:
        what = f"another file: its SHA-256 is {found}, {answer.sha256} is published"
    if what:
        part.unlink()
        raise FetchError(f"What came from {answer.url} is {what}. Run it again; if it stays so, look at its page.")


def unpack(archive: Path, wanted: Mapping[str, Path]) -> None:
    """Take files out of a zip, wherever in it they lie: name -> target; then remove the zip. Raises FetchError."""
    part, side = (archive.with_name(archive.name + ending) for ending in (".part", ".part.json"))
    with _alone(side, part, archive):
        if not archive.exists() and all(target.is_file() for target in wanted.values()):
            return  # another process was faster
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
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with archive.open(member) as source, part.open("wb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
