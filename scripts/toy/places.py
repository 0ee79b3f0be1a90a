"""The sizes of the toy model's pictures, and where somebody stands in them."""

from collections.abc import Sequence
from typing import NamedTuple

from core.cast import Point, Pose, Slot

_FACE = 0.63
"""Width of a face's box in heads, as core.places.bodies draws it."""
SMALL, LARGE = (256, 192), (512, 384)
THREE = (640, 480)
"""Where closely framed faces have 96 px and more: those of two people in LARGE, of three in THREE."""


class Place(NamedTuple):
    nose: Point
    head: float
    """Crown to chin, in pixels."""
    pose: Pose


def of_slots(slots: Sequence[Slot]) -> list[Place]:
    """Of slots that have a face and a skeleton, as those of group layouts do."""
    places: list[Place] = []
    for slot in slots:
        assert slot.box and slot.pose
        places.append(Place(slot.center, (slot.box[2] - slot.box[0]) / _FACE, slot.pose))
    return places
