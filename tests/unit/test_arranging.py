"""What is arranged by hand: texts and points of tests/support/arranged.json, which the browser's tests read, too."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from pack.core.cast import Cast, Joint, Layout, Member, Slot
from pack.core.places import arranging, bodies, control_images, group, mannequin, placing
from pack.core.places.arranging import JOINTS, Arranged, BadArrange
from pack.core.places.control_images import from_back
from tiny import people_made
from tiny.people_made import painted

TABLE = json.loads((Path(__file__).resolve().parents[1] / "support" / "arranged.json").read_text("utf-8"))
HIDDEN = (0.0, 0.0, 0.0)


def slot_of(place: dict[str, Any]) -> Slot:
    """A place of the table."""
    (x, y), head = place["nose"], place["head"]

    def joint(point: list[float]) -> Joint:
        return (x + point[0] * head, y + point[1] * head, 1.0)

    corners = [joint(place["box"][:2]), joint(place["box"][2:])]
    hands = {f"{side}_hand": tuple(map(joint, points)) for side, points in place["hands"].items()}
    pose = tuple(joint(place["joints"][name]) if name in place["joints"] else HIDDEN for name in JOINTS)
    return Slot((x, y), (*corners[0][:2], *corners[1][:2]), pose=pose, **hands)


GIVEN = TABLE["layout"]
LAYOUT = Layout(GIVEN["width"], GIVEN["height"], tuple(map(slot_of, GIVEN["places"])))
PEOPLE = Cast(tuple(Member(people_made.a_person(number), number=number) for number in (1, 2)))


def found(arranged: Arranged, index: int, name: str) -> Any:
    """What a place has of what the table calls `name`, in the table's form."""
    slot = arranged.layout.slots[index]
    if name == "who":
        people = placing.rearranged(PEOPLE, (0, 1), arranged)
        return placing.numbers_of(PEOPLE, people)[index]
    if name == "joints":
        return {name: joint[:2] for name, joint in zip(JOINTS, slot.pose or (), strict=True)}
    if name == "hands":
        sides = {"left": slot.left_hand, "right": slot.right_hand}
        return {side: [point[:2] for point in hand] for side, hand in sides.items() if hand}
    if name == "region":
        return [["+" if adds else "-", *sum(points, ())] for adds, points in slot.drawn]
    return {"number": arranged.numbers[index], "nose": slot.center, "head": arranging.head_of(slot), "box": slot.box}[
        name
    ]


def flat(value: Any) -> list[Any]:
    """The numbers and words in it, in one order; of a table also its names."""
    if isinstance(value, dict):
        return [entry for key in sorted(value) for entry in (key, *flat(value[key]))]
    if isinstance(value, (list, tuple)):
        return [entry for item in value for entry in flat(item)]
    return [value]


def assert_alike(found: Any, expected: Any) -> None:
    """Both have the same words, and numbers that are alike, in the same places."""
    for one, other in zip(flat(found), flat(expected), strict=True):
        assert one == (other if isinstance(other, str) else pytest.approx(other, abs=1e-3)), (found, expected)


@pytest.mark.parametrize("row", TABLE["rows"], ids=lambda row: row["text"][:60] or "empty")
def test_a_text_gives_the_points_of_the_table(row: dict[str, Any]) -> None:
    arranged = arranging.arrange(LAYOUT, arranging.read(row["text"]))
    assert len(arranged.layout.slots) == len(row["arranged"])
    for index, expected in enumerate(row["arranged"]):
        for name, value in expected.items():
            has = found(arranged, index, name)
            assert_alike({joint: has[joint] for joint in value} if name == "joints" else has, value)
    slots = arranged.layout.slots
    order = [arranged.numbers[slots.index(slot)] for slot in from_back(slots)]
    assert order == row.get("from_back", [*arranged.numbers])
    gone = ", ".join(f"place {number}" for number in row.get("gone", []))
    not_there = [note for note in arranged.notes if "not there" in note]
    assert not_there == [f"Arranged by hand, but not there: {gone}"] * bool(gone)


def test_an_empty_text_gives_the_same_layout() -> None:
    for text in ("", " \n", "{}", '{"1": {}}', '{"who": {"1": 2}}'):
        arranged = arranging.arrange(LAYOUT, arranging.read(text))
        assert arranged.layout is LAYOUT or arranged.layout.slots[0] is LAYOUT.slots[0]
    assert arranging.arrange(LAYOUT, arranging.read("")).layout is LAYOUT


def edited(slot: Slot, **edit: Any) -> Slot:
    """The one place of a canvas of 96x64 px with an edit. Its head is 20 px."""
    (one,) = arranging.arrange(Layout(96, 64, (slot,)), arranging.read(json.dumps({"1": edit}))).layout.slots
    return one


def place_at(x: float, y: float, **parts: Any) -> Slot:
    return Slot((x, y), bodies.face_box((x, y), 20), **parts)


MASK_EDITS: list[tuple[dict[str, Any], tuple[int, int, int, int]]] = [
    ({"move": [0.5, -0.25]}, (40, 5, 60, 45)),
    ({"scale": 0.5}, (35, 15, 45, 35)),
    ({"turn": 90}, (10, 10, 50, 30)),
    ({"mirror": True, "joints": {"nose": [0, 0]}}, (30, 10, 50, 50)),
    ({"mirror": True, "turn": 90, "scale": 0.5, "move": [1, 0]}, (45, 15, 65, 25)),
]
"""Edits, and where they take what was painted between 30 and 50 px across and 10 and 50 px down."""


@pytest.mark.parametrize(("edit", "expected"), MASK_EDITS, ids=lambda value: str(value)[:40])
def test_the_mask_of_a_place_goes_with_it(edit: dict[str, Any], expected: tuple[int, int, int, int]) -> None:
    mask = painted((30, 10, 50, 50))[0]
    nose = (40.0, 20.0)
    pose = tuple((*nose, 1.0) for _ in JOINTS)
    moved = edited(place_at(*nose, mask=mask, pose=pose), **edit).mask
    assert moved is not None and moved.shape == mask.shape
    assert moved.dtype == torch.float32
    assert (moved - painted(expected)[0]).abs().max() < 0.51, "at the edges it may be half"
    assert float(moved.sum()) == pytest.approx((expected[2] - expected[0]) * (expected[3] - expected[1]), rel=0.02)


def test_the_points_of_a_mirrored_face_are_in_the_order_of_a_face() -> None:
    """The left eye, mouth corner, brow and jaw are those that were right ones; with and without pupils."""
    face = bodies.face_keypoints((40, 20), 20)
    turned = ((face[0][0] - 3, face[0][1]), *face[1:])
    for count in (68, 70):
        points = tuple((40.0 + number, 20.0, 1.0) for number in range(count))
        slot = edited(place_at(40, 20, keypoints=turned, face_points=points), mirror=True)
        assert slot.keypoints and slot.face_points
        assert_alike(slot.keypoints[1], (face[1][0] + 3, face[1][1]))
        assert_alike([slot.keypoints[number] for number in (0, 3, 4)], [face[number] for number in (0, 3, 4)])
        was = [round(40 - x) for x, _, _ in slot.face_points]
        assert was[:2] == [16, 15] and was[16:18] == [0, 26], "jaw, brow"
        assert was[27:31] == [27, 28, 29, 30], "the ridge of the nose"
        assert (was[36], was[39], was[48], was[54], was[60], was[64]) == (45, 42, 54, 48, 64, 60), "eyes, mouth"
        assert sorted(was) == [*range(count)]
        assert was[68:] == [69, 68][: count - 68]


def test_who_is_in_front_is_drawn_over_the_others() -> None:
    """In skeletons, also those of a cast and of DWPose, and in the mannequin, where who stands lower is in front."""
    places = group.layout(2, "half", 1, 384, 256)
    near = {"2": {"move": [-0.9, 0.3]}}
    pictures: dict[str, list[torch.Tensor]] = {}
    for front in ([], [1, 2], [2, 1]):
        arranged = arranging.arrange(places, arranging.read(json.dumps({**near, "front": front}))).layout
        pictures.setdefault("skeletons", []).append(control_images.skeletons(arranged, by_row=False))
        pictures.setdefault("dwpose", []).append(control_images.dwpose(arranged, by_row=False))
        pictures.setdefault("mannequin", []).append(mannequin.draw_layout(arranged).person)
    for kind, (plain, second, first) in pictures.items():
        assert torch.equal(plain, second), kind
        assert not torch.equal(plain, first), kind
    both = (pictures["mannequin"][0] != pictures["mannequin"][2]).nonzero()
    assert all(pictures["mannequin"][2][y, x] == 1 for y, x in both)


def test_joints_that_come_far_off_the_canvas_are_hidden() -> None:
    """As in every layout: no detector sees them, and drawing them takes long."""
    (slot,) = group.layout(1, "half", 1, 256, 256).slots
    everywhere = {name: [(-1) ** number * 100, 100] for number, name in enumerate(JOINTS)}
    layout = Layout(256, 256, (slot,))
    text = json.dumps({"1": {"scale": 20, "joints": everywhere}})
    (bent,) = arranging.arrange(layout, arranging.read(text)).layout.slots
    assert bent.pose and not any(confidence for _, _, confidence in bent.pose)


HOSTILE = (
    "[" * 100_000,
    "9" * 10_000_000,
    '{"1": {"move": [' + "9" * 5000 + ", 0]}}",
    "{" + '"1":{},' * 20_000 + '"1":{}}',
    '{"1": {"region": ' + json.dumps([["+", *[0.5] * 800]] * 65) + "}}",
    '{"1": {"region": [' + "[" * 900 + "]" * 900 + "]}}",
    '{"who": {"1": 1, "1": 2}}',
    '{"1": {"scale": Infinity}}',
    '{"1": {"' + "x" * 1000 + '": 1}}',
    '{"1": {"joints": {"nose": [1e999, 0]}}}',
    "\x00",
    "\ud800",
)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: f"{len(text)} {text[:20]!r}")
def test_a_hostile_text_gets_a_sentence_in_a_second(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(BadArrange) as refused:
        arranging.read(text)
    assert time.perf_counter() - began < 1
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("text", TABLE["refused"])
def test_a_text_that_nothing_can_read_is_refused(text: str) -> None:
    with pytest.raises(BadArrange):
        arranging.read(text)
