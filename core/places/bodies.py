"""The rest of a person, seen from the face: proportions of an adult, the inverse, and what the camera can see.

One unit is a head, crown to chin (about 23 cm); the adult is 7.5 heads tall. Offsets start at the nose, y down.
The face follows insightface's alignment template, the rest common figure-drawing proportions.
"""

import math
from collections.abc import Collection, Sequence
from itertools import pairwise
from statistics import median

from ..people import Box, Joint, Keypoints, Point, Pose

SEEN = 0.3
"""A joint below this confidence counts as not seen (the threshold of ID-Patch's drawing)."""

# Eighteen OpenPose points out of seventeen COCO joints; -1 stands for the neck.
_OPENPOSE_FROM_COCO = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Pairs of OpenPose points."""
_CHAINS = ((2, 3, 4), (5, 6, 7), (1, 8, 9, 10), (1, 11, 12, 13))
"""OpenPose points from the trunk to the end of each arm and leg."""

CROWN = -0.70
"""From the nose up to the crown, in heads."""
_EYES, _MOUTH = (0.137, -0.157), (0.114, 0.160)
_FACE = (-0.315, -0.53, 0.315, 0.30)
FACE_HEIGHT = _FACE[3] - _FACE[1]
"""Of a face box, in heads."""

Posture = tuple[Point | None, ...]
"""Eight pairs in COCO order as the offset of the one on the viewer's right; None is hidden from the camera. Where the
sides differ, each has a posture of its own, x growing outwards."""
_HEAD_AND_SHOULDERS: Posture = (_EYES, (0.30, -0.10), (0.74, 0.70))
STANDING: Posture = (*_HEAD_AND_SHOULDERS, (0.79, 1.98), (0.70, 3.00), (0.40, 2.85), (0.42, 4.70), (0.40, 6.45))
SEATED: Posture = (*_HEAD_AND_SHOULDERS, (0.80, 1.92), (0.45, 2.78), (0.42, 2.80), (0.52, 3.35), (0.46, 5.10))
KNEELING: Posture = (*_HEAD_AND_SHOULDERS, (0.79, 1.92), (0.42, 2.85), (0.42, 2.75), (0.52, 3.45), None)

_TRUNK = 2.15  # from the shoulders down to the hips, in heads
_PAIRS = {"bust": 3, "half": 6, "full": 8}
BODIES = (*_PAIRS, "none")


def face_box(nose: Point, head: float) -> Box:
    """What a face detector would box: brow to chin."""
    x, y = nose
    return (x + _FACE[0] * head, y + _FACE[1] * head, x + _FACE[2] * head, y + _FACE[3] * head)


def nose_and_head(face: Box) -> tuple[Point, float]:
    """The inverse of face_box, for a face as tall as this one."""
    head = (face[3] - face[1]) / FACE_HEIGHT
    return ((face[0] + face[2]) / 2, face[1] - _FACE[1] * head), head


def face_keypoints(nose: Point, head: float) -> Keypoints:
    """Five points of a face that looks into the camera."""
    x, y = nose
    eyes = [(x + side * _EYES[0] * head, y + _EYES[1] * head) for side in (-1, 1)]
    mouth = [(x + side * _MOUTH[0] * head, y + _MOUTH[1] * head) for side in (-1, 1)]
    return (*eyes, nose, *mouth)


def body(
    nose: Point, head: float, posture: Posture = STANDING, down: Point = (0.0, 1.0), right: Posture | None = None
) -> Pose:
    """A person facing the camera. `down` is the unit vector from head to feet; `right` is the posture of the person's
    right side where it differs."""
    joints: list[Joint] = [(*nose, 1.0)]
    for pair in zip(posture, right or posture, strict=True):
        for side, offset in zip((1, -1), pair, strict=True):  # a person's left is on the viewer's right
            if offset is None:
                joints.append((0.0, 0.0, 0.0))
                continue
            x, y = side * offset[0] * head, offset[1] * head
            joints.append((nose[0] + x * down[1] + y * down[0], nose[1] - x * down[0] + y * down[1], 1.0))
    return tuple(joints)


def body_around(keypoints: Keypoints, amount: str) -> Pose:
    """A standing person whose eyes and nose are these keypoints.

    The neck goes behind the face of a turned head, whose far ear is hidden. The body hangs straight down unless the
    head lies on its side (beyond 45 degrees). amount: bust, half or full.
    """
    left, right, nose = keypoints[:3]
    head, eyes = head_of_face(keypoints), middle(left, right)
    down = unit(eyes, middle(keypoints[3], keypoints[4]))
    across = (down[1], -down[0])
    # The tip of the nose is 0.12 heads before the eyes: how far it moves sideways is the sine of the turn.
    turn = max(-1.0, min(1.0, _dot((nose[0] - eyes[0], nose[1] - eyes[1]), across) / (0.12 * head)))
    hangs = (0.0, 1.0) if down[1] > math.sqrt(0.5) else down
    anchor = _moved(nose, across, -0.42 * head * turn)
    trunk = body(anchor, head, STANDING, hangs)
    level = 0.30 * math.sqrt(1 - turn * turn) * head
    ear_middle = _moved(_moved(eyes, across, -0.42 * head * turn), down, 0.057 * head)
    far = [float(turn <= 0.5), float(turn >= -0.5)]
    ears = [(*_moved(ear_middle, across, side * level), seen) for side, seen in zip((1, -1), far, strict=True)]
    joints = ((*nose, 1.0), (*right, 1.0), (*left, 1.0), *ears, *trunk[5:])
    return _hidden(joints, range(2 * _PAIRS[amount] + 1, len(joints)))


def _hidden(pose: Pose, numbers: Collection[int]) -> Pose:
    """The same without these joints."""
    return tuple((*joint[:2], 0.0) if n in numbers else joint for n, joint in enumerate(pose))


def head_of_face(keypoints: Keypoints) -> float:
    """Height of the head. The eyes come together as a face turns, eyes and mouth as it nods: the larger counts."""
    left, right, _, *mouth = keypoints
    across = math.dist(left, right) / (2 * _EYES[0])
    along = math.dist(middle(left, right), middle(*mouth)) / (_MOUTH[1] - _EYES[1])
    return max(across, along, 1.0)


def head_of_pose(pose: Pose) -> float | None:
    """Height of the head from what is seen of head, shoulders and hips, in this order; None if that is too little."""
    measures = (
        ((1, 2, 0.274), (3, 4, 0.60), (0, 3, 0.55), (0, 4, 0.55)),
        ((5, 6, 1.48),),
        ((5, 11, 2.18), (6, 12, 2.18)),
    )
    for group in measures:
        heads = [
            math.dist(pose[a][:2], pose[b][:2]) / share
            for a, b, share in group
            if pose[a][2] >= SEEN and pose[b][2] >= SEEN
        ]
        if head := max(heads, default=0.0):
            return head
    return None


def same_person(pose: Pose, other: Pose) -> bool:
    """Whether half of the joints that both show are less than a quarter of a head apart.

    A detector without suppression of overlaps boxes people twice, and of two who stand behind each other the joints of
    the one in front are found in both boxes. Two faces that touch are half a head apart.
    """
    apart = [math.dist(a[:2], b[:2]) for a, b in zip(pose, other, strict=True) if a[2] >= SEEN and b[2] >= SEEN]
    heads = [head for one in (pose, other) if (head := head_of_pose(one))]
    return len(apart) > 2 and bool(heads) and median(apart) < min(heads) / 4


def nose_of_pose(pose: Pose, neck: Joint, head: float) -> tuple[Point, str] | None:
    """Where the nose is, and in words what it was guessed from ("" if it was seen); None without head and neck."""
    if pose[0][2] >= SEEN:
        return pose[0][:2], ""
    for joints, above, words in ((pose[1:3], -_EYES[1], "eyes"), (pose[3:5], 0.10, "ears"), ((neck,), CROWN, "neck")):
        seen = [joint for joint in joints if joint[2] >= SEEN]
        if seen:
            x, y = (sum(axis) / len(seen) for axis in list(zip(*seen, strict=True))[:2])
            return (x, y + above * head), f"nose guessed from the {words}"
    return None


def face_of_pose(pose: Pose, nose: Point, head: float) -> Keypoints:
    """Five points from the eyes of a pose, or of a face that looks into the camera where they are not seen."""
    left, right = pose[2], pose[1]
    if left[2] < SEEN or right[2] < SEEN:
        return face_keypoints(nose, head)
    eyes = middle(left, right)
    reach = (_MOUTH[1] - _EYES[1]) / -_EYES[1]
    mouth = _moved(eyes, (nose[0] - eyes[0], nose[1] - eyes[1]), reach)
    across = (right[0] - left[0], right[1] - left[1])
    return (left[:2], right[:2], nose, _moved(mouth, across, -0.416), _moved(mouth, across, 0.416))


def on_canvas(pose: Pose, head: float, width: int, height: int) -> Pose:
    """Joints more than half a head outside of the picture lose their confidence, as a detector would not see them.

    Nearer ones stay, so that a shoulder or an upper arm runs off the edge instead of ending before it.
    """
    slack = head / 2
    near = [-slack <= x < width + slack and -slack <= y < height + slack for x, y, _ in pose]
    return _hidden(pose, [n for n, is_near in enumerate(near) if not is_near])


def behind(pose: Pose, front: Sequence[tuple[Point, float]]) -> Pose:
    """Hide the joints below the shoulders that people in front, each a nose and a head height, stand before."""

    def covered(joint: Joint) -> bool:
        return any(
            abs(joint[0] - x) < (0.80 if joint[1] > y + 0.45 * head else 0.38) * head and joint[1] > y + CROWN * head
            for (x, y), head in front
        )

    return _hidden(pose, [n for n, joint in enumerate(pose) if n > 6 and covered(joint)])


def clear_of_faces(pose: Pose, front: Sequence[tuple[Point, float]]) -> Pose:
    """Hide each arm and leg from where it passes over a face in front, a nose and a head height."""
    joints, hidden = openpose(pose), set[int]()
    for chain in _CHAINS:
        over = [any(_passes(joints[a], joints[b], *face) for face in front) for a, b in pairwise(chain)]
        hidden.update(_OPENPOSE_FROM_COCO[n] for n in chain[[*over, True].index(True) + 1 :])
    return _hidden(pose, hidden)


def _passes(a: Joint, b: Joint, nose: Point, head: float) -> bool:
    along = (b[0] - a[0], b[1] - a[1])
    share = _dot((nose[0] - a[0], nose[1] - a[1]), along) / (_dot(along, along) or 1.0)
    nearest = _moved(a[:2], along, max(0.0, min(1.0, share)))
    return b[2] > SEEN and math.dist(nearest, nose) < 0.38 * head


def openpose(pose: Pose) -> tuple[Joint, ...]:
    """Eighteen OpenPose joints of seventeen COCO ones. The neck is the middle of the shoulders, as sure as the less
    sure of them."""
    left, right = pose[5], pose[6]
    neck = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2, min(left[2], right[2]))
    return tuple(neck if joint < 0 else pose[joint] for joint in _OPENPOSE_FROM_COCO)


def seen_limbs(joints: Sequence[Joint]) -> list[tuple[int, int, int]]:
    """The limbs whose two ends are seen: their number, and the OpenPose points of the ends."""
    return [(n, a, b) for n, (a, b) in enumerate(_LIMBS) if joints[a][2] > SEEN and joints[b][2] > SEEN]


def torso(pose: Pose) -> tuple[Point, ...]:
    """Shoulders and hips, in order around it; empty where too little is seen.

    A shoulder that is not seen mirrors the other one at the nose, or stands where a person facing the camera has it; a
    hip that is not seen hangs below its shoulder.
    """
    head, nose = head_of_pose(pose), pose[0]
    left, right = (joint[:2] if joint[2] > SEEN else None for joint in pose[5:7])
    if head is None or (nose[2] <= SEEN and not (left and right)):
        return ()
    if left is None:
        left = (2 * nose[0] - right[0], right[1]) if right else (nose[0] + 0.74 * head, nose[1] + 0.70 * head)
    right = right or (2 * nose[0] - left[0], left[1])
    down = _down(left, right, nose)
    hips = [
        hip[:2] if hip[2] > SEEN else _moved(shoulder, down, _TRUNK * head)
        for shoulder, hip in ((right, pose[12]), (left, pose[11]))
    ]
    return (left, right, *hips)


def _down(left: Point, right: Point, nose: Joint) -> Point:
    """Straight down, or for shoulders that stand steeper than 45 degrees away from the nose at right angles to them."""
    x, y = unit(right, left)
    if abs(x) >= abs(y) or nose[2] <= SEEN:
        return (0.0, 1.0)
    between = middle(left, right)
    side = 1 if _dot((-y, x), (between[0] - nose[0], between[1] - nose[1])) > 0 else -1
    return (-y * side, x * side)


def middle(a: Sequence[float], b: Sequence[float]) -> Point:
    return ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)


def unit(a: Point, b: Point) -> Point:
    length = math.dist(a, b)
    return ((b[0] - a[0]) / length, (b[1] - a[1]) / length) if length else (0.0, 1.0)


def _dot(a: Point, b: Point) -> float:
    return a[0] * b[0] + a[1] * b[1]


def _moved(point: Point, direction: Point, by: float) -> Point:
    return (point[0] + direction[0] * by, point[1] + direction[1] * by)
