"""Boxes that are drawn and dragged with the mouse, and their lines of text."""

from pathlib import Path
from typing import Any

import pytest
from browser.box_editor import Point, Sides
from browser.canvas import Graph, node
from browser.visit import Visit
from shared import workflow

pytestmark = pytest.mark.browser
BY_DRAGGING = Path(__file__).resolve().parents[2] / "workflows" / "id_patch_places_by_dragging.json"
PICTURE = (1216, 832)
"""Width and height of the picture in which boxes are drawn."""
BOXED = {
    "width": PICTURE[0], "height": PICTURE[1], "fit": "crop", "boxes_show": "person", "body": "half",
    "boxes_from": "drawn",
}  # fmt: skip
BOXES, PERSON = "LikenessLayoutFromBoxes", "LikenessPerson"


def drag(visit: Visit, start: Point, end: Point) -> Sides:
    """With the mouse, between two points of the editor in shares of its sides: where they lie in the picture, px."""
    return visit.box_editor.drag(visit.canvas.node_of(BOXES), start, end, PICTURE)


def drawn(visit: Visit) -> list[list[int]]:
    """Left, top, width and height of the boxes, the same in the file and in the prompt."""
    saved = visit.box_editor.boxes_in_file()
    assert visit.box_editor.boxes_sent(BOXES) == saved
    return [sides_of(box) for box in saved]


def sides_of(box: dict[str, Any]) -> list[int]:
    return [box[side] for side in ("x", "y", "width", "height")]


def moved(box: list[int], stroke: Sides, within: float) -> Any:
    """A box that a stroke of the mouse has moved; compares equal within so many px."""
    x, y, width, height = box
    across = stroke.right - stroke.left
    down = stroke.bottom - stroke.top
    return pytest.approx([x + across, y + down, width, height], abs=within)


@pytest.mark.both_hosts
def test_without_vue_nodes_boxes_are_lines_of_text(visit: Visit) -> None:
    """With classic nodes and in older frontends."""
    if visit.vue:
        pytest.skip("these nodes have an editor for boxes: test_a_box_lands_where_it_was_dropped")
    visit.load({"boxes": node(BOXES, **BOXED, text="Anna: 60, 80, 300, 500")})
    assert visit.run()["status"]["status_str"] == "success"
    assert not visit.box_editor.is_shown()


@pytest.mark.both_hosts
def test_a_box_lands_where_it_was_dropped(visit: Visit) -> None:
    """Within a pixel of the canvas."""
    if not visit.vue:
        pytest.skip("these nodes have no editor for boxes")
    visit.red()
    boxes = node(BOXES, **BOXED, text="")
    visit.load({"boxes": boxes})
    visit.box_editor.await_shown()
    visit.box_editor.switch_grid_off()
    stroke = drag(visit, (0.1, 0.1), (0.4, 0.8))
    sides = [stroke.left, stroke.top, stroke.right - stroke.left, stroke.bottom - stroke.top]
    assert drawn(visit) == [pytest.approx(sides, abs=1)]
    (box,) = drawn(visit)
    assert visit.canvas.node_of(BOXES).value("text") == ", ".join(map(str, box)), "a new node's text follows as well"
    stroke = drag(visit, (0.2, 0.5), (0.3, 0.56))
    assert drawn(visit) == [moved(box, stroke, within=1)]
    file = visit.canvas.saved()
    before = drawn(visit)
    group = node("LikenessLayoutForAGroup", count=2, framing="half", rows=0, width=PICTURE[0], height=PICTURE[1])
    boxes["inputs"] |= {"bboxes": ["group", 0], "background": ["group", 1]}
    visit.load({"group": group, "boxes": boxes})
    visit.run()
    visit.await_true(lambda: len(visit.box_editor.boxes_in_file()) == 2)
    left, right = drawn(visit)
    middle = (right[0] + right[2] / 2) / PICTURE[0]
    stroke = drag(visit, (middle, 0.6), (middle - 0.05, 0.5))
    after = [left, moved(right, stroke, within=33)]  # the grid is new with each node
    assert drawn(visit) == after
    assert visit.run()["status"]["status_str"] == "success"
    assert drawn(visit) == after
    visit.page.evaluate("graph => app.loadGraphData(graph).then(() => true)", file)
    visit.await_true(lambda: len(visit.box_editor.boxes_in_file()) == 1)
    assert drawn(visit) == before
    assert visit.red() == []


def test_a_box_drawn_in_identity_is_around_the_face_in_the_photo(visit: Visit, people: Graph) -> None:
    """The editor is folded away, has the photo of `image` behind it, and sends shares of a canvas of 1024x1024 px."""
    if not visit.vue:
        pytest.skip("these nodes have no editor for boxes")
    nodes_with_the_photo = {name: people[name] for name in ("models", "photo", "yao", "cast")}
    visit.load({**nodes_with_the_photo, "shown": node("PreviewImage", images=["cast", 1])})
    assert not visit.box_editor.is_shown()
    person = visit.canvas.node_of(PERSON)
    person.show_advanced_inputs()
    visit.box_editor.await_shown()
    visit.box_editor.switch_grid_off()
    visit.box_editor.drag(person, (0.25, 0.25), (0.75, 0.75), (1024, 1024))
    (box,) = visit.box_editor.boxes_sent(PERSON)
    width = visit.box_editor.bring_into_view(person)["width"]
    assert sides_of(box) == pytest.approx([256, 256, 512, 512], abs=2 * 1024 / width)
    assert visit.run()["status"]["status_str"] == "success"
    slots = person.evaluate("node => ['background', 'image'].map(name => node.findInputSlot(name))")
    assert slots[0] == slots[1] >= 0


def test_the_field_of_boxes_as_text_is_some_lines_high(visit: Visit) -> None:
    """With classic nodes, which give a field all the room that is left."""
    if visit.vue:
        pytest.skip("Vue nodes give a field its own height")
    visit.open_file(workflow.load(BY_DRAGGING))
    visit.canvas.settle()
    assert visit.canvas.node_of(BOXES).field_height("text") < 150


def test_boxes_and_their_text_follow_each_other(visit: Visit) -> None:
    """What is drawn or written last counts."""
    if not visit.vue:
        pytest.skip("these nodes have no editor for boxes")
    visit.open_file(workflow.load(BY_DRAGGING))
    boxes = visit.canvas.node_of(BOXES)
    begun = boxes.value("text").split("\n")
    drag(visit, (0.3, 0.5), (0.35, 0.55))
    first, second = boxes.value("text").split("\n")
    x, y, *_ = drawn(visit)[0]
    assert first.startswith(f"person 1: {x}, {y}, ")
    assert first != begun[0]
    assert second == begun[1]
    assert first in ",".join(visit.box_editor.texts_on_page())
    visit.box_editor.write(boxes.value("text"), "Ann\uff1a100,100\u300160 80\n\nBen: 400, 200, 300.5, 500\n1, 2, 3, 4")
    visit.await_true(lambda: len(visit.box_editor.boxes_in_file()) == 3)
    assert drawn(visit) == [[100, 100, 60, 80], [400, 200, 300.5, 500], [1, 2, 3, 4]]
    assert [box["metadata"]["desc"] for box in visit.box_editor.boxes_in_file()] == ["Ann", "Ben", ""]
    visit.box_editor.await_shown()
    stroke = drag(visit, (500 / PICTURE[0], 500 / PICTURE[1]), (0.3, 0.7))
    assert drawn(visit)[1] == moved([400, 200, 300.5, 500], stroke, within=33)
    assert boxes.value("text").startswith("Ann: 100, 100, 60, 80\nBen: ")
    visit.box_editor.write(boxes.value("text"), "Ann: 100, 100, 60\nBen: 400, 200, 300, 500")
    visit.canvas.settle()
    assert len(drawn(visit)) == 3
    drag(visit, (550 / PICTURE[0], 500 / PICTURE[1]), (0.4, 0.7))
    lines = boxes.value("text").split("\n")
    assert lines[0] == "Ann: 100, 100, 60, 80", "a line that was no box says the boxes again"
    assert len(lines) == 3
