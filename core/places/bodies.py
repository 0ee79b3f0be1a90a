"""The rest of a person, seen from the face: proportions of an adult, the inverse, and what the camera can see.

One unit is the person's head, crown to chin (about 23 cm); the adult is 7.5 heads tall. Offsets start at the nose, y
down. Whose head is meant where several people are: builds.py.
The face follows insightface's alignment template, the rest common figure-drawing proportions.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from ..cast import Box, Joint, Keypoints, Point, Pose
from .vectors import between, dot, middle, moved, rightward, unit

SEEN = 0.3
"""A joint below this confidence counts as not seen (the threshold of ID-Patch's drawing)."""

# Numbers of joints in a Pose, which has COCO's order.
_NOSE = 0
_LEFT_EYE, _RIGHT_EYE = 1, 2
_LEFT_EAR, _RIGHT_EAR = 3, 4
_LEFT_SHOULDER, _RIGHT_SHOULDER = 5, 6
_LEFT_HIP, _RIGHT_HIP = 11, 12

_NECK = -1
_OPENPOSE_FROM_COCO = (0, _NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""The COCO joint of each of the eighteen OpenPose points; COCO has no neck."""
_LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""The OpenPose points at the two ends of each limb, in the order in which skeletons are drawn and coloured."""
_CHAINS = ((2, 3, 4), (5, 6, 7), (1, 8, 9, 10), (1, 11, 12, 13))
"""OpenPose points from the trunk to the end of each arm and leg."""

# Lengths in heads. Of points: how far beside the nose and how far below it.
CROWN = -0.70
"""The way from the nose up to the crown, in heads."""
_EYES = (0.137, -0.157)
_MOUTH = (0.114, 0.160)
_EARS = (0.30, -0.10)
_SHOULDERS = (0.74, 0.70)
_FACE = (-0.315, -0.53, 0.315, 0.30)
"""The box of a face around its nose."""
FACE_HEIGHT = _FACE[3] - _FACE[1]
"""Height of a face box, in heads."""
HALF_HEAD = 0.38
"""Half the width of a head, with its hair."""

Posture = tuple[Point | None, ...]
"""Eight joints of one side of a person, as offsets from the nose in the person's own heads, x growing outwards.

They are eye, ear, shoulder, elbow, wrist, hip, knee and ankle. None is hidden from the camera.
"""
_HEAD_AND_SHOULDERS: Posture = (_EYES, _EARS, _SHOULDERS)
STANDING: Posture = (*_HEAD_AND_SHOULDERS, (0.79, 1.98), (0.70, 3.00), (0.40, 2.85), (0.42, 4.70), (0.40, 6.45))
SEATED: Posture = (*_HEAD_AND_SHOULDERS, (0.80, 1.92), (0.45, 2.78), (0.42, 2.80), (0.52, 3.35), (0.46, 5.10))
KNEELING: Posture = (*_HEAD_AND_SHOULDERS, (0.79, 1.92), (0.42, 2.85), (0.42, 2.75), (0.52, 3.45), None)

_SHOULDERS_TO_HIPS = 2.15
_SHOWN_OF_A_SIDE = {"bust": 3, "half": 6, "full": 8}
"""How many of the eight joints of a posture a body shows; where `body` is "none", there is no skeleton."""

_LEFT, _RIGHT = 1, -1
"""Directions on the picture of the sides of a person who faces the camera: the left one is on the viewer's right."""


@dataclass(frozen=True)
class Head:
    """A head on a canvas. nose: x and y, px. height: from crown to chin, px."""

    nose: Point
    height: float


def face_box(nose: Point, head_height: float) -> Box:
    """The box that a face detector would give, from brow to chin. nose: px. head_height: crown to chin, px."""
    x, y = nose
    left, top, right, bottom = _FACE
    return (x + left * head_height, y + top * head_height, x + right * head_height, y + bottom * head_height)


def nose_and_head(face: Box) -> tuple[Point, float]:
    """The inverse of face_box: the nose and the height of the head, px. face: the box; its width does not count."""
    x0, y0, x1, y1 = face
    head_height = (y1 - y0) / FACE_HEIGHT
    nose = ((x0 + x1) / 2, y0 - _FACE[1] * head_height)
    return nose, head_height


def face_keypoints(nose: Point, head_height: float) -> Keypoints:
    """Five points of a face that looks into the camera. nose: px. head_height: crown to chin, px."""
    x, y = nose
    eye_x = _EYES[0] * head_height
    eye_y = y + _EYES[1] * head_height
    mouth_x = _MOUTH[0] * head_height
    mouth_y = y + _MOUTH[1] * head_height
    # Keypoints begin with the viewer's left, where a person has the right side.
    return ((x - eye_x, eye_y), (x + eye_x, eye_y), nose, (x - mouth_x, mouth_y), (x + mouth_x, mouth_y))


def body(
    nose: Point,
    head_height: float,
    left: Posture = STANDING,
    right: Posture | None = None,
    down: Point = (0.0, 1.0),
) -> Pose:
    """The skeleton of a person who faces the camera.

    nose: px. head_height: crown to chin, px. left, right: the postures of the person's own sides, None for a right side
    as the left one. down: the unit vector from head to feet.
    """
    across = rightward(down)
    joints: list[Joint] = [(*nose, 1.0)]
    # In COCO's order the joints follow the nose in pairs, the left one first.
    for left_offset, right_offset in zip(left, right or left, strict=True):
        for side, offset in ((_LEFT, left_offset), (_RIGHT, right_offset)):
            if offset is None:
                joints.append((0.0, 0.0, 0.0))  # hidden: confidence 0
            else:
                outwards, downwards = offset
                beside_nose = moved(nose, across, side * outwards * head_height)
                joints.append((*moved(beside_nose, down, downwards * head_height), 1.0))
    return tuple(joints)


_NOSE_BEFORE_EYES = 0.12
"""How much nearer to the camera the tip of the nose is than the eyes, of a face that looks into it, in heads."""
_NECK_BEHIND_NOSE = 0.42
"""How much further from the camera the neck is than the tip of the nose; the ears lie as far back. In heads."""
_EARS_BELOW_EYES = 0.057
"""The distance from the eyes down to the ears, in heads."""
_FAR_EAR_HIDDEN = 0.5
"""The sine of the turn from which the far ear is hidden: 30 degrees."""


def body_around(keypoints: Keypoints, amount: str) -> Pose:
    """The skeleton of a standing person whose eyes and nose are these keypoints.

    Where the head is turned sideways, neck and body are moved to the other side of the nose. The body hangs straight
    down. Where the head is tilted by more than 45 degrees, the body is tilted alike.
    amount: bust, half or full; joints below are hidden.
    """
    viewers_left_eye, viewers_right_eye, nose = keypoints[:3]
    axes = _axes_of(keypoints)
    # 45 degrees: the y of a vector of length 1 is its cosine to straight down.
    body_down = (0.0, 1.0) if axes.down[1] > math.sqrt(0.5) else axes.down
    trunk = body(moved(nose, axes.across, axes.neck), axes.head_height, STANDING, down=body_down)
    left_eye = (*viewers_right_eye, 1.0)
    right_eye = (*viewers_left_eye, 1.0)
    # The face is that of the keypoints, all below it that of the standing person.
    joints = ((*nose, 1.0), left_eye, right_eye, *_ears(axes), *trunk[_LEFT_SHOULDER:])
    shown_count = 1 + 2 * _SHOWN_OF_A_SIDE[amount]  # the nose, and both sides
    return _hidden(joints, range(shown_count, len(joints)))


@dataclass(frozen=True)
class _FaceAxes:
    """How a face lies in the picture.

    eyes: the point between them. down, across: of length 1, from the eyes to the mouth, and at right angles to that, to
    the viewer's right. head_height: crown to chin, px. turn: the sine of the angle by which the head is turned
    sideways, positive towards the viewer's right.
    """

    eyes: Point
    down: Point
    across: Point
    head_height: float
    turn: float

    @property
    def neck(self) -> float:
        """How far `across` the neck and the ears are moved against the tip of the nose, px.

        They are further from the camera. As the head turns to one side, they move to the other side of the nose.
        """
        return -_NECK_BEHIND_NOSE * self.head_height * self.turn


def _axes_of(keypoints: Keypoints) -> _FaceAxes:
    left_eye, right_eye, nose, left_corner, right_corner = keypoints  # left and right are the viewer's
    eyes = middle(left_eye, right_eye)
    down = unit(eyes, middle(left_corner, right_corner))
    across = rightward(down)
    head_height = head_of_face(keypoints)
    # The tip of the nose is in front of the eyes: it moves sideways by that distance times the sine of the turn.
    turn = dot(between(eyes, nose), across) / (_NOSE_BEFORE_EYES * head_height)
    return _FaceAxes(eyes, down, across, head_height, max(-1.0, min(1.0, turn)))


def sine_of_turn(keypoints: Keypoints) -> float:
    """The sine of the angle by which a head is turned sideways, positive towards the viewer's right."""
    return _axes_of(keypoints).turn


def _ears(axes: _FaceAxes) -> tuple[Joint, Joint]:
    """The person's left and right ear; the far one is hidden where the head is turned by more than 30 degrees."""
    beside_eyes = moved(axes.eyes, axes.across, axes.neck)
    between_ears = moved(beside_eyes, axes.down, _EARS_BELOW_EYES * axes.head_height)
    cosine = math.sqrt(1 - axes.turn * axes.turn)
    to_ear = _EARS[0] * cosine * axes.head_height
    left_ear = moved(between_ears, axes.across, _LEFT * to_ear)
    right_ear = moved(between_ears, axes.across, _RIGHT * to_ear)
    # A head that is turned to the viewer's right hides the person's left ear.
    left_confidence = float(axes.turn <= _FAR_EAR_HIDDEN)
    right_confidence = float(axes.turn >= -_FAR_EAR_HIDDEN)
    return (*left_ear, left_confidence), (*right_ear, right_confidence)


def _hidden(pose: Pose, numbers: Collection[int]) -> Pose:
    """The pose with the confidence 0 for the joints of these numbers."""
    return tuple((*joint[:2], 0.0) if number in numbers else joint for number, joint in enumerate(pose))


def head_of_face(keypoints: Keypoints) -> float:
    """The height of the head, px, from the five points of a face.

    It is measured by the distance between the eyes, which becomes shorter as a face turns, and by that between eyes and
    mouth, which becomes shorter as a face nods: the larger result counts. It is at least 1, to be divided by.
    """
    left_eye, right_eye, _, left_mouth, right_mouth = keypoints
    across = math.dist(left_eye, right_eye) / (2 * _EYES[0])
    along = math.dist(middle(left_eye, right_eye), middle(left_mouth, right_mouth)) / (_MOUTH[1] - _EYES[1])
    return max(across, along, 1.0)


@dataclass(frozen=True)
class _Length:
    """A distance between two joints of a pose, in heads."""

    start: int
    end: int
    heads: float


_HEAD_MEASURES = (
    (
        _Length(_LEFT_EYE, _RIGHT_EYE, 0.274),
        _Length(_LEFT_EAR, _RIGHT_EAR, 0.60),
        _Length(_NOSE, _LEFT_EAR, 0.55),
        _Length(_NOSE, _RIGHT_EAR, 0.55),
    ),
    (_Length(_LEFT_SHOULDER, _RIGHT_SHOULDER, 1.48),),
    (_Length(_LEFT_SHOULDER, _LEFT_HIP, 2.18), _Length(_RIGHT_SHOULDER, _RIGHT_HIP, 2.18)),
)
"""Groups of lengths by which a head is measured. The first group of which something is seen counts alone."""


def head_of_pose(pose: Pose) -> float | None:
    """Height of the head from what is seen of head, shoulders and hips, in this order; None if that is too little.

    As a head turns its lengths become shorter in the picture, never longer: the largest of a group counts.
    """
    for lengths in _HEAD_MEASURES:
        head_height = 0.0
        for length in lengths:
            start = pose[length.start]
            end = pose[length.end]
            if start[2] >= SEEN and end[2] >= SEEN:
                head_height = max(head_height, math.dist(start[:2], end[:2]) / length.heads)
        if head_height:
            return head_height
    return None


def same_person(pose: Pose, other: Pose) -> bool:
    """Whether two skeletons are of one person.

    They are where half of the joints that are seen in both are less than a quarter of a head apart, of the smaller one
    of their heads. It is False for fewer than three such joints, and where neither head can be measured.
    A detector without suppression of overlapping boxes finds a person twice. Where one person stands behind another, it
    finds the joints of the person in front in both boxes. Two different faces that touch are half a head apart.
    """
    distances: list[float] = []  # between the joints that both have, px
    for joint, other_joint in zip(pose, other, strict=True):
        if joint[2] >= SEEN and other_joint[2] >= SEEN:
            distances.append(math.dist(joint[:2], other_joint[:2]))
    heads = [head_height for head_height in map(head_of_pose, (pose, other)) if head_height is not None]
    if len(distances) < 3 or not heads:
        return False
    return median(distances) < min(heads) / 4


_EYES_ABOVE_NOSE = -_EYES[1]
_EARS_ABOVE_NOSE = -_EARS[1]
NECK_BELOW_NOSE = _SHOULDERS[1]
"""As far as an adult's shoulders lie, in heads."""


@dataclass(frozen=True)
class Nose:
    """The position of a nose, px. note: in words, what it was guessed from; "" where it was seen."""

    point: Point
    note: str = ""


@dataclass(frozen=True)
class _Clue:
    """Joints from which a nose is guessed. nose_below: how far it lies below them, in heads."""

    name: str
    joints: tuple[Joint, ...]
    nose_below: float


def nose_of_pose(pose: Pose, neck: Joint, head_height: float) -> Nose | None:
    """The nose of a pose, guessed from eyes, ears or neck where it is not seen; None where these are not seen either.

    head_height: crown to chin, px.
    """
    nose = pose[_NOSE]
    if nose[2] >= SEEN:
        return Nose(nose[:2])
    clues = (
        _Clue("eyes", (pose[_LEFT_EYE], pose[_RIGHT_EYE]), nose_below=_EYES_ABOVE_NOSE),
        _Clue("ears", (pose[_LEFT_EAR], pose[_RIGHT_EAR]), nose_below=_EARS_ABOVE_NOSE),
        _Clue("neck", (neck,), nose_below=-NECK_BELOW_NOSE),
    )
    for clue in clues:
        seen_joints = [joint for joint in clue.joints if joint[2] >= SEEN]
        if seen_joints:
            x = sum(joint[0] for joint in seen_joints) / len(seen_joints)
            y = sum(joint[1] for joint in seen_joints) / len(seen_joints)
            return Nose((x, y + clue.nose_below * head_height), f"nose guessed from the {clue.name}")
    return None


_HALF_MOUTH = 0.416
"""Half the width of the mouth, in distances between the eyes: _MOUTH[0] / (2 * _EYES[0])."""


def face_of_pose(pose: Pose, nose: Point, head_height: float) -> Keypoints:
    """The five face keypoints of a pose.

    Where both eyes are seen, they are its eyes, `nose`, and corners of the mouth that are computed from these. Where
    not, they are those of a face that looks into the camera. nose: px. head_height: crown to chin, px.
    """
    viewers_left_eye = pose[_RIGHT_EYE]
    viewers_right_eye = pose[_LEFT_EYE]
    if viewers_left_eye[2] < SEEN or viewers_right_eye[2] < SEEN:
        return face_keypoints(nose, head_height)
    eyes = middle(viewers_left_eye, viewers_right_eye)
    # The mouth lies on the line from the eyes through the nose, further away as in a face that looks into the camera.
    eyes_to_nose = between(eyes, nose)
    mouth = moved(eyes, eyes_to_nose, (_MOUTH[1] - _EYES[1]) / _EYES_ABOVE_NOSE)
    eye_to_eye = between(viewers_left_eye, viewers_right_eye)
    left_corner = moved(mouth, eye_to_eye, -_HALF_MOUTH)
    right_corner = moved(mouth, eye_to_eye, _HALF_MOUTH)
    return (viewers_left_eye[:2], viewers_right_eye[:2], nose, left_corner, right_corner)


def on_canvas(pose: Pose, head_height: float, width: int, height: int) -> Pose:
    """The pose with hidden joints where they lie more than half a head outside of the picture: no detector sees them.

    Joints nearer to the edge stay, so that a shoulder or an upper arm runs off the edge instead of ending before it.
    head_height: crown to chin, px. width, height: of the picture, px.
    """
    slack = head_height / 2
    outside = [
        number
        for number, (x, y, _) in enumerate(pose)
        if not (-slack <= x < width + slack and -slack <= y < height + slack)
    ]
    return _hidden(pose, outside)


_TRUNK_TOP = 0.45
"""The way from the nose down to where a person is as wide as the shoulders, in heads."""
_HALF_TRUNK = 0.80
"""Half the width of the shoulders with the arms, in heads."""


def behind(pose: Pose, front: Sequence[Head]) -> Pose:
    """The pose of a person who stands behind others.

    Joints that others cover are hidden, but not those of the head and the shoulders. front: the heads of the others.
    """
    below_shoulders = range(_RIGHT_SHOULDER + 1, len(pose))
    covered = [number for number in below_shoulders if any(_covers(head, pose[number]) for head in front)]
    return _hidden(pose, covered)


def _covers(head: Head, joint: Joint) -> bool:
    """Whether a standing person with this head hides a joint, which does not belong to this person.

    The head hides what lies behind it, and so does the trunk, which is as wide as the shoulders and reaches down to the
    lower edge of the picture.
    """
    x, y = head.nose
    at_trunk = joint[1] > y + _TRUNK_TOP * head.height
    half_width = _HALF_TRUNK if at_trunk else HALF_HEAD
    is_below_crown = joint[1] > y + CROWN * head.height
    return is_below_crown and abs(joint[0] - x) < half_width * head.height


def clear_of_faces(pose: Pose, front: Sequence[Head]) -> Pose:
    """The pose without what passes over the face of a person in front.

    Of an arm or a leg, the first limb that does so is hidden, with all limbs after it. front: the heads of the people
    in front.
    """
    joints = openpose(pose)
    hidden: set[int] = set()
    for chain in _CHAINS:
        is_hidden = False
        for start, end in pairwise(chain):
            is_hidden = is_hidden or any(passes(joints[start], joints[end], head) for head in front)
            if is_hidden:
                hidden.add(_OPENPOSE_FROM_COCO[end])  # an end is never the neck, which COCO has not
    return _hidden(pose, hidden)


def passes(start: Joint, end: Joint, head: Head) -> bool:
    """Whether a limb passes over a face; a limb whose end is not seen passes over none."""
    if end[2] <= SEEN:
        return False
    limb = between(start, end)
    length_squared = dot(limb, limb) or 1.0  # 1 for a limb of no length, by which nothing can be divided
    # How far along the limb the point nearest to the nose lies: 0 at its start, 1 at its end.
    along = dot(between(start, head.nose), limb) / length_squared
    nearest = moved(start, limb, max(0.0, min(1.0, along)))
    return math.dist(nearest, head.nose) < HALF_HEAD * head.height


def openpose(pose: Pose) -> tuple[Joint, ...]:
    """Eighteen OpenPose joints of seventeen COCO ones.

    The neck is the middle of the shoulders, with the lower of their two confidences.
    """
    left = pose[_LEFT_SHOULDER]
    right = pose[_RIGHT_SHOULDER]
    neck = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2, min(left[2], right[2]))
    return tuple(neck if joint == _NECK else pose[joint] for joint in _OPENPOSE_FROM_COCO)


@dataclass(frozen=True)
class Limb:
    """A line of a skeleton. number: its place in the order of colours. start, end: OpenPose points."""

    number: int
    start: int
    end: int


def seen_limbs(joints: Sequence[Joint]) -> list[Limb]:
    """The limbs whose two ends are seen. joints: the eighteen of `openpose`."""
    limbs = [Limb(number, start, end) for number, (start, end) in enumerate(_LIMBS)]
    return [limb for limb in limbs if joints[limb.start][2] > SEEN and joints[limb.end][2] > SEEN]


def torso(pose: Pose) -> tuple[Point, ...]:
    """Left shoulder, right shoulder, right hip and left hip: the corners of the torso, in order around it.

    () where the head cannot be measured, and where neither the nose nor both shoulders are seen. A shoulder that is not
    seen mirrors the other one at the nose. Without any seen shoulder both are as a person has them who faces the
    camera. A hip that is not seen hangs below its shoulder.
    """
    head_height = head_of_pose(pose)
    nose = pose[_NOSE]
    left = _seen_point(pose[_LEFT_SHOULDER])
    right = _seen_point(pose[_RIGHT_SHOULDER])
    if head_height is None or (nose[2] <= SEEN and not (left and right)):
        return ()
    if left is None:
        left = _mirrored(right, nose) if right else moved(nose, _SHOULDERS, head_height)
    right = right or _mirrored(left, nose)
    to_hips = _down(left, right, nose)
    length = _SHOULDERS_TO_HIPS * head_height
    right_hip = _seen_point(pose[_RIGHT_HIP]) or moved(right, to_hips, length)
    left_hip = _seen_point(pose[_LEFT_HIP]) or moved(left, to_hips, length)
    return (left, right, right_hip, left_hip)


def _seen_point(joint: Joint) -> Point | None:
    return joint[:2] if joint[2] > SEEN else None


def _mirrored(point: Point, nose: Joint) -> Point:
    """The point as far on the other side of an upright line through the nose."""
    return (2 * nose[0] - point[0], point[1])


def _down(left: Point, right: Point, nose: Joint) -> Point:
    """The vector of length 1 from shoulders to hips. left, right: the shoulders.

    It points straight down, but not for a person who lies: where the line between the shoulders is steeper than 45
    degrees and the nose is seen, it is at right angles to this line, away from the nose.
    """
    across_x, across_y = unit(right, left)
    is_upright = abs(across_x) >= abs(across_y)
    if is_upright or nose[2] <= SEEN:
        return (0.0, 1.0)
    one_way = (-across_y, across_x)
    other_way = (across_y, -across_x)
    away_from_nose = between(nose, middle(left, right))
    return one_way if dot(one_way, away_from_nose) > 0 else other_way
