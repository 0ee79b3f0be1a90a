"""Where people stand: layouts from faces, poses, masks, or from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .people import Faces, Layout, Pose


def from_faces(faces: Faces, width: int, height: int, fit: str, body: str) -> Layout:
    raise NotImplementedError


def from_poses(poses: Any, width: int, height: int, fit: str) -> tuple[Layout, list[str]]:
    raise NotImplementedError


def from_masks(masks: Tensor, width: int, height: int, body: str) -> Layout:
    raise NotImplementedError


def group(count: int, framing: str, rows: int, width: int, height: int) -> Layout:
    raise NotImplementedError


def poses(layout: Layout) -> Sequence[Pose]:
    raise NotImplementedError
