"""How templates open from the gallery: as a graph, whole and as large as the window allows."""

from pathlib import Path

import pytest
import templates
from browser.fixtures import once_of_each
from browser.visit import WINDOW, Visit
from rig import workflow

DESKTOP = (1920, 1080)
LAPTOP = (1366, 768)
SMALLEST = 0.85
"""The scale at which the largest template opens on a desktop: a line of its note is 12 px high there."""
READABLE = 0.6
"""The least on a laptop. Below 8/14 the frontend draws no text. A larger template shows its note and first steps."""

pytestmark = pytest.mark.xdist_group("browser")


@pytest.mark.thorough_with("laptop")
@pytest.mark.parametrize("window", [DESKTOP, LAPTOP], ids=["desktop", "laptop"])
@pytest.mark.parametrize("path", templates.each(templates.WITH_VUE, ()))
def test_a_template_opens_as_a_graph_that_can_be_read(visit: Visit, path: Path, window: tuple[int, int]) -> None:
    """With its note, beside the bars of the frontend; whole on a desktop, and where it is one to start with."""
    if visit.server.host.version < (0, 33):
        pytest.skip("the frontend of this host does not say that it opens a template")
    templates.skip_unless_known(path, visit.server.object_info())
    width, height = window
    try:
        visit.resize(width, height)
        visit.open_file(workflow.load(path))
        assert not visit.is_app()
        view = visit.canvas.view()
        assert view.scale >= (SMALLEST if window == DESKTOP else READABLE)
        assert not view.is_without_text
        is_whole = window == DESKTOP or path in templates.STARTS
        for node in view.nodes if is_whole else [node for node in view.nodes if node.title == "Read me first"]:
            assert node.left >= 60, node.title
            assert node.top >= 40, node.title
            assert node.right <= width, node.title
            assert node.bottom <= height, node.title
    finally:
        visit.resize(*WINDOW)


@once_of_each
def test_what_is_opened_from_a_file_stays_as_it_was_saved(visit: Visit) -> None:
    graph = workflow.load(templates.ROOT / "workflows" / "start_two_people.json")
    visit.page.evaluate("graph => app.loadGraphData(graph, true, true).then(() => true)", graph)
    visit.canvas.settle()
    assert visit.canvas.view().scale == graph["extra"]["ds"]["scale"]
