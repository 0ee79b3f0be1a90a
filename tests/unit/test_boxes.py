"""Layouts from boxes: what detectors, the editor and lines of text give, which comes first, and where places land."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pack.core.errors import BadInput
from pack.core.people import Layout, Slot
from pack.core.places import bodies, from_boxes, group
from pack.core.places.from_boxes import BadBoxes

CANVAS = (1024, 768)


def box(x: float, y: float, wide: float, high: float, **more: Any) -> dict[str, Any]:
    return {"x": x, "y": y, "width": wide, "height": high, **more}


def drawn(*sides: float, name: str = "") -> dict[str, Any]:
    """As the editor saves it."""
    return box(*sides, metadata={"type": "obj", "text": "", "desc": name, "palette": []})  # type: ignore[arg-type]


def made(given: object = None, by_mouse: object = None, text: str = "", **more: Any) -> from_boxes.BoxedLayout:
    options = {"picture": None, "fit": "crop", "shows": "person", "begun": None, "body": "half", **more}
    start = from_boxes.start(given, options["picture"], CANVAS, options["fit"], options["shows"])
    return from_boxes.layout(start, by_mouse, options["begun"], text, CANVAS, options["shows"], options["body"])


# In the form that ComfyUI 0.33.0's own nodes give, read off their code: the weights are not needed to hand boxes on.

PEOPLE = [
    box(31.5, 20.25, 200.5, 300.0, label="person", score=0.97),
    box(400.0, 18.0, 190.0, 310.5, label="person", score=0.91),
]
FACES = {
    "RT-DETR": ("person", [[*PEOPLE, box(5.0, 5.0, 90.0, 80.0, label="dog", score=0.8)]], 2),
    "MediaPipe": ("face", [[box(100.2, 80.1, 90.7, 110.3, label="face", score=0.88)]], 1),
    "SDPose faces": ("face", [[box(40, 50, 120, 120), box(300, 60, 110, 110)]], 2),
    "Bounding Box": ("person", box(0, 0, 512, 512), 1),
    "a list": ("person", [box(0, 0, 512, 512)], 1),
}


@pytest.mark.parametrize(("shows", "given", "people"), FACES.values(), ids=FACES)
def test_every_maker_of_boxes_in_comfyui_is_read(shows: str, given: object, people: int) -> None:
    layout = made(given, shows=shows).layout
    assert len(layout.slots) == people
    first: Any = given[0] if isinstance(given, list) else given
    first = first[0] if isinstance(first, list) else first
    (x0, y0, x1, y1) = layout.slots[0].box or (0, 0, 0, 0)
    middle = first["x"] + first["width"] / 2
    assert (x0 + x1) / 2 == pytest.approx(middle, abs=1)
    assert y0 >= first["y"] - 1 and y1 <= first["y"] + first["height"] + 1
    dog = ("Boxes left out: 1 labelled dog",) * ("dog" in str(given))
    assert made(given, shows=shows).notes == dog


def test_a_person_fills_the_box_and_a_face_is_the_box() -> None:
    slot = made([box(100, 100, 300, 410)]).layout.slots[0]
    assert slot.keypoints and slot.pose and slot.box
    head = bodies.head_of_face(slot.keypoints)
    assert head == pytest.approx(100)  # half a person is 4.1 heads high
    assert slot.center == pytest.approx((250, 170))  # the crown at the top, in the middle across
    assert all(100 <= x <= 400 and 100 <= y <= 510 for x, y, seen in slot.pose if seen > bodies.SEEN)
    face = made([box(100, 100, 130, 166)], shows="face", body="none").layout.slots[0]
    assert face.box == (100, 100, 230, 266) and face.pose is None
    assert face.center == pytest.approx((165, 100 + 0.53 * 200))


@pytest.mark.parametrize(("fit", "left"), [("crop", 128), ("pad", 256), ("stretch", 128)])
def test_boxes_of_a_photo_are_fitted_as_the_photo_is(fit: str, left: int) -> None:
    picture = (1000, 1000) if fit == "pad" else (2048, 1536)
    side = 166.67 if fit == "pad" else 256
    one = made([[box(side, 300, 600, 800)]], picture=picture, fit=fit).boxes[0].box
    assert one[0] == left


def test_a_box_that_reaches_over_the_edge_ends_there() -> None:
    over = made([box(-20.4, 700, 200, 100), box(900.4, -10, 200, 300)])
    assert [one.box for one in over.boxes] == [(0, 700, 180, 768), (900, 0, 1024, 290)]


# Who comes first

LINES = "Anna: 60, 80, 300, 500\n\n420\uff0c90\uff0c310\uff0c510"


def test_drawn_boxes_come_before_the_text_and_the_text_before_the_link() -> None:
    link = [[box(10, 10, 200, 300)]]
    by_mouse = [drawn(500, 50, 200, 300, name="Ben, in red")]
    assert made(link).boxes[0].box == (10, 10, 210, 310)
    in_text = made(link, text=LINES)
    assert [(one.box, one.name) for one in in_text.boxes] == [((60, 80, 360, 580), "Anna"), ((420, 90, 730, 600), "")]
    both = made(link, by_mouse, LINES)
    assert [(one.box, one.name) for one in both.boxes] == [((500, 50, 700, 350), "Ben")]
    assert both.decided == ("Boxes as drawn, not as in the text",)
    assert made(None, by_mouse, "500 50 200 300").decided == ()


def test_the_editor_begins_anew_when_the_link_brings_other_boxes() -> None:
    """What the frontend does: it puts "input_bboxes" into the editor where they are others than last_incoming."""
    link, moved = [[box(10, 10, 200, 300)]], [drawn(500, 50, 200, 300)]
    begun = from_boxes.for_editor(from_boxes.start(link, None, CANVAS, "crop", "person").boxes)
    assert begun == [box(10, 10, 200, 300, metadata=begun[0]["metadata"])]
    assert made(link, moved, begun=begun).boxes[0].box[0] == 500
    assert made([[box(11, 10, 200, 300)]], moved, begun=begun).boxes[0].box[0] == 11
    assert made(link, moved, begun=[]).boxes[0].box[0] == 10


# A layout to start from


def grouped() -> Layout:
    return group.layout(3, "half", 1, *CANVAS)


def begun_with(layout: Layout, shows: str = "person") -> list[dict[str, Any]]:
    return from_boxes.for_editor(from_boxes.start(layout, None, CANVAS, "crop", shows).boxes)


@pytest.mark.parametrize("shows", from_boxes.SHOWS)
def test_places_whose_boxes_were_not_moved_stay_as_they_are(shows: str) -> None:
    layout = grouped()
    assert made(layout, shows=shows).layout == layout
    begun = begun_with(layout, shows)
    assert made(layout, begun, begun=begun, shows=shows).layout == layout


def test_a_moved_box_moves_its_place_and_a_larger_one_enlarges_it() -> None:
    layout = grouped()
    begun = begun_with(layout)
    moved = [dict(one) for one in begun]
    moved[1]["x"] -= 40
    moved[1]["y"] += 30
    slots = made(layout, moved, begun=begun).layout.slots
    assert slots[0] is layout.slots[0] and slots[2] is layout.slots[2]
    was, now = layout.slots[1], slots[1]
    assert now.center == pytest.approx((was.center[0] - 40, was.center[1] + 30))
    assert was.pose and now.pose and now.pose[5][:2] == pytest.approx((was.pose[5][0] - 40, was.pose[5][1] + 30))
    half = {**begun[1], "width": begun[1]["width"] / 2, "height": begun[1]["height"] / 2}
    small = made(layout, [begun[0], half], begun=begun)
    assert was.keypoints and small.layout.slots[1].keypoints
    heads = [bodies.head_of_face(slot.keypoints) for slot in (was, small.layout.slots[1]) if slot.keypoints]
    assert heads[1] == pytest.approx(heads[0] / 2)
    assert small.notes == ("Places left out: 3, there are 2 boxes",)
    more = made(layout, [*begun, drawn(20, 20, 120, 246)], begun=begun).layout
    assert len(more.slots) == 4 and more.slots[3].center == pytest.approx((80, 20 + 0.7 * 60))


def test_a_region_moves_with_its_box() -> None:
    mask = torch.zeros(768, 1024)
    mask[100:300, 200:400] = 1
    layout = Layout(*CANVAS, (Slot((300.0, 150.0), mask=mask),))
    begun = begun_with(layout)
    assert [begun[0][side] for side in ("x", "y", "width", "height")] == [200, 100, 200, 200]
    moved = made(layout, [{**begun[0], "x": 500, "y": 0, "width": 100, "height": 100}], begun=begun).layout.slots[0]
    expected = torch.zeros(768, 1024)
    expected[0:100, 500:600] = 1
    assert moved.mask is not None and torch.equal(moved.mask > 0.5, expected > 0.5)
    assert moved.center == pytest.approx((550, 25))


def test_a_layout_of_another_size_is_fitted_onto_the_canvas() -> None:
    small = group.layout(2, "bust", 1, 512, 384)
    layout = made(small).layout
    assert (layout.width, layout.height) == CANVAS
    assert layout.slots[1].center == pytest.approx([2 * axis for axis in small.slots[1].center])


# What is refused

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, r"there is none\. Draw one around each person"),
    "several pictures": ({"given": [[box(0, 0, 99, 99)], []]}, "of 2 pictures.*Give the detector one picture"),
    "no boxes": ({"given": [["person"]]}, "without x, y, width and height"),
    "a text in their place": ({"given": "boxes"}, "the text 'boxes' without x"),
    "another label": ({"given": [PEOPLE], "shows": "face"}, "boxes_show is face, and 2 boxes are labelled person"),
    "a box beside the canvas": ({"given": box(1100, 0, 50, 60)}, "box 1 is 50x60 px at x 1100, y 0.*1024x768 px"),
    "a small box": ({"by_mouse": [drawn(0, 0, 15, 200)]}, "box 1 is 15x200 px, each side needs 16 px"),
    "too many": ({"given": [box(0, 0, 99, 99)] * 65}, "there are 65, at most 64"),
    "no number": ({"given": [box(float("nan"), 0, 9, 9)]}, "The x of box 1 is nan"),
    "a width below nothing": ({"given": [box(0, 0, -9, 9)]}, "The width of box 1 is -9"),
    "a word for a number": ({"given": [{"x": 0, "y": "top", "width": 9}]}, "The y of box 1 is the text 'top'"),
    "a line of five numbers": ({"text": "1,2,3,4,5"}, "line 1 of the text is '1,2,3,4,5'"),
    "a line of no numbers": ({"text": "Anna: 1,2,3,4\nBen: left"}, "line 2 of the text is 'Ben: left'.*Anna: 60, 80"),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_box_is_refused_with_both_values(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput if words.startswith("The ") else BadBoxes, match=words):
        made(**changes)
