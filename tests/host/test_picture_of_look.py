"""The picture on Look from Picture, on which one draws what belongs to the look and what does not."""

import itertools
import json
from typing import Any

import pytest
from browser.canvas import Graph, node
from browser.people_canvas import PeopleCanvas
from browser.visit import Visit

pytestmark = [pytest.mark.browser, pytest.mark.both_hosts]
LOOK = "LikenessLookFromPicture"
RED = 0xFF0000
SIZE = {"width": 512, "height": 384}
NUMBERS = itertools.count(1)


def graph(drawn: str = "") -> Graph:
    """A look of a red picture, of which the body in the one place is taken."""
    # Of another name each time: ComfyUI 0.3.64 does not send again what it keeps of a node that is not run.
    of_look = {
        "who": "1",
        "name": f"coat {next(NUMBERS)}",
        "label": "whole body clothes",
        "hair": False,
        "drawn": drawn,
    }
    return {
        "layout": node("LikenessLayoutForAGroup", count=1, framing="half", rows=0, **SIZE),
        "places": node("LikenessPlaceCast", layout=["layout", 0], order="as listed", custom_order="", arrange=""),
        "image": node("EmptyImage", batch_size=1, color=RED, **SIZE),
        "look": node(LOOK, cast=["places", 0], image=["image", 0], **of_look),
        "shown": node("PreviewImage", images=["look", 2]),
    }


def picture_of(visit: Visit) -> PeopleCanvas:
    shown = visit.canvas.node_of(LOOK)
    shown.evaluate("node => void node.setSize([400, 620])")
    shown.show_at(200, 80)
    visit.canvas.settle()
    return PeopleCanvas(shown)


def on_screen(picture: PeopleCanvas, across: float, down: float) -> tuple[float, float]:
    """Where a point of the picture is, in percent."""
    x, y = picture.evaluate(
        """(canvas, [across, down]) => {
            const {scale, left, top} = canvas.pane.onScreen();
            const [width, height] = canvas.size();
            return [left + across / 100 * width * scale, top + down / 100 * height * scale];
        }""",
        [across, down],
    )
    return x, y


def ran(visit: Visit) -> PeopleCanvas:
    """The picture after a run, which has got what is drawn."""
    text = sent(visit)
    run = visit.run()
    assert run["status"]["status_str"] == "success"
    assert text in [entry["inputs"].get("drawn") for entry in run["prompt"][2].values()]
    picture = picture_of(visit)
    picture.await_true("canvas => canvas.data")
    return picture


def sent(visit: Visit) -> Any:
    (text,) = (entry["inputs"]["drawn"] for entry in visit.canvas.prompt().values() if "drawn" in entry["inputs"])
    return text


def saved_values(visit: Visit) -> list[Any]:
    (look,) = (one for one in visit.canvas.saved()["nodes"] if one["type"] == LOOK)
    return look["widgets_values"]


def masks(picture: PeopleCanvas) -> list[str | None]:
    """How what is drawn is filled in what is seen, behind what a run has taken."""
    return picture.evaluate(
        "({pane}) => [...pane.svg.querySelector('mask').children].map(one => one.getAttribute('fill'))"
    )


def test_what_is_drawn_is_saved_sent_and_taken(visit: Visit) -> None:
    """Each line is one step of undo, also by the button; the run takes what is seen."""
    visit.load(graph())
    picture_of(visit).await_line("Run the workflow")
    picture = ran(visit)
    assert masks(picture) == [None]
    picture.draw_around(on_screen(picture, 50, 50), 40)
    once = picture.text()
    ((sign, *numbers),) = json.loads(once)
    assert sign == "+" and 8 <= len(numbers) <= 12, "thinned"
    assert min(numbers) > 0 and max(numbers) < 100
    assert sent(visit) == once and once in saved_values(visit)
    assert masks(picture) == [None, "#fff"]
    picture.click_button("Draw around what does not")
    picture.draw_around(on_screen(picture, 50, 50), 15)
    assert [line[0] for line in json.loads(picture.text())] == ["+", "-"]
    visit.page.keyboard.press("Control+z")
    visit.await_true(lambda: sent(visit) == once)
    picture = picture_of(visit)
    picture.await_true("(canvas, text) => canvas.text === text && canvas.data", once)
    picture.draw_around(on_screen(picture, 50, 50), 10)
    assert len(json.loads(picture.text())) == 2
    assert sent(visit) == picture.text()
    picture = ran(visit)
    assert masks(picture) == [None, "#fff", "#000"], "lines are drawn on what was taken before them"
    picture.click_button("As the run has taken it")
    assert picture.text() == ""
    assert visit.red() == []


def test_lines_are_drawn_by_keys_and_from_outside_of_the_picture(visit: Visit) -> None:
    visit.load(graph())
    picture = ran(visit)
    picture.press("l", "Space", *["ArrowRight"] * 2, "Space", "Shift+ArrowDown", "Space", "Enter")
    assert json.loads(picture.text()) == [["+", 50, 50, 52, 50, 52, 60]]
    picture.press("k", *["Shift+ArrowLeft"] * 8, "Space", "ArrowDown", "Space", "ArrowRight", "Space", "Enter")
    assert json.loads(picture.text())[1] == ["-", 0, 50, 0, 51, 1, 51]
    picture.press("Delete")
    assert len(json.loads(picture.text())) == 1
    picture.press("r")
    assert picture.text() == ""
    picture.draw_around(on_screen(picture, 0, 0), 20)
    ((_, *numbers),) = json.loads(picture.text())
    assert min(numbers) == 0
    assert visit.red() == []


@pytest.mark.parametrize(("drawn", "words"), [('[["+", 1', "cannot be read"), (None, "comes by a link")])
def test_a_picture_that_cannot_be_drawn_on_says_why(visit: Visit, drawn: str | None, words: str) -> None:
    visit.load(graph())
    picture = ran(visit)
    look = visit.canvas.node_of(LOOK)
    if drawn is None:
        visit.page.evaluate("""() => {
            const text = LiteGraph.createNode('PrimitiveString') ?? LiteGraph.createNode('StringConcatenate');
            app.graph.add(text);
            const look = app.graph.nodes.find(node => node.type === 'LikenessLookFromPicture');
            text.connect(0, look, look.inputs.findIndex(input => input.name === 'drawn'));
        }""")
    else:
        look.set_value("drawn", drawn)
        visit.canvas.note_change()
    picture.await_line(words)
    before = look.value("drawn")
    picture.draw_around(on_screen(picture, 50, 50), 30)
    picture.press("l", "Space", "Delete", "r")
    assert look.value("drawn") == before
    assert visit.red() == []


def test_it_is_drawn_on_inside_of_a_box(visit: Visit) -> None:
    """The picture belongs to the node in the box, whose text is saved with the box."""
    visit.load(graph())
    visit.page.evaluate("""() => {
        const inside = app.graph.nodes.filter(node => ['LikenessLookFromPicture', 'EmptyImage'].includes(node.type));
        const {subgraph} = app.graph.convertToSubgraph(new Set(inside));
        window.ourBox = subgraph;
    }""")
    assert visit.run()["status"]["status_str"] == "success"
    visit.page.evaluate("app.canvas.setGraph(window.ourBox)")
    visit.canvas.settle()
    picture = picture_of(visit)
    picture.await_true("canvas => canvas.data")
    picture.draw_around(on_screen(picture, 50, 50), 30)
    assert json.loads(picture.text())[0][0] == "+"
    visit.page.evaluate("app.canvas.setGraph(app.rootGraph ?? app.graph.rootGraph ?? app.graph)")
    assert json.loads(sent(visit))[0][0] == "+"
    assert visit.red() == []
