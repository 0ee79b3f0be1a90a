"""Group photos from nothing: 1 to 12 people, every framing and number of rows, on the usual canvases."""

from __future__ import annotations

import hashlib
import itertools
import re
from contextlib import suppress

import pytest
from pack.core.errors import BadLayout, BadSize
from pack.core.geometry import off_canvas, overlaps, patch_rect
from pack.core.people import Joint, Layout, Slot
from pack.core.places import bodies, group
from pack.core.places.group import ACTIONS, GROUP_PHOTO

CANVASES = [(1024, 1024), (832, 1216), (1216, 832), (1344, 768), (768, 1344), (1536, 1024), (2048, 2048)]
CASES = list(itertools.product(range(1, 13), group.FRAMINGS, range(5), CANVASES))


@pytest.fixture(scope="module")
def all_layouts() -> list[tuple[tuple[int, str, int, tuple[int, int]], Layout]]:
    """Every layout that there is room for."""
    found: list[tuple[tuple[int, str, int, tuple[int, int]], Layout]] = []
    for count, framing, rows, size in CASES:
        with suppress(BadLayout):
            found.append(((count, framing, rows, size), group.layout(count, framing, rows, *size)))
    return found


def boxes(layout: Layout) -> list[tuple[int, int, int, int]]:
    return [tuple(round(side) for side in slot.box or ()) for slot in layout.slots]  # pyright: ignore


def face_height(slot: Slot) -> float:
    assert slot.box
    return slot.box[3] - slot.box[1]


@pytest.mark.parametrize("framing", group.FRAMINGS)
def test_least_canvas_of_every_group_holds_it(framing: str) -> None:
    for count, rows in itertools.product(range(1, 13), range(1, 5)):
        if rows > count:
            continue
        with pytest.raises(BadLayout) as caught:
            group.layout(count, framing, rows, 64, 64)
        needed = re.search(rf"in {rows} rows? needs? at least (\d+)x(\d+) px", str(caught.value))
        assert needed and ("1 person" in str(caught.value)) == ("needs" in str(caught.value)) == (count == 1)
        layout = group.layout(count, framing, rows, int(needed[1]), int(needed[2]))
        assert overlaps([patch_rect(slot.center) for slot in layout.slots]) == []
        assert overlaps(boxes(layout)) == []
        assert not any(off_canvas(slot.center, layout.width, layout.height) for slot in layout.slots)


def test_small_canvas_takes_the_rows_that_fit() -> None:
    """Two rows would have larger heads here, but not the distance that ID patches need between rows."""
    with pytest.raises(BadLayout, match="in 2 rows"):
        group.layout(5, "half", 2, 360, 256)
    layout = group.layout(5, "half", 0, 360, 256)
    heights = [slot.center[1] for slot in layout.slots]
    assert max(heights) - min(heights) < face_height(layout.slots[0]) / 2


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((2, "half", 3, 1024, 1024), BadLayout, r"3 rows .*2 people.* rows to 0"),
        ((0, "half", 0, 1024, 1024), BadLayout, "the cast is empty"),
        ((2, "half", 0, 1000, 1001), BadSize, "1000x1001 px"),
    ],
)
def test_what_makes_no_group_is_said(given: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        group.layout(*given)


DOING = [name for name in ACTIONS if name != GROUP_PHOTO]
Segment = tuple[Joint, Joint]


@pytest.fixture(scope="module", params=DOING)
def acted(request) -> tuple[str, list[tuple[tuple[int, str, int, tuple[int, int]], Layout]]]:
    """An action in every group that has room for it, faces of 96 px and more."""
    found: list[tuple[tuple[int, str, int, tuple[int, int]], Layout]] = []
    for count, framing, rows, size in itertools.product((1, 2, 3, 5, 6, 8, 12), group.FRAMINGS, range(5), CANVASES[:3]):
        try:
            layout = group.layout(count, framing, rows, *size, action=request.param)
        except BadLayout:
            continue
        if face_height(layout.slots[0]) >= 96:
            found.append(((count, framing, rows, size), layout))
    assert len(found) > 100
    return request.param, found


def head_of(slot: Slot) -> float:
    return face_height(slot) / bodies.FACE_HEIGHT


def limbs(slot: Slot) -> dict[int, Segment]:
    """Those that are seen, by their number."""
    assert slot.pose
    joints = bodies.openpose(slot.pose)
    ends = {n: bodies.LIMBS[n] for n in bodies.seen_limbs(joints)}
    return {n: (joints[a], joints[b]) for n, (a, b) in ends.items()}


def cross(one: Segment, other: Segment) -> bool:
    def side(a: Joint, b: Joint, c: Joint) -> float:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    return (side(*one, other[0]) * side(*one, other[1]) < 0) and (side(*other, one[0]) * side(*other, one[1]) < 0)


DRAWN = {
    "group photo": "207d5c0c966f8419",
    "arms around shoulders": "2a689366a34084b9",
    "holding hands": "145014bd1958df41",
    "hands up": "4cc968f2b7c40fa4",
    "waving": "e824cb99f2502402",
    "arms crossed": "b2c7a461a672df01",
    "walking": "5e5d70fa77465191",
    "sitting": "0609e5e8dd7f2734",
    "kneeling": "b6119971ce3c7dac",
}


def drawn(layouts: list[tuple[tuple[int, str, int, tuple[int, int]], Layout]]) -> str:
    return hashlib.sha256(repr([layout for _, layout in layouts]).encode()).hexdigest()[:16]


def test_every_layout_is_as_it_always_was(all_layouts) -> None:
    """A saved workflow draws the same people: every float of every layout."""
    assert drawn(all_layouts) == DRAWN[GROUP_PHOTO]


def test_every_action_is_as_it_always_was(acted) -> None:
    action, layouts = acted
    assert drawn(layouts) == DRAWN[action]


FOREARMS, NECK_AND_SHOULDERS = (3, 5), (0, 1, 12)
ARMS_AND_LEGS = range(2, 12)


def in_rows(layout: Layout) -> list[list[int]]:
    """The numbers of the slots; those of a row are as high as each other, up to some tenths of a head."""
    rows: list[list[int]] = []
    for number, slot in enumerate(layout.slots):
        if rows and abs(slot.center[1] - layout.slots[rows[-1][-1]].center[1]) < head_of(slot) / 2:
            rows[-1].append(number)
        else:
            rows.append([number])
    return rows


def enters(limb: Segment, box: tuple[float, float, float, float]) -> bool:
    """Whether one of 33 points along the limb is in the box."""
    (x, y, _), (to_x, to_y, _) = limb
    points = ((x + (to_x - x) * n / 32, y + (to_y - y) * n / 32) for n in range(33))
    return any(box[0] < a < box[2] and box[1] < b < box[3] for a, b in points)


def test_arms_and_legs_of_an_action_lie_before_no_face_and_cross_no_neighbour(acted) -> None:
    """But for a forearm around a neck; and none leaves the picture."""
    action, layouts = acted
    touched = set(itertools.product(FOREARMS, NECK_AND_SHOULDERS)) if action == "arms around shoulders" else set()
    shown = 1.5 if ACTIONS[action].framing == "bust" else 0.0  # heads below the nose
    for case, layout in layouts:
        seen = [limbs(slot) for slot in layout.slots]
        arms_and_legs = [limb for one in seen for n, limb in one.items() if n in ARMS_AND_LEGS]
        for slot in layout.slots:
            (x, y), near = slot.center, 0.25 * head_of(slot)  # brows to chin
            for box in ((x - near, y - near, x + near, y + near), patch_rect(slot.center)):
                assert not any(enters(limb, box) for limb in arms_and_legs), case
            assert all(joint[1] > 0 and -8 < joint[0] < layout.width + 8 for joint in (slot.pose or ()) if joint[2])
            held = [joint for joint in (slot.pose or ())[9:11] if joint[2] and joint[1] < y + shown * head_of(slot)]
            assert all(joint[1] < layout.height for joint in held), "hands up, or on shoulders, whatever the framing"
        assert overlaps([patch_rect(slot.center) for slot in layout.slots]) == overlaps(boxes(layout)) == [], case
        for one, other in (pair for row in in_rows(layout) for pair in itertools.pairwise(row)):
            pairs = itertools.product(seen[one].items(), seen[other].items())
            crossing = {(a, b) for (a, x), (b, y) in pairs if cross(x, y)}
            assert {pair for pair in crossing if not {pair, pair[::-1]} & touched} == set(), (case, one, other)


@pytest.mark.parametrize(
    ("count", "framing", "rows", "action", "told"),
    [
        (2, "bust", 0, "holding hands", ["holding hands is out of the picture with framing = bust: set half"]),
        (2, "half", 0, "kneeling", ["kneeling is out of the picture with framing = half: set full"]),
        (1, "half", 0, "holding hands", ["holding hands: a person alone in a row has no hand to hold"]),
        (1, "full", 0, "hands up", ["hands up: faces 6 % smaller than with group photo"]),
        (3, "full", 1, "walking", []),
        (6, "half", 0, "waving", []),
    ],
)
def test_what_an_action_does_not_show_or_what_it_costs_is_said(
    count: int, framing: str, rows: int, action: str, told: list[str]
) -> None:
    assert list(group.notes(count, framing, rows, 1024, 1024, action)) == told


def test_faces_are_as_large_as_without_an_action_or_it_is_said(acted) -> None:
    action, layouts = acted
    for (count, framing, rows, size), layout in layouts:
        plain = group.layout(count, framing, rows, *size)
        smaller = face_height(layout.slots[0]) < 0.995 * face_height(plain.slots[0])
        assert smaller == any("smaller" in note for note in group.notes(count, framing, rows, *size, action))
