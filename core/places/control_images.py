"""The pictures that ControlNets were trained with: OpenPose skeletons and the five keypoints of faces."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import LikenessError, listed
from ..people import NOSE, Joint, Keypoints, Layout, Pose
from .bodies import LIMBS, openpose, seen_limbs
from .raster import Canvas, Color, disc, ellipse

_LIMB_COLORS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip


def skeletons(layout: Layout, by_row: bool) -> Tensor:
    """The skeletons of a layout in one picture, `by_row` in a picture for each place: (1 or places, height, width, 3).

    Black where there is none.
    """
    poses = [slot.pose for slot in layout.slots]
    pictures = [[pose] for pose in poses] if by_row else [poses]
    drawn = [skeleton([pose for pose in shown if pose], layout.width, layout.height) for shown in pictures]
    return torch.stack(drawn)


def skeleton(poses: Sequence[Pose], width: int, height: int) -> Tensor:
    """The control picture ID-Patch was trained with: (height, width, 3) float32 0..1, black background.

    Joints first, then limbs over a copy, blended 0.4 to 0.6 (ID-Patch, utils/draw_condition.py, from mmpose).
    OpenCV's rasteriser is part of the format.
    """
    people = [openpose(pose) for pose in poses]
    below = np.zeros((height, width, 3), np.uint8)
    for joints in people:
        for n in sorted({end for limb in seen_limbs(joints) for end in LIMBS[limb]}):
            disc(below, int(joints[n][0]), int(joints[n][1]), 4, _LIMB_COLORS[n])
    above = np.array(below)
    for joints in people:
        for n in seen_limbs(joints):
            a, b = LIMBS[n]
            _stick(above, joints[a], joints[b], _LIMB_COLORS[n])
    return torch.as_tensor(below * 0.4 + above * 0.6).round().float() / 255


def _stick(canvas: Canvas, a: Joint, b: Joint, color: Color) -> None:
    half_length = int(((a[1] - b[1]) ** 2 + (a[0] - b[0]) ** 2) ** 0.5 / 2)
    angle = int(math.degrees(math.atan2(a[1] - b[1], a[0] - b[0])))
    ellipse(canvas, int((a[0] + b[0]) / 2), int((a[1] + b[1]) / 2), (half_length, 4), angle, color)


_KEYPOINT_COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
_FACE_LIMBS = ((0, NOSE), (1, NOSE), (3, NOSE), (4, NOSE))


def keypoints(layout: Layout, by_row: bool) -> Tensor:
    """The same of the face keypoints of a layout."""
    faces = [slot.keypoints for slot in layout.slots if slot.keypoints is not None]
    pictures = [[face] for face in faces] if by_row else [faces]
    return torch.stack([face_keypoints(shown, layout.width, layout.height) for shown in pictures])


def face_keypoints(faces: Sequence[Keypoints], width: int, height: int) -> Tensor:
    """The hint IdentityNet was trained with: (height, width, 3) float32 0..1, black background.

    Each face is drawn by itself (InstantID, draw_kps) and the drawings are joined by the larger value, so that a
    single face is exactly the published drawing.
    """
    drawn = np.zeros((height, width, 3), np.uint8)
    for points in faces:
        drawn = np.maximum(drawn, _one_face(points, width, height))
    return torch.as_tensor(drawn).float() / 255


def _one_face(points: Keypoints, width: int, height: int) -> Canvas:
    image = np.zeros((height, width, 3), np.uint8)
    for a, b in _FACE_LIMBS:
        _stick(image, (*points[a], 1.0), (*points[b], 1.0), _KEYPOINT_COLORS[a])
    image = (image * 0.6).astype(np.uint8)
    for (x, y), color in zip(points, _KEYPOINT_COLORS, strict=True):
        disc(image, int(x), int(y), 10, color)
    return image


class NoKeypoints(LikenessError):
    """No face keypoints where a method needs them."""

    def __init__(self, node: str, places: Sequence[str]) -> None:
        which = f"places {listed(places)} have" if len(places) > 1 else f"place {listed(places)} has"
        where = f"{which} no face keypoints" if places else "there is no face in the keypoints image"
        super().__init__(
            f"{node}: {where}.",
            "Make the layout from faces or masks, or with Group Layout: these know where eyes, nose and mouth are. In "
            "a pose, show more of head and shoulders.",
        )
