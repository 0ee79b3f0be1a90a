"""What the canvas in the editor draws: places before they were arranged by hand, and people with their faces."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..cast import Joint, PlacedCast, Slot, Unarranged
from ..pictures.previews import color_of
from .arranging import JOINTS, MOST_PLACES, head_of
from .bodies import SEEN

Faces = Sequence[Mapping[str, Any] | None]
"""For each person where the host serves a picture of their face, as it says that itself; None for nobody's."""


def as_drawn(cast: PlacedCast) -> Unarranged:
    """What the canvas begins with, also for a cast in which nothing can be arranged by hand."""
    if cast.unarranged:
        return cast.unarranged
    layout = cast.layout or cast.occupied
    number_at = {member.place: number for member, number in zip(cast.people, cast.numbers, strict=True)}
    numbers = tuple(number_at.get(place, 0) for place in range(1, len(layout.slots) + 1))
    return Unarranged(layout, cast, numbers)


def data(begin: Unarranged, faces: Faces) -> dict[str, Any]:
    """What the canvas is sent. Lengths of a place are in heads from its nose, sizes and noses in px.

    faces: of the people of begin.cast.
    """
    layout = begin.layout
    people = zip(begin.cast.numbers, begin.cast.people, faces, strict=True)
    return {
        "width": layout.width,
        "height": layout.height,
        "arrange": begin.text,
        "castless": begin.castless,
        "line": "\n".join(begin.troubles),
        "places": [_place(slot, number) for slot, number in zip(layout.slots, begin.numbers, strict=True)],
        "people": [{"number": number, "name": member.person.name, "face": face} for number, member, face in people],
        "colors": ["#{:02x}{:02x}{:02x}".format(*color_of(number)) for number in range(MOST_PLACES)],
    }


def _place(slot: Slot, who: int) -> dict[str, Any]:
    """A place. who: the number of its person in the list, 0 for nobody."""
    head = head_of(slot)

    def in_heads(point: Sequence[float]) -> list[float]:
        x, y = slot.center
        return [round((point[0] - x) / head, 3), round((point[1] - y) / head, 3)]

    def seen(joint: Joint) -> bool:
        return joint[2] > SEEN

    joints = zip(JOINTS, slot.pose or (), strict=False)
    hands = {"left": slot.left_hand, "right": slot.right_hand}
    return {
        "nose": list(slot.center),
        "head": head,
        "box": slot.box and [*in_heads(slot.box[:2]), *in_heads(slot.box[2:])],
        "joints": {name: in_heads(joint) for name, joint in joints if seen(joint)},
        "hands": {side: [in_heads(point) for point in hand] for side, hand in hands.items() if hand},
        "who": who,
    }
