"""How templates open from the gallery: whole and as large as the window allows, or as an app where they could not be
read; all else opens as it was saved."""

from pathlib import Path

import pytest
import templates
import translations
from browser.fixtures import once_of_each
from browser.visit import WINDOW, Visit
from playwright.sync_api import Locator
from rig import workflow

LAPTOP = (1366, 768)
DESKTOP = (1920, 1080)
METHOD = "instant_id_portrait"
"""At 47 % in a window of a laptop, at 68 % on a desktop."""
START = "start_two_people"
"""At 67 % in a window of a laptop."""
BOXES_ALONE = "parts_try_on"
"""At 45 % in a window of a laptop; all nodes of ours are in subgraphs."""
TOLD = {
    "en": ("Opened as an app because the window is small.", "Enter node graph"),
    "zh": ("窗口较小\uff0c所以以应用模式打开。", "进入节点图"),
}
"""By language: the title of the toast, and what the frontend calls the button that shows the nodes."""

SMALLEST = 0.63
"""The scale at which the largest template opens on a desktop: a line of its note is 9 px high there."""
READABLE = 0.75
"""The scale of the graph behind an app."""
FIRST = ("Read me first", "Photo of Anna")
"""Titles of the note of METHOD, and of a node of its first steps."""

pytestmark = pytest.mark.xdist_group("browser")


def open_like_the_gallery(visit: Visit, stem: str, language: str = "en") -> bool:
    """Asks for a template's file, and opens it in a tab called like it. Returns whether it is an app."""
    title = translations.main_file(language)["templateWorkflows"]["template"]["likeness"][stem]
    visit.page.evaluate(
        """async ([pack, title]) => {
            await app.api.getWorkflowTemplates();
            await app.api.getCoreWorkflowTemplates();
            const answer = await fetch(app.api.apiURL(`/workflow_templates/${pack}/${title}.json`));
            await app.loadGraphData(await answer.json(), true, true, title, {openSource: 'template'});
        }""",
        [visit.server.pack_name, title],
    )
    visit.canvas.settle()
    return is_app(visit)


def button_back(visit: Visit, label: str) -> Locator:
    """The frontend's own button that shows the nodes of an app."""
    return visit.page.locator(f"button[aria-label='{label}']").first


def is_app(visit: Visit) -> bool:
    opened = "window.app.extensionManager.workflow.activeWorkflow"
    return visit.page.evaluate(f"({opened}.activeMode ?? {opened}.initialMode) === 'app'")


@once_of_each
def test_a_template_too_large_for_the_window_opens_as_an_app(visit: Visit) -> None:
    if visit.server.host.version < (0, 33):
        pytest.skip("the frontend of this host has no apps")
    path = templates.ROOT / "workflows" / f"{METHOD}.json"
    graph = workflow.load(path)
    try:
        visit.resize(*LAPTOP)
        assert open_like_the_gallery(visit, METHOD)
        labels = []
        for number, name, *_ in graph["extra"]["linearData"]["inputs"]:
            (node,) = (node for node in graph["nodes"] if node["id"] == number)
            (slot,) = (slot for slot in node["inputs"] if slot.get("widget", {}).get("name") == name)
            labels.append(slot["label"])
        visit.app_view.await_labels(labels)
        assert not open_like_the_gallery(visit, START), "a template that can be read stays a graph"
        visit.open_file(graph)
        assert not is_app(visit), "so does a file that is opened in another way"
        visit.resize(*DESKTOP)
        assert not open_like_the_gallery(visit, METHOD), "and what can be read in a larger window"
    finally:
        visit.resize(*WINDOW)
        visit.open_file(graph, app=False)
        visit.close_dialogs()


@once_of_each
@pytest.mark.parametrize("language", sorted(TOLD))
def test_a_toast_says_that_it_is_an_app_and_names_the_way_back(visit: Visit, language: str) -> None:
    """Also of a template whose nodes of ours are all in subgraphs. Of one that can be read nothing is said."""
    if visit.server.host.version < (0, 33):
        pytest.skip("the frontend of this host has no apps")
    sentence, way_back = TOLD[language]
    graph = workflow.load(templates.ROOT / "workflows" / f"{BOXES_ALONE}.json")
    try:
        visit.resize(*LAPTOP)
        visit.open(language)
        assert open_like_the_gallery(visit, BOXES_ALONE, language)
        assert way_back in visit.toasts.with_words(sentence).text()
        assert button_back(visit, way_back).count(), "as the frontend calls it"
        assert not open_like_the_gallery(visit, START, language)
        visit.toasts.await_count(sentence, 0)
    finally:
        visit.resize(*WINDOW)
        visit.open_file(graph, app=False)
        visit.close_dialogs()
        visit.open()


@pytest.mark.parametrize("path", templates.each(templates.STARTS))
def test_a_template_fills_the_window_of_a_desktop(visit: Visit, path: Path) -> None:
    """Whole, beside the bars of the frontend, and so large that its note can be read."""
    if visit.server.host.version < (0, 33):
        pytest.skip("the frontend of this host does not say that it opens a template")
    templates.skip_unless_known(path, visit.server.object_info())
    try:
        visit.resize(*DESKTOP)
        assert not open_like_the_gallery(visit, path.stem)
        view = visit.canvas.view()
        assert view.scale >= SMALLEST
        assert not view.is_without_text
        width, height = DESKTOP
        for node in view.nodes:
            assert node.left >= 60, node.title
            assert node.top >= 40, node.title
            assert node.right <= width, node.title
            assert node.bottom <= height, node.title
    finally:
        visit.resize(*WINDOW)


@once_of_each
def test_behind_an_app_the_note_and_the_first_step_can_be_read(visit: Visit) -> None:
    """And the toast goes when the graph is shown."""
    if visit.server.host.version < (0, 33):
        pytest.skip("the frontend of this host has no apps")
    sentence, way_back = TOLD["en"]
    try:
        visit.resize(*LAPTOP)
        assert open_like_the_gallery(visit, METHOD)
        visit.toasts.await_count(sentence)
        button_back(visit, way_back).dispatch_event("click")
        visit.toasts.await_count(sentence, 0)
        visit.await_true(lambda: not visit.canvas.is_without_text())
        view = visit.canvas.view()
        assert view.scale == READABLE
        width, height = LAPTOP
        for node in view.nodes:
            if node.title in FIRST:
                assert 0 <= node.left < width / 2, node.title
                assert 0 <= node.top < height / 2, node.title
        assert {node.title for node in view.nodes} >= {*FIRST}
    finally:
        visit.resize(*WINDOW)
        visit.close_dialogs()
