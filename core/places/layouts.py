"""Where people stand: layouts from faces, poses and masks. See group.py for layouts from nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import BadChoice, BadLayout, counted
from ..geometry import Fit, bounds, check_size
from ..people import NOSE, Face, Faces, Keypoints, Layout, Point, Pose, Slot
from ..pictures import as_masks
from . import bodies, poses


def from_faces(faces: Faces, width: int, height: int, fit: str, body: str) -> Layout:
    """One place per face, in their order, with the face's embeddings.

    fit: see geometry.Fit.into; body: one of bodies.BODIES. Raises BadSize, BadChoice and BadLayout.
    """
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
    """Of a person with these keypoints; None for body = none. body: one of bodies.BODIES, else BadChoice is raised."""
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

    Raises BadPoses (see poses.read; also when nobody has a head or a neck), BadSize and BadChoice.
    """
    picture = poses.read(keypoints)
    canvas = (width or picture.width, height or picture.height)
    check_size("The layout", *canvas)
    into = Fit.into((picture.width, picture.height), canvas, fit)
    placed = [_of_pose(person, into) for person in picture.people]
    seen = [place for place in placed if place is not None]
    if not seen:
        raise poses.BadPoses(
            "no person in it shows a head or a neck", "Use a picture that shows people from the neck up."
        )
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


def _of_pose(person: poses.Posed, into: Fit) -> tuple[Slot, str] | None:
    pose = tuple(poses.near(into.joint(joint)) for joint in person.pose)
    nose = bodies.nose_of_pose(pose, poses.near(into.joint(person.neck)))
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
    Raises BadSize, BadChoice and BadLayout.
    """
    if body not in _REGION_HEADS:
        raise BadChoice("body", body, bodies.BODIES)
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
            "Set body to half in the layout node, or use Layout from Poses or Group Layout.",
        )
    return layout
