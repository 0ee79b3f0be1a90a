"""POSE_KEYPOINT, the OpenPose dictionaries that pose nodes of ComfyUI exchange, as poses in COCO order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..errors import LikenessError, counted
from ..geometry import FAR
from ..people import Joint, Pose

# OpenPose: nose, neck, right arm, left arm, right leg, left leg, right eye, left eye, right ear, left ear.
_COCO_FROM_OPENPOSE = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
_NECK = 1
_JOINTS = 18
_WIDEST = FAR / 10
"""Pixels. A joint beyond it is a mistake; what is built around the others, such as a face box, stays below FAR."""
_LOST = (-1.0, -1.0)
"""Where SDPose puts a joint that it has not found, or that it sees left of its person's box: this one with the
confidence of a joint that is there."""
_BODY = "Use the 18-point body of DWPose, OpenPose or SDPose nodes."


class BadPoses(LikenessError):
    """A POSE_KEYPOINT that no layout can be made of."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(f"The pose input cannot be used: {why}.", advice)


@dataclass(frozen=True)
class Posed:
    """One person of a pose picture. The neck is kept apart: COCO has none."""

    pose: Pose
    neck: Joint


@dataclass(frozen=True)
class PosePicture:
    """Everybody in one picture of width x height pixels."""

    people: tuple[Posed, ...]
    width: int
    height: int


def read(poses: object) -> PosePicture:
    """One POSE_KEYPOINT: a list of one dictionary `{people: [{pose_keypoints_2d: [x, y, confidence] * 18}],
    canvas_width, canvas_height}`, coordinates in pixels or in parts of the canvas (0..1).

    Raises BadPoses for several pictures, nobody, or something else.
    """
    frame = _only_picture(poses)
    width, height = (_side(frame, key) for key in ("canvas_width", "canvas_height"))
    numbers = [person.get("pose_keypoints_2d") for person in _people(frame)]
    bodies = [joints for n, flat in enumerate(numbers, 1) if (joints := _joints(n, flat))]
    if not any(joint[2] > 0 for joints in bodies for joint in joints):
        raise BadPoses("it shows no person", "Use a picture in which the pose node finds people.")
    if _in_parts(bodies):
        bodies = [[(x * width, y * height, score) for x, y, score in joints] for joints in bodies]
    posed = (Posed(tuple(joints[n] for n in _COCO_FROM_OPENPOSE), joints[_NECK]) for joints in bodies)
    return PosePicture(tuple(posed), width, height)


def _only_picture(poses: object) -> Mapping[str, Any]:
    frames = cast("list[Any]", poses if isinstance(poses, (list, tuple)) else [poses])
    if len(frames) > 1:
        raise BadPoses(f"it holds {len(frames)} pictures, a layout is made of one", "Give the pose node one picture.")
    if not frames or not isinstance(frames[0], Mapping) or "people" not in frames[0]:
        raise BadPoses(
            "it is no list of OpenPose dictionaries with people in it",
            "Connect POSE_KEYPOINT of a DWPose, OpenPose or SDPose node; animal poses have no places for faces.",
        )
    return cast("Mapping[str, Any]", frames[0])


def _people(frame: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    people: Any = frame["people"] or []
    if not isinstance(people, (list, tuple)) or not all(isinstance(one, Mapping) for one in cast("list[Any]", people)):
        raise BadPoses("its people are no list of dictionaries", f"Each needs pose_keypoints_2d. {_BODY}")
    return cast("list[Mapping[str, Any]]", people)


def _side(frame: Mapping[str, Any], key: str) -> int:
    side = frame.get(key)
    if not isinstance(side, (int, float)) or not 1 <= side <= _WIDEST:
        raise BadPoses(f"its {key} is {side!r}", "A pose picture needs its width and height in pixels.")
    return int(side)


def _joints(person: int, numbers: Any) -> list[Joint]:
    """Flat [x, y, confidence, ...], or a list of triples; none for somebody of whom nothing is given."""
    try:
        flat: list[float] = np.asarray([] if numbers is None else numbers, dtype=np.float64).ravel().tolist()
    except (TypeError, ValueError, OverflowError) as cause:
        raise BadPoses(f"person {person} holds something else than numbers", _BODY) from cause
    if flat and len(flat) != 3 * _JOINTS:
        raise BadPoses(
            f"person {person} has {counted(len(flat), 'number')} instead of {3 * _JOINTS} (18 OpenPose points)",
            _BODY,
        )
    joints = [(flat[n], flat[n + 1], flat[n + 2]) for n in range(0, len(flat), 3)]
    return [near((*_LOST, 0.0) if joint[:2] == _LOST else joint) for joint in joints]


def near(joint: Joint) -> Joint:
    """The joint, or one that is not seen where it is further away than any picture is wide."""
    x, y, score = joint
    if not (abs(x) <= _WIDEST and abs(y) <= _WIDEST and math.isfinite(score)):  # NaN is not within anything
        return (0.0, 0.0, 0.0)
    return (x, y, max(0.0, min(1.0, score)))


def _in_parts(bodies: list[list[Joint]]) -> bool:
    """Whether coordinates are parts of the canvas. People in pixels are never within two of the corner."""
    return all(abs(x) <= 2 and abs(y) <= 2 for joints in bodies for x, y, score in joints if score > 0)
