"""The hands of people in photos, brought to the wrists of the people in a layout."""

from collections.abc import Sequence
from dataclasses import replace

from ..cast import Hand, Joint, Layout, Pose, Slot
from . import bodies, poses
from .expressions import ExpressiveLayout
from .poses import OpenPose

_Forearm = tuple[complex, complex]
"""Elbow and wrist as x + iy: a turn of such points is a product with a number of length 1."""

_FOREARMS = {"left": (7, 9), "right": (8, 10)}
"""Side of a person -> elbow and wrist in a Pose."""


def with_hands(layout: Layout, people: Sequence[OpenPose], place: int, mirror: bool) -> ExpressiveLayout:
    """The layout with the hands of the first person at this place (from 1), of the second at the next place, and so on.

    A hand is moved from the wrist in the photo to the wrist of the place, turned about it by the angle between the two
    forearms, and scaled as the heads are: a forearm that points at the camera is short in a picture, a head is not. A
    hand that the photo does not show stays as the place has it.
    mirror: whether left and right of the photos are exchanged. The layout has a place for everybody.
    """
    slots = list(layout.slots)
    notes: list[str] = []
    for number, person in enumerate(people, place):
        arms = _arms(person, mirror)
        if not any(hand for hand, _ in arms.values()):
            notes.append(f"Place {number}: the photo shows no hands")
        for side, (hand, forearm) in arms.items():
            if hand is None:
                continue
            slot = slots[number - 1]
            own_forearm = _forearm(slot.pose or (), side)
            if forearm is None or own_forearm is None:
                where = "photo" if forearm is None else "layout"
                notes.append(f"Place {number}: {side} hand left out, the {where} shows no elbow or no wrist of it")
                continue
            scale = _scale(slot, person, own_forearm, forearm)
            slots[number - 1] = replace(slot, **{f"{side}_hand": _moved(hand, forearm, own_forearm, scale)})
    return ExpressiveLayout(replace(layout, slots=tuple(slots)), notes)


def _arms(person: OpenPose, mirror: bool) -> dict[str, tuple[Hand | None, _Forearm | None]]:
    """Side -> the hand and the forearm of a person in a photo, None for what is not seen."""
    pose = poses.coco(person.joints)
    hands = {"left": person.left_hand, "right": person.right_hand}
    arms = {side: (hand, _forearm(pose, side)) for side, hand in hands.items()}
    if not mirror:
        return arms
    # Mirrored at x = 0, where -conj(x + iy) is -x + iy: hands are moved to their wrists later.
    mirrored: dict[str, tuple[Hand | None, _Forearm | None]] = {}
    for side, other_side in (("left", "right"), ("right", "left")):
        hand, forearm = arms[other_side]
        mirrored_hand = poses.moved(hand, lambda point: (-point[0], point[1], point[2]))
        ends = None if forearm is None else (-forearm[0].conjugate(), -forearm[1].conjugate())
        mirrored[side] = (mirrored_hand, ends)
    return mirrored


def _forearm(pose: Pose, side: str) -> _Forearm | None:
    """The forearm of this side; None where an end is not seen, or both ends are in one point."""
    ends = [pose[joint] for joint in _FOREARMS[side]] if pose else []
    if not ends or any(end[2] <= bodies.SEEN for end in ends) or ends[0][:2] == ends[1][:2]:
        return None
    elbow, wrist = (complex(*end[:2]) for end in ends)
    return elbow, wrist


def _scale(slot: Slot, person: OpenPose, own_forearm: _Forearm, forearm: _Forearm) -> float:
    """How many times larger the place's person is than the one in the photo: by heads, else by forearms."""
    own_head = bodies.head_of_pose(slot.pose) if slot.pose else None
    head = bodies.head_of_pose(poses.coco(person.joints))
    if own_head and head:
        return own_head / head
    return abs(own_forearm[1] - own_forearm[0]) / abs(forearm[1] - forearm[0])


def _moved(hand: Hand, forearm: _Forearm, own_forearm: _Forearm, scale: float) -> Hand | None:
    """The hand at the wrist of the place's own forearm. forearm: of the photo."""
    turn = (own_forearm[1] - own_forearm[0]) / (forearm[1] - forearm[0])
    turn /= abs(turn)

    def move(point: Joint) -> Joint:
        """Where a point of the photo's hand lies at the place, with its confidence."""
        at_place = own_forearm[1] + scale * turn * (complex(*point[:2]) - forearm[1])
        return (at_place.real, at_place.imag, point[2])

    return poses.moved(hand, move)
