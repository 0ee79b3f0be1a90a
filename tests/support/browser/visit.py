"""The editor of a running ComfyUI in a page of its own: what a visitor opens, loads, runs and reads."""

from __future__ import annotations

import contextlib
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import playwright.sync_api as playwright
import pytest
from shared.host_server import HostServer

from . import launch, subgraph_node
from .app_view import AppView
from .box_editor import BoxEditor
from .canvas import Canvas, Graph
from .cast_on_page import CastOnPage
from .console import Console
from .failures import Recording
from .help_panel import HelpPanel
from .subgraph_node import SubgraphNode
from .template_gallery import Gallery
from .toasts import Toasts

WINDOW = (1280, 800)
"""Width and height of the page in px, unless a test makes it another."""

START_OF_IDLENESS = re.compile("sorted-custom-node-map")
"""What every frontend asks for once it has opened its first graph and has nothing left to do.

A graph that a test opens before is covered by the first one: frontends put the graphs of an earlier visit back after
they have registered all nodes and shown an empty or a default graph.
"""

MOST_VIEWS = 7
"""Of a canvas of people, that end while a run is waited for."""

POLL = 0.02
"""Seconds between two looks at what is waited for."""

# As it is seen: a word joiner is not.
_TEXT = r"document.body.innerText.replaceAll('\u2060', '').replace(/\s+/g, ' ')"


@dataclass(frozen=True)
class Opened:
    """A workflow that has been opened: the file as it would be saved again, the prompt that Run would send, and how
    often the host was asked for translations meanwhile."""

    saved: Graph
    prompt: Graph
    translation_requests: int


_DETAILS = re.compile(r"^\s*(View details|See Errors?|Show details)", re.IGNORECASE)


class Visit:
    """A page with the editor of one server. vue: with Vue nodes, else with classic ones."""

    def __init__(self, browser: launch.Browser, server: HostServer, vue: bool) -> None:
        self.server = server
        self.vue = vue
        self._context = browser.new_context(*WINDOW)
        self.recording = Recording(self._context)
        self.page = self._context.new_page()
        # Leave a page with unsaved changes?
        self.page.on("dialog", lambda dialog: dialog.accept())
        self.console = Console(self.page)
        self.canvas = Canvas(self.page)
        self.cast = CastOnPage(self.canvas)
        self.box_editor = BoxEditor(self.page, self.canvas)
        self.toasts = Toasts(self.page)
        self.help_panel = HelpPanel(self.page)
        self.gallery = Gallery(self.page)
        self.app_view = AppView(self.page)
        self.needs_opening = False
        """Whether the page is to be opened anew before the next test."""

    def close(self) -> None:
        with launch.at_work():
            self._context.close()

    # The page

    def set(self, name: str, value: Any) -> None:
        """Change a setting of the editor; pages that are opened later have it."""
        self.server.read(f"/settings/{name}", json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def open(self, locale: str = "en") -> None:
        """Open the page anew, without the tour of a first visit, and wait until it is at rest."""
        self.set("Comfy.TutorialCompleted", True)
        self.set("Comfy.VueNodes.Enabled", self.vue)
        self.set("Comfy.Locale", locale)
        self.set("Comfy.Pointer.ClickBufferTime", round(1000 * subgraph_node.CLICK_SECONDS))
        with self.page.expect_request(START_OF_IDLENESS, timeout=launch.START_SECONDS * 1000):
            self.page.goto(self.server.url, wait_until="commit")
        self.canvas.settle()
        self.console.forget()
        self.needs_opening = False

    def rest(self) -> None:
        """Show nothing, so that the page computes nothing, until the next test that looks at it."""
        self.page.goto("about:blank")
        self.needs_opening = True

    def resize(self, width: int, height: int) -> None:
        self.page.set_viewport_size({"width": width, "height": height})

    def red(self) -> list[str]:
        """What the console shows in red since it was asked last."""
        return self.console.red()

    def text(self) -> str:
        """All words on the page."""
        return self.page.evaluate(_TEXT)

    def await_tooltip(self, words: str) -> None:
        """Wait until the tooltip over what the mouse rests on is these words and no others."""
        # A Vue node says the words a second time for screen readers alone.
        shown = '[role="tooltip"]:not([aria-hidden]), .node-tooltip'
        tooltip = self.page.locator(shown).filter(visible=True)
        playwright.expect(tooltip).to_have_text(words)

    def close_dialogs(self) -> None:
        """Close what lies over the editor: dialogs of the frontend, and windows and toasts of the pack."""
        self.page.locator(".p-dialog-close-button").evaluate_all("all => all.forEach(button => button.click())")
        self.page.locator("dialog[open]").evaluate_all("windows => windows.forEach(window => window.close())")
        self.toasts.close()

    def details_of_errors(self) -> playwright.FloatRect:
        """Where on the page the button of the host's own message is that opens the details of errors."""
        button = self.page.locator("button").filter(has_text=_DETAILS, visible=True).last
        playwright.expect(button).to_be_visible()
        box = button.bounding_box()
        assert box is not None, "the host says nothing of an error"
        return box

    def open_details_of_errors(self) -> None:
        """Press what frontends keep the details of errors behind."""
        self.page.locator("button").filter(has_text=_DETAILS).evaluate_all(
            "buttons => buttons.forEach(button => button.click())"
        )

    def send(self, event: str, detail: Any) -> None:
        """What the host sends to a page, as the page's api tells it to everybody there."""
        self.page.evaluate(
            "([event, detail]) => void app.api.dispatchEvent(new CustomEvent(event, {detail}))", [event, detail]
        )

    # Waiting

    def await_true(self, condition: Callable[[], Any], seconds: float = launch.SECONDS, message: str = "") -> None:
        """Wait until a function of the test returns something true."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"Not so after {seconds:.0f} s. {message} The page says: {self.text()}")
            self.page.wait_for_timeout(1000 * POLL)

    def await_text(self, words: str) -> None:
        """Wait until these words are on the page."""
        self.await_true(lambda: words in self.text(), message=f"Words: {words}.")

    # Graphs

    def load(self, graph: Graph) -> None:
        """Open a prompt of the API as a graph, its first node in view."""
        graph = numbered(graph)
        self.page.evaluate(
            """async prompt => {
                Object.assign(app.canvas.ds, {scale: 1, offset: [0, 0]});
                await app.loadApiJson(prompt, 'visit');
            }""",
            graph,
        )
        self.canvas.settle()
        kinds = sorted(node["class_type"] for node in graph.values())
        assert sorted(self.canvas.kinds()) == kinds, f"The graph was not opened. The page says: {self.text()}"

    def open_file(self, graph: Graph, app: bool | None = None) -> Opened:
        """Open a workflow as from the gallery, in a tab of its own. app: as an app, or its graph; None is as the file
        has it."""
        graph = {**graph, "id": str(uuid.uuid4())}
        if app is not None:
            graph["extra"] = {**graph["extra"], "linearMode": app}
        # The browser keeps few entries of what it has asked for.
        self.page.evaluate("performance.clearResourceTimings()")
        self.page.evaluate(
            """([graph, name]) =>
                app.loadGraphData(graph, true, true, name, {openSource: 'template'}).then(() => true)""",
            [graph, graph["id"]],
        )
        self.canvas.settle()
        requests = self.page.evaluate(
            "performance.getEntriesByType('resource').filter(entry => entry.name.endsWith('/i18n')).length"
        )
        return Opened(self.canvas.saved(), self.canvas.prompt(), requests)

    def tab(self) -> str:
        """The path of the workflow whose tab is open."""
        return self.page.evaluate("app.extensionManager.workflow.activeWorkflow.path")

    def show_tab(self, path: str) -> None:
        """Open the tab of a workflow again, as a click on it does."""
        self.page.evaluate(
            """path => {
                const workflow = app.extensionManager.workflow.openWorkflows.find(one => one.path === path);
                return app.loadGraphData(workflow.activeState, true, true, workflow).then(() => true);
            }""",
            path,
        )
        self.await_true(lambda: self.tab() == path)

    def is_app(self) -> bool:
        """Whether the workflow that is shown is shown as an app."""
        opened = "app.extensionManager.workflow.activeWorkflow"
        return self.page.evaluate(f"({opened}.activeMode ?? {opened}.initialMode) === 'app'")

    @contextlib.contextmanager
    def as_app(self, graph: Graph) -> Iterator[AppView]:
        """Open a workflow as an app for the block. Skips where the frontend of this host has no apps."""
        if self.server.host.version < (0, 33):
            pytest.skip("the frontend of this host has no apps")
        self.close_dialogs()
        self.open_file(graph, app=True)
        try:
            yield self.app_view
        finally:
            self.open_file(graph, app=False)
            self.close_dialogs()

    def drop(self, path: Path, nodes: int) -> None:
        """Drop a file from the desktop onto an empty canvas, and wait until it has opened as so many nodes."""
        self.canvas.clear()
        self.page.locator("#graph-canvas").drop({"files": [path]}, position={"x": 640, "y": 400})
        self.await_true(lambda: len(self.canvas.kinds()) == nodes, message=f"{path.name} was dropped.")

    def subgraph_nodes(self) -> list[SubgraphNode]:
        """The boxes of the whole graph, in the order of their numbers: a click brings a node to the front."""
        numbers = self.page.evaluate(
            "(app.rootGraph ?? app.graph)._nodes.filter(node => node.subgraph).map(node => node.id)"
        )
        return [SubgraphNode(self.page, self.canvas, number, self.vue) for number in sorted(numbers, key=int)]

    def click_run(self) -> None:
        # The mark is on a group of two buttons in frontend 1.27.10, and on the button itself in newer ones.
        group = self.page.get_by_test_id("queue-button")
        # ComfyUI's dialog about missing models, left open by an earlier graph, would catch the click.
        dialog = self.page.locator(".p-dialog-mask")
        if dialog.count():
            self.page.keyboard.press("Escape")
            dialog.first.wait_for(state="hidden")
        self.page.locator("button").and_(group).or_(group.locator("button")).first.click()

    def run(self) -> dict[str, Any]:
        """Click Run. Returns what the host says of the run once it has ended."""
        before = self._last_run().keys()
        self.console.forget()
        self.click_run()
        deadline = time.monotonic() + launch.SECONDS
        while self._last_run().keys() == before:
            is_at_work = any(self.server.get("/queue").values())
            if time.monotonic() > deadline and not is_at_work:
                raise AssertionError(f"Nothing has run. The page says: {self.text()}")
            time.sleep(POLL)
        return next(iter(self._last_run().values()))

    def _last_run(self) -> dict[str, Any]:
        """By its id. Without the views that a canvas of people asks for, which end when they like."""
        runs = self.server.get(f"/history?max_items={MOST_VIEWS + 1}").items()
        return dict([(run_id, run) for run_id, run in runs if "likeness" not in run["prompt"][2]][-1:])


def numbered(prompt: Graph) -> Graph:
    """A prompt with the numbers for ids that editors read."""
    numbers: dict[str, str] = {}
    for number, name in enumerate(prompt, 1):
        numbers[name] = str(number)
    renamed: Graph = {}
    for name, node in prompt.items():
        inputs: dict[str, Any] = {}
        for key, value in node["inputs"].items():
            is_link = isinstance(value, list)
            inputs[key] = [numbers[value[0]], value[1]] if is_link else value
        renamed[numbers[name]] = {**node, "inputs": inputs}
    return renamed


def labels_asked_for(graph: Graph) -> list[str]:
    """The labels of what a workflow asks for as an app."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    labels: list[str] = []
    for number, name, *_ in graph["extra"]["linearData"]["inputs"]:
        for slot in nodes[number]["inputs"]:
            if slot["name"] == name:
                labels.append(slot["label"])
        if name == "likeness_canvas":
            labels.append("Who stands where")
    return labels
