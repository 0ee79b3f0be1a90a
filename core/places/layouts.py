"""Where people stand: layouts from faces, poses and masks, and more places in them. From nothing: group.py.

Poses are POSE_KEYPOINT, the OpenPose dictionaries that pose nodes of ComfyUI exchange; they are brought to COCO order.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from .. import geometry
from ..errors import BadLayout, LikenessError, counted
from ..geometry import FAR, Fit, area, bounds, check_size, shared
from ..people import NOSE, Box, Faces, Joint, Keypoints, Layout, Point, Pose, Slot
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
        advice = "Right click the node of the picture, Open in Mask Editor, paint over that place, Save; "
        advice += "or take the mask out."
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
        advice = "Set body to half in the layout node, or use Layout from Picture or Layout for a Group."
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


SIDES = ("free place", "left end", "right end", "at x, y")

# Around the nose, in heads: crown and ears; shoulders down to the belly.
_HEAD: Box = (-0.42, -0.78, 0.42, 0.38)
_TRUNK: Box = (-0.80, 0.45, 0.80, 2.10)
# Shoulder to shoulder as people stand for a photo, nose to nose, in heads.
_BESIDE = 1.8
_STEP = 0.25  # of the places that are tried, in heads


@dataclass(frozen=True)
class _Spot:
    """number: of the place, 0 for one that is tried."""

    nose: Point
    head: float
    number: int = 0

    def around(self, box: Box) -> Box:
        return geometry.Fit(self.head, self.head, *self.nose).box(box)


def add(layout: Layout, where: str, at: Point, face_size: float, body: str, count: int = 1) -> Layout:
    """The layout with one more place or several, the last ones, of people who look into the camera.

    where: one of SIDES; at: the nose, px, of the first for "at x, y", whom the others join in free places; face_size:
    height of the face boxes, px, 0 as large as the faces around; body: one of bodies.BODIES. The heads are on the
    canvas and cover no other head, nor an ID patch another.
    Raises BadLayout.
    """
    wanted, extended = face_size / bodies.FACE_HEIGHT, layout
    for room in range(count):
        others = [_Spot(slot.center, head, n) for n, slot in enumerate(extended.slots, 1) if (head := head_of(slot))]
        if where == "at x, y" and room == 0:
            one = _Spot(at, wanted or _head_at(at, others, layout))
            if why := _why_not(one, others, layout):
                advice = (
                    "Choose another more_x and more_y (of the nose), a smaller more_face_size, a larger picture or "
                    "another more_where."
                )
                raise BadLayout(f"No person can be added at ({round(at[0])}, {round(at[1])}): {why}.", advice)
        else:
            tried = _candidates(layout, others, wanted, where)
            free = [one for one in tried if not _why_not(one, others, extended)]
            one = min(free, key=lambda one: _cost(one, others, layout), default=None)
        if one is None:
            face = (wanted or _head_at((layout.width / 2, layout.height / 2), others, layout)) * bodies.FACE_HEIGHT
            shown = f"{layout.width}x{layout.height} px and shows {counted(len(layout.slots), 'person', 'people')}"
            raise BadLayout(
                f"There is room for {counted(room, 'face')} of about {face:.0f} px, not for {count}, with "
                f"more_where = {where}: the canvas is {shown}.",
                "Choose fewer more_places, another more_where, a larger picture or a smaller more_face_size.",
            )
        place = facing(one.nose, one.head, body, (layout.width, layout.height))
        extended = replace(extended, slots=(*extended.slots, place))
    return extended


def head_of(slot: Slot) -> float:
    """Crown to chin, px; 0 where only a point is known."""
    if slot.keypoints is not None:
        return bodies.head_of_face(slot.keypoints)
    if slot.box is not None:
        return max(1.0, slot.box[3] - slot.box[1]) / bodies.FACE_HEIGHT
    return (bodies.head_of_pose(slot.pose) if slot.pose else None) or 0.0


def _head_at(point: Point, others: Sequence[_Spot], layout: Layout) -> float:
    """As large as those around: near ones count more. A sixth of the canvas where nobody's size is known."""
    if not others:
        return min(layout.width, layout.height) / 6
    weights = [1 / max(math.dist(point, other.nose), other.head) ** 2 for other in others]
    return sum(w * other.head for w, other in zip(weights, others, strict=True)) / sum(weights)


def _candidates(layout: Layout, others: Sequence[_Spot], wanted: float, where: str) -> Iterator[_Spot]:
    middle = wanted or _head_at((layout.width / 2, layout.height / 2), others, layout)
    # On a large canvas with small faces a finer grid would only take its time.
    step = max(8.0, _STEP * middle, max(layout.width, layout.height) / 128)
    noses = [other.nose for other in others] or [(layout.width / 2, layout.height * 0.4)]
    low, high = 0.0, float(layout.width)
    if where == "left end":
        high = min(x for x, _ in noses)
    if where == "right end":
        low = max(x for x, _ in noses)
    top, bottom = min(y for _, y in noses) - 1.5 * middle, max(y for _, y in noses) + middle
    for row in _within(top, bottom, step, layout.height):
        for column in _within(low, high, step, layout.width):
            nose = (low + column * step, top + row * step)
            yield _Spot(nose, wanted or _head_at(nose, others, layout))


def _within(first: float, last: float, step: float, side: int) -> range:
    """Numbers of the steps from `first` to `last` that are on the canvas: places far off it would take minutes."""
    return range(max(0, math.ceil(-first / step)), math.floor((min(last, side) - first) / step) + 1)


def _why_not(one: _Spot, others: Sequence[_Spot], layout: Layout) -> str:
    """Why nobody can stand there, "" where somebody can."""
    box = one.around(_HEAD)
    if shared(box, (0, 0, layout.width, layout.height)) < area(box):
        face = f"a face of {one.head * bodies.FACE_HEIGHT:.0f} px"
        return f"with {face} head and hair would not be whole on the canvas of {layout.width}x{layout.height} px"
    for other in others:
        if shared(box, other.around(_HEAD)):
            return f"the head would cover that of place {other.number}"
    patch = geometry.patch_rect(one.nose)
    for number, slot in enumerate(layout.slots, 1):
        if geometry.overlaps([patch, geometry.patch_rect(slot.center)]):
            return f"the nose of place {number} is less than {geometry.PATCH} px away, so their ID patches would mix"
    return ""


def _cost(one: _Spot, others: Sequence[_Spot], layout: Layout) -> float:
    """How little a place suits a group photo: hidden behind others or cut off, away from them, out of their row."""
    face, trunk, head = one.around(_HEAD), one.around(_TRUNK), one.head
    seen = shared(trunk, (0, 0, layout.width, layout.height)) / area(trunk)
    if not others:
        return 1 - seen
    hidden = sum(shared(trunk, other.around(part)) for other in others for part in (_HEAD, _TRUNK)) / area(trunk)
    before = sum(shared(face, other.around(_TRUNK)) / area(face) for other in others)
    nearest = min(others, key=lambda other: math.dist(one.nose, other.nose))
    across, up = abs(one.nose[0] - nearest.nose[0]) / head, abs(one.nose[1] - nearest.nose[1]) / head
    apart = max(0.0, math.hypot(across, up) - _BESIDE)
    return (1 - seen) + hidden + 4 * before + 0.5 * apart + 0.4 * up
