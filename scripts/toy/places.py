"""The two sizes of the toy model's pictures, and where somebody stands in them."""

from collections.abc import Sequence
from typing import NamedTuple

from core.cast import Point, Pose, Slot
from core.places import bodies

_FACE = 0.63
"""Width of a face's box in heads, as core.places.bodies draws it."""
SMALL, LARGE = (256, 192), (512, 384)


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


def by_face(places: Sequence[Place], size: tuple[int, int]) -> list[Place]:
    """The same people standing, so that their faces say where all of them is."""
    standing: list[Place] = []
    for nose, head, _ in places:
        pose = bodies.body_around(bodies.face_keypoints(nose, head), "full")
        standing.append(Place(nose, head, bodies.on_canvas(pose, head, *size)))
    return standing
