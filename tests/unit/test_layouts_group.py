"""Group photos from nothing: 1 to 12 people, every framing, number of rows and action, on the usual canvases."""

from __future__ import annotations

import hashlib
import itertools
import re
from contextlib import suppress

import pytest
from pack.core.errors import BadLayout, BadSize
from pack.core.geometry import off_canvas, overlaps, patch_rect
from pack.core.people import Layout
from pack.core.places import group
from pack.core.places.group import GROUP_PHOTO

CANVASES = [(1024, 1024), (832, 1216), (1216, 832), (1344, 768), (768, 1344), (1536, 1024), (2048, 2048)]


def face_height(layout: Layout) -> float:
    box = layout.slots[0].box
    assert box
    return box[3] - box[1]


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
"""Of all layouts of an action that there is room for, with faces of 96 px and more but for group photos: looked at, and
no arm or leg lay before a face or crossed a neighbour's, but for a forearm around a neck."""


@pytest.mark.parametrize("action", DRAWN)
def test_every_layout_is_as_it_always_was(action: str) -> None:
    """A saved workflow draws the same people: every float of every layout."""
    plain, found = action == GROUP_PHOTO, list[Layout]()
    counts, canvases = (range(1, 13), CANVASES) if plain else ((1, 2, 3, 5, 6, 8, 12), CANVASES[:3])
    for count, framing, rows, size in itertools.product(counts, group.FRAMINGS, range(5), canvases):
        with suppress(BadLayout):
            layout = group.layout(count, framing, rows, *size, action=action)
            found += [layout] if plain or face_height(layout) >= 96 else []
    assert hashlib.sha256(repr(found).encode()).hexdigest()[:16] == DRAWN[action]


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
        assert overlaps([tuple(round(side) for side in slot.box or ()) for slot in layout.slots]) == []
        assert not any(off_canvas(slot.center, layout.width, layout.height) for slot in layout.slots)


def test_small_canvas_takes_the_rows_that_fit() -> None:
    """Two rows would have larger heads here, but not the distance that ID patches need between rows."""
    with pytest.raises(BadLayout, match="in 2 rows"):
        group.layout(5, "half", 2, 360, 256)
    layout = group.layout(5, "half", 0, 360, 256)
    heights = [slot.center[1] for slot in layout.slots]
    assert max(heights) - min(heights) < face_height(layout) / 2


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
def test_what_an_action_does_not_show_or_what_it_costs_is_said(count, framing, rows, action, told) -> None:
    assert list(group.notes(count, framing, rows, 1024, 1024, action)) == told
