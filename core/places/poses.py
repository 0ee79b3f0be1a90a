"""POSE_KEYPOINT, the OpenPose dictionaries that pose nodes of ComfyUI exchange: read, and brought to COCO order."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..cast import FacePoints, Hand, Joint, Point, Pose
from ..checks.errors import LikenessError, counted
from ..pictures.geometry import FAR

# OpenPose: nose, neck, right arm, left arm, right leg, left leg, right eye, left eye, right ear, left ear.
_COCO_FROM_OPENPOSE = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
NECK = 1
"""Index of the neck in OpenPose's joints; a COCO pose has none."""
_WRISTS = (7, 4)
"""Left and right, in OpenPose's joints."""
_JOINTS = 18
_HAND_POINTS = 21
FACE_POINTS = (68, 70)
"""Without and with the pupils."""
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
class OpenPose:
    """One person of a POSE_KEYPOINT. joints: eighteen of OpenPose. Hands and face are None where no point is seen."""

    joints: list[Joint]
    left_hand: Hand | None = None
    right_hand: Hand | None = None
    face_points: FacePoints | None = None

    def moved(self, move: Callable[[Joint], Joint]) -> "OpenPose":
        """The person with every joint and point moved; one that is moved absurdly far becomes one that is not seen."""
        joints = [near(move(joint)) for joint in self.joints]
        return OpenPose(
            joints, moved(self.left_hand, move), moved(self.right_hand, move), moved(self.face_points, move)
        )


@dataclass(frozen=True)
class OpenPoses:
    """The people of one POSE_KEYPOINT, in pixels of a picture of this size. notes: a line for each thing left out."""

    people: list[OpenPose]
    width: int
    height: int
    notes: list[str]


def read(pose_keypoint: object, nobody: bool = False) -> OpenPoses:
    """The people of a POSE_KEYPOINT of one picture.

    That is a list of one dictionary `{people: [{pose_keypoints_2d: [x, y, confidence] * 18}], canvas_width,
    canvas_height}`, coordinates of each person in pixels or in parts of the canvas (0..1). A person may have
    hand_left_keypoints_2d and hand_right_keypoints_2d (21 points each) and face_keypoints_2d (68 or 70).
    nobody: whether a picture without people is taken, too. Raises BadPoses for several pictures, for anything else
    than such dictionaries, and, unless `nobody`, where nobody is seen.
    Parts with a wrong number of points are left out, with a note.
    """
    frame = _one_frame(pose_keypoint)
    people = _people_of(frame)
    width, height = _size_of(frame)
    notes: list[str] = []
    poses: list[OpenPose] = []
    for number, keypoints in enumerate(people, 1):
        joints = _joints(number, keypoints.get("pose_keypoints_2d"))
        pose = _with_hands_and_face(_Listed(number, keypoints, notes), joints or [_UNSEEN] * _JOINTS)
        if not joints and not _seen_points(pose):  # neither a body nor anything else: nobody
            continue
        if _is_in_parts(pose):  # each alone: editors that join the people of two nodes leave them as they came
            pose = pose.moved(lambda joint: (joint[0] * width, joint[1] * height, joint[2]))
        poses.append(pose)
    if not nobody and not any(map(_seen_points, poses)):
        raise BadPoses("it shows no person", "Use a picture in which the pose node finds people.")
    return OpenPoses(poses, width, height, notes)


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


def moved(points: Sequence[Joint] | None, move: Callable[[Joint], Joint]) -> tuple[Joint, ...] | None:
    """Points that are moved one by one, as `near` leaves them; None for None."""
    return None if points is None else tuple(near(move(point)) for point in points)


def turned(points: Sequence[Joint], origin: complex, target: complex, factor: complex) -> tuple[Joint, ...]:
    """Points that are turned and scaled about `origin`, which comes to `target`, as `near` leaves them.

    Positions are x + iy. A product with `factor` scales by its length and turns by its angle.
    """

    def move(point: Joint) -> Joint:
        to = target + factor * (complex(*point[:2]) - origin)
        return (to.real, to.imag, point[2])

    return tuple(near(move(point)) for point in points)


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


def _is_in_parts(person: OpenPose) -> bool:
    """Whether a person is in parts of the canvas instead of pixels: all seen points are, or none is seen."""
    return all(abs(x) <= _RELATIVE and abs(y) <= _RELATIVE for x, y, _ in _seen_points(person))


def _seen_points(person: OpenPose) -> list[Joint]:
    """The joints that are seen; where there is none, the points of hands and face that are."""
    seen_joints = [joint for joint in person.joints if joint[2] > 0]
    if seen_joints:
        return seen_joints
    points = (*(person.left_hand or ()), *(person.right_hand or ()), *(person.face_points or ()))
    return [point for point in points if point[2] > 0]


@dataclass(frozen=True)
class _Listed:
    """A dictionary of a list of people. number: from 1. notes: gets a line for each part that is left out."""

    number: int
    keypoints: Mapping[str, Any]
    notes: list[str]

    def part(self, name: str, counts: Sequence[int]) -> tuple[Joint, ...] | None:
        """The points of a hand or of the face; None where none is seen, or where the numbers are not those of a part.

        name: of the part, in the key of the dictionary. counts: how many points it may have.
        """
        numbers = _flat(self.keypoints.get(f"{name}_keypoints_2d"))
        expected = [3 * count for count in counts]
        if numbers is None or len(numbers) not in (0, *expected):
            has = "something else than numbers" if numbers is None else counted(len(numbers), "number")
            instead = " or ".join(map(str, expected))
            self.notes.append(f"Person {self.number}: {name}_keypoints_2d left out, it has {has} instead of {instead}")
            return None
        points = _in_triples(numbers)
        return tuple(points) if any(confidence > 0 for _, _, confidence in points) else None


def _with_hands_and_face(person: _Listed, joints: list[Joint]) -> OpenPose:
    """The person with these joints, and with hands and face points, each hand on the side of the wrist it is nearer to.

    The sides in the names of the hands are not relied on: SDPose names them the other way round than DWPose.
    """
    left_hand = person.part("hand_left", (_HAND_POINTS,))
    right_hand = person.part("hand_right", (_HAND_POINTS,))
    if _are_exchanged((left_hand, right_hand), [joints[wrist] for wrist in _WRISTS]):
        left_hand, right_hand = right_hand, left_hand
    return OpenPose(joints, left_hand, right_hand, person.part("face", FACE_POINTS))


def _are_exchanged(hands: Sequence[Hand | None], wrists: Sequence[Joint]) -> bool:
    """Whether the two hands lie nearer to the wrists of the other side. hands, wrists: the left one and the right one.

    False where both ways cannot be compared, because different hands or wrists are seen in them.
    """
    as_named = _distances(hands, wrists)
    exchanged = _distances(hands[::-1], wrists)
    # Sums of as many distances can be compared. Two empty lists are equal sums, so nothing is exchanged.
    return len(as_named) == len(exchanged) and sum(exchanged) < sum(as_named)


def _distances(hands: Sequence[Hand | None], wrists: Sequence[Joint]) -> list[float]:
    """How far each hand is from the wrist in the same place of the other list, px; only where both are seen."""
    pairs = zip(hands, wrists, strict=True)
    return [math.dist(_root(hand), wrist[:2]) for hand, wrist in pairs if hand and wrist[2] > 0]


def _root(hand: Hand) -> Point:
    """The wrist of a hand, or the first of its points that is seen."""
    return next(point[:2] for point in hand if point[2] > 0)


def _joints(number: int, numbers: Any) -> list[Joint]:
    """The joints of one person, from "pose_keypoints_2d"; empty where that is None or empty.

    number: of the person, from 1, for messages. numbers: a flat list [x, y, confidence, ...] or a list of
    triples. Raises BadPoses for something else, and for another number of joints.
    """
    flat = _flat(numbers)
    if flat is None:
        raise BadPoses(f"person {number} holds something else than numbers")
    if flat and len(flat) != 3 * _JOINTS:
        has = counted(len(flat), "number")
        raise BadPoses(f"person {number} has {has} instead of {3 * _JOINTS} (18 OpenPose points)")
    return _in_triples(flat)


def _flat(numbers: Any) -> list[float] | None:
    """A flat list of numbers of a flat list or of a list of triples; empty for None. None for something else."""
    try:
        return np.asarray([] if numbers is None else numbers, dtype=np.float64).ravel().tolist()
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor that needs gradients
        return None


def _in_triples(flat: Sequence[float]) -> list[Joint]:
    """The joints of [x, y, confidence, ...], as `near` leaves them; `_UNSEEN` for those at a place of `_LOST`."""
    joints = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    return [_UNSEEN if joint[:2] in _LOST else near(joint) for joint in joints]
