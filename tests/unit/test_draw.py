"""Skeletons against the formula and the pixels of ID-Patch's utils/draw_condition.py; numbered pictures."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pack.core import draw
from pack.core.errors import MissingDependency
from pack.core.people import Face, Faces, Layout, Pose, Slot
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
    image = draw.skeleton(poses, width, height)
    assert image.dtype == torch.float32
    return (image * 255).round().byte().numpy()


def random_poses(seed: int, people: int, size: float) -> list[Pose]:
    """Joints up to half a canvas outside of it; confidences on both sides of 0.3 and at it."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(people, 17, 2, generator=generator, dtype=torch.float64) * 2 * size - size / 2
    scores = torch.rand(people, 17, generator=generator, dtype=torch.float64)
    scores[scores < 0.1] = 0.3
    return [tuple(map(tuple, one)) for one in torch.cat([points, scores[..., None]], -1).tolist()]


@pytest.mark.parametrize("seed", range(40))
def test_skeleton_is_the_formula(seed: int) -> None:
    width, height = 40 + 23 * seed, 700 - 16 * seed
    poses = random_poses(seed, 1 + seed % 5, float(max(width, height)))
    assert np.array_equal(pixels(poses, width, height), expected(poses, width, height))


def test_zero_length_limbs_are_drawn_as_the_formula() -> None:
    pose: Pose = ((60.5, 40.5, 1.0),) * 17
    image = pixels([pose], 128, 96)
    assert np.array_equal(image, expected([pose], 128, 96))
    assert image.any()


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
    authors = np.array(Image.open(GOLDEN))
    assert authors.any()
    assert np.array_equal(pixels(golden_poses(), 128, 96), authors)


def test_nothing_seen_is_black() -> None:
    unseen: Pose = ((10.0, 10.0, 0.3),) * 17
    assert not pixels([unseen], 64, 64).any()
    assert not pixels([], 64, 64).any()


def test_skeleton_without_cv2_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependency, match="Drawing skeletons needs the Python package opencv-python-headless"):
        draw.skeleton([], 64, 64)


def face(x: float, y: float, size: float) -> Face:
    points = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    keypoints = tuple((x + u * size, y + v * size) for u, v in points)
    return Face((x, y, x + size, y + size), keypoints, 0.9, torch.zeros(112, 112, 3))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_numbered_faces_keeps_the_picture_and_marks_each_face(channels: int, dtype: torch.dtype) -> None:
    image = torch.full((240, 320, channels), 0.5, dtype=dtype)
    faces = Faces((face(40, 60, 60), face(200, 100, 80)), 320, 240)
    shown = draw.numbered_faces(image, faces)
    assert shown.shape == (240, 320, 3)
    assert shown.dtype == torch.float32
    changed = (shown - 0.5).abs().amax(-1) > 0.01
    assert changed[90, 40]
    assert changed[140, 200]
    assert not changed[200:, :180].any()
    assert not changed[:40].any()


def test_every_number_is_on_the_picture_even_at_its_edges() -> None:
    blank = torch.zeros(200, 300, 3)
    for corner in ((-30, -30), (290, 0), (290, 190), (0, 190), (-500, 900)):
        plate = draw.numbered_faces(blank, Faces((face(*corner, 40),), 300, 200))
        blue = (plate * 255).round().byte() == torch.tensor([86, 180, 233])
        assert int(blue.all(-1).sum()) > 100, corner


def test_numbers_grow_with_the_picture() -> None:
    def plate(scale: int) -> int:
        blank = torch.zeros(400 * scale, 600 * scale, 3)
        shown = draw.numbered_faces(blank, Faces((face(200 * scale, 200 * scale, 80 * scale),), 600, 400))
        return int((shown[: 200 * scale] > 0).any(-1).any(1).sum())

    assert 1.7 < plate(3) / plate(1) / 1.5 < 2.3


def test_numbered_layout_shows_box_patch_body_and_region() -> None:
    mask = torch.zeros(256, 384)
    mask[40:220, 150:250] = 1
    pose: Pose = tuple((200.0 + 9 * (n % 2 * 2 - 1), 80.0 + 8 * n, 1.0) for n in range(17))
    slot = Slot((200, 80), (170, 50, 230, 110), None, pose, mask)
    layout = Layout(384, 256, (slot,))
    shown = draw.numbered_layout(layout)
    ground = shown[5, 380]
    differs = (shown - ground).abs().amax(-1) > 0.02
    assert shown.shape == (256, 384, 3)
    assert torch.equal(shown[48, 200], torch.ones(3))  # the ID patch begins 32 px above the centre
    assert differs[200, 160]
    assert differs[218, 200]
    assert not differs[:, 260:].any()
    without = draw.numbered_layout(Layout(384, 256, (Slot((200, 80)),)))
    assert not ((without - ground).abs().amax(-1) > 0.02)[150:].any()


def test_numbered_layout_scales_its_background_and_writes_names() -> None:
    layout = Layout(400, 304, (Slot((100, 150), (80, 120, 120, 170)),))
    background = torch.full((152, 200, 3), 0.25)
    plain = draw.numbered_layout(layout, background)
    assert plain.shape == (304, 400, 3)
    assert torch.allclose(plain[300, 390], torch.full((3,), 64 / 255))
    named_ = draw.numbered_layout(layout, background, ["Ann"])
    changed = (named_ - plain).abs().amax(-1) > 0
    assert changed.any()
    assert not changed[125:].any()


@pytest.mark.parametrize("name", ["Änne", "王小明", "", "two\nlines", "x" * 300])
def test_any_name_can_be_written(name: str) -> None:
    layout = Layout(256, 256, (Slot((100, 150), (80, 120, 120, 170)),))
    shown = draw.numbered_layout(layout, captions=[name], notes=[name])
    assert shown.shape == (256, 256, 3)


def test_notes_stand_at_the_lower_edge() -> None:
    layout = Layout(256, 256, (Slot((100, 50)),))
    changed = (draw.numbered_layout(layout, notes=["a", "b"]) - draw.numbered_layout(layout)).abs().amax(-1) > 0
    assert changed[-5:].any()
    assert not changed[:200].any()


def test_contact_sheet_holds_every_crop() -> None:
    colors = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)).mul(200).round().div(255) + 0.2
    crops = [color.expand(112, 40 + 30 * n, 3) for n, color in enumerate(colors)]
    sheet = draw.contact_sheet([*crops, torch.ones(20, 20, 1)], ["a", "b", "c", "d", "e", "f" * 80])
    assert sheet.ndim == 4
    assert sheet.shape[0] == 1
    assert sheet.shape[3] == 3
    for color in colors:
        assert ((sheet[0] - color).abs().amax(-1) < 0.003).sum() > 3000


def test_contact_sheet_wants_a_caption_per_crop() -> None:
    with pytest.raises(ValueError, match="zip"):
        draw.contact_sheet([torch.zeros(8, 8, 3)], [])
