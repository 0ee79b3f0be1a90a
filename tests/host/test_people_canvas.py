"""The canvas on which people are dragged, bent and swapped: on Place Cast, and on Who Stands Where behind a box."""

import json
from typing import Any

import pytest
from browser.canvas import Graph, node
from browser.people_canvas import PeopleCanvas
from browser.visit import Visit

pytestmark = pytest.mark.browser
PLACE_CAST, BEHIND = "LikenessPlaceCast", "LikenessWhoStandsWhere"
GROUP = {"framing": "half", "rows": 0, "width": 1024, "height": 768}


def graph(count: int = 3, arrange: str = "") -> Graph:
    """So many people without photos, placed, with a canvas behind."""
    # What a prompt leaves out, frontend 1.49.6 takes from the graph before.
    set_by_hand = {"order": "as listed", "custom_order": "", "arrange": arrange}
    return {
        "layout": node("LikenessLayoutForAGroup", count=count, **GROUP),
        "places": node(PLACE_CAST, layout=["layout", 0], **set_by_hand),
        "behind": node(BEHIND, cast=["places", 0]),
    }


def canvas_of(visit: Visit, kind: str = BEHIND) -> PeopleCanvas:
    """The canvas of a node, in view, as large as in templates."""
    shown = visit.canvas.node_of(kind)
    shown.evaluate("(node, size) => void node.setSize(size)", [400, 700 if kind == PLACE_CAST else 400])
    shown.show_at(200, 80)
    visit.canvas.settle()
    return PeopleCanvas(shown)


def opened(visit: Visit, count: int = 3, kind: str = BEHIND, arrange: str = "") -> PeopleCanvas:
    visit.load(graph(count, arrange))
    canvas = canvas_of(visit, kind)
    canvas.await_places(count)
    return canvas


def into_a_box(visit: Visit) -> None:
    """Put the layout and Place Cast into a box, and that into another."""
    visit.page.evaluate("""() => {
        const inBox = kinds => app.graph.convertToSubgraph(new Set(app.graph.nodes.filter(kinds))).node;
        inBox(node => node.type !== 'LikenessWhoStandsWhere');
        inBox(node => node.subgraph);
    }""")


def edits(canvas: PeopleCanvas) -> dict[str, Any]:
    return json.loads(canvas.text() or "{}")


def saved_text(visit: Visit) -> str:
    """What the file has in Arranged by hand, in whichever graph the Place Cast is."""
    file = visit.canvas.saved()
    graphs = [file, *file.get("definitions", {}).get("subgraphs", [])]
    (placed,) = (node for graph in graphs for node in graph["nodes"] if node["type"] == PLACE_CAST)
    return placed["widgets_values"][-1]


def sent_text(visit: Visit) -> str:
    (text,) = (entry["inputs"]["arrange"] for entry in visit.canvas.prompt().values() if "arrange" in entry["inputs"])
    return text


@pytest.mark.both_hosts
@pytest.mark.parametrize("where", [PLACE_CAST, BEHIND, "boxes"])
def test_a_person_is_dragged_in_one_step(visit: Visit, where: str) -> None:
    """Without a run before; the text is in the file and in the prompt; what is dragged after an undo as well."""
    visit.load(graph())
    if where == "boxes":
        into_a_box(visit)
    canvas = canvas_of(visit, where if where == PLACE_CAST else BEHIND)
    canvas.await_places(3)
    x, y = canvas.at(1)
    canvas.drag((x, y), (30, 12))
    assert canvas.at(1) == pytest.approx((x + 30, y + 12), abs=1.5)
    once = canvas.text()
    assert saved_text(visit) == sent_text(visit) == once
    canvas.drag(canvas.at(2), (-20, 0))
    assert edits(canvas).keys() == {"1", "2"}
    visit.page.keyboard.press("Control+z")
    visit.await_true(lambda: saved_text(visit) == once)
    canvas.await_true("(canvas, text) => canvas.text === text", once)
    canvas.drag(canvas.at(3), (0, 15))
    assert edits(canvas).keys() == {"1", "3"}
    assert saved_text(visit) == canvas.text()
    assert visit.red() == []
