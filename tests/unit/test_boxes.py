"""Layouts from boxes: what detectors and lines of text give, which comes first, and where places land."""

from functools import partial
from typing import Any

import pytest
import torch
from pack.core.cast import Joint, Layout, Slot
from pack.core.checks.errors import BadInput
from pack.core.faces import by_hand
from pack.core.places import bodies, from_boxes, group
from pack.core.places.from_boxes import BadBoxes

CANVAS = (1024, 768)


def box(x: float, y: float, wide: float, high: float, **fields: Any) -> dict[str, Any]:
    return {"x": x, "y": y, "width": wide, "height": high, **fields}


def boxed(link: object = None, own: object = (), text: str = "", **changes: Any) -> from_boxes.BoxedLayout:
    """own: boxes as in a BOUNDING_BOX, in the place of the text's."""
    options = {"picture": None, "fit": "crop", "shows": "person", "body": "half", **changes}
    start = from_boxes.start(link, options["picture"], CANVAS, options["fit"], options["shows"])
    chosen = from_boxes.read(own) or from_boxes.written(text)
    return from_boxes.layout(start, chosen, CANVAS, options["shows"], options["body"])


def boxes(link: object = None, **changes: Any) -> list[tuple[float, ...]]:
    return [named_box.box for named_box in boxed(link, **changes).boxes]


# In the form that ComfyUI 0.33.0's own nodes give, read off their code: the weights are not needed to hand boxes on.

PEOPLE = [
    box(*sides, label="person", score=0.97) for sides in ((31.5, 20.25, 200.5, 300.0), (400.0, 18.0, 190.0, 310.5))
]
READ = {
    "RT-DETR": ("person", [[*PEOPLE, box(5, 5, 90, 80, label="dog")]], [(32, 20, 232, 320), (400, 18, 590, 328)]),
    "MediaPipe": ("face", [[box(100.2, 80.1, 90.7, 110.3, label="face", score=0.88)]], [(100, 80, 191, 190)]),
    "SDPose": ("face", [[box(40, 50, 120, 120), box(300, 60, 99, 99)]], [(40, 50, 160, 170), (300, 60, 399, 159)]),
    "Bounding Box": ("person", box(0, 0, 512, 512), [(0, 0, 512, 512)]),
    "a list over the edge": ("person", [box(-20.4, 700, 200, 100), box(900.4, -10, 200, 300)],
                             [(0, 700, 180, 768), (900, 0, 1024, 290)]),
}  # fmt: skip


@pytest.mark.parametrize(("shows", "link", "expected"), READ.values(), ids=READ)
def test_every_maker_of_boxes_in_comfyui_is_read(shows: str, link: object, expected) -> None:
    """In whole pixels of the canvas; each is a place, the head in its middle across."""
    boxed_layout = boxed(link, shows=shows)
    assert [named_box.box for named_box in boxed_layout.boxes] == expected
    for slot, (x0, y0, x1, y1) in zip(boxed_layout.layout.slots, expected, strict=True):
        assert slot.box
        assert (slot.box[0] + slot.box[2]) / 2 == pytest.approx((x0 + x1) / 2)
        assert y0 <= slot.box[1]
        assert slot.box[3] <= y1
    notes = ("Boxes left out: 1 labelled dog",) if "dog" in str(link) else ()
    assert boxed_layout.notes == notes


def test_a_person_fills_the_box_and_a_face_is_the_box() -> None:
    slot = boxed([box(100, 100, 300, 410)]).layout.slots[0]
    assert slot.keypoints and slot.pose and slot.box
    assert bodies.head_of_face(slot.keypoints) == pytest.approx(100)  # half a person is 4.1 heads high
    assert slot.center == pytest.approx((250, 170))  # the crown at the top, in the middle across
    assert all(100 <= x <= 400 and 100 <= y <= 510 for x, y, visibility in slot.pose if visibility > bodies.SEEN)
    face = boxed([box(100, 100, 130, 166)], shows="face", body="none").layout.slots[0]
    assert face.box == (100, 100, 230, 266)
    assert face.pose is None
    assert face.center == pytest.approx((165, 100 + 0.53 * 200))


# Who comes first

LINES = "Anna: 60, 80, 300, 500\n\n420\uff0c90\uff0e0\uff0c310\u066b0\uff0c510"


@pytest.mark.parametrize("corner", [(0, 0), (100, 80), (-0.5, 0), (0, -0.5), (100.5, 80), (100, 80.5)])
def test_the_middle_of_a_face_box_lies_on_the_photo_or_its_edge(corner: tuple[float, float]) -> None:
    x, y = corner
    one_face = partial(by_hand.faces_in_boxes, f"{x - 20}, {y - 30}, 40, 60", None, [], [(100, 80)])
    if {*corner} & {-0.5, 100.5, 80.5}:
        with pytest.raises(BadBoxes, match=r"its middle lies beside the photo of 100x80 px"):
            one_face()
    else:
        assert [face.box for face in one_face() if face] == [(x - 20, y - 30, x + 20, y + 30)]


def test_the_text_comes_before_the_link() -> None:
    link = [[box(10, 10, 200, 300)]]
    assert boxes(link) == [(10, 10, 210, 310)]
    in_text = boxed(link, text=LINES)
    assert [(named_box.box, named_box.name) for named_box in in_text.boxes] == [
        ((60, 80, 360, 580), "Anna"),
        ((420, 90, 730, 600), ""),
    ]


# A layout to start from

GROUP = group.layout(3, "half", 1, *CANVAS)


def begun_with(link: object, shows: str = "person") -> list[dict[str, Any]]:
    """The boxes of a link, as a BOUNDING_BOX."""
    sides = [marked.box for marked in from_boxes.start(link, None, CANVAS, "crop", shows).boxes]
    return [box(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in sides]


@pytest.mark.parametrize("shows", from_boxes.SHOWS)
def test_places_whose_boxes_were_not_moved_stay_as_they_are(shows: str) -> None:
    for own in ((), begun_with(GROUP, shows)):
        assert boxed(GROUP, own, shows=shows).layout == GROUP


def test_a_moved_box_moves_its_place_and_a_larger_one_enlarges_it() -> None:
    begun = begun_with(GROUP)
    moved_boxes = [begun[0], {**begun[1], "x": begun[1]["x"] - 40, "y": begun[1]["y"] + 30}, begun[2]]
    first, moved_slot, last = boxed(GROUP, moved_boxes).layout.slots
    old_slot = GROUP.slots[1]
    assert first is GROUP.slots[0]
    assert last is GROUP.slots[2]
    assert moved_slot.center == pytest.approx((old_slot.center[0] - 40, old_slot.center[1] + 30))
    assert old_slot.pose
    assert moved_slot.pose
    assert moved_slot.pose[5][:2] == pytest.approx((old_slot.pose[5][0] - 40, old_slot.pose[5][1] + 30))
    half = {**begun[1], "width": begun[1]["width"] / 2, "height": begun[1]["height"] / 2}
    small = boxed(GROUP, [begun[0], half])
    heads = [bodies.head_of_face(slot.keypoints or ()) for slot in (old_slot, small.layout.slots[1])]
    assert heads[1] == pytest.approx(heads[0] / 2)
    assert small.notes == ("Places left out: 3, there are 2 boxes",)
    with_a_fourth = boxed(GROUP, [*begun, box(20, 20, 120, 246)]).layout
    assert len(with_a_fourth.slots) == 4
    assert with_a_fourth.slots[3].center == pytest.approx((80, 20 + 0.7 * 60))


def test_a_wider_box_leaves_a_place_as_large_and_in_its_middle() -> None:
    """A place is as large as its box holds: the side that has less room decides."""
    begun = begun_with(GROUP)
    wider = {**begun[1], "width": begun[1]["width"] + 80}
    new_slot = boxed(GROUP, [begun[0], wider, begun[2]]).layout.slots[1]
    old_slot = GROUP.slots[1]
    assert new_slot.center == pytest.approx((old_slot.center[0] + 40, old_slot.center[1]))
    assert new_slot.box and old_slot.box
    assert new_slot.box[2] - new_slot.box[0] == pytest.approx(old_slot.box[2] - old_slot.box[0])


def test_the_region_of_a_place_moves_with_its_box() -> None:
    mask = torch.zeros(CANVAS[1], CANVAS[0])
    mask[100:400, 200:360] = torch.rand(300, 160, generator=torch.Generator().manual_seed(1))
    layout = Layout(*CANVAS, (Slot((280.0, 200.0), (240.0, 150.0, 320.0, 260.0), mask=mask),))
    begun = begun_with(layout)
    moved_boxes = [{**begun[0], "x": begun[0]["x"] + 64, "y": begun[0]["y"] - 32}]
    moved_mask = boxed(layout, moved_boxes).layout.slots[0].mask
    expected = torch.zeros_like(mask)
    expected[100 - 32 : 400 - 32, 200 + 64 : 360 + 64] = mask[100:400, 200:360]
    assert moved_mask is not None
    assert (moved_mask - expected).abs().max() <= 1e-4


def test_the_box_around_a_person_ends_at_what_is_seen() -> None:
    """A hidden hand far away does not widen it."""
    slot = GROUP.slots[1]
    assert slot.pose
    joints: list[Joint] = list(slot.pose)
    joints[9] = (1000.0, 700.0, 0.1)
    joints[10] = (10.0, 700.0, 0.0)
    hidden = tuple((*joint[:2], 0.0) if number in (9, 10) else joint for number, joint in enumerate(slot.pose))
    layouts = [
        Layout(*CANVAS, (Slot(slot.center, slot.box, slot.keypoints, pose),)) for pose in (tuple(joints), hidden)
    ]
    unsure_box, hidden_box = (begun_with(layout)[0] for layout in layouts)
    assert unsure_box == hidden_box
    assert unsure_box["width"] < 400


def test_boxes_of_a_photo_and_a_layout_of_another_size_are_fitted_onto_the_canvas() -> None:
    for fit, picture, x, left_edge in (
        ("crop", (2048, 1536), 256, 128), ("pad", (1000, 1000), 166.67, 256), ("stretch", (2048, 1536), 256, 128)
    ):  # fmt: skip
        assert boxes([box(x, 300, 600, 800)], picture=picture, fit=fit)[0][0] == left_edge
    small = group.layout(2, "bust", 1, 512, 384)
    layout = boxed(small).layout
    assert (layout.width, layout.height) == CANVAS
    assert layout.slots[1].center == pytest.approx([2 * axis for axis in small.slots[1].center])


# What is refused

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, r"there is none\. Connect bboxes, or use the text\. Write a line per person"),
    "another label": ({"link": [PEOPLE], "shows": "face"}, "boxes_show is face, and the label of 2 boxes is person"),
    "a box beside the canvas": ({"link": box(1100, 0, 50, 60)}, "box 1 is 50x60 px at x 1100, y 0.*1024x768 px"),
    "a box that ends where the canvas begins": ({"link": box(-50, 0, 50, 60)}, "box 1 is 50x60 px at x -50, y 0"),
    "a box that begins where the canvas ends": ({"link": box(0, 768, 50, 60)}, "box 1 is 50x60 px at x 0, y 768"),
    "a small box": ({"own": [box(0, 0, 15, 200)]}, "box 1 is 15x200 px, each side needs 16 px"),
    "no box at all": ({"link": box(0, 0, 0, 0)}, "box 1 is 0x0 px, each side needs 16 px"),
    "too many": ({"link": [box(0, 0, 99, 99)] * 65}, "there are 65, at most 64"),
    "a width below nothing": ({"link": [box(0, 0, -9, 9)]}, "The width of box 1 is -9"),
    "a line of five numbers": ({"text": "1,2,3,4,5"}, "line 1 of the text is '1,2,3,4,5'"),
    "decimals behind a comma": ({"text": "10,5; 20,5; 100; 200"}, "'10,5; 20,5; 100; 200'.*in whole pixels"),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_box_is_refused_with_both_values(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput if words.startswith("The ") else BadBoxes, match=words):
        boxed(**changes)
