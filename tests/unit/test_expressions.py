"""Expressions of photos on faces of places: which points of a mesh they are, and where they land."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pack.core.cast import FacePoints, Joint, Keypoints, Layout, Slot
from pack.core.faces import landmarks
from pack.core.places import bodies, expressions, group, people_text, poses
from pack.core.places.expressions import keypoints_of
from pack.core.places.hands import with_hands
from pack.core.places.poses import OpenPose
from safetensors.torch import load_file
from scipy.spatial import ConvexHull

MESHES = {
    name: faces[0].numpy()
    for name, faces in load_file(Path(__file__).resolve().parents[1] / "golden" / "face_landmarks.safetensors").items()
}


def mesh(name: str, points: int = 478) -> dict[str, Any]:
    return {"landmarks_xy": MESHES[name][:points], "score": 0.9}


def face(name: str = "yao") -> FacePoints:
    return landmarks.face_points(mesh(name))


def xy(points: Any) -> np.ndarray:
    return np.array(points)[:, :2]


def placed(points: FacePoints, keypoints: Keypoints, mirror: bool = False) -> FacePoints:
    layout = Layout(64, 64, (Slot((0, 0), keypoints=keypoints),))
    return expressions.with_expressions(layout, [points], 1, mirror).layout.slots[0].face_points or ()


@pytest.mark.parametrize("name", ["yao", "astronaut", "team"])
def test_points_of_a_mesh_are_those_of_ibug(name: str) -> None:
    """In the frame of the face: eyes level. Jaw, brows, bridge and lips run as iBUG numbers them."""
    points = landmarks.face_points(mesh(name))
    assert len(points) == 70
    assert landmarks.face_points(mesh(name, 468)) == points[:68], "a mesh without irises"
    five = np.array(landmarks.detection(mesh(name)).keypoints)
    eye_distance = math.dist(five[0], five[1])
    assert np.abs(np.array(keypoints_of(points)) - five).max() < 0.03 * eye_distance
    across = (five[1] - five[0]) / eye_distance
    x, y = (xy(points) @ np.stack([across, (-across[1], across[0])]).T).T
    for row in (range(3, 14), range(17, 27), range(31, 36), (36, 37, 38, 39, 42, 43, 44, 45), range(48, 55), (68, 69)):
        assert (np.diff(x[list(row)]) > 0).all(), row
    for row in (range(9), range(16, 7, -1), range(27, 31)):
        assert (np.diff(y[list(row)]) > 0).all(), row
    assert y[8] == y[:68].max(), "the chin"
    lids, lips, brows_and_lids = ((37, 41), (38, 40), (43, 47), (44, 46)), ((51, 57), (62, 66)), ((19, 37), (24, 44))
    for above, below in (*lids, *lips, *brows_and_lids):
        assert y[above] < y[below]
    for pupil, corners in ((68, (36, 39)), (69, (42, 45))):
        assert x[corners[0]] < x[pupil] < x[corners[1]]


@pytest.mark.parametrize(("name", "moved"), [("yao", 0.02), ("tight", 0.18)])
@pytest.mark.parametrize("degrees", [0, 70])
def test_the_far_half_of_the_jaw_of_a_turned_head_is_on_the_outline(name: str, moved: float, degrees: float) -> None:
    """That head is turned to the viewer's right. moved: at most, in distances between the eyes. The hull is scipy's."""
    roll = np.array(
        [(math.cos(math.radians(degrees)), math.sin(math.radians(degrees))),
         (-math.sin(math.radians(degrees)), math.cos(math.radians(degrees)))]
    )  # fmt: skip
    mesh_points = MESHES[name][:468] @ roll
    jaw = xy(landmarks.face_points({"landmarks_xy": mesh_points}))[:17]
    hull = ConvexHull(mesh_points)
    distances = hull.equations[:, :2] @ jaw.T + hull.equations[:, 2:]  # below 0 inside
    assert distances.max(0) == pytest.approx(0, abs=1e-6)
    mesh_jaw = mesh_points[[127, 234, 93, 58, 172, 136, 150, 176, 152, 400, 379, 365, 397, 288, 323, 454, 356]]
    shifts = np.linalg.norm(jaw - mesh_jaw, axis=1)[[0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 14, 15, 16]]
    eye_distance = math.dist(*landmarks.detection({"landmarks_xy": mesh_points, "score": 1}).keypoints[:2])
    assert shifts.max() / eye_distance == pytest.approx(moved, abs=0.02)


@pytest.mark.parametrize("degrees", [0, 35, 180])
def test_a_face_is_turned_scaled_and_shifted_to_its_place(degrees: float) -> None:
    points = face()
    turn = 1.7 * complex(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
    moved = [turn * complex(x, y) + (300 - 40j) for x, y, _ in points]
    expected = tuple((point.real, point.imag, 1.0) for point in moved)
    assert xy(placed(points, keypoints_of(expected))) == pytest.approx(xy(expected))


@pytest.mark.parametrize("count", [68, 70])
def test_a_mirrored_face_is_the_mirror_image_numbered_anew(count: int) -> None:
    points = face("astronaut")[:count]
    keypoints = bodies.face_keypoints((400.0, 300.0), 200.0)  # symmetric about x = 400
    mirrored = xy(placed(points, keypoints, mirror=True))
    image = xy(placed(points, keypoints)) * (-1, 1) + (800, 0)
    distances = np.linalg.norm(mirrored[:, None] - image[None], axis=2)
    other_side = distances.argmin(1)
    assert distances.min(1) == pytest.approx(0, abs=1e-6)
    assert sorted(other_side) == list(range(count))
    assert (mirrored[0, 0] < mirrored[16, 0]) and (mirrored[36, 0] < mirrored[45, 0])
    again = placed(tuple((x, y, 1.0) for x, y in mirrored), keypoints, mirror=True)
    assert xy(again) == pytest.approx(xy(placed(points, keypoints)))


def test_a_point_that_is_not_seen_stays_so() -> None:
    points = tuple((0.0, 0.0, 0.0) if n in (3, 60) else point for n, point in enumerate(face()))
    seen = [confidence for *_, confidence in placed(points, bodies.face_keypoints((400.0, 300.0), 200.0))]
    assert [n for n, confidence in enumerate(seen) if not confidence] == [3, 60]


def test_a_batch_of_photos_goes_to_places_one_after_the_other() -> None:
    """Of each photo the largest face, although another one is surer. What fits badly is told."""
    large, small = mesh("yao"), {"landmarks_xy": MESHES["yao"] / 3, "score": 1.0}
    turned = mesh("six_friends")
    layout = group.layout(3, "half", 1, 768, 512)
    faces = expressions.of_meshes({"frames": [[small, large], [turned]]})
    expressive = expressions.with_expressions(layout, faces, 2, False)
    first, second, third = expressive.layout.slots
    assert expressive.layout.described == (2, 3), "Place Cast says who stands there instead of the person meant"
    assert first == layout.slots[0]
    assert second.keypoints and third.keypoints
    assert second.face_points == placed(face(), second.keypoints)
    assert third.face_points == placed(face("six_friends"), third.keypoints)
    assert replace(second, face_points=None) == layout.slots[1], "nothing else of the place is changed"
    of_a_child = group.layout(3, "half", 1, 768, 512, people=people_text.read("girl 6", 3))
    assert expressions.with_expressions(of_a_child, faces[:1], 3, False).layout.described == (1, 3)
    tiny = group.layout(12, "full", 2, 768, 512)
    notes = expressions.with_expressions(tiny, faces[:1], 12, False).notes
    assert any("Place 12: face" in note and "run together" in note for note in notes)


@pytest.mark.parametrize("joints", [[50.0, 60.0, 1.0] * 18, [0.0] * 54, None], ids=["a body", "no joints", "none"])
def test_a_face_of_dwpose_is_an_expression_too(joints: list[float] | None) -> None:
    """Of the people in the photo the one whose face is largest; bodies may be switched off."""

    def a_member(points: FacePoints) -> dict[str, Any]:
        return {"pose_keypoints_2d": joints, "face_keypoints_2d": np.ravel(points).tolist()}

    smaller = tuple((x / 2, y / 2, seen) for x, y, seen in face("astronaut")[:68])
    frame = {"people": [a_member(smaller), a_member(face()[:68])], "canvas_width": 600, "canvas_height": 600}
    assert [person.face_points for person in expressions.of_poses([frame])] == [face()[:68]]
    assert expressions.of_poses([frame, {**frame, "people": [a_member(smaller)]}])[1].face_points == smaller
    unsure = tuple((x, y, 0.2) for x, y, _ in smaller)
    one_pixel = tuple((9.0, 9.0, 1.0) for _ in smaller)
    for nobody in ([], [a_member(unsure)], [a_member(one_pixel)]):
        with pytest.raises(expressions.BadExpression, match="Photo 2 of 2 shows no face"):
            expressions.of_poses([frame, {**frame, "people": nobody}])


def an_actor(*unseen: int) -> OpenPose:
    """A standing person with both hands; joints of these numbers, in OpenPose's order, are not seen."""
    joints = bodies.openpose(bodies.body((300.0, 100.0), 60.0, bodies.STANDING))
    seen = [(0.0, 0.0, 0.0) if number in unseen else joint for number, joint in enumerate(joints)]
    fingers = [(3.0 * (n % 4) + n, 2.0 * n, 0.9) for n in range(21)]
    (left_x, left_y, _), (right_x, right_y, _) = joints[7], joints[4]
    left = tuple((left_x + x, left_y + y, confidence) for x, y, confidence in fingers)
    right = tuple((right_x - x, right_y + y, confidence) for x, y, confidence in fingers)
    return OpenPose(seen, left_hand=left, right_hand=right)


ALL_BUT_FOREARMS = tuple(sorted({*range(18)} - {3, 4, 6, 7}))


@pytest.mark.parametrize("unseen", [(), ALL_BUT_FOREARMS], ids=["by heads", "by forearms"])
@pytest.mark.parametrize(
    ("degrees", "size", "mirror", "bend"),
    [(0, 1.0, False, 1), (30, 1.0, False, 0.4), (-75, 1.7, False, 1.2j), (30, 0.6, True, -0.5 + 0.7j)],
)
def test_hands_are_turned_with_the_forearms_and_scaled_with_the_heads(
    degrees: float, size: float, mirror: bool, bend: complex, unseen: tuple[int, ...]
) -> None:
    """A layout of the photo's own pose, turned, scaled, shifted and mirrored as a whole, gets the hands so, too.

    bend: by how much its forearms are turned and longer beside that. unseen: where no head is, forearms scale.
    """
    turn = size * complex(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))

    def move(joint: Joint) -> Joint:
        x, y, confidence = joint
        moved = turn * complex(-x if mirror else x, y) + (900 + 500j)
        return (moved.real, moved.imag, confidence)

    actor = an_actor(*unseen)
    expected = actor.moved(move)
    joints = list(expected.joints)
    hands: list[Any] = []
    for elbow_number, wrist_number, hand in ((6, 7, expected.left_hand), (3, 4, expected.right_hand)):
        elbow, wrist = (complex(*joints[number][:2]) for number in (elbow_number, wrist_number))
        bent_wrist = elbow + bend * (wrist - elbow)
        joints[wrist_number] = (bent_wrist.real, bent_wrist.imag, 1.0)
        factor = bend if unseen else bend / abs(bend)
        points = [bent_wrist + factor * (complex(x, y) - wrist) for x, y, _ in hand]
        hands.append([(point.real, point.imag, 0.9) for point in points])
    if mirror:  # the other side of a person is on each side of the mirror image
        joints = [joints[n] for n in (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)]
        hands = hands[::-1]
    place = Slot((0, 0), pose=poses.coco(joints))
    result = with_hands(Layout(64, 64, (place, place)), [actor], 2, mirror)
    first, second = result.layout.slots
    assert (first, result.notes) == (place, [])
    for hand, expected_hand in zip((second.left_hand, second.right_hand), hands, strict=True):
        assert hand is not None
        assert np.array(hand) == pytest.approx(np.array(expected_hand), abs=1e-6)


def test_a_hand_without_a_forearm_is_left_out_by_name() -> None:
    place = Slot((0, 0), pose=poses.coco(an_actor(6).joints), right_hand=an_actor().left_hand)
    result = with_hands(Layout(64, 64, (place,)), [an_actor(4)], 1, False)
    assert result.layout.slots == (place,)
    assert result.notes == [
        "Place 1: left hand left out, the layout shows no elbow or no wrist of it",
        "Place 1: right hand left out, the photo shows no elbow or no wrist of it",
    ]
    assert with_hands(result.layout, [OpenPose(an_actor().joints)], 1, False).notes == [
        "Place 1: the photo shows no hands"
    ]
