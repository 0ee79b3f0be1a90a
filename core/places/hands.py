"""The hands of people in photos, brought to the wrists of the people in a layout."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..cast import Hand, Layout, Pose, Slot
from . import bodies, poses
from .layouts import NotedLayout
from .poses import OpenPose

_OTHER_SIDE = {"left": "right", "right": "left"}
"""The sides of a person, as the fields of hands begin."""
ELBOWS = {"left": 7, "right": 8}
WRISTS = {"left": 9, "right": 10}
"""Numbers of joints in a Pose."""


@dataclass(frozen=True)
class _Forearm:
    """Its ends, x + iy."""

    elbow: complex
    wrist: complex

    @property
    def way(self) -> complex:
        """From elbow to wrist."""
        return self.wrist - self.elbow


@dataclass(frozen=True)
class _Arm:
    """An arm in a photo, as far as it is seen."""

    hand: Hand | None
    forearm: _Forearm | None


def with_hands(layout: Layout, people: Sequence[OpenPose], first_place: int, mirror: bool) -> NotedLayout:
    """The layout with the hands of the first person at `first_place` (from 1), of the second at the next, and so on.

    A hand is moved from the wrist in the photo to the wrist of the place, turned about it by the angle between the two
    forearms, and scaled as the heads are: a forearm that points at the camera is short in a picture, a head is not. A
    hand that the photo does not show stays as the place has it.
    mirror: whether left and right of the photos are exchanged. The layout has a place for everybody.
    """
    slots = list(layout.slots)
    notes: list[str] = []
    for number, person in enumerate(people, first_place):
        slot = slots[number - 1]
        if not person.left_hand and not person.right_hand:
            notes.append(f"Place {number}: the photo shows no hands")
        hands: dict[str, Hand | None] = {}  # field of the Slot -> hand
        for side in _OTHER_SIDE:
            arm = _mirrored_arm(person, side) if mirror else _arm(person, side)
            own = _forearm(slot.pose, side)
            if arm.hand and arm.forearm and own:
                hands[f"{side}_hand"] = _moved(arm.hand, arm.forearm, own, _scale(slot, person, own, arm.forearm))
            elif arm.hand:
                where = "layout" if arm.forearm else "photo"
                notes.append(f"Place {number}: {side} hand left out, the {where} shows no elbow or no wrist of it")
        slots[number - 1] = replace(slot, **hands)
    return NotedLayout(replace(layout, slots=tuple(slots)), notes)


def _arm(person: OpenPose, side: str) -> _Arm:
    hand = person.left_hand if side == "left" else person.right_hand
    return _Arm(hand, _forearm(poses.coco(person.joints), side))


def _mirrored_arm(person: OpenPose, side: str) -> _Arm:
    """What a mirror at x = 0 makes the arm of this side: the other one. Where it lies is no matter: it is moved."""
    arm = _arm(person, _OTHER_SIDE[side])
    hand = poses.moved(arm.hand, lambda point: (-point[0], point[1], point[2]))
    if arm.forearm is None:
        return _Arm(hand, None)
    # -conj(x + iy) is -x + iy.
    return _Arm(hand, _Forearm(-arm.forearm.elbow.conjugate(), -arm.forearm.wrist.conjugate()))


def _forearm(pose: Pose | None, side: str) -> _Forearm | None:
    """The forearm of this side; None where an end is not seen, or both ends are in one point."""
    if not pose:
        return None
    elbow, wrist = pose[ELBOWS[side]], pose[WRISTS[side]]
    are_seen = elbow[2] > bodies.SEEN and wrist[2] > bodies.SEEN
    if not are_seen or elbow[:2] == wrist[:2]:
        return None
    return _Forearm(complex(*elbow[:2]), complex(*wrist[:2]))


def _scale(slot: Slot, person: OpenPose, own: _Forearm, in_photo: _Forearm) -> float:
    """How many times larger the place's person is than the one in the photo: by heads, else by forearms."""
    own_head = bodies.head_of_pose(slot.pose) if slot.pose else None
    head = bodies.head_of_pose(poses.coco(person.joints))
    if own_head and head:
        return own_head / head
    return abs(own.way) / abs(in_photo.way)


def _moved(hand: Hand, forearm: _Forearm, own: _Forearm, scale: float) -> Hand:
    """The hand at the wrist of the place's own forearm. forearm: of the photo."""
    turn = own.way / forearm.way
    turn /= abs(turn)
    return poses.turned(hand, forearm.wrist, own.wrist, factor=scale * turn)
