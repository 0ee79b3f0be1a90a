"""POSE_KEYPOINT, the OpenPose dictionaries that pose nodes of ComfyUI exchange: read, and brought to COCO order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..errors import LikenessError, counted
from ..geometry import FAR
from ..people import Joint, Pose

# OpenPose: nose, neck, right arm, left arm, right leg, left leg, right eye, left eye, right ear, left ear.
_COCO_FROM_OPENPOSE = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
NECK = 1
"""Index of the neck in OpenPose's joints; a COCO pose has none."""
_JOINTS = 18
_MOST_PEOPLE = 500
"""More than any pose node finds; each is compared with all others."""
WIDEST = FAR / 10
"""Pixels. A joint beyond it is a mistake; what is built around the others, such as a face box, stays below FAR."""
_LOST = ((-1.0, -1.0), (0.0, 0.0))
"""Where nodes and editors put a joint that is not there, many with the confidence of one that is: SDPose at the first,
OpenPose and most others at the second."""
_UNSEEN: Joint = (0.0, 0.0, 0.0)
_RELATIVE = 2
"""The largest coordinate of a pose in parts of the canvas: nobody in pixels is within two of the corner."""


class BadPoses(LikenessError):
    """A POSE_KEYPOINT that no layout can be made of."""

    def __init__(self, why: str, advice: str = "Use the 18-point body of DWPose, OpenPose or SDPose nodes.") -> None:
        super().__init__(f"The pose input cannot be used: {why}.", advice)


@dataclass(frozen=True)
class OpenPoses:
    """The people of one POSE_KEYPOINT, 18 OpenPose joints each, in pixels of a picture of this size."""

    people: list[list[Joint]]
    width: int
    height: int


def read(pose_keypoint: object) -> OpenPoses:
    """The people of a POSE_KEYPOINT of one picture.

    That is a list of one dictionary `{people: [{pose_keypoints_2d: [x, y, confidence] * 18}], canvas_width,
    canvas_height}`, coordinates of each person in pixels or in parts of the canvas (0..1).
    Raises BadPoses for several pictures, for nobody, and for something else.
    """
    frame = _one_frame(pose_keypoint)
    people = _people_of(frame)
    width, height = _size_of(frame)
    joints_of_people = [_joints(number, person.get("pose_keypoints_2d")) for number, person in enumerate(people, 1)]
    if not any(joint[2] > 0 for joints in joints_of_people for joint in joints):
        raise BadPoses("it shows no person", "Use a picture in which the pose node finds people.")
    # Each alone: editors that join the people of two nodes leave them as they came.
    poses = [_in_pixels(joints, width, height) for joints in joints_of_people if joints]
    return OpenPoses(poses, width, height)


def coco(joints: Sequence[Joint]) -> Pose:
    """Seventeen COCO joints of eighteen OpenPose ones, without the neck."""
    return tuple(joints[index] for index in _COCO_FROM_OPENPOSE)


def dictionaries(items: object) -> Sequence[Mapping[str, Any]] | None:
    """A list of dictionaries, as other nodes hand them over; None for something else."""
    if not isinstance(items, (list, tuple)):
        return None
    entries = cast("Sequence[Any]", items)
    if not all(isinstance(entry, Mapping) for entry in entries):
        return None
    return entries


def near(joint: Joint) -> Joint:
    """The joint with its confidence limited to 0..1, or `_UNSEEN` where its position is impossible.

    A coordinate is impossible that is further than WIDEST from 0, NaN or infinite.
    """
    x, y, confidence = joint
    if not (abs(x) <= WIDEST and abs(y) <= WIDEST and math.isfinite(confidence)):  # NaN is not within anything
        return _UNSEEN
    return (x, y, max(0.0, min(1.0, confidence)))


def _one_frame(pose_keypoint: object) -> Mapping[str, Any]:
    """The dictionary of the only picture, empty where there is none. Raises BadPoses for several pictures."""
    frames = cast("Sequence[Any]", pose_keypoint if isinstance(pose_keypoint, (list, tuple)) else [pose_keypoint])
    if len(frames) > 1:
        raise BadPoses(f"it holds {len(frames)} pictures, a layout is made of one", "Give the pose node one picture.")
    entries = dictionaries(frames)
    return entries[0] if entries else {}


def _people_of(frame: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """A dictionary for each person of a frame. Raises BadPoses where the frame has no list of people."""
    if "people" in frame and frame["people"] is None:
        return []  # some nodes write so that nobody is in the picture
    people = dictionaries(frame.get("people"))
    if people is not None and len(people) > _MOST_PEOPLE:
        raise BadPoses(f"it holds {len(people)} people, at most {_MOST_PEOPLE} are taken", "Use a picture of fewer.")
    if people is None:
        advice = "Connect POSE_KEYPOINT of a DWPose, OpenPose or SDPose node; animal poses have no places for faces."
        raise BadPoses("it is no list of OpenPose dictionaries with a list of people in it", advice)
    return people


def _size_of(frame: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height in pixels. Raises BadPoses for what is no size."""
    for key in ("canvas_width", "canvas_height"):
        side = frame.get(key)
        if not isinstance(side, (int, float)) or not 1 <= side <= WIDEST:
            raise BadPoses(f"its {key} is {side!r}", "A pose picture needs its width and height in pixels.")
    return int(frame["canvas_width"]), int(frame["canvas_height"])


def _in_pixels(joints: Sequence[Joint], width: int, height: int) -> list[Joint]:
    """The joints of a person in pixels, whose coordinates may be parts of a canvas of this size."""
    is_in_parts = all(abs(x) <= _RELATIVE and abs(y) <= _RELATIVE for x, y, confidence in joints if confidence > 0)
    if not is_in_parts:
        return list(joints)
    return [(x * width, y * height, confidence) for x, y, confidence in joints]


def _joints(person: int, numbers: Any) -> list[Joint]:
    """The joints of one person, from "pose_keypoints_2d"; empty where that is None or empty.

    person: the number of the person, from 1, for messages. numbers: a flat list [x, y, confidence, ...] or a list of
    triples. Raises BadPoses for something else, and for another number of joints.
    """
    try:
        flat: list[float] = np.asarray([] if numbers is None else numbers, dtype=np.float64).ravel().tolist()
    except (TypeError, ValueError, OverflowError, RuntimeError) as cause:  # a tensor that needs gradients
        raise BadPoses(f"person {person} holds something else than numbers") from cause
    if flat and len(flat) != 3 * _JOINTS:
        has = counted(len(flat), "number")
        raise BadPoses(f"person {person} has {has} instead of {3 * _JOINTS} (18 OpenPose points)")
    joints = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    return [_UNSEEN if joint[:2] in _LOST else near(joint) for joint in joints]
