"""Group photos from nothing: 1 to 12 people, every framing, number of rows and action, on the usual canvases."""

import hashlib
import itertools
from contextlib import suppress

import pytest
from pack.core.errors import BadLayout
from pack.core.people import Layout
from pack.core.places import group
from pack.core.places.actions import GROUP_PHOTO

CANVASES = [(1024, 1024), (832, 1216), (1216, 832), (1344, 768), (768, 1344), (1536, 1024), (2048, 2048)]


DRAWN = {
    "group photo": "207d5c0c966f8419", "arms around shoulders": "2a689366a34084b9",
    "holding hands": "145014bd1958df41", "hands up": "4cc968f2b7c40fa4", "waving": "e824cb99f2502402",
    "arms crossed": "b2c7a461a672df01", "walking": "5e5d70fa77465191", "sitting": "0609e5e8dd7f2734",
    "kneeling": "b6119971ce3c7dac",
}  # fmt: skip
"""Of all layouts of an action that there is room for, with faces of 96 px and more but for group photos: looked at, and
no arm or leg lay before a face or crossed a neighbour's, but for a forearm around a neck."""


@pytest.mark.parametrize("action", DRAWN)
def test_every_layout_is_as_it_always_was(action: str) -> None:
    """A saved workflow draws the same people: every float of every layout."""
    counts = (1, 2, 3, 5, 6, 8, 12)
    canvases = CANVASES[:3]
    smallest = 96
    if action == GROUP_PHOTO:
        counts = range(1, 13)
        canvases = CANVASES
        smallest = 0
    layouts: list[Layout] = []
    for count, framing, rows, size in itertools.product(counts, group.FRAMINGS, range(5), canvases):
        with suppress(BadLayout):
            layout = group.layout(count, framing, rows, *size, action=action)
            _, top, _, bottom = layout.slots[0].box
            if bottom - top >= smallest:
                layouts.append(layout)
    assert hashlib.sha256(repr(layouts).encode()).hexdigest()[:16] == DRAWN[action]


@pytest.mark.parametrize(
    ("count", "framing", "rows", "action", "told"),
    [
        (2, "bust", 0, "holding hands", ["holding hands is out of the picture with framing = bust: set half"]),
        (2, "half", 0, "kneeling", ["kneeling is out of the picture with framing = half: set full"]),
        (1, "half", 0, "holding hands", ["holding hands: a person alone in a row has no hand to hold"]),
        (3, "half", 2, "holding hands", ["holding hands: a person alone in a row has no hand to hold"]),
        (4, "half", 2, "holding hands", []), (3, "full", 1, "walking", []), (6, "half", 0, "waving", []),
    ],
)  # fmt: skip
def test_what_an_action_does_not_show_is_said(count, framing, rows, action, told) -> None:
    assert list(group.notes(count, framing, rows, 1024, 1024, action)) == told
