"""What is arranged by hand: texts and points of tests/support/arranged.json, which the browser's tests read, too."""

import json
from pathlib import Path
from typing import Any

import pytest
from pack.core.cast import Cast, Joint, Layout, Member, Slot
from pack.core.places import arranging, placing
from pack.core.places.arranging import JOINTS, Arranged, BadArrange
from pack.core.places.control_images import from_back
from tiny import people_made

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


@pytest.mark.parametrize("text", TABLE["refused"])
def test_a_text_that_nothing_can_read_is_refused(text: str) -> None:
    with pytest.raises(BadArrange):
        arranging.read(text)
