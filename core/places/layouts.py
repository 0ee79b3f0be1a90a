"""Where people stand: layouts from faces, poses and masks. See group.py for layouts from nothing.

Poses are POSE_KEYPOINT, the OpenPose dictionaries that pose nodes of ComfyUI exchange; they are brought to COCO order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..errors import BadLayout, LikenessError, counted
from ..geometry import FAR, Fit, bounds, check_size
from ..people import NOSE, Face, Faces, Joint, Keypoints, Layout, Point, Pose, Slot
from ..pictures import as_masks
from . import bodies


def from_faces(faces: Faces, width: int, height: int, fit: str, body: str) -> Layout:
    """One place per face, in their order, with the face's embeddings.

    width or height 0 takes the photo's own. fit: see geometry.Fit.into; body: one of bodies.BODIES.
    Raises BadSize and BadLayout.
    """
    width, height = width or faces.width, height or faces.height
    check_size("The layout", width, height)
    if not faces.faces:
        raise BadLayout(
            f"The faces input is empty: Detect Faces kept no face of the {faces.width}x{faces.height} px photo.",
            "Use a photo that shows faces, or lower min_size in Detect Faces.",
        )
    into = Fit.into((faces.width, faces.height), (width, height), fit)
    return Layout(width, height, tuple(_of_face(face, into, body, (width, height)) for face in faces.faces))


def _of_face(face: Face, into: Fit, body: str, canvas: tuple[int, int]) -> Slot:
    keypoints = tuple(into.point(point) for point in face.keypoints)
    pose = skeleton_around(keypoints, body, canvas)
    return Slot(keypoints[NOSE], into.box(face.box), keypoints, pose, embeddings=face.embeddings)


def facing(nose: Point, head: float, body: str, canvas: tuple[int, int]) -> Slot:
    """The place of a person who looks into the camera. head: crown to chin, px; body: one of bodies.BODIES."""
    keypoints = bodies.face_keypoints(nose, head)
    return Slot(nose, bodies.face_box(nose, head), keypoints, skeleton_around(keypoints, body, canvas))


def skeleton_around(keypoints: Keypoints, body: str, canvas: tuple[int, int]) -> Pose | None:
    """Of a person with these keypoints; None for body = none. body: one of bodies.BODIES."""
    if body == "none":
        return None
    return bodies.on_canvas(bodies.body_around(keypoints, body), bodies.head_of_face(keypoints), *canvas)


@dataclass(frozen=True)
class PosedLayout:
    """notes: what was guessed, and who was left out."""

    layout: Layout
    notes: tuple[str, ...]


def from_poses(keypoints: object, width: int, height: int, fit: str) -> PosedLayout:
    """One place per person of a POSE_KEYPOINT; width or height 0 takes the pose's own.

    Whoever was found twice has one place, with the skeleton that shows more joints.

    Raises BadPoses (see read; also when nobody has a head or a neck) and BadSize.
    """
    picture = read(keypoints)
    canvas = (width or picture.width, height or picture.height)
    check_size("The layout", *canvas)
    into = Fit.into((picture.width, picture.height), canvas, fit)
    placed = [_of_pose(person, into) for person in picture.people]
    seen = [place for place in placed if place is not None]
    if not seen:
        raise BadPoses("no person in it shows a head or a neck", "Use a picture that shows people from the neck up.")
    twice = _found_twice([slot.pose or () for slot, _ in seen])
    found = [place for n, place in enumerate(seen) if n not in twice]
    guessed = [f"Place {number}: {note}" for number, (_, note) in enumerate(found, 1) if note]
    for left_out, why in ((len(placed) - len(seen), "neither head nor neck is seen"), (len(twice), "found twice")):
        if left_out:
            guessed.append(f"{left_out} of {len(placed)} people left out: {why}")
    return PosedLayout(Layout(*canvas, tuple(slot for slot, _ in found)), tuple(guessed))


def _found_twice(people: list[Pose]) -> set[int]:
    """The numbers of the poses of which another, that shows more joints, is the same person's."""
    more = sorted(range(len(people)), key=lambda n: -sum(joint[2] >= bodies.SEEN for joint in people[n]))
    return {n for rank, n in enumerate(more) if any(bodies.same_person(people[n], people[m]) for m in more[:rank])}


def _of_pose(person: Posed, into: Fit) -> tuple[Slot, str] | None:
    pose = tuple(near(into.joint(joint)) for joint in person.pose)
    nose = bodies.nose_of_pose(pose, near(into.joint(person.neck)))
    if nose is None:
        return None
    center, note = nose
    head = bodies.head_of_pose(pose)
    if head is None:
        return Slot(center, pose=pose), note
    return Slot(center, bodies.face_box(center, head), bodies.face_of_pose(pose, center, head), pose), note


# How many heads of a person a painted region shows, from the crown down.
_REGION_HEADS = {"bust": 2.1, "half": 4.1, "full": 7.5, "none": 2.1}
# How many heads wide a region is at least: a head and most of the shoulders.
_REGION_WIDTH = 1.4


def from_masks(masks: Tensor, width: int, height: int, body: str) -> Layout:
    """One place per mask, the mask stretched to the canvas and kept as the person's region.

    The crown touches the top of the region; across, the head is in the middle of what the region shows at its own
    height. The head is as tall as `body` lets the region's height and width hold.
    masks: (people, H, W) float 0..1; width or height 0 takes the masks' own.
    Raises BadSize and BadLayout.
    """
    masks = as_masks(masks)
    canvas = (width or masks.shape[-1], height or masks.shape[-2])
    check_size("The layout", *canvas)
    slots = [_of_mask(number, mask, canvas, body) for number, mask in enumerate(masks, 1)]
    return Layout(*canvas, tuple(slots))


def _of_mask(number: int, mask: Tensor, canvas: tuple[int, int], body: str) -> Slot:
    width, height = canvas
    if mask.amax() <= 0:
        raise BadLayout(
            f"No mask is painted for place {number}: mask {number} ({mask.shape[-1]}x{mask.shape[-2]} px) is empty.",
            "Right click Load Image, Open in Mask Editor, paint over the place of that person, Save; or take the mask "
            "out of the batch.",
        )
    if mask.shape != (height, width):
        mask = torch.nn.functional.interpolate(mask[None, None], (height, width), mode="bilinear", antialias=True)[0, 0]
    return replace(facing(*_head_in(mask > mask.amax() / 2, body), body, canvas), mask=mask)


def head_held(wide: float, high: float, body: str) -> float:
    """How tall the head is, crown to chin, of a person whom a region of this size shows. body: one of bodies.BODIES."""
    return min(high / _REGION_HEADS[body], wide / _REGION_WIDTH)


def _head_in(region: Tensor, body: str) -> tuple[Point, float]:
    left, top, right, below = bounds(region)
    head = head_held(right - left, below - top, body)
    level = region[top : top + max(1, round(head))]
    x = float(level.nonzero()[:, 1].float().mean()) + 0.5
    return (x, top - bodies.CROWN * head), head


def require_skeletons(layout: Layout) -> Layout:
    """The layout. Raises BadLayout where nobody in it has a skeleton."""
    if all(slot.pose is None for slot in layout.slots):
        raise BadLayout(
            f"The layout has {counted(len(layout.slots), 'place')} and no skeleton to draw.",
            "Set body to half in the layout node, or use Layout from Picture or Group Layout.",
        )
    return layout


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
