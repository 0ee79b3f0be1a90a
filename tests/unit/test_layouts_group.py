"""Group photos from nothing: 1 to 12 people, every framing, number of rows and action, on the usual canvases."""

import hashlib
import itertools
import math
from contextlib import suppress

import pytest
from pack.core.cast import Joint, Layout, Slot
from pack.core.checks.errors import BadLayout
from pack.core.places import group, people_text, touching
from pack.core.places.actions import GROUP_PHOTO
from pack.core.places.layouts import head_of

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
    written = repr(layouts)
    later_fields = (", left_hand=None, right_hand=None, face_points=None", ", drawn=(), depth=0", ", described=()")
    for later in later_fields:
        written = written.replace(later, "")
    assert hashlib.sha256(written.encode()).hexdigest()[:16] == DRAWN[action]


@pytest.mark.parametrize(
    ("count", "framing", "rows", "action", "told"),
    [
        (
            2, "bust", 0, "holding hands",
            ["holding hands is out of the picture with Framing (framing) = bust: set half"],
        ),
        (2, "half", 0, "kneeling", ["kneeling is out of the picture with Framing (framing) = half: set full"]),
        (1, "half", 0, "holding hands", ["holding hands: nobody beside place 1 is free for it"]),
        (3, "half", 2, "holding hands", ["holding hands: nobody beside place 3 is free for it"]),
        (3, "half", 1, "hug", ["hug: nobody beside place 3 is free for it"]),
        (4, "half", 2, "holding hands", []), (3, "full", 1, "walking", []), (6, "half", 0, "waving", []),
    ],
)  # fmt: skip
def test_what_an_action_does_not_show_is_said(count, framing, rows, action, told) -> None:
    assert list(group.notes(count, framing, rows, 1024, 1024, action)) == told


def described(text: str, count: int, framing: str = "full", action: str = GROUP_PHOTO, rows: int = 1) -> Layout:
    return group.layout(count, framing, rows, 1024, 1024, action, people_text.read(text, count))


@pytest.mark.parametrize("action", ["holding hands", "walking"])
def test_adults_who_do_as_all_do_are_no_others(action: str) -> None:
    of_a_text = described("adult\n\n3: adult", 4, "half", action)
    assert of_a_text.described == (1, 3)
    assert of_a_text.slots == group.layout(4, "half", 1, 1024, 1024, action).slots


@pytest.mark.parametrize(
    ("who", "head", "heads"),
    [
        # The head, cm; nose to ankle in own heads, which are 0.70 less above and 0.047 of the height less below.
        ("girl 1", 74 / 4.5, 3.59), ("boy 2", 86.5 / 4.9, 3.97), ("girl 4", 100.8 / 5.5, 4.54),
        ("boy 6", 115.4 / 6, 5.02), ("girl 10", 138 / 6.65, 5.64), ("teenager", 165.9 / 7.3, 6.26),
        ("man", 176.2 / 7.5, 6.45),
        ("woman 150 cm", 150 / 7.5, 6.45), ("6 120 cm", 120 / 6, 5.02), ("190 cm", 190 / 7.5, 6.45),
        ("138 cm", 138 / 6.65, 5.64),
    ],
)  # fmt: skip
def test_heads_and_bodies_are_those_of_the_age_and_all_stand_on_one_floor(who: str, head: float, heads: float) -> None:
    one, other = described(f"adult\n{who}", 2).slots
    assert head_of(other) / head_of(one) == pytest.approx(head / (169.65 / 7.5), rel=0.01)
    assert (other.pose[15][1] - other.center[1]) / head_of(other) == pytest.approx(heads, abs=0.04)
    # Heights sway by 0.06 of the larger head.
    assert other.pose[15][1] == pytest.approx(one.pose[15][1], abs=0.12 * max(head_of(one), head_of(other)))


BONES = (1.281, 1.024)
"""Upper arm and forearm of the adult, in heads."""


@pytest.mark.parametrize("bend", [1.0, 0.5, 0.0, -0.25])
@pytest.mark.parametrize("size", [1.0, 0.6])
def test_an_arm_reaches_its_target_with_bones_of_one_length_on_both_sides(size: float, bend: float) -> None:
    bones = upper, lower = touching.Bones(*(bone * size for bone in BONES))
    steps = [step * 0.2 for step in range(-14, 15)]
    for x, y in itertools.product(steps, repeat=2):
        elbow, wrist, reaches = touching.arm((3.0, 2.0), (3 + x, 2 + y), bones, touching.LEFT, bend)
        distance = math.hypot(x, y)
        assert reaches == (distance <= 0.995 * (upper + lower))
        assert math.dist(wrist, (3 + x, 2 + y)) == pytest.approx(0 if reaches else distance - 0.995 * (upper + lower))
        # How far the elbow is to the camera, squared: not below 0, and the same from both ends, unless the hand is too.
        depth = upper**2 - math.dist((3, 2), elbow) ** 2
        assert depth > -1e-9
        assert lower**2 - math.dist(elbow, wrist) ** 2 > -1e-9
        if distance > 0.74 * size:
            assert lower**2 - math.dist(elbow, wrist) ** 2 == pytest.approx(depth, abs=1e-9)
        mirrored = touching.arm((-3.0, 2.0), (-3 - x, 2 + y), bones, touching.RIGHT, bend)
        assert mirrored.elbow == pytest.approx((-elbow[0], elbow[1]))


PEOPLE = ("adult", "boy 2", "girl 4", "child 6", "teenager", "man 200 cm", "adult sitting", "woman kneeling")


def from_body(hand: Joint, other: Slot) -> float:
    """How far a hand is from the crown of another and from the lines from shoulder to hip and to knee, px."""
    distances = [math.dist(hand[:2], (other.center[0], other.center[1] - 0.70 * head_of(other)))]
    for start, end in ((5, 11), (6, 12), (11, 13), (12, 14)):
        (x0, y0, _), (x1, y1, _) = other.pose[start], other.pose[end]
        length = math.dist((x0, y0), (x1, y1))
        along = ((hand[0] - x0) * (x1 - x0) + (hand[1] - y0) * (y1 - y0)) / length**2
        along = min(1.0, max(0.0, along))
        distances.append(math.dist(hand[:2], (x0 + along * (x1 - x0), y0 + along * (y1 - y0))))
    return min(distances)


@pytest.mark.parametrize("action", ["holding hands", "hug", "hand on shoulder", "arms around shoulders"])
def test_hands_end_on_the_other_body(action: str) -> None:
    """Of all pairs, in both orders, but for a man of 2 m beside a small child: of that a note tells."""
    for pair in itertools.permutations(PEOPLE, 2):
        people = people_text.read(", ".join(pair), 2)
        told = group.notes(2, "full", 1, 1024, 1024, action, people)
        left, right = described(", ".join(pair), 2, "full", action).slots
        hands = (left.pose[9], right.pose[10])
        if pair in itertools.permutations(("adult sitting", "woman kneeling")):
            continue  # they do what they do, and neither does the action
        if any("Too far" in note for note in told):
            assert "man 200 cm" in pair
        elif action == "holding hands":
            assert hands[0] == pytest.approx(hands[1], abs=1e-6)
        elif hands[0][2] or hands[1][2]:
            assert min(from_body(hands[0], right), from_body(hands[1], left)) < 1e-6


def test_a_hand_lies_on_the_shoulder_and_two_hold_each_other_where_one_asks() -> None:
    left, right = described("adult, child 10 hand on shoulder", 2).slots
    assert right.pose[10][:2] == pytest.approx(left.pose[5][:2], abs=1e-6)
    one, two, three = described("adult, girl 9 holding hands, adult", 3).slots
    assert one.pose[9] == pytest.approx(two.pose[10], abs=1e-6)
    assert two.pose[9] == pytest.approx(three.pose[10], abs=1e-6)
    # Who hugs one neighbour lends the other arm to the neighbour on the other side; who asks puts the hand.
    one, two, three = described("man holding hands, boy hug, girl", 3).slots
    assert one.pose[9] == pytest.approx(two.pose[10], abs=1e-6)
    one, two, three = described("boy 5 hand on shoulder, girl 8 hug, girl 8", 3).slots
    assert one.pose[9][:2] == pytest.approx(two.pose[6][:2], abs=1e-6)
    alone, first, second, third = described("adult, adult hug, adult hug, adult", 4).slots
    assert math.dist(first.center, second.center) < 0.9 * math.dist(alone.center, first.center)
    assert alone.pose[9][2] == third.pose[10][2] == 1
    assert not (first.pose[9][2] and second.pose[10][2]), "one hand is behind the other"


def test_faces_stay_apart_and_in_the_picture() -> None:
    texts = (
        "girl 2\nadult\nboy 5\nman\ngirl 9 hug\n6 hug\nadult sitting\n190 cm", "adult\n2\nadult hug\n2\n3 hug",
        "2 hug\ngirl 6\n230 cm hug\ngirl 6\n230 cm hug\nman hug\n2\n2 hug",
    )  # fmt: skip
    for text, framing, rows, action in itertools.product(texts, group.FRAMINGS, (1, 2, 3), ("hug", "hands up")):
        for size in ((1024, 1024), (2048, 1024)):
            with suppress(BadLayout):
                people = people_text.read(text, 8)
                slots = group.layout(8, framing, rows, *size, action, people).slots
                assert all(slot.box[0] >= 0 and slot.box[2] <= size[0] for slot in slots)
                assert all(slot.box[1] >= 0 and slot.box[3] <= size[1] for slot in slots)
                for one, other in itertools.combinations(slots, 2):
                    (x0, y0), (x1, y1) = one.center, other.center
                    assert max(abs(x0 - x1), abs(y0 - y1)) >= 64, "patches"
                    boxes = ((one.box, other.box), (other.box, one.box))
                    assert max(box[axis] - its[axis + 2] for box, its in boxes for axis in (0, 1)) >= 0
