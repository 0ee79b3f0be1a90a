"""Boxes that are drawn with the mouse around a face, and those that a file has as text."""

import pytest
from browser.canvas import Graph, node
from browser.visit import Visit

pytestmark = pytest.mark.browser
BOXES, PERSON = "LikenessLayoutFromBoxes", "LikenessPerson"


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
    assert [box[side] for side in ("x", "y", "width", "height")] == pytest.approx(
        [256, 256, 512, 512], abs=2 * 1024 / width
    )
    assert visit.run()["status"]["status_str"] == "success"
    slots = person.evaluate("node => ['background', 'image'].map(name => node.findInputSlot(name))")
    assert slots[0] == slots[1] >= 0


@pytest.mark.both_hosts
def test_boxes_that_an_older_version_has_drawn_are_lines_of_text(visit: Visit) -> None:
    """They counted before the text; the field *Boxes from*, which said so, is out of sight. Classic nodes give the text
    some lines, and not all the room that is left."""
    drawn = [{"x": 60, "y": 80, "width": 300, "height": 500, "metadata": {"type": "obj", "desc": "Anna"}},
             {"x": 400, "y": 80, "width": 300.5, "height": 500, "metadata": {"desc": ""}}]  # fmt: skip
    visit.load({"boxes": node(BOXES, text="Ben: 1, 2, 300, 400")})
    file = visit.canvas.saved()
    (saved,) = file["nodes"]
    for source, values, text in (
        ("drawn", [drawn, []], "Anna: 60, 80, 300, 500\n400, 80, 300.5, 500"),
        ("drawn", [[], []], "Ben: 1, 2, 300, 400"),
        ("text", [drawn, []], "Ben: 1, 2, 300, 400"),
        ("drawn", [], "Ben: 1, 2, 300, 400"),
    ):
        saved["widgets_values"] = [1216, 832, "crop", "person", "half", source, "Ben: 1, 2, 300, 400", *values]
        visit.open_file(file)
        boxes = visit.canvas.node_of(BOXES)
        assert boxes.value("text") == text
        assert boxes.value("width") == 1216
    assert "Boxes from" not in visit.page.locator("body").inner_text()
    assert boxes.evaluate("node => node.widgets.find(({name}) => name === 'boxes_from').hidden")
    if not visit.vue:
        assert boxes.field_height("text") < 150


def test_a_word_that_went_is_the_one_that_means_the_same(visit: Visit) -> None:
    visit.load({"place": node("LikenessPlaceCast", acts_in="face boxes")})
    file = visit.canvas.saved()
    (saved,) = file["nodes"]
    saved["widgets_values"] = ["method's own" if value == "face boxes" else value for value in saved["widgets_values"]]
    visit.open_file(file)
    assert visit.canvas.node_of("LikenessPlaceCast").value("acts_in") == "regions"


def test_a_word_that_another_menu_offers_stays(visit: Visit) -> None:
    """The provider "auto", which was a word of the backend too."""
    visit.load(
        {"models": node("LikenessLoadFaceEmbedder", pack="buffalo_sc", recognisers="all found", provider="auto")}
    )
    visit.open_file(visit.canvas.saved())
    assert visit.canvas.node_of("LikenessLoadFaceEmbedder").value("provider") == "auto"
