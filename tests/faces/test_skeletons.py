"""Skeletons against the pixels of ID-Patch's utils/draw_condition.py and of comfyui_controlnet_aux's DWPose, face
keypoints against InstantID's, and the shapes against OpenCV's."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pack.core.cast import Layout, Pose, Slot
from pack.core.places import layouts, opencv_shapes
from pack.core.places.control_images import dwpose, face_keypoints, skeleton
from PIL import Image
from safetensors.torch import load_file

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
KEYPOINTS = load_file(GOLDEN / "instant_id.safetensors")


@pytest.mark.parametrize(("faces", "drawing"), [([0], "kps.0"), ([1], "kps.1"), ([0, 1], "in.hint")])
def test_face_keypoints_are_the_authors(faces, drawing):
    points = [tuple(map(tuple, KEYPOINTS["in.kps"][face].tolist())) for face in faces]
    picture = (face_keypoints(points, 256, 192) * 255).round().to(torch.uint8)
    assert torch.equal(picture, KEYPOINTS[drawing])


def pixels(poses: list[Pose], width: int, height: int) -> np.ndarray:
    return (skeleton(poses, width, height) * 255).round().byte().numpy()


def test_skeleton_is_pixel_for_pixel_what_the_authors_draw() -> None:
    """Three people, some joints unsure, some off the canvas, the third with limbs of no length. The picture was drawn
    by the authors' own function; its PNG text names file, commit and cv2 version."""

    def joint(k: int, p: int) -> tuple[float, float, float]:
        score = 0.5 + 0.5 * math.sin(3.1 * k + 2 * p) if p < 2 else 1.0
        x = 60 + 52 * math.sin(1.7 * k + p) + 20 * p
        y = 48 + 50 * math.cos(2.3 * k + 0.6 * p)
        return x, y, score

    people = [[joint(k, p) for k in range(17)] for p in range(3)]
    people[2][6] = people[2][8] = people[2][5]
    authors = np.array(Image.open(GOLDEN / "skeletons.png"))
    assert authors.any()
    assert np.array_equal(pixels([tuple(pose) for pose in people], 128, 96), authors)
    assert not pixels([((10.0, 10.0, 0.3),) * 17], 64, 64).any()
    assert not pixels([], 64, 64).any()


def test_bodies_hands_and_faces_are_pixel_for_pixel_dwpose() -> None:
    """Five people over each other, with joints, finger points and a hand that are missing, on and across the edges. The
    PNG's text has its source and the POSE_KEYPOINT of it; on its left half all is drawn, on its right half bodies."""
    with Image.open(GOLDEN / "dwpose.png") as image:
        drawn = np.array(image)
        layout = layouts.from_poses(json.loads(image.text["pose_keypoint"]), 0, 0, "crop").layout
    for hands_and_faces, theirs in ((True, drawn[:, : layout.width]), (False, drawn[:, layout.width :])):
        ours = dwpose(layout, by_row=False, hands_and_faces=hands_and_faces)[0]
        assert np.array_equal((ours * 255).round().byte().numpy(), theirs)


@pytest.mark.parametrize(("longer_side", "growth"), [(499, 1), (500, 2), (1024, 3), (5120, 7)])
def test_thick_limbs_grow_with_the_picture(longer_side: int, growth: int) -> None:
    """One forearm, drawn by OpenCV as comfyui_controlnet_aux does for xinsir's nets."""
    elbow, wrist = (20, 60), (90, 30)
    joints = [(0.0, 0.0, 0.0)] * 17
    joints[8] = (*map(float, elbow), 1.0)
    joints[10] = (*map(float, wrist), 1.0)
    layout = Layout(longer_side, 96, (Slot((50.0, 50.0), pose=tuple(joints)),))
    expected = np.zeros((96, longer_side, 3), np.uint8)
    middle, half_length = (55, 45), int(math.dist(elbow, wrist) / 2)
    angle = int(math.degrees(math.atan2(elbow[1] - wrist[1], elbow[0] - wrist[0])))
    limb = cv2.ellipse2Poly(middle, (half_length, 4 * growth), angle, 0, 360, 1)
    cv2.fillConvexPoly(expected, limb, (153, 153, 0))
    cv2.circle(expected, elbow, 4, (255, 255, 0), -1)
    cv2.circle(expected, wrist, 4, (170, 255, 0), -1)
    drawn = dwpose(layout, by_row=False, thick=True)[0]
    assert np.array_equal((drawn * 255).round().byte().numpy(), expected)


@pytest.mark.parametrize("longest", [40, 120, 400])
def test_every_line_ellipse_and_disc_is_that_of_cv2(longest: int) -> None:
    """Of any length and angle, on, across and off the edges; the test above is about people. longest: px a side."""
    random = np.random.default_rng(longest)
    for number in range(250):
        width, height, *axes = (int(n) for n in random.integers((20, 20, 0), longest))
        (x, y), end = ((int(n), int(m)) for n, m in random.integers(-longest, 2 * longest, (2, 2)))
        start = (x, y)
        if number % 3:  # beside the edges
            start = ((-1, 0, width - 1, width)[number % 4], y)
        inside, *ends = cv2.clipLine((0, 0, width, height), start, end)
        clipped = opencv_shapes._clipped_line(start, end, width - 1, height - 1)
        assert clipped == (tuple(ends) if inside else None), (start, end)
        axes = (*axes, 4)
        angle = int(random.integers(-180, 181))
        picture, expected = np.zeros((2, height, width, 3), np.uint8)
        across = [(x % width, y % height), (y % width, x % height)]  # OpenCV 5 cuts thick lines in another way than 4
        opencv_shapes.thick_line(picture, *across, (255, 77, 0))
        cv2.line(expected, *across, (255, 77, 0), thickness=2)
        opencv_shapes.ellipse(picture, x, y, axes, angle, (255, 85, 0))
        radius = (1, 3, 4, 10)[x % 4]
        opencv_shapes.disc(picture, y, x, radius, (0, 255, 170))
        cv2.fillConvexPoly(expected, cv2.ellipse2Poly((x, y), axes, angle, 0, 360, 1), (255, 85, 0))
        cv2.circle(expected, (y, x), radius, (0, 255, 170), -1)
        assert np.array_equal(picture, expected), (width, height, x, y, axes, angle)
