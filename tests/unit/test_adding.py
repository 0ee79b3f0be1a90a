"""One more place in a layout: free, as large as its neighbours, and what cannot be had is said."""

from __future__ import annotations

import math
from dataclasses import replace

import people_made
import pytest
import torch
from pack.core.errors import BadChoice, BadLayout, BadSize
from pack.core.geometry import off_canvas, overlaps, patch_rect
from pack.core.people import Cast, Layout, Person, Slot
from pack.core.places import adding, bodies, drawing, group, placing, regions

CANVAS = (1216, 832)


def standing(x: float, y: float, head: float) -> Slot:
    nose = (x, y)
    keypoints = bodies.face_keypoints(nose, head)
    return Slot(nose, bodies.face_box(nose, head), keypoints, bodies.body_around(keypoints, "half"))


def photo(*people: tuple[float, float, float], size: tuple[int, int] = CANVAS) -> Layout:
    """x, y and height of the head of each."""
    return Layout(*size, tuple(standing(*one) for one in people))


THREE = photo((300, 300, 150), (560, 290, 160), (820, 310, 150))


def head_of(slot: Slot) -> float:
    assert slot.keypoints is not None
    return bodies.head_of_face(slot.keypoints)


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("where", adding.SIDES[:3])
def test_the_new_head_is_whole_and_covers_nobody(where: str, count: int) -> None:
    """In groups of our own that leave room: everybody at seven tenths of the size, in the middle."""
    found = group.layout(count, "half", 0, *CANVAS)
    slots = [
        standing(CANVAS[0] / 2 + 0.7 * (slot.center[0] - CANVAS[0] / 2), slot.center[1], 0.7 * head_of(slot))
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


@pytest.mark.parametrize(("where", "side"), [("left end", -1), ("right end", 1)])
def test_an_end_is_beside_everybody(where: str, side: int) -> None:
    new = adding.add(THREE, where, (0, 0), 0, "half").slots[-1]
    assert all((new.center[0] - slot.center[0]) * side > 0 for slot in THREE.slots)
    assert abs(new.center[1] - 300) < 75, "in their row"


def test_a_gap_in_the_row_is_taken() -> None:
    gap = photo((300, 300, 150), (860, 310, 150), size=(1160, 832))
    x, y = adding.add(gap, "free place", (0, 0), 0, "half").slots[-1].center
    assert 480 < x < 680 and 200 < y < 400


def test_faces_grow_towards_the_camera() -> None:
    """A new face is as large as the one beside it, not as the mean of all."""
    deep = photo((200, 250, 80), (1000, 350, 200), size=(1496, 832))
    left, right = (head_of(adding.add(deep, side, (0, 0), 0, "half").slots[-1]) for side in adding.SIDES[1:3])
    assert left < 110 and right > 150


def test_x_y_and_size_are_taken_as_they_are() -> None:
    new = adding.add(THREE, "at x, y", (1060.0, 250.0), 100, "bust").slots[-1]
    assert new.center == (1060, 250) and new.box[3] - new.box[1] == pytest.approx(100)
    assert new.pose[5][2] == 1 and new.pose[11][2] == 0, "shoulders and no hips"
    assert adding.add(THREE, "at x, y", (1060.0, 250.0), 100, "none").slots[-1].pose is None


def test_places_can_be_added_one_after_the_other() -> None:
    layout = photo((600, 300, 120))
    for _ in range(3):
        layout = adding.add(layout, "free place", (0, 0), 0, "half")
    noses = [slot.center for slot in layout.slots]
    assert min(math.dist(a, b) for n, a in enumerate(noses) for b in noses[:n]) > 0.8 * 120


def test_several_at_once_are_those_one_after_the_other() -> None:
    layout = photo((600, 300, 120))
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
    ("layout", "where", "at", "size", "message"),
    [
        (
            photo((608, 400, 700)),
            "free place",
            (0, 0),
            0,
            "no free place .*where = free place: .*1216x832 px .*1 person",
        ),
        (THREE, "left end", (0, 0), 400, "no free place .*400 px .*where = left end"),
        (THREE, "at x, y", (300, 330), 0, r"\(300, 330\): .*head .*place 1"),
        (THREE, "at x, y", (20, 330), 0, r"\(20, 330\): .*12\d px .*; x .*\d+ to 11\d\d .*y "),
        (photo((300, 300, 40)), "at x, y", (340, 300), 0, "nose of place 1 .*64 px"),
    ],
)
def test_what_cannot_be_had_is_said(layout: Layout, where: str, at, size: int, message: str) -> None:
    with pytest.raises(BadLayout, match=message):
        adding.add(layout, where, at, size, "half")


@pytest.mark.parametrize(("where", "room"), [("free place", 4), ("at x, y", 3)])
def test_room_for_some_of_several_is_said(where: str, room: int) -> None:
    message = rf"{room} faces .*250 px, not for 8, .*where = {where}: .*1216x832 px .*1 person\. .*count.* face_size"
    with pytest.raises(BadLayout, match=message):
        adding.add(photo((600, 400, 300)), where, (200.0, 400.0), 250, "half", 8)


def test_words_that_are_not_offered() -> None:
    with pytest.raises(BadChoice, match="where is 'middle'"):
        adding.add(THREE, "middle", (0, 0), 0, "half")
    with pytest.raises(BadChoice, match="body is 'legs'"):
        adding.add(THREE, "free place", (0, 0), 0, "legs")


def test_the_photo_shows_under_the_places() -> None:
    image = torch.full((40, 60, 3), 0.5)
    shown = drawing.numbered_layout(THREE, background=image)
    assert shown.shape == (832, 1216, 3) and (shown[-1, -1] - 0.5).abs().max() < 0.01


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


def test_places_of_those_who_stay_are_no_trouble() -> None:
    added = adding.add(THREE, "right end", (0, 0), 0, "half")
    assert told(Cast((Person(people_made.identity(1)),)), added) == []


def test_an_added_place_whose_friend_has_no_face_is_said() -> None:
    """Nobody stands there, but its skeleton is drawn; places 1 to 3 are of those who stay."""
    added = adding.add(THREE, "right end", (0, 0), 60, "half", 2)
    here, lost = (people_made.identity(number) for number in (1, 2))
    lines = told(Cast((Person(here),), absent=((2, lost.name),)), added)
    assert lines[-1] == "Place 5 stays empty; its skeleton is still in the pose picture."
    assert not any("Place 1" in line for line in lines)


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


def test_who_has_weight_0_stays() -> None:
    cast = joined(THREE, 1.0, 0.0, 1.0)
    assert regions.staying(cast, THREE) == (THREE.slots[1],)


def test_another_layout_is_refused() -> None:
    with pytest.raises(BadSize, match=r"those who stay .*1216x840 px.* 1216x832 px"):
        regions.staying(joined(THREE), replace(THREE, height=840))
