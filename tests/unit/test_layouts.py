"""Layouts from faces, poses and masks: where everything lands, and every reason to refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pack.core.errors import BadLayout, BadSize
from pack.core.people import Face, Faces, Layout, Pose, Slot
from pack.core.places import bodies, group, layouts
from pack.core.places.bodies import openpose
from pack.core.places.layouts import BadPoses
from people_made import face

SEEN = 0.3


def seen(pose: Pose | None) -> set[int]:
    assert pose
    return {n for n, joint in enumerate(pose) if joint[2] >= SEEN}


# faces


def test_places_are_the_faces_in_their_order_with_their_embeddings() -> None:
    row = torch.rand(512)
    faces = Faces((face(700, 300, 200), face(200, 320, 180, w600k_mbf=row)), 1024, 768)
    layout = layouts.from_faces(faces, 1024, 768, "crop", "half")
    assert [slot.center for slot in layout.slots] == [(700, 300), (200, 320)]
    assert layout.slots[1].embeddings["w600k_mbf"] is row
    assert layout.slots[0].box == pytest.approx(faces.faces[0].box)
    assert (layout.width, layout.height) == (1024, 768)


@pytest.mark.parametrize(("fit", "wide", "high"), [("crop", 128, 128), ("pad", 64, 64), ("stretch", 64, 128)])
def test_fit_of_a_wide_photo_on_a_square(fit: str, wide: float, high: float) -> None:
    one = Face((936, 436, 1064, 564), bodies.face_keypoints((1000, 500), 120), 0.9, torch.zeros(112, 112, 3))
    layout = layouts.from_faces(Faces((one,), 2000, 1000), 1000, 1000, fit, "none")
    (slot,) = layout.slots
    assert slot.center == pytest.approx((500, 500)) and slot.box
    assert (slot.box[2] - slot.box[0], slot.box[3] - slot.box[1]) == pytest.approx((wide, high))


def test_body_says_how_much_of_the_skeleton_there_is() -> None:
    def pose(body: str, *head: float) -> Pose | None:
        return layouts.from_faces(Faces((face(*head),), 1000, 1000), 1000, 1000, "crop", body).slots[0].pose

    whole = {body: len(seen(pose(body, 500, 150, 100))) for body in ("bust", "half", "full")}
    assert whole == {"bust": 7, "half": 13, "full": 17} and pose("none", 500, 150, 100) is None
    assert seen(pose("full", 500, 750, 200)) == set(range(7)), "limbs far off the canvas are not seen"


def test_skeleton_keeps_the_eyes_and_the_nose_of_the_face() -> None:
    keypoints = ((470.0, 290.0), (535.0, 310.0), (498.0, 340.0), (465.0, 370.0), (525.0, 380.0))
    faces = Faces((Face((430, 220, 570, 420), keypoints, 0.9, torch.zeros(112, 112, 3)),), 1024, 1024)
    pose = layouts.from_faces(faces, 1024, 1024, "crop", "half").slots[0].pose or ()
    # COCO's left is the person's own, insightface's the viewer's.
    assert [joint[:2] for joint in pose[:3]] == [keypoints[2], keypoints[1], keypoints[0]]
    left_shoulder, right_shoulder = pose[5], pose[6]
    assert left_shoulder[0] > 535 > 470 > right_shoulder[0]
    assert min(left_shoulder[1], right_shoulder[1]) > 380


def test_turned_head_hides_the_far_ear_and_moves_the_neck_behind() -> None:
    straight = bodies.face_keypoints((500, 500), 200)
    turned = (*straight[:2], (straight[2][0] + 18, straight[2][1]), *straight[3:])
    pose = bodies.body_around(turned, "half")
    assert (pose[3][2], pose[4][2]) == (0, 1)  # it looks to the viewer's right, where the person's left ear is
    assert openpose(pose)[1][0] < 500
    mirrored = (*straight[:2], (straight[2][0] - 18, straight[2][1]), *straight[3:])
    assert bodies.body_around(mirrored, "half")[4][2] == 0


def test_tilted_head_keeps_the_body_upright_and_a_lying_one_lays_it_down() -> None:
    def rolled(degrees: float) -> Pose:
        turn = math.radians(degrees)
        points = tuple(
            (
                500 + (x - 500) * math.cos(turn) - (y - 500) * math.sin(turn),
                500 + (x - 500) * math.sin(turn) + (y - 500) * math.cos(turn),
            )
            for x, y in bodies.face_keypoints((500, 500), 100)
        )
        return bodies.body_around(points, "full")

    neck, hip = openpose(rolled(20))[1], rolled(90)[11]
    assert neck[0] == pytest.approx(500, abs=12) and neck[1] == pytest.approx(570, abs=1)
    assert hip[0] < 300 and hip[1] == pytest.approx(540, abs=12)


def test_head_size_survives_turning_and_nodding() -> None:
    left, right, nose, *mouth = bodies.face_keypoints((0, 0), 100)
    turned = ((left[0] / 3, left[1]), (right[0] / 3, right[1]), nose, *((x / 3, y) for x, y in mouth))
    nodding = tuple((x, y / 2) for x, y in (left, right, nose, *mouth))
    for points in ((left, right, nose, *mouth), turned, nodding):
        assert bodies.head_of_face(points) == pytest.approx(100)


# poses


def pose_keypoint(people: list[Pose], width: int, height: int, parts: bool = False) -> list[dict[str, Any]]:
    """As DWPose and SDPose nodes make it: the neck is one of eighteen points, unseen ones are zeros."""
    divide = (width, height) if parts else (1, 1)
    found = [
        [v for x, y, s in openpose(pose) for v in ((x / divide[0], y / divide[1], s) if s else (0.0, 0.0, 0.0))]
        for pose in people
    ]
    others = {"face_keypoints_2d": None, "hand_left_keypoints_2d": None}
    listed = [{"pose_keypoints_2d": numbers, **others} for numbers in found]
    return [{"people": listed, "canvas_width": width, "canvas_height": height}]


def poses_of(layout: Layout) -> list[Pose]:
    return [slot.pose for slot in layout.slots if slot.pose is not None]


def standing(count: int = 2, width: int = 1024, height: int = 768) -> list[Pose]:
    return poses_of(group.layout(count, "half", 1, width, height))


@pytest.mark.parametrize("parts", [False, True])
def test_pixels_and_parts_of_the_canvas_are_the_same(parts: bool) -> None:
    """And the face is estimated from the pose."""
    source = group.layout(2, "half", 1, 1024, 768)
    layout = layouts.from_poses(pose_keypoint(poses_of(source), 1024, 768, parts), 0, 0, "crop").layout
    assert (layout.width, layout.height) == (1024, 768)
    for slot, expected in zip(layout.slots, source.slots, strict=True):
        assert slot.pose and expected.pose and slot.keypoints and expected.keypoints
        assert slot.center == pytest.approx(expected.pose[0][:2]) and slot.box == pytest.approx(expected.box, abs=2)
        assert all(slot.pose[n] == pytest.approx(expected.pose[n]) for n in seen(expected.pose))
        for point, other in zip(slot.keypoints, expected.keypoints, strict=True):
            assert point == pytest.approx(other, abs=2)


def test_triples_a_lone_dictionary_and_body_less_people_are_accepted() -> None:
    (frame,) = pose_keypoint(standing(1), 1024, 768)
    flat = frame["people"][0]["pose_keypoints_2d"]
    nested = {**frame, "people": [{"pose_keypoints_2d": [flat[n : n + 3] for n in range(0, 54, 3)]}]}
    nested["people"].append({"pose_keypoints_2d": None})
    assert layouts.from_poses(nested, 0, 0, "crop") == layouts.from_poses([frame], 0, 0, "crop")


def without(pose: Pose, *joints: int) -> Pose:
    return tuple((0.0, 0.0, 0.0) if n in joints else joint for n, joint in enumerate(pose))


@pytest.mark.parametrize(
    ("hidden", "words"),
    [((0,), "eyes"), ((0, 1), "eyes"), ((0, 1, 2), "ears"), ((0, 1, 2, 3, 4), "neck")],
)
def test_unseen_nose_is_guessed_and_said(hidden: tuple[int, ...], words: str) -> None:
    (pose,) = standing(1)
    posed = layouts.from_poses(pose_keypoint([without(pose, *hidden)], 1024, 768), 0, 0, "crop")
    (slot,), head = posed.layout.slots, bodies.head_of_pose(pose)
    assert head and math.dist(slot.center, pose[0][:2]) < 0.25 * head
    assert posed.notes == (f"Place 1: nose guessed from the {words}",)


def test_legs_alone_are_left_out_and_a_nose_alone_makes_a_place_without_a_size() -> None:
    nose, legs = standing(2)
    found = [without(nose, *range(1, 17)), without(legs, *range(11))]
    posed = layouts.from_poses(pose_keypoint(found, 1024, 768), 0, 0, "crop")
    (slot,) = posed.layout.slots
    assert slot.center == pytest.approx(nose[0][:2]) and slot.box is slot.keypoints is None
    assert posed.notes == ("1 of 2 people left out: neither head nor neck is seen",)


def frame_of(**changed: Any) -> list[dict[str, Any]]:
    return [{**pose_keypoint(standing(1), 1024, 768)[0], **changed}]


JOINTS = 18
NOTHING_BUT_A_KNEE = [*[0.0] * 39, 500.0, 500.0, 1.0, *[0.0] * 12]


@pytest.mark.parametrize(
    ("poses", "message"),
    [
        (frame_of() * 3, "3 pictures"),
        ([], "no list of OpenPose"),
        ("{}", "no list of OpenPose"),
        ([{"version": "ap10k", "animals": []}], "animal poses"),
        (frame_of(canvas_width=None), "canvas_width is None"),
        (frame_of(canvas_width=math.nan), "canvas_width is nan"),
        (frame_of(canvas_width=10**9), "canvas_width is 1000000000"),
        (frame_of(people={"a": 1}), "people .*no list"),
        (frame_of(people=[None]), "people .*no list"),
        (frame_of(people=[]), "shows no person"),
        *(
            (frame_of(people=[{"pose_keypoints_2d": flat}]), message)
            for flat, message in (
                ([0.0] * 3 * JOINTS, "shows no person"),
                ([1e9, 1e9, 1.0] * JOINTS, "shows no person"),
                ([5.0, 5.0, 1.0] * 25, "person 1 .*75 numbers .*54"),
                (5, "person 1 .*1 number .*54"),
                (["a"] * 3 * JOINTS, "person 1 .*else than numbers"),
                ([[1.0, 2.0, 1.0], [3.0]] * 9, "else than numbers"),
                ({}, "else than numbers"),
                ([], "shows no person"),
                ([10**400] * 3 * JOINTS, "else than numbers"),
                (NOTHING_BUT_A_KNEE, "no person .*shows a head"),
            )
        ),
    ],
)
def test_bad_poses_are_explained(poses: Any, message: str) -> None:
    with pytest.raises(BadPoses, match=f"pose input .*: .*{message}"):
        layouts.from_poses(poses, 8192, 8192, "crop")


@pytest.mark.parametrize(
    "nose",
    [(math.nan, 1.0, 1.0), (-math.inf, 1.0, 1.0), (1e9, 1.0, 1.0), (-1.0, -1.0, 0.9), (10.0, 10.0, 0.29)],
    ids=["nan", "infinite", "far", "where SDPose puts what it lost", "unsure"],
)
def test_joints_that_are_nowhere_count_as_unseen(nose: tuple[float, ...]) -> None:
    frames = frame_of()
    frames[0]["people"][0]["pose_keypoints_2d"][:3] = nose
    assert layouts.from_poses(frames, 0, 0, "crop").notes == ("Place 1: nose guessed from the eyes",)


@pytest.mark.parametrize(
    "make",
    [
        lambda wide: layouts.from_poses(frame_of(canvas_width=wide), 0, 0, "crop"),
        lambda wide: layouts.from_masks(torch.ones(1, 64, wide), 0, 0, "half"),
        lambda wide: layouts.from_faces(Faces((face(50, 50, 40),), 100, 100), wide, 512, "crop", "half"),
    ],
    ids=["poses", "masks", "faces"],
)
@pytest.mark.parametrize("wide", [1021, 8200])
def test_canvases_off_the_grid_or_larger_than_memory_are_refused(make: Any, wide: int) -> None:
    with pytest.raises(BadSize, match=rf" {wide}x\d+ px"):
        make(wide)


def half_length(pose: Pose) -> Pose:
    """Of the same person, in a box of their own: a little elsewhere, the legs guessed within it."""
    return tuple((x + 3, y - 2, s if n < 11 else 0.1) for n, (x, y, s) in enumerate(pose))


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
def test_whoever_was_found_twice_has_one_place(first: bool) -> None:
    """With the more complete skeleton, in its place of the list."""
    poses = standing(2)
    found = [half_length(poses[1]), *poses] if first else [*poses, half_length(poses[0])]
    posed = layouts.from_poses(pose_keypoint(found, 1024, 768), 0, 0, "crop")
    assert posed.layout == layouts.from_poses(pose_keypoint(poses, 1024, 768), 0, 0, "crop").layout
    assert posed.notes == ("1 of 3 people left out: found twice",)


def test_people_who_stand_close_keep_a_place_each() -> None:
    """Cheek to cheek, and a child before its mother."""
    mother = bodies.body((400.0, 200.0), 120.0)
    child, friend = bodies.body((410.0, 300.0), 80.0), bodies.body((465.0, 205.0), 120.0)
    posed = layouts.from_poses(pose_keypoint([mother, child, friend], 1024, 768), 0, 0, "crop")
    assert len(posed.layout.slots) == 3 and not posed.notes


# masks


def test_face_sits_at_the_top_of_its_region() -> None:
    masks = torch.zeros(2, 512, 768)
    masks[0, 100:500, 50:250] = 1
    masks[1, 40:440, 400:700] = 1
    layout = layouts.from_masks(masks, 0, 0, "half")
    for slot, mask, (left, top, right) in zip(layout.slots, masks, ((50, 100, 250), (400, 40, 700)), strict=True):
        assert slot.center == pytest.approx(((left + right) / 2, top + 0.7 * 400 / 4.1))
        assert slot.box and slot.box[1] > top and seen(slot.pose) == set(range(13))
        assert slot.mask is not None and torch.equal(slot.mask, mask)


def test_region_that_leans_puts_the_face_over_its_top() -> None:
    y, x = torch.meshgrid(torch.arange(512.0), torch.arange(512.0), indexing="ij")
    mask = ((x - 100 - 0.5 * y).abs() < 60) & (y > 50) & (y < 450)
    slot = layouts.from_masks(mask.float()[None], 0, 0, "full").slots[0]
    assert slot.center[0] == pytest.approx(100 + 0.5 * 80, abs=10)


def test_narrow_region_limits_the_head() -> None:
    mask = torch.zeros(1, 512, 512)
    mask[0, :, 200:270] = 1
    (_, top, _, below) = layouts.from_masks(mask, 0, 0, "bust").slots[0].box or ()
    assert below - top == pytest.approx(0.83 * 50)


def test_numbers_that_no_mask_should_have() -> None:
    mask = torch.zeros(1, 64, 64)
    mask[0, 10:30, 20:40] = 255
    mask[0, 40, 40], mask[0, 50, 50] = math.nan, -5
    slot = layouts.from_masks(mask, 0, 0, "bust").slots[0]
    assert slot.mask is not None and slot.mask.sum() == 20 * 20
    assert layouts.from_masks(mask[0], 0, 0, "bust").slots[0].center == slot.center


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layouts.from_faces(Faces((), 640, 480), 512, 512, "crop", "half"), r"Detect Faces .*640x480 px"),
        (lambda: layouts.from_masks(torch.full((64, 64), math.nan), 0, 0, "bust"), r"mask 1 \(64x64 px\) is empty"),
        (lambda: layouts.from_masks(torch.eye(64)[None] * torch.tensor([1, 0])[:, None, None], 0, 0, "half"), "mask 2"),
        (lambda: layouts.require_skeletons(Layout(64, 64, (Slot((1, 1)), Slot((2, 2))))), "2 places .*no skeleton"),
    ],
)
def test_what_has_no_places_is_said(make: Any, message: str) -> None:
    with pytest.raises(BadLayout, match=message):
        make()


def test_mask_is_stretched_to_the_layout_and_kept_soft() -> None:
    mask = torch.zeros(1, 100, 200, dtype=torch.float16)
    mask[0, 20:80, 40:100] = 0.4
    slot = layouts.from_masks(mask, 400, 400, "none").slots[0]
    assert slot.mask is not None and (slot.mask.dtype, slot.mask.shape) == (torch.float32, (400, 400))
    assert float(slot.mask.max()) == pytest.approx(0.4, abs=1e-3)
    assert slot.center[0] == pytest.approx(140, abs=2) and slot.pose is None
