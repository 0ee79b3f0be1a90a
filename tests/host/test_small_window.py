"""How templates open from the gallery: whole and as large as the window allows, or as an app where they could not be read;
all else opens as it was saved."""

import json
from pathlib import Path

import pytest
import templates
import translations
from rig import workflow
from visits import WINDOW, Visit, once_of_each

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
    title = json.dumps(translations.main_file(language)["templateWorkflows"]["template"]["likeness"][stem])
    pack = json.dumps(visit.server.pack_name)
    visit.page.evaluate(f"""(async () => {{
        await app.api.getWorkflowTemplates();
        await app.api.getCoreWorkflowTemplates();
        const name = {title};
        const answer = await fetch(app.api.apiURL(`/workflow_templates/${{{pack}}}/${{name}}.json`));
        await app.loadGraphData(await answer.json(), true, true, name, {{openSource: 'template'}});
        return true;
    }})()""")
    visit.page.ask("settled")
    return is_app(visit)


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
        visit.page.resize(*LAPTOP)
        assert open_like_the_gallery(visit, METHOD)
        labels = []
        for number, name, *_ in graph["extra"]["linearData"]["inputs"]:
            (node,) = (node for node in graph["nodes"] if node["id"] == number)
            (slot,) = (slot for slot in node["inputs"] if slot.get("widget", {}).get("name") == name)
            labels.append(slot["label"])
        visit.await_labels(labels)
        assert not open_like_the_gallery(visit, START), "a template that can be read stays a graph"
        visit.open_file(graph)
        assert not is_app(visit), "so does a file that is opened in another way"
        visit.page.resize(*DESKTOP)
        assert not open_like_the_gallery(visit, METHOD), "and what can be read in a larger window"
    finally:
        visit.page.resize(*WINDOW)
        visit.open_file(graph, app=False)
        visit.page.ask("closeDialogs")


@once_of_each
@pytest.mark.parametrize("language", sorted(TOLD))
def test_a_toast_says_that_it_is_an_app_and_names_the_way_back(visit: Visit, language: str) -> None:
    """Also of a template whose nodes of ours are all in subgraphs. Of one that can be read nothing is said."""
    if visit.server.host.version < (0, 33):
        pytest.skip("the frontend of this host has no apps")
    told, way_back = TOLD[language]
    graph = workflow.load(templates.ROOT / "workflows" / f"{BOXES_ALONE}.json")
    try:
        visit.page.resize(*LAPTOP)
        visit.open(language)
        assert open_like_the_gallery(visit, BOXES_ALONE, language)
        visit.await_toasts(told)
        (toast,) = (text for text in visit.page.ask("toasts") if told in text)
        assert way_back in toast
        buttons = "[...document.querySelectorAll('button')].map(button => button.ariaLabel)"
        assert way_back in visit.page.evaluate(buttons), "as the frontend calls it"
        assert not open_like_the_gallery(visit, START, language)
        visit.await_toasts(told, 0)
    finally:
        visit.page.resize(*WINDOW)
        visit.open_file(graph, app=False)
        visit.page.ask("closeDialogs")
        visit.open()


@pytest.mark.parametrize("path", templates.each(templates.STARTS))
def test_a_template_fills_the_window_of_a_desktop(visit: Visit, path: Path) -> None:
    """Whole, beside the bars of the frontend, and so large that its note can be read."""
    if visit.server.host.version < (0, 33):
        pytest.skip("the frontend of this host does not say that it opens a template")
    templates.skip_unless_known(path, visit.server.object_info())
    try:
        visit.page.resize(*DESKTOP)
        assert not open_like_the_gallery(visit, path.stem)
        scale, is_without_text, _, boxes = visit.page.ask("seen")
        assert scale >= SMALLEST
        assert not is_without_text
        width, height = DESKTOP
        outside = [
            title for title, (left, top, right, low) in boxes if left < 60 or top < 40 or right > width or low > height
        ]
        assert outside == []
    finally:
        visit.page.resize(*WINDOW)


@once_of_each
def test_behind_an_app_the_note_and_the_first_step_can_be_read(visit: Visit) -> None:
    """And the toast goes when the graph is shown."""
    if visit.server.host.version < (0, 33):
        pytest.skip("the frontend of this host has no apps")
    told, way_back = TOLD["en"]
    try:
        visit.page.resize(*LAPTOP)
        assert open_like_the_gallery(visit, METHOD)
        visit.await_toasts(told)
        button = f"[...document.querySelectorAll('button')].find(button => button.ariaLabel === {json.dumps(way_back)})"
        visit.page.evaluate(f"{button}.click()")
        visit.await_toasts(told, 0)
        visit.page.wait("!window.app.canvas.low_quality")
        scale, _, _, boxes = visit.page.ask("seen")
        assert scale == READABLE
        width, height = LAPTOP
        for title, (left, top, _, _) in boxes:
            if title in FIRST:
                assert 0 <= left < width / 2, title
                assert 0 <= top < height / 2, title
        assert {title for title, _ in boxes} >= {*FIRST}
    finally:
        visit.page.resize(*WINDOW)
        visit.page.ask("closeDialogs")
