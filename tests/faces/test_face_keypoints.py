"""The keypoint drawing against the authors' pictures and the formula."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pack.core.places.control_images import face_keypoints
from safetensors.torch import load_file

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "instant_id.safetensors")
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)]


def as_bytes(image):
    return (image * 255).round().to(torch.uint8)


def points_of(face):
    return tuple(tuple(xy) for xy in face.tolist())


@pytest.mark.parametrize("face", [0, 1])
def test_golden_drawings(face):
    drawn = face_keypoints([points_of(GOLDEN["in.kps"][face])], 256, 192)
    assert torch.equal(as_bytes(drawn), GOLDEN[f"kps.{face}"])


def test_golden_hint_of_both():
    drawn = face_keypoints([points_of(face) for face in GOLDEN["in.kps"]], 256, 192)
    assert torch.equal(as_bytes(drawn), GOLDEN["in.hint"])


def formula(points, width, height):
    """InstantID's draw_kps, stated once more: ellipses to the nose, dimmed, discs on top."""
    image = np.zeros((height, width, 3))
    for end in (0, 1, 3, 4):
        (xa, ya), (xb, yb) = points[end], points[2]
        angle = int(math.degrees(math.atan2(ya - yb, xa - xb)))
        axes = (int(math.hypot(xa - xb, ya - yb) / 2), 4)
        shape = cv2.ellipse2Poly((int((xa + xb) / 2), int((ya + yb) / 2)), axes, angle, 0, 360, 1)
        cv2.fillConvexPoly(image, shape, COLORS[end])
    image = (image * 0.6).astype(np.uint8)
    for (x, y), color in zip(points, COLORS, strict=True):
        image = cv2.circle(image.copy(), (int(x), int(y)), 10, color, -1)
    return image


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_one_to_five_faces_equal_the_formula(count):
    rng = np.random.default_rng(count)
    faces = [points_of(rng.uniform([-20, -20], [340, 230], (5, 2))) for _ in range(count)]
    expected = np.max([formula(face, 320, 208) for face in faces], axis=0)
    assert np.array_equal(as_bytes(face_keypoints(faces, 320, 208)).numpy(), expected)
