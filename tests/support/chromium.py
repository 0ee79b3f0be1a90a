"""A headless Chromium driven over its debugging protocol, with aiohttp, which every host brings."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--disable-renderer-backgrounding", "--disable-background-timer-throttling",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)  # fmt: skip
"""Addresses elsewhere are not found at once, whatever the network: a frontend looks for the sizes of missing files."""

VISITOR = Path(__file__).with_name("visitor.js").read_text("utf-8")
POLL = 0.02
"""Seconds between two looks at what a page shows."""
ADVICE = "Install it (apt-get install chromium), or set CHROMIUM to the program of a Chrome or Chromium."


@contextmanager
def window(width: int, height: int) -> Iterator[Page]:
    """A window of this size in a browser of its own, with an empty profile.

    The browser is the one in CHROMIUM or on the PATH. Without one: fail with CI=true, skip loudly elsewhere, as without
    a host.
    """
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing = f"NO CHROMIUM: nothing was opened in a real frontend. {ADVICE}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [found, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            page = Page(_port(Path(profile)))
            page.call("Page.enable")
            page.call("Page.addScriptToEvaluateOnNewDocument", source=VISITOR)
            page.resize(width, height)
            yield page
            page.close()
        finally:
            process.terminate()
            process.wait()


class Page:
    """The tab of a browser. Every call waits for its answer."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._calls = 0
        self._events: list[dict[str, Any]] = []
        self._loop.run_until_complete(self._connect(port))

    async def _connect(self, port: int) -> None:
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            tabs = await answer.json()
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        self._socket = await self._session.ws_connect(address, max_msg_size=0)

    async def _answer(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._calls += 1
        number = self._calls
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async for message in self._socket:
            data = json.loads(message.data)
            if "method" in data:
                self._events.append(data)
            if data.get("method") == "Page.javascriptDialogOpening":  # leave a page with unsaved changes?
                self._calls += 1
                await self._socket.send_json(
                    {"id": self._calls, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
                )
            if data.get("id") == number:
                if "error" in data:
                    raise RuntimeError(f"{method}: {data['error']['message']}")
                return data["result"]
        raise RuntimeError("Chromium closed the connection")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the debugging protocol."""
        return self._loop.run_until_complete(self._answer(method, parameters))

    def evaluate(self, script: str) -> Any:
        """The JSON value of a JavaScript expression; promises are awaited. A JavaScript exception is raised."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if details := result.get("exceptionDetails"):
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return result["result"].get("value")

    def ask(self, question: str, *given: Any) -> Any:
        """What a function of visitor.js gives."""
        return self.evaluate(f"visitor.{question}({', '.join(map(json.dumps, given))})")

    def open(self, url: str, ready: str, seconds: float = 60) -> None:
        """Load `url` and wait until the JavaScript expression `ready` is true."""
        self.call("Page.navigate", url=url)
        self.wait(ready, seconds)

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Until the JavaScript expression is true."""
        deadline = time.monotonic() + seconds
        while not self._holds(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Not so after {seconds:.0f} s: {condition}")
            time.sleep(POLL)

    def _holds(self, condition: str) -> bool:
        try:
            return bool(self.evaluate(condition))
        except RuntimeError:  # the page is still changing
            return False

    def listen(self, *domains: str) -> None:
        """From now on `events` has what these domains tell."""
        for domain in domains:
            self.call(f"{domain}.enable")

    def events(self, method: str) -> list[dict[str, Any]]:
        """The parameters of every event of this name so far, each given once."""
        self.evaluate("1")  # whatever is under way
        found = [event["params"] for event in self._events if event["method"] == method]
        self._events = [event for event in self._events if event["method"] != method]
        return found

    def errors(self) -> list[str]:
        """What the console shows in red, each told once; `listen("Runtime", "Log")` first."""
        logged = [e["entry"] for e in self.events("Log.entryAdded")]
        said = [e for e in self.events("Runtime.consoleAPICalled") if e["type"] in ("error", "assert")]
        thrown = [e["exceptionDetails"] for e in self.events("Runtime.exceptionThrown")]
        return [
            *(f"{e['text']} {e.get('url', '')}".strip() for e in logged if e["level"] == "error"),
            *(" ".join(str(a.get("value", a.get("description", ""))) for a in e["args"]) for e in said),
            *(e.get("exception", {}).get("description") or e["text"] for e in thrown),
        ]

    def choose_file(self, click: str, *paths: Path) -> None:
        """Run the JavaScript `click`, as by hand, and answer the file chooser that it opens."""
        self.call("Page.setInterceptFileChooserDialog", enabled=True)
        self.events("Page.fileChooserOpened")
        self.call("Runtime.evaluate", expression=click, userGesture=True, awaitPromise=True)
        deadline = time.monotonic() + 10
        while not (opened := self.events("Page.fileChooserOpened")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"No file chooser was opened by: {click}")
            time.sleep(POLL)
        files = [str(path) for path in paths]
        self.call("DOM.setFileInputFiles", files=files, backendNodeId=opened[0]["backendNodeId"])

    def drop_file(self, path: Path, x: int, y: int) -> None:
        """Drag a file from the desktop onto the page."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def click(self, x: float, y: float) -> None:
        """With the left mouse button on a point of the page."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            held = {"button": "left", "buttons": int(kind == "mousePressed"), "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **(held if kind != "mouseMoved" else {}))

    def press_enter(self) -> None:
        for kind in ("keyDown", "keyUp"):
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            self.call("Input.dispatchKeyEvent", type=kind, **key)

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """With the left mouse button, in five steps, from one point of the page to another."""
        at = [[a + (b - a) * step // 5 for a, b in zip(start, end, strict=True)] for step in range(6)]
        steps = [("mouseMoved", at[0]), ("mousePressed", at[0]), *(("mouseMoved", point) for point in at)]
        for number, (kind, (x, y)) in enumerate([*steps, ("mouseReleased", at[-1])]):
            held = {"button": "left", "buttons": int(kind != "mouseReleased"), "clickCount": 1} if number else {}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)

    def resize(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def close(self) -> None:
        self._loop.run_until_complete(self._session.close())
        self._loop.close()


def _port(profile: Path) -> int:
    written = profile / "DevToolsActivePort"
    for _ in range(round(30 / POLL)):
        if written.is_file() and "\n" in (text := written.read_text()):
            return int(text.split()[0])
        time.sleep(POLL)
    raise TimeoutError("Chromium did not open its debugging port within 30 s")
