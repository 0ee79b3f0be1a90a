"""A headless ComfyUI of our own with this pack in it, driven over HTTP.

It runs in a base directory of its own (input, output, user, custom_nodes), so nothing of the user's ComfyUI is
written to and no other pack is loaded; the user's model folders are only read.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import environment
from environment import Host

from .between import AGAIN_SECONDS, Between, Page, Patience, between, patient
from .pack import has_card
from .workflow import Prompt

START_SECONDS = 180
_ENDED = {"execution_success": "success", "execution_interrupted": "interrupted", "execution_error": "error"}
_MAIN = """
import os, runpy, sys, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
sys.argv[0], sys.path[0] = "main.py", os.getcwd()
runpy.run_path("main.py", run_name="__main__")
"""
"""As `python main.py`, and it ends with whoever started it, however that one ends: then its input is closed."""
_PROMPT_OF_NOTHING: Prompt = {"1": {"class_type": "PreviewAny", "inputs": {"source": "nothing"}}}
_FOLDERS = ("input", "output", "temp", "user", "custom_nodes", "models")
_ANSWER_SECONDS = 60
"""How long a server may say nothing where it owes an answer, and how long its answer to a question may come."""
_IDLE_SECONDS = 10
"""How long it may say nothing to a short question while it has no prompt of ours."""
_END_SECONDS = 5
"""How long it may say nothing where prompts are withdrawn, as at the end of a run."""
_OF_WAITING, _SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.02, 1.0
"""Between two looks at a prompt lies this share of the time since it was sent, and so many seconds."""
_LOOKING = 0.1
"""Of the time at most, while a long queue is sent at each look."""
_LONGEST_SECONDS = 1800
"""How long a file may come, and the list of all nodes, which has some millions of bytes too."""
_MOST_BYTES = 2**27
"""Of an answer that is read into memory: menus of thousands of files have some millions."""
_PIECE = 2**20
_JSON = {"Content-Type": "application/json"}


class HostError(Exception):
    """The host did not start, or refused or failed a prompt; the text is what the host says."""


class Lost(HostError):
    """The host has a prompt no more, or has not come to it."""


class Silent(HostError):
    """The host does not answer, and was not at the prompt."""


class Ended(HostError):
    """The host has ended or does not answer any more, and was at the prompt."""


class Overdue(Ended):
    """The host has been at the prompt for as long as it may."""


class BadAnswer(ValueError):
    """What the host answers is JSON, and none of its answers."""


_ODD_ANSWERS = (Between, HTTPError, ValueError, LookupError, TypeError, AttributeError)
"""What a look at a prompt raises where it is not answered as ComfyUI does."""


def _is_node(node: Any) -> bool:
    """Whether this is what /object_info says of a node. Its inputs are the pack's own words, which may be odd."""
    return isinstance(node, dict) and {"input", "output_node"} <= cast("dict[str, Any]", node).keys()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Nothing goes to another place than the one that was given, least of all a password."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        """Nothing: an answer that sends elsewhere is an HTTPError."""


class _Connection(HTTPConnection):
    """A connection whose answer is read where the other side ends it before it has got everything, as it does with a
    file that is too large for it."""

    def request(self, *arguments: Any, **named: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().request(*arguments, **named)


class _SecureConnection(_Connection, HTTPSConnection):
    """The same, by https."""


class _OpensHttp(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Connection, req)


class _OpensHttps(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, req)


@dataclass
class Run:
    """What one prompt did. Node ids are those of the prompt.

    status: success, interrupted, error, or "" where the host refused it. cached: nodes that were not run again.
    error_node and error_text are empty for what the host refused.
    """

    id: str = ""
    status: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)
    cached: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""
    error_node: str = ""
    error_text: str = ""


@dataclass
class _Waiting:
    """For a prompt. moved: when it was begun, or before that when anything last moved in the host's queue. queue: the
    ids that were made and waited when it was last looked. look_again: when that is to be. was_away: whether a look was
    not answered. is_left: set where nobody waits for it any more."""

    id: str
    is_begun: bool = False
    was_away: bool = False
    look_again: float = 0.0
    moved: float = field(default_factory=time.monotonic)
    queue: tuple[list[str], list[str]] = ([], [])
    is_left: threading.Event = field(default_factory=threading.Event)


class RunningHost:
    """A ComfyUI that answers at a URL, which may have a name and a password in it, or ?token=, which goes along with
    every request, and as a bearer token.

    limit: seconds that a prompt may take from when it is begun, and that it may wait for one before it.
    """

    def __init__(self, url: str, limit: float = math.inf) -> None:
        parts = urlsplit(url)
        self._query = parts.query
        self._headers: dict[str, str] = {}
        (token,) = parse_qs(parts.query).get("token", [""])[:1]
        if parts.username:
            known = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(known.encode()).decode()}"
        elif token:
            self._headers["Authorization"] = f"Bearer {token}"
        self.url = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
        # Nothing between us and a server on this machine, whatever http_proxy says.
        is_here = parts.hostname in ("localhost", "127.0.0.1", "::1")
        proxies = [urllib.request.ProxyHandler({})] if is_here else []
        self._open = urllib.request.build_opener(_NoRedirects, _OpensHttp, _OpensHttps, *proxies).open
        self._limit = limit
        self._unfinished: dict[str, _Waiting] = {}
        """By the ids of prompts, in the order in which they were sent."""
        self._abandoned: set[str] = set()
        """The ids of prompts that nobody waits for, and which it may make all the same."""

    def _address(self, path: str) -> str:
        if not self._query:
            return self.url + path
        return f"{self.url}{path}{'&' if '?' in path else '?'}{self._query}"

    def read(
        self,
        path: str,
        data: bytes | None = None,
        seconds: float | None = None,
        longest: float | None = None,
        /,
        **headers: str,
    ) -> bytes:
        """GET, or POST where there is data. seconds: how long nothing may come, and how long it is asked again where
        something else than the host answers. longest: how long the answer may come once it has begun, as long where it
        is None. Raises OSError, also for an answer that is no HTTP or does not end in time, and BadAnswer for one that
        is too long."""
        seconds = seconds or _ANSWER_SECONDS
        return patient(lambda: self._whole(path, data, seconds, longest, headers), seconds)

    def _whole(
        self,
        path: str,
        data: bytes | None,
        seconds: float,
        longest: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """`read`, asked once. Raises Between too."""
        return b"".join(self._pieces(path, _MOST_BYTES, longest or seconds, data, headers, seconds))

    def _pieces(
        self,
        path: str,
        most: int,
        longest: float,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Iterator[bytes]:
        """What is answered, as it comes. most, longest: as of `_content`."""
        request = urllib.request.Request(self._address(path), headers={**self._headers, **(headers or {})})
        if data is not None:
            # As a file it is sent in pieces: the timeout counts for each, and else for all of a large photo.
            request.data = io.BytesIO(data)
            request.add_header("Content-Length", str(len(data)))
        try:
            with self._open(request, timeout=seconds or _ANSWER_SECONDS) as response:
                yield from _content(response, most, longest)
        except HTTPException as cause:
            raise ConnectionError(str(cause).strip()) from cause
        except HTTPError as cause:
            raise between(cause) or cause from cause
        except URLError as cause:
            if not isinstance(cause.reason, OSError):
                raise
            raise cause.reason from cause

    def get(self, path: str, seconds: float | None = None, longest: float | None = None) -> Any:
        """What is answered as JSON. Raises as `read`, and BadAnswer for JSON that nobody can read."""
        seconds = seconds or _ANSWER_SECONDS
        return patient(lambda: _value(self._whole(path, None, seconds, longest)), seconds)

    def _sent(self, path: str, what: str, body: bytes, seconds: float, **headers: str) -> Any:
        """What is answered as JSON to something that is sent. what: it is, for messages. Raises as `get`, and HostError
        where it is too large."""
        try:
            return patient(lambda: _value(self._whole(path, body, seconds, None, headers)), seconds)
        except HTTPError as cause:
            if cause.code != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                raise
            size = len(body) / 2**20
            raise HostError(
                f"{what} has {size:.1f} MB, and less is taken there (413): start that ComfyUI with --max-upload-size "
                f"{math.ceil(size) + 1} or more (100 is its default), and let a proxy before it take as much."
            ) from cause

    def require_answer(self) -> Any:
        """Its /system_stats, which it answers at once. Raises OSError where it does not, and ValueError."""
        # One that loads a model for a prompt of ours is busy.
        is_idle = not self._unfinished
        return self.get("/system_stats", min(_IDLE_SECONDS, _ANSWER_SECONDS) if is_idle else None)

    def object_info(self) -> dict[str, Any]:
        """Its nodes. Raises OSError, and BadAnswer where that is no list of nodes."""
        nodes = self.get("/object_info", None, _LONGEST_SECONDS)
        if not isinstance(nodes, dict):
            raise BadAnswer("its list of nodes is none")
        for name, node in cast("dict[str, Any]", nodes).items():
            if not _is_node(node):
                raise BadAnswer(f"of its node {ascii(name)[:80]} it says nothing that a node has")
        return cast("dict[str, Any]", nodes)

    def free(self) -> None:
        """Forget what earlier prompts made, so that every node of the next prompt runs again.

        ComfyUI forgets between two prompts, when it looks at its flags, and a prompt that is queued at once may come
        first. So a prompt that computes nothing is run here: ComfyUI has looked at its flags before the one after it.
        """
        self.read("/free", b'{"free_memory": true}', **_JSON)
        self.run(_PROMPT_OF_NOTHING)

    def upload_image(self, path: Path, name: str | None = None) -> str:
        """Put a picture into the host's input folder through its own route; the name to use in LoadImage."""
        return self.upload(name or path.name, path.read_bytes())

    def upload(self, name: str, data: bytes, may_replace: bool = False) -> str:
        """Put a file into the host's input folder; its name there. may_replace: one that is called so already."""
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
        body = head.encode() + data
        if may_replace:
            body += f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue'.encode()
        body += f"\r\n--{boundary}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._sent("/upload/image", name, body, _ANSWER_SECONDS, **kind)["name"]

    def pieces_of(self, output: Mapping[str, str], most: int) -> Iterator[bytes]:
        """What is in an output that the host names ({"filename", "subfolder", "type"}). Raises as `read`."""
        names = {key: output.get(key, "") for key in ("filename", "subfolder", "type")}
        return self._pieces(f"/view?{urlencode(names)}", most, _LONGEST_SECONDS)

    def run(
        self, prompt: Prompt, timeout: float = 900, client: str = "", while_waiting: Callable[[], object] | None = None
    ) -> Run:
        """Queue an API prompt and wait for its end.

        timeout: seconds. client: whom the host tells by a websocket how it gets on. while_waiting: called at every
        look. Raises HostError with the host's words when the prompt is refused or a node fails; an interrupted run
        comes back with status "interrupted".
        """
        run = self.attempt(prompt, timeout, client, while_waiting)
        if run.error:
            raise HostError(run.error)
        return run

    def attempt(
        self,
        prompt: Prompt,
        timeout: float = math.inf,
        client: str = "",
        while_waiting: Callable[[], object] | None = None,
    ) -> Run:
        """`run`, but what the host says against the prompt comes back as its `error`."""
        waiting = None
        sent = time.monotonic()
        try:
            answer = self._queue(prompt, client)
            # The host may accept a prompt and leave out the outputs that have something wrong before them.
            run = Run(error=refusal(answer))
            if "prompt_id" not in answer:
                return run
            waiting = _Waiting(answer["prompt_id"])
            run.id = waiting.id
            self._unfinished[run.id] = waiting
            self._await(waiting, time.monotonic() + timeout, while_waiting, run)
            # By its clock, which may say anything.
            run.seconds = min(run.seconds, time.monotonic() - sent)
            return run
        except OSError as why:
            if isinstance(why, HTTPError):
                raise HostError(f"It answers {why.code} {why.reason}.") from why
            is_there = isinstance(why, Between) and not why.is_outage
            kind = Ended if waiting and self._may_be_at(waiting) and not is_there else Silent
            raise kind(f"It does not answer any more ({str(why) or type(why).__name__}).{self._end_of_log()}") from why
        finally:
            if waiting:
                del self._unfinished[waiting.id]

    def _may_be_at(self, waiting: _Waiting) -> bool:
        """Whether the host may be at a prompt: it was when it was last looked, or was to come to it next."""
        _, pending = waiting.queue
        is_first = next(iter(self._unfinished)) == waiting.id
        return waiting.is_begun or (is_first and pending[:1] == [waiting.id])

    def _await(self, waiting: _Waiting, give_up: float, while_waiting: Callable[[], object] | None, run: Run) -> None:
        """Put into a run what the host keeps of a prompt that it has made. give_up: when nobody waits for it any more.
        Raises OSError where the host does not answer, and HostError where it does not get on with the prompt."""
        sent = time.monotonic()
        patience: Patience | None = None
        try:
            while True:
                pause = min(max(_OF_WAITING * (time.monotonic() - sent), _SHORTEST_PAUSE), _LONGEST_PAUSE)
                if waiting.is_left.wait(pause):
                    raise Silent("Nobody waits for it any more")
                seconds = min(give_up, waiting.moved + self._limit) - time.monotonic()
                seconds = max(_SHORTEST_PAUSE, min(seconds, _ANSWER_SECONDS))
                try:
                    past = self._looked(waiting, seconds)
                    if past is not None:
                        return _note(past, run)
                    patience = None
                except _ODD_ANSWERS as odd:
                    # It says nothing about the prompt, which was accepted.
                    waiting.was_away = True
                    patience = patience or Patience(_ANSWER_SECONDS)
                    waiting.is_left.wait(min(patience.pause(odd), seconds))
                self._require_progress(waiting, give_up)
                if while_waiting:
                    while_waiting()
        except BaseException as cause:
            self._abandoned.add(waiting.id)
            if isinstance(cause, TimeoutError):
                self._require_progress(waiting, give_up)
            raise

    def _looked(self, waiting: _Waiting, seconds: float) -> Any:
        """What the host keeps of a prompt that it has made, None where it has not. seconds: as of `_asked`. Raises
        HostError where it does not have the prompt."""
        now = time.monotonic()
        is_there = True
        may_be_at = self._may_be_at(waiting)
        if now >= waiting.look_again:
            is_there = self._look_at_queue(waiting, seconds)
            waiting.look_again = time.monotonic() + (time.monotonic() - now) / _LOOKING
        kept = self._asked(f"/history/{waiting.id}", seconds)
        past = kept.get(waiting.id)
        if kept and past is None:
            raise BadAnswer("it says nothing of the prompt that it was asked for")
        if past is None and not is_there:
            gone = "It has this prompt no more: somebody has cleared its queue, or it was started again"
            # A proxy may hide that it has ended at it.
            raise Ended(gone) if waiting.was_away and may_be_at else Lost(gone)
        return past

    def _look_at_queue(self, waiting: _Waiting, seconds: float) -> bool:
        """Note how far the host is; False where it does not have the prompt. seconds: as of `_asked`."""
        lists = self._asked("/queue", seconds)
        running, pending = ([entry[1] for entry in lists[name]] for name in ("queue_running", "queue_pending"))
        if not waiting.is_begun and (running, pending) != waiting.queue:
            waiting.moved = time.monotonic()
        waiting.is_begun = waiting.is_begun or waiting.id in running
        waiting.queue = running, pending
        return waiting.id in running + pending

    def _asked(self, path: str, seconds: float) -> Any:
        """What is answered once to a question, which is asked again where a connection broke. seconds: how long nothing
        may come, and how long the answer."""
        try:
            return _value(self._whole(path, None, seconds))
        except ConnectionError:
            time.sleep(AGAIN_SECONDS)
            return _value(self._whole(path, None, seconds))

    def _require_progress(self, waiting: _Waiting, give_up: float) -> None:
        """Raises HostError where the host does not get on with a prompt."""
        now = time.monotonic()
        if now >= give_up:
            raise HostError("It has not made it in the time that there is.")
        if now >= waiting.moved + self._limit:
            kind = Overdue if waiting.is_begun else Lost
            raise kind(f"It has not made it after {self._limit:g} s")
        running, _ = waiting.queue
        if not running and now - waiting.moved >= _ANSWER_SECONDS:
            raise Lost("It makes nothing, and has no result of this prompt")

    def _queue(self, prompt: Prompt, client: str) -> dict[str, Any]:
        """What the host answers to a prompt, also where it refuses it. client: "" for nobody."""
        content = {"prompt": prompt, **({"client_id": client} if client else {})}
        seconds = min(_ANSWER_SECONDS, self._limit)
        try:
            return self._sent("/prompt", "The prompt", json.dumps(content).encode(), seconds, **_JSON)
        except HTTPError as refused:
            if refused.code != HTTPStatus.BAD_REQUEST:
                raise
            # An error of urllib's is the answer too.
            return _value(b"".join(_content(cast("HTTPResponse", refused), _MOST_BYTES, seconds)))

    def withdraw(self, abandoned_only: bool = False) -> None:
        """Take what was asked of the host and is not done out of its queue, and end what it is at of this. Raises
        OSError."""
        unfinished = {} if abandoned_only else dict(self._unfinished)
        for waiting in unfinished.values():
            waiting.is_left.set()
        prompts = [*unfinished, *self._abandoned]
        self._abandoned.difference_update(prompts)
        if prompts:
            self.read("/queue", json.dumps({"delete": prompts}).encode(), _END_SECONDS, **_JSON)
        for prompt in prompts:
            self.read("/interrupt", json.dumps({"prompt_id": prompt}).encode(), _END_SECONDS, **_JSON)

    def _end_of_log(self) -> str:
        """A sentence with the end of its log, where that can be read."""
        return ""


class HostServer(RunningHost):
    """A ComfyUI that is started; use it in a `with` statement.

    base: emptied folder it writes into. models: folders with one sub-folder per model key, searched after the host's
    own. without: model keys under which the host's own folders are not searched. frontend: a folder served in the place
    of the host's own frontend. pack: the folder that becomes the pack. packs: folders of others beside it. limit: as of
    RunningHost.
    """

    def __init__(
        self,
        host: Host,
        python: Path,
        base: Path,
        models: Iterable[Path] = (),
        pack_name: str = "likeness",
        without: Collection[str] = (),
        frontend: Path | None = None,
        pack: Path = environment.ROOT,
        packs: Iterable[Path] = (),
        limit: float = math.inf,
    ) -> None:
        self.host, self.base, self.pack_name, self._pack, self._packs = host, base, pack_name, pack, packs
        super().__init__(f"http://127.0.0.1:{_free_port()}", limit)
        self._python, self._models, self._without = python, [host.path / "models", *models], without
        self.frontend = frontend
        self._process: subprocess.Popen[bytes] | None = None
        self._variables = dict(environment.host_environment(host, python))
        # As on a user's machine: what one start has compiled the next one finds.
        self._variables.pop("PYTHONDONTWRITEBYTECODE", None)

    @property
    def log(self) -> str:
        return (self.base / "host.log").read_text("utf-8", errors="replace")

    def _end_of_log(self) -> str:
        return f" The end of its log:\n{_tail(self.log)}"

    def __enter__(self) -> HostServer:
        shutil.rmtree(self.base, ignore_errors=True)
        for folder in _FOLDERS:
            (self.base / folder).mkdir(parents=True)
        for name, pack in {self.pack_name: self._pack, **{other.name: other for other in self._packs}}.items():
            link_pack(self.base / "custom_nodes" / name, pack)
        # JSON is YAML.
        (self.base / "models.yaml").write_text(json.dumps(self._model_paths()), "utf-8")
        with (self.base / "host.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(), cwd=self.host.path, env=self._variables, stdin=subprocess.PIPE, stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _command(self) -> list[str]:
        options = ["--port", self.url.rsplit(":", 1)[1], "--base-directory", str(self.base), "--disable-auto-launch"]
        options += ["--extra-model-paths-config", *self._own_model_paths(), str(self.base / "models.yaml")]
        options += ["--disable-api-nodes"]
        options += ["--database-url", "sqlite:///:memory:", *([] if _may_use_card() else ["--cpu"])]
        options += ["--front-end-root", str(self.frontend)] if self.frontend else []
        return [str(self._python), "-c", _MAIN, *options]

    def _own_model_paths(self) -> list[str]:
        """The host's own extra_model_paths.yaml, if it does not find it by itself: it looks where links lead to."""
        own = self.host.path / "extra_model_paths.yaml"
        is_found = (self.host.path / "main.py").resolve().with_name(own.name).is_file()
        return [str(own)] if own.is_file() and not is_found else []

    def _model_paths(self) -> dict[str, dict[str, str | bool]]:
        """extra_model_paths.yaml: every sub-folder of each folder under the model key of the same name."""
        own = self.host.path / "models"
        return {
            f"models_{number}": {
                "base_path": str(folder),
                # What stands in for files of the host goes before those of its own extra_model_paths.yaml, too.
                **({"is_default": True} if self._without and folder != own else {}),
                **{
                    entry.name: entry.name
                    for entry in sorted(folder.iterdir())
                    if entry.is_dir() and not (folder == own and entry.name in self._without)
                },
            }
            for number, folder in enumerate(folder for folder in self._models if folder.is_dir())
        }

    def _wait_until_ready(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            if self._process is None or self._process.poll() is not None:
                raise HostError(f"{self.host} ended while starting.{self._end_of_log()}")
            try:
                self.get("/system_stats")
            except OSError:
                time.sleep(0.2)
            else:
                return
        raise HostError(f"{self.host} did not answer within {START_SECONDS} s.{self._end_of_log()}")

    def stop(self) -> None:
        """Wait for its end; who presses Ctrl-C meanwhile does not wait."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            self._process.wait()
        finally:
            if self._process.stdin:
                self._process.stdin.close()

    def file(self, output: Mapping[str, str]) -> Path:
        """Where an output that the host names ({"filename", "subfolder", "type"}) lies."""
        return self.base / output["type"] / output.get("subfolder", "") / output["filename"]


def _content(response: HTTPResponse, most: int, longest: float) -> Iterator[bytes]:
    """What is in an answer that has begun, as it comes. most: bytes. longest: seconds. Raises OSError where it breaks
    off or does not end in time, and BadAnswer where it is too long."""
    give_up = time.monotonic() + longest
    length = response.length
    size = 0
    while size != length and (piece := response.read1(_PIECE)):
        size += len(piece)
        if size > most:
            raise BadAnswer(f"it sends more than {most:,} bytes")
        if time.monotonic() > give_up:
            raise TimeoutError(f"its answer has not ended after {longest:g} s")
        yield piece
    if length is not None and size < length:
        raise ConnectionError(f"{size} bytes read, {length - size} more expected")


def _value(answer: bytes | str) -> Any:
    """What a host answers as JSON. Raises Page where that is none, and BadAnswer."""
    try:
        return json.loads(answer)
    except ValueError as cause:
        raise Page(f"a text that is no answer: {cause}") from cause
    except RecursionError as cause:
        raise BadAnswer("its JSON is nested too deep") from cause


def _note(past: Mapping[str, Any], run: Run) -> None:
    """Put what the host keeps of a prompt into its run."""
    run.outputs = past["outputs"]
    begun = ended = 0
    for kind, data in past["status"]["messages"]:
        if kind == "execution_start":
            begun = data.get("timestamp", 0)
        elif kind == "execution_cached":
            run.cached = list(data["nodes"])
        elif kind in _ENDED:
            run.status = _ENDED[kind]
            ended = data.get("timestamp", 0)
        if kind == "execution_error":
            run.error_node, run.error_text = data["node_id"], data["exception_message"].strip()
            run.error = f"{data['node_type']} (node {run.error_node}): {run.error_text}"
    run.seconds = max(0.0, (ended - begun) / 1000)


def refusal(answer: Mapping[str, Any]) -> str:
    """What the host has against a prompt, as lines for people: node, input, what is wrong; empty when nothing."""
    lines = [f"{error['message']} {error['details']}".strip() for error in [answer.get("error")] if error]
    for number, node in (answer.get("node_errors") or {}).items():
        lines += [f"{node['class_type']} (node {number}): {e['message']}: {e['details']}" for e in node["errors"]]
    return "\n".join(lines)


def link_pack(target: Path, pack: Path = environment.ROOT) -> None:
    """A pack, which may be one file, under any name; a copy where links are not allowed (Windows without developer
    mode)."""
    try:
        target.symlink_to(pack, target_is_directory=pack.is_dir())
    except OSError:
        if pack.is_file():
            shutil.copy(pack, target)
            return
        unneeded = shutil.ignore_patterns(".git", ".venv", ".cache", "output", "tests", "__pycache__")
        shutil.copytree(pack, target, ignore=unneeded)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _may_use_card() -> bool:
    """Whether the host is to look for a card. A test run without LIKENESS_TEST_DEVICE=cuda leaves the cards alone."""
    return os.environ.get("LIKENESS_TEST_DEVICE") != "cpu" and has_card()


def _tail(log: str) -> str:
    return "\n".join(log.splitlines()[-25:])
