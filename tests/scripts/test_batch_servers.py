"""batch.py with ComfyUIs that run already, of which one stops to work: another makes its rows."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import HTTPError

import pytest
from aiohttp import web
from batch import servers
from batch.faults import Fault, Happened
from batch.folders import Folder
from batch.maker import Maker
from batch.one_worker import WorkerSettings
from batch.output import Output, Task
from batch.prompts import Job
from batch.rows import Row
from batch.servers import Servers, ServerWorker
from crews import quicken
from environment import SetupError
from shared import between, host_server
from shared.between import Between
from shared.host_server import BadAnswer, HostError, RunningHost

ROWS = 12
SAVER = {"Save": {"output": [], "output_node": True, "python_module": "nodes"}}


PNG = b"\x89PNG\r\n\x1a\n"
LONG_TEXT = "\x1b[2J\n" + "long " * 20_000
BAD_NAMES: dict[str, Any] = {
    "saves a page": "x.html", "saves a list": ["x.txt"], "saves a NUL": "x.t\0xt",
    "saves 300 letters": "x." + "t" * 300, "saves a text as a picture": "\ufeff<html>.png",
    "saves a text as a model": "[].glb", "saves a page as a model": "\ufeff\n<html>.obj",
}  # fmt: skip

PROXIES: dict[str, dict[str, Any]] = {
    **{f"a proxy answers {code}": {"status": code} for code in (408, 425, 502, 503, 504, 520, 524, 527, 530)},
    "a proxy answers 429": {"status": 429, "headers": {"Retry-After": "0"}},
    "a proxy answers a page": {"text": "<html>Wait</html>", "content_type": "text/html"},
    "a proxy answers nothing": {"text": ""},
}
"""What stands before a server answers in its place, by what it is called."""
ODDITIES: dict[str, dict[str, Any]] = {
    "the server answers 500": {"status": 500}, "the server answers 404": {"status": 404},
    "the server answers null": {"text": "null"}, "the server answers a list": {"text": "[]"},
    "the server answers another list": {"text": '{"queue_running": 3}'},
}  # fmt: skip
"""What a server may answer once to a look at a prompt."""
QUESTIONS = ("system_stats", "upload", "prompt", "queue", "history", "view")


class SmallHost:
    """What batch.py uses of ComfyUI's API, over HTTP, for prompts that save their text.

    fault: what goes wrong from the first prompt on, each time. left: how many prompts it makes before. made: the texts.
    """

    def __init__(self, fault: str, left: int = 0) -> None:
        self.fault = fault
        self._left = left
        self.made: list[str] = []
        self.elsewhere: list[str] = []
        """The logins of those who came where they were sent."""
        self.asked: Callable[[web.Request], object] = lambda _: None
        self._queue: dict[str, str] = {}
        """The text of each prompt by its id."""
        self._begun: set[str] = set()
        self._running: list[str] = []
        self._history: dict[str, Any] = {}
        self._is_broken = False
        self._turns = itertools.count()
        self._is_ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> SmallHost:
        self._thread.start()
        self._is_ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def has(self, fault: str) -> bool:
        """Whether this is the fault, and it is time for it."""
        return self.fault == fault and not self._left

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(middlewares=[self._answered])
        get, post = web.get, web.post
        app.add_routes([
            get("/system_stats", self._stats), get("/object_info", self._info),
            get("/history/{id}", self._past), get("/queue", self._waiting), get("/view", self._view),
            get("/elsewhere", self._other),
            post("/prompt", self._prompt), post("/upload/image", self._upload), post("/{other}", self._other),
        ])  # fmt: skip
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._loop.run_until_complete(web.SockSite(runner, listening).start())
        making = self._loop.create_task(self._make())
        self._is_ready.set()
        self._loop.run_forever()
        making.cancel()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    @web.middleware
    async def _answered(self, request: web.Request, handler: Any) -> web.StreamResponse:
        kind = request.path.split("/")[1]
        self.asked(request)
        if self.has("answers nothing") or self.has(f"does not answer for {kind}"):
            await asyncio.sleep(60)
        if self.has(f"breaks a connection for {kind}") and not self._is_broken:
            self._is_broken = True
            assert request.transport
            request.transport.close()
        if self.has(f"answers 500 for {kind}"):
            raise web.HTTPInternalServerError
        for proxy, answer in {**PROXIES, **ODDITIES}.items():
            # Each second time: what is asked again is answered.
            if self.has(f"{proxy} for {kind}") and next(self._turns) % 2 == 0:
                return web.Response(**answer)
        if self.has(f"wants a login for {kind}"):
            raise web.HTTPUnauthorized
        if self.has(f"sends elsewhere for {kind}"):
            raise web.HTTPFound(f"http://localhost:{request.url.port}/elsewhere")
        if self.has(f"nests too deep for {kind}"):
            return web.Response(text="[" * 10**5, content_type="application/json")
        if self.has(f"drips for {kind}"):
            await _drip(request, 200)
        if self.has(f"drips a refusal for {kind}"):
            await _drip(request, 400)
        return await handler(request)

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response({"system": {"comfyui_version": "0.33.0"}})

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response(SAVER)

    async def _upload(self, request: web.Request) -> web.Response:
        if self.has("takes photos slowly"):
            for _ in range(10):
                await request.content.read(2**19)
                await asyncio.sleep(0.1)
            await request.content.read()
            return web.json_response({"name": "photo.png"})
        if self.has("takes no large file"):
            raise web.HTTPRequestEntityTooLarge(1, 2)
        file = (await request.post())["image"]
        return web.json_response({"name": getattr(file, "filename", "")})

    async def _other(self, request: web.Request) -> web.Response:
        if request.path == "/elsewhere":
            self.elsewhere.append(request.headers.get("Authorization", ""))
        return web.json_response({})

    async def _prompt(self, request: web.Request) -> web.Response:
        content = await request.json()
        if self.has("sends a page"):
            return web.Response(text="<html>", content_type="text/html")
        if self.has("refuses a prompt"):
            return web.json_response({"error": {"message": LONG_TEXT, "details": ""}}, status=400)
        if self.has("sends a list"):
            return web.json_response([])
        number = uuid.uuid4().hex
        self._queue[number] = content["prompt"]["1"]["inputs"]["text"]
        return web.json_response({"prompt_id": number})

    async def _waiting(self, _: web.Request) -> web.Response:
        return web.json_response(self._entries())

    def _entries(self) -> dict[str, list[Any]]:
        running = ["another's"] if self.has("makes another's") else self._running
        pending = [number for number in self._queue if number not in self._begun]
        lists = {"queue_running": running, "queue_pending": pending}
        return {name: [[0, number, {}, {}, []] for number in numbers] for name, numbers in lists.items()}

    async def _past(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        return web.json_response({number: self._history[number]} if number in self._history else {})

    async def _view(self, request: web.Request) -> web.Response:
        text, _, ending = request.query["filename"].rpartition(".")
        if ending == "png" and text.isdecimal():
            return web.Response(body=PNG + text.encode())
        return web.Response(text=request.query["filename"].removesuffix(".txt"))

    def forget(self) -> None:
        """Have no prompt any more."""
        self._queue.clear()
        self._running.clear()

    async def _make(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            for number in [number for number in self._queue if number not in self._begun]:
                if self.has("is cleared"):
                    del self._queue[number]
                elif not self.has("begins nothing") and not self.has("makes another's"):
                    self._begun.add(number)
                    self._running.append(number)
                    self._made(number)
                    if not self.has("never ends"):
                        self._running.remove(number)

    def _made(self, number: str) -> None:
        if self.has("ends nothing") or self.has("never ends"):
            return
        text = self._queue[number]
        usual = f"{text}.png" if self.fault.startswith("a proxy") else f"{text}.txt"
        name = next((name for fault, name in BAD_NAMES.items() if self.has(fault)), usual)
        outputs = {"1": {"images": [{"filename": name, "subfolder": "", "type": "output"}]}}
        if self.has("saves without end"):
            outputs["1"]["images"] *= 10**5
        messages: list[Any] = [[kind, {"prompt_id": number}] for kind in ("execution_start", "execution_success")]
        if self.has("says that it took for ever"):
            messages[1][1]["timestamp"] = math.inf
        if self.has("fails at a node") or self.has("fails at no node"):
            node = "1" if self.has("fails at a node") else LONG_TEXT
            messages = [["execution_error", {"node_id": node, "node_type": "Save", "exception_message": LONG_TEXT}]]
        self._history[number] = {"outputs": outputs, "status": {"messages": messages}}
        self.made.append(text)
        self._left = max(0, self._left - 1)


async def _drip(request: web.Request, status: int) -> None:
    """An answer that begins and goes on for ever."""
    answer = web.StreamResponse(status=status)
    await answer.prepare(request)
    while True:
        await answer.write(b" ")
        await asyncio.sleep(0.05)


class Texts:
    """A template of one node, which saves the line of its row."""

    prompt: ClassVar = {"1": {"class_type": "Save", "inputs": {}}}

    def job(self, row: Row) -> Job:
        return Job(row, {"1": {"class_type": "Save", "inputs": {"text": str(row.line)}}}, {"photo.png": b"1"})


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("_ANSWER_SECONDS", "_END_SECONDS"):
        monkeypatch.setattr(host_server, name, 0.7)
    monkeypatch.setattr(host_server, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(between, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(servers, "_LONGEST_SECONDS", 0.7)
    monkeypatch.setattr(servers, "_PAGE_SECONDS", 0.7)
    quicken(monkeypatch)
    yield


MADE_BY_ITSELF = {
    "breaks a connection for queue", "breaks a connection for history", "says that it took for ever",
}  # fmt: skip
"""What a server does that makes its rows all the same."""
FAULTS = [
    "answers nothing", "begins nothing", "makes another's", "never ends", "ends nothing",
    "does not answer for prompt", "does not answer for queue", "does not answer for history",
    "does not answer for view", "does not answer for upload", "sends a page", "sends a list", *sorted(MADE_BY_ITSELF),
    "answers 500 for upload", "answers 500 for prompt", "answers 500 for view", "answers 500 for queue",
    "wants a login for upload", "wants a login for queue", "wants a login for history", "is cleared",
    "sends elsewhere for upload", "sends elsewhere for queue", "sends elsewhere for view",
    "sends elsewhere for history",
    "drips for upload", "drips for prompt", "drips a refusal for prompt", "drips for queue", "drips for history",
    "nests too deep for prompt", "nests too deep for history", "nests too deep for queue",
    *BAD_NAMES, "saves without end",
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_rows_of_a_server_that_does_not_work_any_more_are_made(fault: str, impatient: None, tmp_path: Path) -> None:
    """Each once, by the other, or by itself where a connection broke."""
    output = Output(Folder(str(tmp_path / "out")))
    output.begin()
    tasks = [Task(Row(number, f"row{number}", {}), "made so") for number in range(ROWS)]
    with (
        SmallHost(fault, left=1) as bad,
        SmallHost("") as good,
        Servers([bad.url.replace("http://", "http://ann:secret@"), good.url], WorkerSettings(limit=1)) as workers,
    ):
        results = list(workers.results(Maker(Texts(), SAVER, output.folder), tasks))
        began = time.monotonic()
    assert time.monotonic() - began < 5, "whoever does not answer holds up nobody"
    assert bad.elsewhere == []
    output.close()
    assert [end.error for end in results] == [""] * ROWS
    pictures = {path.name: path.read_text() for path in (tmp_path / "out").glob("*.txt")}
    assert pictures == {f"row{number}.txt": str(number) for number in range(ROWS)}
    entries = [json.loads(line) for path in (tmp_path / "out" / "done").iterdir() for line in path.open()]
    assert len(entries) == ROWS
    assert all(entry["seconds"] < 5 for entry in entries)
    if fault in MADE_BY_ITSELF:
        assert len(bad.made) > 1


@pytest.mark.parametrize(
    "fault",
    [
        *(f"{proxy} for {kind}" for proxy, kind in zip(PROXIES, itertools.cycle(QUESTIONS))),
        *(f"a proxy answers {what} for {kind}" for what in ("429", "524", "a page") for kind in QUESTIONS),
        *(f"{odd} for {kind}" for odd in ODDITIES for kind in ("queue", "history")),
    ],
)
def test_what_stands_before_a_server_says_nothing_of_its_rows(fault: str, impatient: None, tmp_path: Path) -> None:
    """It is the only one, and makes all, each once."""
    tasks = [Task(Row(number, f"row{number}", {}), "made so") for number in range(4)]
    output = Output(Folder(str(tmp_path / "out")))
    output.begin()
    with SmallHost(fault) as host, Servers([host.url], WorkerSettings(limit=5)) as workers:
        results = list(workers.results(Maker(Texts(), SAVER, output.folder), tasks))
    output.close()
    assert [end.error for end in results] == [""] * 4
    assert sorted(host.made) == [str(number) for number in range(4)]
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.*g")}
    if fault.startswith("a proxy"):
        assert pictures == {f"row{number}.png": PNG + str(number).encode() for number in range(4)}


@pytest.mark.parametrize(
    ("fault", "happened", "says"),
    [
        ("begins nothing", Happened.LOST, "It makes nothing, and has no result of this prompt"),
        ("makes another's", Happened.LOST, "It has not made it after 1 s"),
        ("never ends", Happened.ENDED, "It was not done after 1 s. --row-limit gives it more seconds."),
    ],
)
def test_a_row_that_a_server_is_at_is_told_from_one_that_waits(
    fault: str, happened: Happened, says: str, impatient: None, tmp_path: Path
) -> None:
    with SmallHost(fault) as host, pytest.raises(Fault) as ended:
        ServerWorker("one", host.url, limit=1).run(Texts().job(Row(2, "row2", {})).prompt, {}, tmp_path)
    assert ended.value.happened is happened
    assert str(ended.value) == says


def test_a_server_that_hangs_while_it_makes_nothing_is_noticed_in_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It accepts connections, and never answers; before a row is sent, and where it is asked whether it is back."""
    monkeypatch.setattr(host_server, "_IDLE_SECONDS", 0.3)
    with SmallHost("") as host:
        worker = ServerWorker("one", host.url, limit=9)
        prompt = Texts().job(Row(2, "row2", {})).prompt
        assert worker.run(prompt, {"photo.png": b"1"}, tmp_path).error == ""
        host.fault = "answers nothing"
        began = time.monotonic()
        with pytest.raises(Fault) as fault:
            worker.run(prompt, {"photo.png": b"1"}, tmp_path)
        assert fault.value.happened is Happened.SILENT
        assert not worker.is_back()
        assert time.monotonic() - began < 5
        worker.clear()


def test_a_photo_may_be_sent_for_longer_than_an_answer_takes(impatient: None, tmp_path: Path) -> None:
    with SmallHost("takes photos slowly") as host:
        worker = ServerWorker("one", host.url, limit=9)
        outcome = worker.run(Texts().job(Row(2, "row2", {})).prompt, {"photo.png": bytes(2**25)}, tmp_path)
        worker.clear()
    assert outcome.error == ""


@pytest.mark.parametrize("later", ["answers nothing", "drips for history", "drips for queue"])
def test_a_row_at_which_a_server_hangs_ends_at_its_limit(later: str, tmp_path: Path) -> None:
    """Not when it owes an answer for a minute."""
    began = time.monotonic()
    with SmallHost("never ends") as host, pytest.raises(Fault) as fault:
        threading.Timer(0.5, lambda: setattr(host, "fault", later)).start()
        ServerWorker("one", host.url, limit=1).run(Texts().job(Row(2, "row2", {})).prompt, {}, tmp_path)
    assert time.monotonic() - began < 5
    assert fault.value.happened is Happened.ENDED
    assert str(fault.value) == "It was not done after 1 s. --row-limit gives it more seconds."


@contextlib.contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """The address of somebody who answers this to the beginning of every request, None: never, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_each() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(4096)
                        if answer is None:
                            connection.recv(4096)  # until the other side gives up
                        else:
                            connection.sendall(answer)

        threading.Thread(target=answer_each, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def status(code: int, reason: str, *headers: str) -> bytes:
    """An answer without content."""
    return "\r\n".join([f"HTTP/1.1 {code} {reason}", *headers, "Content-Length: 0", "", ""]).encode()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0-OpenSSH_9.6.*look whether that is a ComfyUI"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "2 bytes read, 7 more expected.*that is a ComfyUI"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "line 1 column 1.*that is no ComfyUI, or a proxy"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 10**5, "nested too deep.*that is no ComfyUI"),
        (b"", "closed connection.*look whether that is a ComfyUI"),
        (None, "timed out.*look whether it hangs, and whether a firewall is between"),
        (status(401, "No"), "401: No.*it wants a login: write http://NAME:PASSWORD@HOST, or http://HOST/.token="),
        (status(403, "No"), "403: No.*it wants a login"),
        (status(500, "\x1b[2JNo"), r"500:  ?\[2JNo\): look whether that is the address"),
        (status(302, "No", "Location: http://a/\x1b[2J"), r"it sends to http://a/ \[2J: give that address if"),
        (status(404, "No"), "404: No.*the address of a ComfyUI, with all of its path"),
        (status(502, "No"), r"\(502 No\): a proxy answers in its place: start it, or ask it less often"),
        (
            status(302, "No", "Location: http://10.0.0.1/"),
            "302: No.*it sends to http://10.0.0.1/: give that address if",
        ),
    ],
)
def test_each_thing_that_is_no_comfyui_has_its_own_advice(answer: bytes | None, says: str, impatient: None) -> None:
    with (
        answering(answer) as url,
        pytest.raises(SetupError, match=f"No ComfyUI answers at .*{says}.*, or leave it out"),
    ):
        ServerWorker("one", url, limit=9)


@pytest.mark.parametrize(("given", "header"), [("ann:s%3Aecret@", "Basic YW5uOnM6ZWNyZXQ="), ("", "Bearer a b")])
def test_a_login_goes_with_every_request(given: str, header: str, impatient: None, tmp_path: Path) -> None:
    """A name and a password, or a token, which is in the address of every request too, and in no message."""
    seen: list[web.Request] = []
    with SmallHost("") as host:
        host.asked = seen.append
        token = "" if given else "?token=a%20b"
        worker = ServerWorker("one", f"{host.url.replace('http://', f'http://{given}')}/{token}", limit=9)
        outcome = worker.run(Texts().job(Row(2, "row2", {})).prompt, {"photo.png": b"1"}, tmp_path)
        worker.clear()
    assert outcome.error == ""
    assert [file.path.read_bytes() for file in outcome.files] == [b"2"]
    paths = {request.path.split("/")[1] for request in seen}
    assert paths == {"system_stats", "upload", "queue", "prompt", "history", "view"}
    assert {request.headers["Authorization"] for request in seen} == {header}
    assert {request.query.get("token") for request in seen} == {None if given else "a b"}
    assert "token" not in worker.label


def test_a_file_that_is_too_large_for_a_server_is_named(tmp_path: Path) -> None:
    with SmallHost("takes no large file") as host, pytest.raises(Fault) as fault:
        files = {"anna-12.png": bytes(3 * 2**20)}
        ServerWorker("one", host.url, limit=9).run(Texts().job(Row(2, "row2", {})).prompt, files, tmp_path)
    assert fault.value.happened is Happened.FAILED
    assert "anna-12.png has 3.0 MB" in str(fault.value)
    assert "--max-upload-size 5 or more" in str(fault.value)


def test_a_file_is_named_also_where_it_is_not_taken_to_its_end() -> None:
    with answering(status(413, "No")) as url, pytest.raises(HostError, match=r"anna.png has 30.0 MB, and less is"):
        RunningHost(url).upload("anna.png", bytes(30 * 2**20))


def test_who_ends_at_a_row_behind_a_proxy_has_ended(tmp_path: Path) -> None:
    """Not lost it, as when its queue is cleared: the row may be the reason."""
    with SmallHost("never ends") as host, pytest.raises(Fault) as fault:

        def end() -> None:
            host.fault = "a proxy answers 502 for history"
            host.forget()

        threading.Timer(0.5, end).start()
        ServerWorker("one", host.url, limit=9).run(Texts().job(Row(2, "row2", {})).prompt, {}, tmp_path)
    assert fault.value.happened is Happened.ENDED


@pytest.mark.parametrize(
    ("said", "pause"),
    [
        ("30", 30), ("0", 1), ("", 1), ("soon", 1), ("-5", 1), ("1.5", 1), ("3600", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1), ("Tue, 31 Dec 2199 07:28:00 GMT", None),
        pytest.param("9" * 400, None, id="never"),
    ],
)  # fmt: skip
def test_a_proxy_is_asked_again_when_it_says(said: str, pause: float | None) -> None:
    headers = Message()
    headers["Retry-After"] = said
    came = between.between(HTTPError("http://a", 429, "Too Many Requests", headers, None))
    assert came
    if pause is None:
        with pytest.raises(Between, match="429 Too Many Requests"):
            between.Patience(10).pause(came)
    else:
        assert between.Patience(10).pause(came) == pause


def test_an_answer_that_is_too_long_fails_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_MOST_BYTES", 0)
    with SmallHost("") as host, pytest.raises(Fault, match="it sends more than 0 bytes") as fault:
        ServerWorker("one", host.url, limit=9).run(Texts().job(Row(2, "row2", {})).prompt, {}, tmp_path)
    assert fault.value.happened is Happened.FAILED


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("fails at a node", "Save: [2J long long"), ("refuses a prompt", "[2J long long"),
        ("fails at no node", "[2J long long"),
    ],
)  # fmt: skip
def test_what_a_server_says_of_an_error_is_one_line_that_ends(fault: str, says: str, tmp_path: Path) -> None:
    with SmallHost(fault) as host:
        worker = ServerWorker("one", host.url, limit=9)
        error = worker.run(Texts().job(Row(2, "row2", {})).prompt, {}, tmp_path).error
        worker.clear()
    assert error.startswith(says)
    assert error.isprintable()
    assert len(error) < 3000


@pytest.mark.parametrize(
    "nodes",
    [[], "x", {"Save": {}}, {"Save": None}],
    ids=str,
)
def test_a_list_of_nodes_that_is_none_is_the_servers(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunningHost, "get", lambda *_: nodes)
    with pytest.raises(BadAnswer, match=r"list of nodes is none|'Save' it says nothing"):
        RunningHost("http://127.0.0.1:1", 9).object_info()
