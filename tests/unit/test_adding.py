"""One more place in a layout: free, as large as its neighbours, and what cannot be had is said."""

import math
from functools import partial

import pytest
from pack.core.cast import Absent, Cast, Layout, Member, Slot
from pack.core.checks.errors import BadLayout
from pack.core.pictures.geometry import off_canvas, overlaps, patch_rect
from pack.core.places import bodies, extra_places, group, placing, regions
from pack.core.places.arranging import Arranged
from pack.core.places.regions import RegionShape
from tiny import people_made

CANVAS = (1216, 832)
layout_of = partial(people_made.layout, width=CANVAS[0], height=CANVAS[1])
THREE = layout_of((300, 300, 150), (560, 290, 160), (820, 310, 150))


def add(layout: Layout, side: str, nose=(0, 0), size: int = 0, body: str = "half", count: int = 1) -> Layout:
    return extra_places.add(layout, side, nose, size, body, count)


def head_of(slot: Slot) -> float:
    return bodies.head_of_face(slot.keypoints or ())


def box_in_pixels(slot: Slot) -> list[int]:
    return [round(edge) for edge in slot.box or ()]


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("side", extra_places.SIDES[:3])
def test_the_new_head_is_whole_and_covers_nobody(side: str, count: int) -> None:
    """In groups of our own that leave room: everybody at seven tenths of the size, in the middle."""
    full = group.layout(count, "half", 0, *CANVAS).slots
    slots = []
    for slot in full:
        x = 608 + 0.7 * (slot.center[0] - 608)
        slots.append(people_made.standing(x, slot.center[1], 0.7 * head_of(slot)))
    *neighbours, new = add(Layout(*CANVAS, tuple(slots)), side).slots
    assert neighbours == slots
    assert new.pose is not None
    assert not off_canvas(patch_rect(new.center), *CANVAS)
    x0, y0, x1, y1 = new.box
    assert x0 >= 0
    assert y0 >= 0
    assert x1 <= CANVAS[0]
    assert y1 <= CANVAS[1]
    for neighbour in neighbours:
        boxes = [box_in_pixels(new), box_in_pixels(neighbour)]
        assert not overlaps([*map(tuple, boxes)])
        assert not overlaps([patch_rect(new.center), patch_rect(neighbour.center)])
    heads = [head_of(slot) for slot in neighbours]
    assert min(heads) - 1 <= head_of(new) <= max(heads) + 1


@pytest.mark.parametrize(
    ("side", "least", "most"), [("free place", 480, 680), ("left end", 0, 300), ("right end", 860, 1160)]
)
def test_a_gap_in_the_row_is_taken_unless_an_end_is_asked_for(side: str, least: float, most: float) -> None:
    x, y = add(layout_of((300, 300, 150), (860, 310, 150), width=1160), side).slots[-1].center
    assert least < x < most
    assert 200 < y < 400


@pytest.mark.parametrize("left", [60, 65, 70])
def test_a_gap_of_one_head_is_found_wherever_it_is(left: int) -> None:
    narrow = layout_of((left, 70, 80), (left + 152, 70, 80), width=left + 200, height=400)
    assert left < add(narrow, "free place").slots[-1].center[0] < left + 152


def test_a_free_place_is_beside_somebody_and_faces_grow_towards_the_camera() -> None:
    """Though there is as much room elsewhere; a new face is as large as the one beside it, not as the mean of all."""
    new = add(layout_of((1000, 300, 100)), "free place").slots[-1]
    assert math.dist(new.center, (1000, 300)) < 300
    deep = layout_of((200, 250, 80), (1000, 350, 200), width=1496)
    left, right = (head_of(add(deep, side).slots[-1]) for side in extra_places.SIDES[1:3])
    assert left < 110
    assert right > 150


def test_x_y_and_size_are_taken_as_they_are_and_several_are_those_one_after_the_other() -> None:
    nose = (1060.0, 250.0)
    new = add(THREE, "at x, y", nose, 100, "bust").slots[-1]
    assert new.center == nose
    assert new.box[3] - new.box[1] == pytest.approx(100)
    assert new.pose[5][2] == 1, "shoulders and no hips"
    assert new.pose[11][2] == 0, "shoulders and no hips"
    assert add(THREE, "at x, y", nose, 100, "none").slots[-1].pose is None
    layout = layout_of((600, 300, 120))
    for side in ("free place", "at x, y"):
        assert add(layout, side, nose, count=2) == add(add(layout, side, nose), "free place")


@pytest.mark.parametrize(
    ("layout", "side", "at", "size", "count", "values"),
    [
        (layout_of((608, 400, 700)), "free place", (0, 0), 0, 1, ["free place", "1216x832", "1 person"]),
        (THREE, "left end", (0, 0), 400, 1, ["400 px", "left end"]),
        (THREE, "at x, y", (300, 330), 0, 1, ["(300, 330)", "place 1"]),
        (THREE, "at x, y", (20, 330), 0, 1, ["(20, 330)", "126 px", "1216x832 px"]),
        (layout_of((300, 300, 40)), "at x, y", (340, 300), 0, 1, ["nose of place 1", "64 px"]),
        (layout_of((600, 400, 300)), "free place", (0, 0), 250, 8, ["4 faces", "250 px", "not for 8", "more_places"]),
        (layout_of((600, 400, 300)), "at x, y", (200, 400), 250, 8, ["3 faces", "not for 8", "at x, y"]),
    ],
)
def test_what_cannot_be_had_is_said(layout: Layout, side: str, at, size: int, count: int, values: list[str]) -> None:
    with pytest.raises(BadLayout) as refused:
        add(layout, side, at, size, count=count)
    assert all(value in str(refused.value) for value in values), refused.value


def joined(layout: Layout, *weights: float, absent=()) -> tuple[Cast, list[str]]:
    """In the last places; and what may go wrong."""
    people = tuple(Member(people_made.a_person(n), weight) for n, weight in enumerate(weights, 1))
    cast = Cast(people, absent=absent)
    places = placing.assign(cast, layout, "last places", "")
    return placing.place(cast, layout, places), placing.troubles(
        cast, Arranged.untouched(layout), places, "last places"
    )


def test_people_take_the_last_places() -> None:
    """Where a friend has no face nobody stands there, but its skeleton is drawn; those before are of who stays."""
    added = add(THREE, "right end")
    for people in (1, 2, 4):
        cast, troubles = joined(added, *[1.0] * people)
        assert [member.place for member in cast.people] == [*range(5 - people, 5)]
        assert troubles == []
    troubles = joined(add(THREE, "right end", size=60, count=2), 1.0, absent=(Absent(2, "Ben"),))[1]
    assert troubles[-1] == "Place 5 stays empty; its skeleton is still in the pose picture."
    assert not any("Place 1" in trouble for trouble in troubles)


def test_a_region_leaves_those_who_stay_as_they_are() -> None:
    """Heads with their hair, and bodies behind which the new one stands; the new face is whole."""
    added = add(THREE, "at x, y", (690.0, 120.0), 120)
    cast, _ = joined(added, 1.0)
    region = regions.region_of_person(cast, 1, RegionShape("body", 0.3, 16), regions.free_slots(cast))
    alone = regions.region_of_person(cast, 1, RegionShape("body", 0.3, 16), ())
    assert (region <= alone).all()
    assert region.sum() < alone.sum()
    for slot in THREE.slots:
        x0, y0, x1, y1 = box_in_pixels(slot)
        assert not region[y0:y1, x0:x1].any()
        for x, y, visibility in slot.pose:
            is_on_canvas = 0 <= x < 1216 and 0 <= y < 832
            if visibility and is_on_canvas:
                assert not region[int(y), int(x)]
    x0, y0, x1, y1 = box_in_pixels(added.slots[-1])
    assert region[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].all()


@pytest.mark.parametrize("far", [(40.0, 9e5), (-9e5, 40.0)])
def test_a_place_far_off_the_canvas_does_not_keep_others_out(far: tuple[float, float]) -> None:
    """As of a face that fit = crop has cut away."""
    layout = Layout(512, 512, (Slot(far), Slot((256.0, 256.0))))
    assert len(add(layout, "free place").slots) == 3
