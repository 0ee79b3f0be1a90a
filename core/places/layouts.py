"""Where people stand: layouts from the faces of a photo, from poses, and from painted masks.

More places in a layout: extra_places.py; layouts of boxes: from_boxes.py; from nothing: group.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch.nn.functional as functional
from torch import Tensor

from ..cast import NOSE, CanvasSize, Faces, Keypoints, Layout, Point, Pose, Slot
from ..checks.errors import BadLayout, counted
from ..pictures.geometry import Fit, bounds, check_size
from ..pictures.tensors import as_masks
from . import bodies, poses
from .poses import BadPoses, OpenPose

BODIES = ("half", "bust", "full", "none")
"""How much of a person is seen. The first is the default."""
# How many heads of a person a painted region shows, from the crown down.
_REGION_HEADS = {"bust": 2.1, "half": 4.1, "full": 7.5, "none": 2.1}
_REGION_WIDTH = 1.4  # how many heads wide a region is at least: a head and most of the shoulders


def from_faces(faces: Faces, width: int, height: int, fit: str, body: str) -> Layout:
    """One place per face, in their order, with the face's embeddings.

    width or height 0 takes the photo's own. fit: see geometry.Fit.into; body: "bust", "half", "full" or "none".
    Raises BadSize and BadLayout.
    """
    canvas = (width or faces.width, height or faces.height)
    check_size("The layout", *canvas)
    if not faces.faces:
        why = f"The faces input is empty: Detect Faces kept no face of the {faces.width}x{faces.height} px photo."
        raise BadLayout(why, "Use a photo that shows faces, or lower min_size in Detect Faces.")
    into = Fit.into((faces.width, faces.height), canvas, fit)
    slots: list[Slot] = []
    for face in faces.faces:
        keypoints = tuple(into.point(point) for point in face.keypoints)
        slot = Slot(
            keypoints[NOSE],
            into.box(face.box),
            keypoints,
            skeleton_around(keypoints, body, canvas),
            embeddings=face.embeddings,
            face_points=poses.moved(face.points, into.joint),
        )
        slots.append(slot)
    return Layout(*canvas, tuple(slots))


@dataclass(frozen=True)
class NotedLayout:
    """A layout made of poses, or with expressions or hands of photos.

    notes: what was guessed, who was left out, and what to look at, a line each.
    """

    layout: Layout
    notes: list[str]


@dataclass(frozen=True)
class _PosePlace:
    """The place of one pose. note: what the nose was guessed from, "" where it was seen."""

    slot: Slot
    note: str


def from_poses(pose_keypoint: object, width: int, height: int, fit: str) -> NotedLayout:
    """One place per person of a POSE_KEYPOINT. Of a person who was found twice, the skeleton with more joints is used.

    width or height 0 takes the pose's own. fit: see geometry.Fit.into.
    Raises BadPoses (see poses.read; also where nobody shows a head or a neck) and BadSize.
    """
    poses_in_picture = poses.read(pose_keypoint)
    canvas = (width or poses_in_picture.width, height or poses_in_picture.height)
    check_size("The layout", *canvas)
    into = Fit.into((poses_in_picture.width, poses_in_picture.height), canvas, fit)
    everybody = [_place_of_pose(person.moved(into.joint)) for person in poses_in_picture.people]
    places = [place for place in everybody if place is not None]
    if not places:
        raise BadPoses("no person in it shows a head or a neck", "Use a picture that shows people from the neck up.")
    twice = _found_twice([place.slot.pose or () for place in places])
    unique = [place for index, place in enumerate(places) if index not in twice]
    notes = [f"Place {number}: {place.note}" for number, place in enumerate(unique, 1) if place.note]
    notes += poses_in_picture.notes
    without_head = everybody.count(None)
    if without_head:
        notes.append(f"{without_head} of {len(everybody)} people left out: neither head nor neck is seen")
    if twice:
        notes.append(f"{len(twice)} of {len(everybody)} people left out: found twice")
    return NotedLayout(Layout(*canvas, tuple(place.slot for place in unique)), notes)


def _place_of_pose(person: OpenPose) -> _PosePlace | None:
    """The place of a person; None where neither head nor neck is seen."""
    pose = poses.coco(person.joints)
    head_height = bodies.head_of_pose(pose)
    # Without a known height of the head, a nose that is not seen is put where its clue is: eyes, ears or neck.
    nose = bodies.nose_of_pose(pose, person.joints[poses.NECK], head_height or 0.0)
    if nose is None:
        return None
    center = nose.point
    slot = Slot(
        center,
        pose=pose,
        left_hand=person.left_hand,
        right_hand=person.right_hand,
        face_points=person.face_points,
    )
    if head_height is not None:
        keypoints = bodies.face_of_pose(pose, center, head_height)
        slot = replace(slot, box=bodies.face_box(center, head_height), keypoints=keypoints)
    return _PosePlace(slot, nose.note)


def _found_twice(skeletons: Sequence[Pose]) -> set[int]:
    """The indices of the skeletons that are left out, because another one shows the same person.

    Of the skeletons of one person, the one with the most joints stays, of equal ones the first.
    """
    joints_seen = [sum(joint[2] >= bodies.SEEN for joint in skeleton) for skeleton in skeletons]
    twice: set[int] = set()
    better: list[Pose] = []  # also those that are left out, which show the same person as one that stays
    for index in sorted(range(len(skeletons)), key=lambda index: -joints_seen[index]):
        if any(bodies.same_person(skeletons[index], other) for other in better):
            twice.add(index)
        better.append(skeletons[index])
    return twice


def from_masks(masks: Tensor, width: int, height: int, body: str) -> Layout:
    """One place per mask, the mask stretched to the canvas and kept as the person's region.

    The crown touches the top of the region. From left to right, the head is in the middle of the region's pixels in the
    rows that the head takes. The size of the head follows from the size of the region, see `head_held`.
    masks: (people, H, W) float 0..1; width or height 0 takes the masks' own.
    Raises BadSize and BadLayout.
    """
    masks = as_masks(masks)
    canvas = (width or masks.shape[-1], height or masks.shape[-2])
    check_size("The layout", *canvas)
    slots = [_place_of_mask(number, mask, canvas, body) for number, mask in enumerate(masks, 1)]
    return Layout(*canvas, tuple(slots))


def _place_of_mask(number: int, mask: Tensor, canvas: CanvasSize, body: str) -> Slot:
    """The place in a mask (h, w), as `from_masks` describes it. number: of the mask, from 1, for messages.

    Raises BadLayout for an empty mask.
    """
    if mask.amax() <= 0:
        size = f"{mask.shape[-1]}x{mask.shape[-2]} px"
        advice = (
            "Right click the node of the picture, Open in Mask Editor, paint over that place, Save; or take the mask "
            "out."
        )
        raise BadLayout(f"No mask is painted for place {number}: mask {number} ({size}) is empty.", advice)
    width, height = canvas
    if mask.shape != (height, width):
        stretched = functional.interpolate(mask[None, None], (height, width), mode="bilinear", antialias=True)
        mask = stretched[0, 0]
    region = mask > mask.amax() / 2  # (height, width); in parts of its own maximum, for masks that are faint
    left, top, right, below = bounds(region)
    head_height = head_held(right - left, below - top, body)
    head_rows = region[top : top + max(1, round(head_height))]
    columns = head_rows.nonzero()[:, 1]  # of each of the region's pixels in these rows
    x = float(columns.float().mean()) + 0.5  # a pixel's middle is half a pixel on
    y = top - bodies.CROWN * head_height  # the crown is at `top`; CROWN, the way from the nose up to it, is below 0
    return replace(facing((x, y), head_height, body, canvas), mask=mask)


def head_held(width: float, height: float, body: str) -> float:
    """The height of the head, crown to chin, px, of the largest person who fits into a region of this size.

    width, height: of the region, px. body: how much of the person the region shows, "bust", "half", "full" or "none".
    """
    return min(height / _REGION_HEADS[body], width / _REGION_WIDTH)


def facing(nose: Point, head_height: float, body: str, canvas: CanvasSize) -> Slot:
    """The place of a person who looks into the camera.

    head_height: crown to chin, px. body: "bust", "half", "full" or "none".
    """
    keypoints = bodies.face_keypoints(nose, head_height)
    return Slot(nose, bodies.face_box(nose, head_height), keypoints, skeleton_around(keypoints, body, canvas))


def skeleton_around(keypoints: Keypoints, body: str, canvas: CanvasSize) -> Pose | None:
    """The skeleton of a person with these face keypoints; None for "none". body: "bust", "half", "full" or "none"."""
    if body == "none":
        return None
    return bodies.on_canvas(bodies.body_around(keypoints, body), bodies.head_of_face(keypoints), *canvas)


def head_of(slot: Slot) -> float:
    """The height of the head of a person in this place, crown to chin, px; 0 where only a point is known.

    It is measured by the keypoints, else by the face box, else by the skeleton.
    """
    if slot.keypoints is not None:
        return bodies.head_of_face(slot.keypoints)
    if slot.box is not None:
        # At least 1.0: a flat box is a known size, and 0 would say that none is known.
        return max(1.0, slot.box[3] - slot.box[1]) / bodies.FACE_HEIGHT
    head_height = bodies.head_of_pose(slot.pose) if slot.pose else None
    return head_height or 0.0


def require_skeletons(layout: Layout) -> Layout:
    """The layout. Raises BadLayout where nobody in it has a skeleton."""
    if all(slot.pose is None for slot in layout.slots):
        advice = "Set Body (body) to half in the layout node, or use Layout from Picture or Layout for a Group."
        raise BadLayout(f"The layout has {counted(len(layout.slots), 'place')} and no skeleton to draw.", advice)
    return layout
