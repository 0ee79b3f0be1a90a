"""A visitor in the host's own frontend and in the newest, with classic and with Vue nodes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chromium
import environment
import pytest
import real_faces
from environment import Host, SetupError, host_at
from rig.host_server import HostServer
from standins_made import Standins

WINDOW = (1280, 800)
# What a new user does not have yet, and models that the frontend looks up in the web.
NOT_OURS = ("Content Security Policy", "user.css", "/api/userdata")

Graph = dict[str, Any]


def _modes() -> list[Any]:
    """(which frontend, with Vue nodes?): 1.27.10 of ComfyUI 0.3.64 has none, and newer ones are not for it."""
    host = host_at(Path(os.environ.get("COMFYUI_PATH", "-")))
    if host is None or host.version < (0, 10):
        return [("its own", False)]
    seldom = pytest.mark.thorough
    both = (pytest.param(one, marks=seldom) for one in (("its own", True), ("the newest", False)))
    return [("its own", False), *both, ("the newest", True)]


once_of_each = pytest.mark.not_with("its own with Vue", "the newest with classic")
"""For what is tried with every file or page: each frontend once, and each kind of nodes once. What is the same in every
file is tried with all four by the other tests."""


@pytest.fixture(scope="session")
def newest(host: Host, standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    python = Path(sys.executable)
    try:
        frontend = environment.newest_frontend(python)
    except SetupError as problem:
        pytest.skip(f"NOT TRIED in {environment.NEWEST_FRONTEND}: {problem}")
    base = tmp_path_factory.mktemp("newest") / "base"
    with HostServer(host, python, base, [standin_models.root], frontend=frontend) as server:
        yield server


@pytest.fixture(scope="session")
def window() -> Iterator[chromium.Page]:
    """One browser for all."""
    with chromium.window(*WINDOW) as page:
        yield page


@pytest.fixture(
    scope="session", params=_modes(), ids=lambda mode: f"{mode[0]} with {'Vue' if mode[1] else 'classic'} nodes"
)
def visit(request: pytest.FixtureRequest, window: chromium.Page) -> Iterator[Visit]:
    """A page of its own for every frontend and kind of nodes, without the tour of a first visit."""
    frontend, vue = request.param
    server = request.getfixturevalue("host_server" if frontend == "its own" else "newest")
    server.upload_image(real_faces.COFFEE, "example.png")  # which every ComfyUI brings
    visit = Visit(window, server, vue)
    visit.open()
    yield visit
    visit.set("Comfy.VueNodes.Enabled", False)  # the host is not ours alone


@dataclass
class Visit:
    page: chromium.Page
    server: HostServer
    vue: bool

    def set(self, name: str, value: Any) -> None:
        self.server.read(f"/settings/{name}", json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def open(self, locale: str = "en", ready: str = "ready") -> None:
        """ready: a question of visitor.js, of a page without a graph loaded."""
        self.set("Comfy.TutorialCompleted", True)
        self.set("Comfy.VueNodes.Enabled", self.vue)
        self.set("Comfy.Locale", locale)
        self.page.listen("Runtime", "Log")
        self.page.open(self.server.url, f"visitor.{ready}()", 240)
        self.page.errors()

    def load(self, graph: Graph) -> None:
        """A prompt of the API as a graph, its first node in view; once more where a frontend puts the first graph of a
        new user over it."""
        graph = numbered(graph)
        kinds = sorted(node["class_type"] for node in graph.values())
        if not any(self.page.ask("load", graph, kinds) for _ in range(8)):
            raise AssertionError(f"The graph was not opened. The page says: {self.page.ask('text')}")

    def open_file(self, graph: Graph, app: bool | None = None) -> tuple[Graph, Graph, int]:
        """A workflow as from the gallery, in a tab of its own: what open of visitor.js gives. app: as an app, or its
        graph."""
        graph = {**graph, "id": str(uuid.uuid4())}
        if app is not None:
            graph["extra"] = {**graph["extra"], "linearMode": app}
        return self.page.ask("open", graph, graph["id"])

    @contextlib.contextmanager
    def as_app(self, graph: Graph) -> Iterator[None]:
        """Skips where the frontend of this host has no apps."""
        if self.server.host.version < (0, 33):
            pytest.skip("the frontend of this host has no apps")
        self.page.ask("closeDialogs")
        self.open_file(graph, app=True)
        try:
            yield
        finally:
            self.open_file(graph, app=False)
            self.page.ask("closeDialogs")

    def await_labels(self, labels: list[str]) -> None:
        """Until an app asks for these."""
        self.page.wait(f"JSON.stringify(visitor.labels()) === JSON.stringify({json.dumps(labels)})")

    def await_text(self, words: str) -> None:
        """Until these words are on the page."""
        self.page.wait(f"visitor.text().includes({json.dumps(words)})")

    def await_toasts(self, words: str, count: int = 1) -> None:
        """Until so many have these words."""
        self.page.wait(toasts(words, count), 60)

    def repeat(self, act: Callable[[], Any], until: str) -> None:
        """Act until the condition holds, thrice at most: a frontend that has just opened may put the graph of an
        earlier visit over this one."""
        for _ in range(3):
            act()
            with contextlib.suppress(TimeoutError):
                return self.page.wait(until, 20)
        raise AssertionError(f"Not so after three times: {until} The page says: {self.page.ask('text')}")

    def drop(self, path: Path, nodes: int) -> None:
        """Drag a file onto an empty canvas; while a frontend still loads another graph it lets it fall."""
        self.page.ask("clear")
        for _ in range(6):
            self.page.ask("uncover")
            self.page.drop_file(path, 640, 400)
            with contextlib.suppress(TimeoutError):
                return self.page.wait(f"app.graph._nodes.length == {nodes}", 10)
        raise AssertionError(f"{path.name} was dropped and not opened. The page says: {self.page.ask('text')}")

    def run(self) -> dict[str, Any]:
        """Click Run, by the JavaScript of its button, and give what the host says of the run; again where the click
        came while the page was busy."""
        before = self.server.get("/history?max_items=1").keys()
        for _ in range(4):
            self.page.errors()  # of a click while the first graph of a new user lay over this one
            self.page.ask("run")
            give_up = time.monotonic() + 20
            while time.monotonic() < give_up or any(self.server.get("/queue").values()):
                last = self.server.get("/history?max_items=1")
                if last.keys() != before:
                    return next(iter(last.values()))
                time.sleep(chromium.POLL)
        raise AssertionError(f"Nothing has run. The page says: {self.page.ask('text')}")

    def red(self) -> list[str]:
        return [line for line in self.page.errors() if not any(name in line for name in NOT_OURS)]


def toasts(words: str, count: int = 1) -> str:
    """Whether so many toasts have these words, in JavaScript."""
    return f"visitor.toasts().filter(text => text.includes({json.dumps(words)})).length == {count}"


def numbered(prompt: Graph) -> Graph:
    """With the numbers for ids that editors read."""
    ids = {name: str(number) for number, name in enumerate(prompt, 1)}

    def link(value: Any) -> Any:
        return [ids[value[0]], value[1]] if isinstance(value, list) else value

    return {
        ids[name]: {**node, "inputs": {key: link(value) for key, value in node["inputs"].items()}}
        for name, node in prompt.items()
    }


def asked_for(graph: Graph) -> list[str]:
    """The labels of what a workflow asks for as an app."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    asked = graph["extra"]["linearData"]["inputs"]
    return [slot["label"] for number, name, *_ in asked for slot in nodes[number]["inputs"] if slot["name"] == name]
