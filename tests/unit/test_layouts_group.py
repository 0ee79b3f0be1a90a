"""Group photos from nothing: 1 to 12 people, every framing and number of rows, on the usual canvases."""

from __future__ import annotations

import itertools
import re

import pytest
from pack.core.errors import BadChoice, BadLayout, BadSize
from pack.core.geometry import off_canvas, overlaps, patch_rect
from pack.core.people import Layout, Slot
from pack.core.places import group

CANVASES = [(1024, 1024), (832, 1216), (1216, 832), (1344, 768), (768, 1344), (1536, 1024), (2048, 2048)]
CASES = list(itertools.product(range(1, 13), group.FRAMINGS, range(5), CANVASES))


def made() -> list[tuple[tuple[int, str, int, tuple[int, int]], Layout]]:
    """Every layout that there is room for."""
    found: list[tuple[tuple[int, str, int, tuple[int, int]], Layout]] = []
    for count, framing, rows, size in CASES:
        if rows > count:
            continue
        try:
            found.append(((count, framing, rows, size), group.layout(count, framing, rows, *size)))
        except BadLayout:
            continue
    return found


@pytest.fixture(scope="module")
def all_layouts() -> list[tuple[tuple[int, str, int, tuple[int, int]], Layout]]:
    return made()


def boxes(layout: Layout) -> list[tuple[int, int, int, int]]:
    return [tuple(round(side) for side in slot.box or ()) for slot in layout.slots]  # pyright: ignore


def face_height(slot: Slot) -> float:
    assert slot.box
    return slot.box[3] - slot.box[1]


def test_there_is_room_for_nearly_everything(all_layouts) -> None:
    possible = [case for case in CASES if case[2] <= case[0]]
    assert len(all_layouts) > 0.9 * len(possible)
    chosen = [case for case, _ in all_layouts if case[2] == 0]
    assert len(chosen) == 12 * 3 * len(CANVASES)


def test_faces_and_patches_keep_apart_and_stay_inside(all_layouts) -> None:
    for case, layout in all_layouts:
        width, height = case[3]
        assert len(layout.slots) == case[0]
        assert (layout.width, layout.height) == (width, height)
        rects = [patch_rect(slot.center) for slot in layout.slots]
        assert overlaps(rects) == [], case
        assert overlaps(boxes(layout)) == [], case
        for x0, y0, x1, y1 in rects + boxes(layout):
            assert x0 >= 0, case
            assert y0 >= 0, case
            assert x1 <= width, case
            assert y1 <= height, case
        assert not any(off_canvas(slot.center, width, height) for slot in layout.slots)


def test_same_question_same_answer(all_layouts) -> None:
    assert made() == all_layouts


def test_faces_are_large_enough_at_1024() -> None:
    for count, framing in itertools.product(range(1, 13), group.FRAMINGS):
        for size in ((1024, 1024), (832, 1216)):
            layout = group.layout(count, framing, 0, *size)
            assert min(map(face_height, layout.slots)) >= 96, (count, framing, size)


def rows_of(layout: Layout, rows: int) -> list[list[Slot]]:
    each, more = divmod(len(layout.slots), rows)
    slots = iter(layout.slots)
    return [list(itertools.islice(slots, each + (row < more))) for row in range(rows)]


def test_rows_rise_to_the_back_and_are_staggered(all_layouts) -> None:
    for (count, framing, rows, size), layout in all_layouts:
        if rows < 2:
            continue
        for back, front in itertools.pairwise(rows_of(layout, rows)):
            lowest, highest = max(s.center[1] for s in back), min(s.center[1] for s in front)
            assert lowest + face_height(back[0]) < highest, (count, framing, rows, size)
            # Every head shows in a gap of the row in front.
            gap = min(abs(b.center[0] - f.center[0]) for b in back for f in front)
            assert gap > 0.5 * face_height(back[0]), (count, framing, rows, size)
            assert [s.center[0] for s in back] == sorted(s.center[0] for s in back)


def test_everybody_has_a_skeleton_with_a_face_and_shoulders(all_layouts) -> None:
    for case, layout in all_layouts:
        for slot in layout.slots:
            assert slot.pose
            assert slot.pose[0] == (*slot.center, 1.0)
            assert all(joint[2] == 1 for joint in slot.pose[:7]), case
            assert slot.pose[5][0] > slot.pose[6][0]
            # Half a head of a shoulder may be cut, no more.
            assert all(-60 < joint[0] < layout.width + 60 for joint in slot.pose if joint[2]), case


def test_a_single_row_shows_the_same_of_everybody(all_layouts) -> None:
    for case, layout in all_layouts:
        if case[2] == 1:
            assert len({tuple(joint[2] for joint in slot.pose or ()) for slot in layout.slots}) == 1, case


@pytest.mark.parametrize(("framing", "lowest"), [("bust", 5), ("half", 11), ("full", 15)])
def test_framing_is_how_much_a_lone_person_shows(framing: str, lowest: int) -> None:
    (slot,) = group.layout(1, framing, 0, 1024, 1024).slots
    assert slot.pose
    visible = [n for n, joint in enumerate(slot.pose) if joint[2] and joint[1] < 1024]
    assert max(visible) in (lowest, lowest + 1)


def test_full_stands_sits_and_kneels() -> None:
    layout = group.layout(9, "full", 3, 1024, 1024)
    back, middle, front = rows_of(layout, 3)

    def legs(slot: Slot) -> float:
        """From hip to knee, in faces."""
        assert slot.pose
        return (slot.pose[13][1] - slot.pose[11][1]) / face_height(slot)

    assert legs(back[0]) > 2
    assert legs(middle[0]) < 1
    assert all(slot.pose and slot.pose[15][2] == 0 for slot in front)


def test_people_in_front_hide_those_behind() -> None:
    back, front = rows_of(group.layout(7, "half", 2, 1024, 1024), 2)
    hips = [slot.pose[11][2] + slot.pose[12][2] for slot in back if slot.pose]
    assert min(hips[1:3]) == 0
    assert all(slot.pose and slot.pose[11][2] == 1 for slot in front)


def test_no_room_says_how_much_is_needed_and_that_is_enough() -> None:
    with pytest.raises(BadLayout) as caught:
        group.layout(12, "full", 1, 512, 512)
    message = str(caught.value)
    assert "The canvas is 512x512 px; 12 people with framing = full in 1 row need at least" in message
    needed = re.search(r"at least (\d+)x(\d+) px", message)
    assert needed
    layout = group.layout(12, "full", 1, int(needed[1]), int(needed[2]))
    assert overlaps([patch_rect(slot.center) for slot in layout.slots]) == []


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


def test_more_rows_than_people() -> None:
    with pytest.raises(BadLayout, match=r"3 rows .*2 people.* rows to 0"):
        group.layout(2, "half", 3, 1024, 1024)


def test_size_off_the_grid() -> None:
    with pytest.raises(BadSize, match=r"1000x1001 px.* width and height to 1000x1000"):
        group.layout(2, "half", 0, 1000, 1001)


def test_unknown_framing() -> None:
    with pytest.raises(BadChoice, match=r"framing is 'wide', .* bust, half, full"):
        group.layout(2, "wide", 0, 1024, 1024)
