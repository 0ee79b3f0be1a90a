"""Layouts from faces, poses and masks: where everything lands, and what is guessed."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from pack.core.cast import Faces, Layout, Pose
from pack.core.places import bodies, from_boxes, group, layouts
from pack.core.places.bodies import openpose
from pack.core.places.poses import BadPoses
from tiny.people_made import face, painted


def visible_joints(pose: Pose | None) -> set[int]:
    return {n for n, joint in enumerate(pose or ()) if joint[2] >= bodies.SEEN}


@pytest.mark.parametrize(("side", "ears"), [(1, (0, 1)), (-1, (1, 0))])
def test_turned_head_keeps_the_face_hides_the_far_ear_and_moves_the_neck_behind(side: int, ears) -> None:
    left, right, _, *mouth = bodies.face_keypoints((500, 500), 200)
    pose = bodies.body_around((left, right, (500 + 18 * side, 500), *mouth), "half")
    # COCO's left is the person's own, insightface's the viewer's.
    assert pose[:3] == ((500 + 18 * side, 500, 1.0), (*right, 1.0), (*left, 1.0))
    assert pose[5][0] > right[0] > left[0] > pose[6][0]
    assert min(pose[5][1], pose[6][1]) > mouth[0][1]
    assert (pose[3][2], pose[4][2]) == ears
    assert (openpose(pose)[1][0] - 500) * side < 0


def test_a_head_turned_further_than_a_profile_is_one() -> None:
    left, right, _, *mouth = bodies.face_keypoints((500, 500), 200)
    profile = bodies.body_around((left, right, (600, 500), *mouth), "half")
    assert profile[3][:2] == profile[4][:2], "one ear is behind the other"
    assert profile[3][0] == pytest.approx(500 - 0.42 * 200)


@pytest.mark.parametrize(
    ("hidden", "aside"),
    [((5,), 0.0), ((6,), 0.0), ((5, 6), 0.0), ((11, 12), 0.34)],
    ids=["left", "right", "both", "hips"],
)
def test_corners_of_the_torso_that_are_not_seen_are_those_of_a_standing_person(
    hidden: tuple[int, ...], aside: float
) -> None:
    pose = bodies.body((400.0, 200.0), 120.0)
    left, right, (right_hip, low), (left_hip, _) = bodies.torso(pose)
    # A hip that is not seen hangs straight below its shoulder.
    expected = (left, right, (right_hip - aside * 120, low), (left_hip + aside * 120, low))
    for corner, its_place in zip(bodies.torso(without(pose, *hidden)), expected, strict=True):
        assert corner == pytest.approx(its_place, abs=1)


def test_tilted_head_keeps_the_body_upright_and_a_lying_one_lays_it_down() -> None:
    def rolled(degrees: float) -> Pose:
        turn = complex(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
        points = [500 + 500j + turn * complex(x - 500, y - 500) for x, y in bodies.face_keypoints((500, 500), 100)]
        return bodies.body_around(tuple((point.real, point.imag) for point in points), "full")

    neck = openpose(rolled(20))[1]
    hip = rolled(90)[11]
    assert neck[0] == pytest.approx(500, abs=12)
    assert neck[1] == pytest.approx(570, abs=1)
    assert hip[0] < 300
    assert hip[1] == pytest.approx(540, abs=12)


@pytest.mark.parametrize(("across", "along"), [(1, 1), (1 / 3, 1), (1, 1 / 2)], ids=["straight", "turned", "nodding"])
def test_head_size_survives_turning_and_nodding(across: float, along: float) -> None:
    points = bodies.face_keypoints((0, 0), 100)
    assert bodies.head_of_face(tuple((x * across, y * along) for x, y in points)) == pytest.approx(100)


@pytest.mark.parametrize(
    ("fit", "nose", "scale"), [("crop", (144, 200), 1.0), ("pad", (200, 228), 0.5), ("stretch", (200, 200), 1.0)]
)
def test_faces_are_where_the_fitted_photo_has_them(fit: str, nose: tuple[int, int], scale: float) -> None:
    found = Faces((face(400, 200),), 1024, 512)
    (slot,) = layouts.from_faces(found, 512, 512, fit, "bust").slots
    assert slot.box and slot.keypoints and slot.pose
    for point in (slot.center, slot.keypoints[2], slot.pose[0][:2]):
        assert point == pytest.approx(nose)
    assert slot.box[3] - slot.box[1] == pytest.approx(100 * scale * bodies.FACE_HEIGHT)


def pose_keypoint(poses: list[Pose], parts: bool = False) -> list[dict[str, Any]]:
    """As DWPose and SDPose nodes make it: the neck is one of eighteen points, unseen ones are zeros."""
    wide, high = (1024, 768) if parts else (1, 1)
    people = []
    for pose in poses:
        numbers: list[float] = []
        for x, y, visibility in openpose(pose):
            numbers += [x / wide, y / high, visibility] if visibility else [0, 0, 0]
        people.append({"pose_keypoints_2d": numbers, "face": None})
    return [{"people": people, "canvas_width": 1024, "canvas_height": 768}]


def of_poses(poses: object) -> tuple[Layout, list[str]]:
    posed = layouts.from_poses(poses, 0, 0, "crop")
    return posed.layout, posed.notes


def layout_of_people(*people: Pose, parts: bool = False) -> tuple[Layout, list[str]]:
    return of_poses(pose_keypoint([*people], parts))


def standing(count: int = 2) -> list[Pose]:
    return [slot.pose or () for slot in group.layout(count, "half", 1, 1024, 768).slots]


def test_people_far_away_are_in_pixels() -> None:
    """Everybody is within twenty pixels of the corner."""
    (pose,) = standing(1)
    small = tuple((x / 60, y / 60, seen) for x, y, seen in pose)
    (slot,) = layout_of_people(small)[0].slots
    assert max(max(joint[:2]) for joint in slot.pose or ()) < 20
    assert slot.center == pytest.approx(small[0][:2])
    at_the_corner = tuple((1.0, 1.0, seen) if n == 9 else (x, y, seen) for n, (x, y, seen) in enumerate(pose))
    (slot,) = layout_of_people(at_the_corner)[0].slots
    assert slot.center == pytest.approx(pose[0][:2]), "one hand alone is as near to it as parts of a canvas are"


@pytest.mark.parametrize("parts", [False, True])
def test_pixels_and_parts_of_the_canvas_are_the_same(parts: bool) -> None:
    """And the face is estimated from the pose."""
    source = group.layout(2, "half", 1, 1024, 768)
    layout, _ = layout_of_people(*standing(), parts=parts)
    assert (layout.width, layout.height) == (1024, 768)
    for slot, expected in zip(layout.slots, source.slots, strict=True):
        assert slot.pose and expected.pose and slot.keypoints and expected.keypoints
        assert slot.center == pytest.approx(expected.pose[0][:2])
        assert slot.box == pytest.approx(expected.box, abs=2)
        assert all(slot.pose[n] == pytest.approx(expected.pose[n]) for n in visible_joints(expected.pose))
        for point, expected_point in zip(slot.keypoints, expected.keypoints, strict=True):
            assert point == pytest.approx(expected_point, abs=2)
    (frame,) = pose_keypoint(standing(1), parts)
    triples = torch.tensor(frame["people"][0]["pose_keypoints_2d"], dtype=torch.float64).reshape(18, 3).tolist()
    alone = {**frame, "people": [{"pose_keypoints_2d": triples}, {"pose_keypoints_2d": None}]}
    assert of_poses(alone) == layout_of_people(*standing(1), parts=parts), "without a list or a body"


def test_people_in_parts_of_the_canvas_stand_beside_people_in_pixels() -> None:
    (parts,), (pixels,) = pose_keypoint(standing(2), parts=True), pose_keypoint(standing(2))
    nobody = {"pose_keypoints_2d": [0, 0, 1] * 18}
    mixed = {**pixels, "people": [parts["people"][0], pixels["people"][1], nobody]}
    layout, notes = of_poses(mixed)
    for slot, expected in zip(layout.slots, layout_of_people(*standing(2))[0].slots, strict=True):
        assert slot.center == pytest.approx(expected.center)
    assert notes == ["1 of 3 people left out: neither head nor neck is seen"]


def without(pose: Pose, *joints: int) -> Pose:
    return tuple((0.0, 0.0, 0.0) if n in joints else joint for n, joint in enumerate(pose))


LEFT_WRIST, RIGHT_WRIST = 9, 10


def points(count: int, at: Sequence[float], score: float = 1.0, wide: float = 1, high: float = 1) -> list[float]:
    """So many points from a place on, in pixels, or in parts of a canvas."""
    return [number for n in range(count) for number in ((at[0] + n) / wide, (at[1] - n) / high, score)]


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize(
    ("left", "right", "left_is", "right_is"),
    [
        (LEFT_WRIST, RIGHT_WRIST, LEFT_WRIST, RIGHT_WRIST), (RIGHT_WRIST, LEFT_WRIST, LEFT_WRIST, RIGHT_WRIST),
        (RIGHT_WRIST, None, None, RIGHT_WRIST), (None, RIGHT_WRIST, None, RIGHT_WRIST), (None, None, None, None),
    ],
    ids=["as named", "exchanged", "one, wrongly named", "one", "none"],
)  # fmt: skip
def test_a_hand_is_that_of_the_wrist_it_is_near(parts: bool, left: Any, right: Any, left_is: Any, right_is: Any):
    (pose,) = standing(1)
    size = {"wide": 1024, "high": 768} if parts else {}
    frames = pose_keypoint([pose], parts)
    for side, wrist in (("left", left), ("right", right)):
        numbers = None if wrist is None else points(21, pose[wrist], **size)
        frames[0]["people"][0][f"hand_{side}_keypoints_2d"] = numbers
    (slot,) = of_poses(frames)[0].slots
    for hand, wrist in ((slot.left_hand, left_is), (slot.right_hand, right_is)):
        assert (hand is None) == (wrist is None)
        if hand:
            assert np.ravel(hand) == pytest.approx(points(21, pose[wrist]))


@pytest.mark.parametrize(
    ("numbers", "kept", "note"),
    [
        (points(68, (9, 90)), 68, ""), (points(70, (9, 90)), 70, ""), ([], 0, ""), (points(68, (9, 90), 0.0), 0, ""),
        ([-1.0, -1.0, 0.9] * 68, 0, ""), (points(60, (9, 90)), 0, "180 numbers instead of 204 or 210"),
        ([math.nan] * 204, 0, ""), ("smiling", 0, "something else than numbers instead of 204 or 210"),
        (np.reshape(points(68, (9, 90)), (68, 3)).tolist(), 68, ""),
    ],
    ids=["68", "70", "empty", "confidence 0", "where SDPose puts what it lost", "60", "nan", "words", "triples"],
)  # fmt: skip
def test_points_of_a_face_are_kept_and_what_is_none_is_told(numbers: Any, kept: int, note: str) -> None:
    frames = pose_keypoint(standing(1))
    frames[0]["people"][0]["face_keypoints_2d"] = numbers
    layout, notes = of_poses(frames)
    assert len(layout.slots[0].face_points or ()) == kept
    assert notes == ([f"Person 1: face_keypoints_2d left out, it has {note}"] if note else [])


def test_hands_and_faces_move_with_their_place() -> None:
    """Onto a canvas of half the size, and then with a box that is moved and made smaller."""
    frames = pose_keypoint(standing(1))
    frames[0]["people"][0]["face_keypoints_2d"] = points(68, (480, 200))
    frames[0]["people"][0]["hand_left_keypoints_2d"] = points(21, (600, 500))
    halved = layouts.from_poses(frames, 512, 384, "stretch").layout
    begin = from_boxes.start(halved, None, (512, 384), "stretch", "person")
    x0, y0, x1, y1 = begin.boxes[0].box
    smaller = {"x": x0 + 30, "y": y0 + 20, "width": (x1 - x0) / 2, "height": (y1 - y0) / 2}
    (slot,) = from_boxes.layout(begin, from_boxes.read(smaller), (512, 384), "person", "half").layout.slots
    for before, after in ((halved.slots[0].face_points, slot.face_points), (halved.slots[0].left_hand, slot.left_hand)):
        expected = [((x - x0) / 2 + x0 + 30, (y - y0) / 2 + y0 + 20, seen) for x, y, seen in before or ()]
        assert np.ravel(after) == pytest.approx(np.ravel(expected))
    assert halved.slots[0].left_hand and halved.slots[0].left_hand[0] == (300, 250, 1)


@pytest.mark.parametrize(
    ("hidden", "words", "nose"),
    [
        ((0,), "eyes", (0.0, 0.0, 0.0)), ((0, 1), "eyes", (math.nan, 1.0, 1.0)),
        ((0, 1, 2, 3, 4), "neck", (1e9, 1.0, 1.0)), ((0,), "eyes", (-1.0, -1.0, 0.9)),
        ((0,), "eyes", (0.0, 0.0, 1.0)), ((0,), "eyes", (None, None, None)),
    ],
    ids=["unseen", "nan", "far", "where SDPose puts what it lost", "where editors put it", "null"],
)  # fmt: skip
def test_unseen_nose_is_guessed_and_said(hidden: tuple[int, ...], words: str, nose: tuple[float, ...]) -> None:
    (pose,) = standing(1)
    frames = pose_keypoint([without(pose, *hidden)])
    frames[0]["people"][0]["pose_keypoints_2d"][:3] = nose
    layout, notes = of_poses(frames)
    head = bodies.head_of_pose(pose)
    assert head
    (slot,) = layout.slots
    assert math.dist(slot.center, pose[0][:2]) < 0.25 * head
    assert slot.keypoints
    assert slot.keypoints[2] == slot.center
    assert notes == [f"Place 1: nose guessed from the {words}"]


def test_legs_alone_are_left_out_and_a_nose_alone_makes_a_place_without_a_size() -> None:
    nose, legs = standing(2)
    layout, notes = layout_of_people(without(nose, *range(1, 17)), without(legs, *range(11)))
    (slot,) = layout.slots
    assert slot.center == pytest.approx(nose[0][:2])
    assert slot.box is slot.keypoints is None
    assert notes == ["1 of 2 people left out: neither head nor neck is seen"]
    with pytest.raises(BadPoses, match="no person in it shows a head or a neck"):
        layout_of_people(without(legs, *range(11)))


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
def test_whoever_was_found_twice_has_one_place(first: bool) -> None:
    """With the more complete skeleton, in its place of the list; the other is in a box of its own: a little elsewhere,
    the legs guessed within it."""
    poses = standing(2)
    half = tuple((x + 3, y - 2, bodies.SEEN if n < 11 else 0.1) for n, (x, y, _) in enumerate(poses[first]))
    layout, notes = layout_of_people(*([half, *poses] if first else [*poses, half]))
    assert layout == layout_of_people(*poses)[0]
    assert notes == ["1 of 3 people left out: found twice"]


def test_people_who_stand_close_keep_a_place_each() -> None:
    """Cheek to cheek, and a child before its mother."""
    mother = bodies.body((400.0, 200.0), 120.0)
    child = bodies.body((410.0, 300.0), 80.0)
    cheek_to_cheek = bodies.body((465.0, 205.0), 120.0)
    layout, notes = layout_of_people(mother, child, cheek_to_cheek)
    assert len(layout.slots) == 3
    assert not notes
    # Two joints in one place are of two people: only three tell that it is one.
    arms, legs = without(mother, *range(2, 5), *range(11, 17)), without(mother, *range(2, 11))
    layout, notes = layout_of_people(arms, legs)
    assert len(layout.slots) == 2
    assert not notes


@pytest.mark.parametrize(
    ("box", "body", "head", "opacity"),
    [
        ((50, 100, 250, 500), "half", 400 / 4.1, 1.0),
        ((200, 0, 270, 512), "bust", 50, 1.0),
        ((200, 0, 270, 512), "bust", 50, 0.3),
    ],
    ids=["wide", "narrow", "faint"],
)
def test_face_sits_at_the_top_of_its_region(
    box: tuple[int, int, int, int], body: str, head: float, opacity: float
) -> None:
    mask = opacity * painted(box, width=768, height=512)[0]
    (slot,) = layouts.from_masks(mask, 0, 0, body).slots
    assert slot.center == pytest.approx(((box[0] + box[2]) / 2, box[1] + 0.7 * head))
    assert slot.box
    assert slot.box[1] > box[1]
    assert slot.box[3] - slot.box[1] == pytest.approx(0.83 * head)
    assert visible_joints(slot.pose) == set(range({"half": 13, "bust": 7}[body]))
    assert slot.mask is not None
    assert torch.equal(slot.mask, mask)
