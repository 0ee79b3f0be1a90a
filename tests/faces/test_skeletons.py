"""Skeletons against the formula and the pixels of ID-Patch's utils/draw_condition.py."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pack.core.people import Pose
from pack.core.places import control_images
from pack.core.places.control_images import skeleton
from PIL import Image

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "skeletons.png"

# The drawing stated by names: limbs in their order with their colours; every joint has the colour of its own place.
COCO, OPENPOSE, LIMBS = (
    line.split()
    for line in (
        "nose leye reye lear rear lsho rsho lelb relb lwri rwri lhip rhip lkne rkne lank rank",
        "nose neck rsho relb rwri lsho lelb lwri rhip rkne rank lhip lkne lank reye leye rear lear",
        "neck-rsho neck-lsho rsho-relb relb-rwri lsho-lelb lelb-lwri neck-rhip rhip-rkne rkne-rank "
        "neck-lhip lhip-lkne lkne-lank neck-nose nose-reye reye-rear nose-leye leye-lear",
    )
)
COLORS = [
    *[(255, g, 0) for g in (0, 85, 170, 255)],
    *[(r, 255, 0) for r in (170, 85, 0)],
    *[(0, 255, b) for b in (85, 170, 255)],
    *[(0, g, 255) for g in (170, 85, 0)],
    *[(r, 0, 255) for r in (85, 170, 255)],
    *[(255, 0, b) for b in (170, 85)],
]


def expected(poses: list[Pose], width: int, height: int) -> np.ndarray:
    """The formula: discs of radius 4, a copy with 8 px wide ellipses over it, 0.4 of the one and 0.6 of the other."""
    discs = np.zeros((height, width, 3), np.uint8)
    people = [named(pose) for pose in poses]
    for person in people:
        for name, color in zip(OPENPOSE, COLORS, strict=True):
            if any(name in limb.split("-") and limb_seen(person, limb) for limb in LIMBS):
                cv2.circle(discs, (int(person[name][0]), int(person[name][1])), 4, color, -1)
    limbs = discs.copy()
    for person in people:
        for limb, color in zip(LIMBS, COLORS[:17], strict=True):
            if limb_seen(person, limb):
                (x0, y0, _), (x1, y1, _) = (person[name] for name in limb.split("-"))
                center = int((x0 + x1) / 2), int((y0 + y1) / 2)
                axes = int(math.hypot(x0 - x1, y0 - y1) / 2), 4
                angle = int(math.degrees(math.atan2(y0 - y1, x0 - x1)))
                cv2.fillConvexPoly(limbs, cv2.ellipse2Poly(center, axes, angle, 0, 360, 1), color)
    return cv2.addWeighted(discs, 0.4, limbs, 0.6, 0)


def named(pose: Pose) -> dict[str, tuple[float, float, float]]:
    joints = dict(zip(COCO, pose, strict=True))
    left, right = joints["lsho"], joints["rsho"]
    return joints | {"neck": ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2, min(left[2], right[2]))}


def limb_seen(person: dict[str, tuple[float, float, float]], limb: str) -> bool:
    return all(person[name][2] > 0.3 for name in limb.split("-"))


def pixels(poses: list[Pose], width: int, height: int) -> np.ndarray:
    image = skeleton(poses, width, height)
    assert image.dtype == torch.float32
    return (image * 255).round().byte().numpy()


def random_poses(seed: int, people: int, size: float) -> list[Pose]:
    """Joints up to half a canvas outside of it; confidences on both sides of 0.3 and at it."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(people, 17, 2, generator=generator, dtype=torch.float64) * 2 * size - size / 2
    scores = torch.rand(people, 17, generator=generator, dtype=torch.float64)
    scores[scores < 0.1] = 0.3
    return [tuple(map(tuple, one)) for one in torch.cat([points, scores[..., None]], -1).tolist()]


@pytest.mark.parametrize("seed", range(0, 40, 3))
def test_skeleton_is_the_formula(seed: int) -> None:
    width, height = 40 + 23 * seed, 700 - 16 * seed
    poses = random_poses(seed, 1 + seed % 5, float(max(width, height)))
    assert np.array_equal(pixels(poses, width, height), expected(poses, width, height))


def golden_poses() -> list[Pose]:
    """Three people, some joints unsure, some off the canvas, the third with limbs of no length."""
    people = [
        [
            (60 + 52 * math.sin(1.7 * k + p) + 20 * p, 48 + 50 * math.cos(2.3 * k + 0.6 * p), score)
            for k in range(17)
            for score in [0.5 + 0.5 * math.sin(3.1 * k + 2 * p) if p < 2 else 1.0]
        ]
        for p in range(3)
    ]
    people[2][6] = people[2][8] = people[2][5]
    return [tuple(pose) for pose in people]


def test_skeleton_is_pixel_for_pixel_what_the_authors_draw() -> None:
    """The picture was drawn by the authors' own function; its PNG text names file, commit and cv2 version."""
    unseen: Pose = ((10.0, 10.0, 0.3),) * 17
    assert not pixels([unseen], 64, 64).any() and not pixels([], 64, 64).any()
    authors = np.array(Image.open(GOLDEN))
    assert authors.any()
    assert np.array_equal(pixels(golden_poses(), 128, 96), authors)


@pytest.mark.parametrize("seed", range(4))
def test_every_ellipse_and_disc_is_that_of_cv2(seed: int) -> None:
    """Of any length and angle, on, across and off the edges; the tests above are about people."""
    random = np.random.default_rng(seed)
    for _ in range(60):
        width, height, x, y = (int(n) for n in random.integers((20, 20, -200, -200), (400, 400, 600, 600)))
        axes, angle = (int(random.integers(0, 300)), 4), int(random.integers(-180, 181))
        ours, theirs = np.zeros((2, height, width, 3), np.uint8)
        control_images.ellipse(ours, x, y, axes, angle, (255, 85, 0))
        control_images.disc(ours, y, x, 4 if x % 2 else 10, (0, 255, 170))
        cv2.fillConvexPoly(theirs, cv2.ellipse2Poly((x, y), axes, angle, 0, 360, 1), (255, 85, 0))
        cv2.circle(theirs, (y, x), 4 if x % 2 else 10, (0, 255, 170), -1)
        assert np.array_equal(ours, theirs), (width, height, x, y, axes, angle)
