"""One more place in a layout: free, as large as its neighbours, and what cannot be had is said."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import people_made
import pytest
import torch
from pack.core.errors import BadLayout, BadSize
from pack.core.geometry import off_canvas, overlaps, patch_rect
from pack.core.people import Cast, Layout, Person, Slot
from pack.core.places import adding, bodies, group, placing, regions

CANVAS = (1216, 832)


layout_of = partial(people_made.layout, width=CANVAS[0], height=CANVAS[1])
THREE = layout_of((300, 300, 150), (560, 290, 160), (820, 310, 150))


def head_of(slot: Slot) -> float:
    assert slot.keypoints is not None
    return bodies.head_of_face(slot.keypoints)


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("where", adding.SIDES[:3])
def test_the_new_head_is_whole_and_covers_nobody(where: str, count: int) -> None:
    """In groups of our own that leave room: everybody at seven tenths of the size, in the middle."""
    found = group.layout(count, "half", 0, *CANVAS)
    slots = [
        people_made.standing(
            CANVAS[0] / 2 + 0.7 * (slot.center[0] - CANVAS[0] / 2), slot.center[1], 0.7 * head_of(slot)
        )
        for slot in found.slots
    ]
    layout = Layout(*CANVAS, tuple(slots))
    added = adding.add(layout, where, (0, 0), 0, "half")
    assert added.slots[:-1] == layout.slots
    new = added.slots[-1]
    x0, y0, x1, y1 = new.box
    assert x0 >= 0 and y0 >= 0 and x1 <= CANVAS[0] and y1 <= CANVAS[1] and not off_canvas(new.center, *CANVAS)
    for other in layout.slots:
        a, b = ([round(edge) for edge in slot.box] for slot in (new, other))
        assert not overlaps([tuple(a), tuple(b)]) and not overlaps([patch_rect(new.center), patch_rect(other.center)])
    heads = [head_of(slot) for slot in layout.slots]
    assert min(heads) - 1 <= head_of(new) <= max(heads) + 1
    assert new.pose is not None


@pytest.mark.parametrize(
    ("where", "least", "most"), [("free place", 480, 680), ("left end", 0, 300), ("right end", 860, 1160)]
)
def test_a_gap_in_the_row_is_taken_unless_an_end_is_asked_for(where: str, least: float, most: float) -> None:
    gap = layout_of((300, 300, 150), (860, 310, 150), width=1160)
    x, y = adding.add(gap, where, (0, 0), 0, "half").slots[-1].center
    assert least < x < most and 200 < y < 400


def test_a_free_place_is_beside_somebody() -> None:
    """Though there is as much room elsewhere."""
    new = adding.add(layout_of((1000, 300, 100)), "free place", (0, 0), 0, "half").slots[-1]
    assert math.dist(new.center, (1000, 300)) < 300


def test_faces_grow_towards_the_camera() -> None:
    """A new face is as large as the one beside it, not as the mean of all."""
    deep = layout_of((200, 250, 80), (1000, 350, 200), width=1496)
    left, right = (head_of(adding.add(deep, side, (0, 0), 0, "half").slots[-1]) for side in adding.SIDES[1:3])
    assert left < 110 and right > 150


def test_x_y_and_size_are_taken_as_they_are() -> None:
    new = adding.add(THREE, "at x, y", (1060.0, 250.0), 100, "bust").slots[-1]
    assert new.center == (1060, 250) and new.box[3] - new.box[1] == pytest.approx(100)
    assert new.pose[5][2] == 1 and new.pose[11][2] == 0, "shoulders and no hips"
    assert adding.add(THREE, "at x, y", (1060.0, 250.0), 100, "none").slots[-1].pose is None


def test_several_at_once_are_those_one_after_the_other() -> None:
    layout = layout_of((600, 300, 120))
    once, twice = (adding.add(layout, "free place", (0, 0), 0, "half", count) for count in (1, 2))
    assert adding.add(once, "free place", (0, 0), 0, "half") == twice
    there = adding.add(layout, "at x, y", (1060.0, 250.0), 0, "half", 2)
    assert there.slots[1].center == (1060, 250)
    assert there == adding.add(
        adding.add(layout, "at x, y", (1060.0, 250.0), 0, "half"), "free place", (0, 0), 0, "half"
    )


def test_a_face_on_somebodys_body_is_said() -> None:
    """Place 1 has its nose at (300, 330): below it is the body."""
    low = adding.add(THREE, "at x, y", (300.0, 540.0), 0, "half")
    (line,) = adding.troubles(low, 1)
    assert line.startswith("Faces before bodies: that of place 4 lies on the body of place 1; ")
    assert adding.troubles(adding.add(THREE, "right end", (0, 0), 0, "half"), 1) == []


def test_places_without_faces_count_by_their_patch() -> None:
    bare = Layout(*CANVAS, (Slot((600.0, 300.0)),))
    new = adding.add(bare, "free place", (0, 0), 0, "half").slots[-1]
    assert not overlaps([patch_rect((600, 300)), patch_rect(new.center)])
    posed = Layout(*CANVAS, (Slot((600.0, 300.0), pose=bodies.body((600.0, 300.0), 130)),))
    assert head_of(adding.add(posed, "free place", (0, 0), 0, "half").slots[-1]) == pytest.approx(130, rel=0.01)


@pytest.mark.parametrize(
    ("layout", "where", "at", "size", "count", "values"),
    [
        (layout_of((608, 400, 700)), "free place", (0, 0), 0, 1, ["free place", "1216x832", "1 person"]),
        (THREE, "left end", (0, 0), 400, 1, ["400 px", "left end"]),
        (THREE, "at x, y", (300, 330), 0, 1, ["(300, 330)", "place 1"]),
        (THREE, "at x, y", (20, 330), 0, 1, ["(20, 330)", " x from ", " y from "]),
        (layout_of((300, 300, 40)), "at x, y", (340, 300), 0, 1, ["nose of place 1", "64 px"]),
        (layout_of((600, 400, 300)), "free place", (0, 0), 250, 8, ["4 faces", "250 px", "not for 8", "count"]),
        (layout_of((600, 400, 300)), "at x, y", (200, 400), 250, 8, ["3 faces", "not for 8", "at x, y"]),
    ],
)
def test_what_cannot_be_had_is_said(layout: Layout, where: str, at, size: int, count: int, values: list[str]) -> None:
    with pytest.raises(BadLayout) as refused:
        adding.add(layout, where, at, size, "half", count)
    assert all(value in str(refused.value) for value in values), refused.value


# Who is new, beside those who stay


def joined(layout: Layout, *weights: float) -> Cast:
    cast = Cast(tuple(Person(people_made.identity(n), weight) for n, weight in enumerate(weights or (1.0,), 1)))
    return placing.place(cast, layout, placing.assign(cast, layout, "last places", ""))


def test_people_take_the_last_places() -> None:
    added = adding.add(THREE, "right end", (0, 0), 0, "half")
    one, two = joined(added), joined(added, 1.0, 1.0)
    assert [person.place for person in one.people] == [4] and [person.place for person in two.people] == [3, 4]
    cast = Cast(tuple(Person(people_made.identity(n)) for n in range(1, 5)))
    assert placing.assign(cast, added, "last places", "") == (0, 1, 2, 3)


def told(cast: Cast, layout: Layout) -> list[str]:
    return placing.troubles(cast, layout, placing.assign(cast, layout, "last places", ""), "last places")


def test_an_added_place_whose_friend_has_no_face_is_said() -> None:
    """Nobody stands there, but its skeleton is drawn; places 1 to 3 are of those who stay."""
    added = adding.add(THREE, "right end", (0, 0), 60, "half", 2)
    here, lost = (people_made.identity(number) for number in (1, 2))
    lines = told(Cast((Person(here),), absent=((2, lost.name),)), added)
    assert lines[-1] == "Place 5 stays empty; its skeleton is still in the pose picture."
    assert not any("Place 1" in line for line in lines)
    alone = adding.add(THREE, "right end", (0, 0), 0, "half")
    assert told(Cast((Person(here),)), alone) == [], "those who stay are no trouble"


def test_a_region_leaves_those_who_stay_as_they_are() -> None:
    """Heads with their hair, and bodies behind which the new one stands; the new face is whole."""
    added = adding.add(THREE, "at x, y", (690.0, 120.0), 120, "half")
    cast = joined(added)
    region = regions.of_person(cast, 1, "body", 0.3, 16, regions.staying(cast, added))
    alone = regions.of_person(cast, 1, "body", 0.3, 16)
    assert (region <= alone).all() and region.sum() < alone.sum()
    for slot in THREE.slots:
        x0, y0, x1, y1 = (round(edge) for edge in slot.box)
        assert not region[y0:y1, x0:x1].any()
        joints = [(int(x), int(y)) for x, y, seen in slot.pose if seen and 0 <= x < 1216 and 0 <= y < 832]
        assert not any(region[y, x] for x, y in joints)
    x0, y0, x1, y1 = (round(edge) for edge in added.slots[-1].box)
    assert region[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].all()


def test_zero_is_everybody() -> None:
    cast = joined(THREE, 1.0, 0.0, 1.0)
    each = [regions.of_person(cast, number, "face", 0.3, 16) for number in (1, 3)]
    assert torch.equal(regions.of_person(cast, 0, "face", 0.3, 16), torch.maximum(*each))
    assert regions.staying(cast, THREE) == (THREE.slots[1],), "who has weight 0 stays"


def test_another_layout_is_refused() -> None:
    with pytest.raises(BadSize, match=r"those who stay .*1216x840 px.* 1216x832 px"):
        regions.staying(joined(THREE), replace(THREE, height=840))
