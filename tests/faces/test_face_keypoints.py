"""The keypoint drawing against the authors' pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pack.core.places.control_images import face_keypoints
from safetensors.torch import load_file

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "instant_id.safetensors")


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
