"""Where people stand: layouts from faces, poses and masks. See group.py for layouts from nothing.

Poses are POSE_KEYPOINT, the OpenPose dictionaries that pose nodes of ComfyUI exchange; they are brought to COCO order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..errors import BadLayout, LikenessError, counted
from ..geometry import FAR, Fit, bounds, check_size
from ..people import NOSE, Faces, Joint, Keypoints, Layout, Point, Pose, Slot
from ..pictures import as_masks
from . import bodies


def from_faces(faces: Faces, width: int, height: int, fit: str, body: str) -> Layout:
    """One place per face, in their order, with the face's embeddings.

    width or height 0 takes the photo's own. fit: see geometry.Fit.into; body: one of bodies.BODIES.
    Raises BadSize and BadLayout.
    """
    canvas = width or faces.width, height or faces.height
    check_size("The layout", *canvas)
    if not faces.faces:
        why = f"The faces input is empty: Detect Faces kept no face of the {faces.width}x{faces.height} px photo."
        raise BadLayout(why, "Use a photo that shows faces, or lower min_size in Detect Faces.")
    into, slots = Fit.into((faces.width, faces.height), canvas, fit), list[Slot]()
    for face in faces.faces:
        points = tuple(map(into.point, face.keypoints))
        pose = skeleton_around(points, body, canvas)
        slots.append(Slot(points[NOSE], into.box(face.box), points, pose, embeddings=face.embeddings))
    return Layout(*canvas, tuple(slots))


def facing(nose: Point, head: float, body: str, canvas: tuple[int, int]) -> Slot:
    """The place of a person who looks into the camera. head: crown to chin, px; body: one of bodies.BODIES."""
    keypoints = bodies.face_keypoints(nose, head)
    return Slot(nose, bodies.face_box(nose, head), keypoints, skeleton_around(keypoints, body, canvas))


def skeleton_around(keypoints: Keypoints, body: str, canvas: tuple[int, int]) -> Pose | None:
    """Of a person with these keypoints; None for body = none. body: one of bodies.BODIES."""
    if body == "none":
        return None
    return bodies.on_canvas(bodies.body_around(keypoints, body), bodies.head_of_face(keypoints), *canvas)


def from_poses(keypoints: object, width: int, height: int, fit: str) -> tuple[Layout, list[str]]:
    """One place per person of a POSE_KEYPOINT; width or height 0 takes the pose's own. And in words what was guessed,
    and who was left out.

    Whoever was found twice has one place, with the skeleton that shows more joints.

    Raises BadPoses (see read; also when nobody has a head or a neck) and BadSize.
    """
    people, size = read(keypoints)
    canvas = width or size[0], height or size[1]
    check_size("The layout", *canvas)
    into = Fit.into(size, canvas, fit)
    placed = [_of_pose([near(into.joint(joint)) for joint in joints]) for joints in people]
    seen = [place for place in placed if place is not None]
    if not seen:
        raise BadPoses("no person in it shows a head or a neck", "Use a picture that shows people from the neck up.")
    poses = [slot.pose or () for slot, _ in seen]
    more = sorted(range(len(poses)), key=lambda n: -sum(joint[2] >= bodies.SEEN for joint in poses[n]))
    twice = {n for rank, n in enumerate(more) if any(bodies.same_person(poses[n], poses[m]) for m in more[:rank])}
    found = [place for n, place in enumerate(seen) if n not in twice]
    notes = [f"Place {number}: {note}" for number, (_, note) in enumerate(found, 1) if note]
    for left_out, why in ((len(placed) - len(seen), "neither head nor neck is seen"), (len(twice), "found twice")):
        if left_out:
            notes.append(f"{left_out} of {len(placed)} people left out: {why}")
    return Layout(*canvas, tuple(slot for slot, _ in found)), notes


def _of_pose(joints: Sequence[Joint]) -> tuple[Slot, str] | None:
    """The place of somebody with these OpenPose joints, and how the nose was guessed."""
    pose = tuple(joints[n] for n in _COCO_FROM_OPENPOSE)
    head = bodies.head_of_pose(pose)
    nose = bodies.nose_of_pose(pose, joints[_NECK], head or 0.0)
    if nose is None:
        return None
    center, note = nose
    if head is None:
        return Slot(center, pose=pose), note
    return Slot(center, bodies.face_box(center, head), bodies.face_of_pose(pose, center, head), pose), note


# How many heads of a person a painted region shows, from the crown down.
_REGION_HEADS = {"bust": 2.1, "half": 4.1, "full": 7.5, "none": 2.1}
_REGION_WIDTH = 1.4  # how many heads wide a region is at least: a head and most of the shoulders


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
    if mask.amax() <= 0:
        size = f"{mask.shape[-1]}x{mask.shape[-2]} px"
        advice = "Right click Load Image, Open in Mask Editor, paint over that place, Save; or take the mask out."
        raise BadLayout(f"No mask is painted for place {number}: mask {number} ({size}) is empty.", advice)
    if mask.shape != (high_wide := canvas[::-1]):
        mask = torch.nn.functional.interpolate(mask[None, None], high_wide, mode="bilinear", antialias=True)[0, 0]
    region = mask > mask.amax() / 2
    left, top, right, below = bounds(region)
    head = head_held(right - left, below - top, body)
    level = region[top : top + max(1, round(head))]
    x = float(level.nonzero()[:, 1].float().mean()) + 0.5
    return replace(facing((x, top - bodies.CROWN * head), head, body, canvas), mask=mask)


def head_held(wide: float, high: float, body: str) -> float:
    """How tall the head is, crown to chin, of a person whom a region of this size shows. body: one of bodies.BODIES."""
    return min(high / _REGION_HEADS[body], wide / _REGION_WIDTH)


def require_skeletons(layout: Layout) -> Layout:
    """The layout. Raises BadLayout where nobody in it has a skeleton."""
    if all(slot.pose is None for slot in layout.slots):
        advice = "Set body to half in the layout node, or use Layout from Picture or Group Layout."
        raise BadLayout(f"The layout has {counted(len(layout.slots), 'place')} and no skeleton to draw.", advice)
    return layout


# OpenPose: nose, neck, right arm, left arm, right leg, left leg, right eye, left eye, right ear, left ear.
_COCO_FROM_OPENPOSE = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
_NECK = 1
_JOINTS = 18
WIDEST = FAR / 10
"""Pixels. A joint beyond it is a mistake; what is built around the others, such as a face box, stays below FAR."""
_LOST = (-1.0, -1.0)
"""Where SDPose puts a joint that it has not found, or that it sees left of its person's box: this one with the
confidence of a joint that is there."""


class BadPoses(LikenessError):
    """A POSE_KEYPOINT that no layout can be made of."""

    def __init__(self, why: str, advice: str = "Use the 18-point body of DWPose, OpenPose or SDPose nodes.") -> None:
        super().__init__(f"The pose input cannot be used: {why}.", advice)


def read(poses: object) -> tuple[list[list[Joint]], tuple[int, int]]:
    """The 18 OpenPose joints of everybody in one POSE_KEYPOINT, and its width and height in pixels.

    That is a list of one dictionary `{people: [{pose_keypoints_2d: [x, y, confidence] * 18}], canvas_width,
    canvas_height}`, coordinates in pixels or in parts of the canvas (0..1).
    Raises BadPoses for several pictures, nobody, or something else.
    """
    frames = cast("Sequence[Any]", poses if isinstance(poses, (list, tuple)) else [poses])
    if len(frames) > 1:
        raise BadPoses(f"it holds {len(frames)} pictures, a layout is made of one", "Give the pose node one picture.")
    (frame,) = dictionaries(frames) or [{}]
    people = dictionaries([] if frame.get("people", 0) is None else frame.get("people"))
    if people is None:
        advice = "Connect POSE_KEYPOINT of a DWPose, OpenPose or SDPose node; animal poses have no places for faces."
        raise BadPoses("it is no list of OpenPose dictionaries with a list of people in it", advice)
    for key in ("canvas_width", "canvas_height"):
        side = frame.get(key)
        if not isinstance(side, (int, float)) or not 1 <= side <= WIDEST:
            raise BadPoses(f"its {key} is {side!r}", "A pose picture needs its width and height in pixels.")
    width, height = int(frame["canvas_width"]), int(frame["canvas_height"])
    found = [joints for n, one in enumerate(people, 1) if (joints := _joints(n, one.get("pose_keypoints_2d")))]
    seen = [joint for joints in found for joint in joints if joint[2] > 0]
    if not seen:
        raise BadPoses("it shows no person", "Use a picture in which the pose node finds people.")
    # Parts of the canvas: people in pixels are never within two of the corner.
    if all(abs(x) <= 2 and abs(y) <= 2 for x, y, _ in seen):
        found = [[(x * width, y * height, score) for x, y, score in joints] for joints in found]
    return found, (width, height)


def dictionaries(given: object) -> Sequence[Mapping[str, Any]] | None:
    """A list of them, as other nodes hand them over; None for something else."""
    if not isinstance(given, (list, tuple)):
        return None
    found = cast("Sequence[Any]", given)
    return found if all(isinstance(one, Mapping) for one in found) else None


def _joints(person: int, numbers: Any) -> list[Joint]:
    """Flat [x, y, confidence, ...], or a list of triples; none for somebody of whom nothing is given."""
    try:
        flat: list[float] = np.asarray([] if numbers is None else numbers, dtype=np.float64).ravel().tolist()
    except (TypeError, ValueError, OverflowError) as cause:
        raise BadPoses(f"person {person} holds something else than numbers") from cause
    if flat and len(flat) != 3 * _JOINTS:
        found = counted(len(flat), "number")
        raise BadPoses(f"person {person} has {found} instead of {3 * _JOINTS} (18 OpenPose points)")
    joints = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    return [near((*_LOST, 0.0) if joint[:2] == _LOST else joint) for joint in joints]


def near(joint: Joint) -> Joint:
    """The joint, or one that is not seen where it is further away than any picture is wide."""
    x, y, score = joint
    if not (abs(x) <= WIDEST and abs(y) <= WIDEST and math.isfinite(score)):  # NaN is not within anything
        return (0.0, 0.0, 0.0)
    return (x, y, max(0.0, min(1.0, score)))
