"""What is arranged by hand on the canvas of Place Cast: a text of edits, and a layout with them.

The text is JSON by the number of a place, as the layout has it before anything is edited. Lengths are in heads of that
place, from its nose, x to the right and y down; `turn` is in degrees, clockwise:

    {"1": {"move": [-0.5, 0.4], "joints": {"right elbow": [-1, 1.2]}},
     "2": {"scale": 1.8, "turn": 10, "mirror": true, "region": [["+", -1, 0, 1, 0, 1, 2], ["-", 0, 0, 1, 0, 1, 1]]},
     "3": {"out": true},
     "5": {"like": 2, "move": [2, 0]},
     "who": {"1": 2, "2": 1}, "front": [2, 1]}

What is done to a place, in this order: joints, mirror, scale, turn, move. Joints and regions are where they are before
the mirror, so all that comes after takes them along. `like`, of a number that the layout does not have: a new place, a
copy of another one before its edits. `who`: the number of a place, and the number in the list of the person there, 0
for nobody. `front`: places from back to front. An empty text changes nothing. web/ has the same rules;
tests/support/arranged.json is for both.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..cast import Box, CanvasSize, FacePoints, Hand, Joint, Keypoints, Layout, Outline, Point, Pose, Slot
from ..checks.errors import LikenessError, gathered
from ..checks.text import plain
from ..pictures.geometry import PATCH
from . import bodies, hand_texts, layouts, poses
from .expressions import other_side
from .hand_texts import Unreadable
from .hands import ELBOWS, WRISTS

JOINTS = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow",
    "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle",
    "right ankle",
)  # fmt: skip
"""The names of a Pose's joints, in its order. Left and right are the person's own."""
MOST_PLACES = 64
_SCALES = (0.05, 20.0)
_WHO, _FRONT = "who", "front"


class BadArrange(LikenessError):
    """A text of edits that cannot be read."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"Arranged by hand (arrange) cannot be read: {why}.",
            'Empty it, or write JSON by the number of a place, as {"1": {"move": [0.5, 0], "scale": 1.2}}.',
        )


@dataclass(frozen=True)
class Edit:
    """What is changed of a place. Lengths: heads from the nose. turn: degrees, clockwise.

    joints: by their names in JOINTS. region: outlines, in heads. out: whether the place is taken out. like: for a new
    place the number of the one that it is a copy of, else 0.
    """

    move: Point = (0.0, 0.0)
    scale: float = 1.0
    turn: float = 0.0
    mirror: bool = False
    joints: Mapping[str, Point] = field(default_factory=dict[str, Point])
    region: tuple[Outline, ...] = ()
    out: bool = False
    like: int = 0


@dataclass(frozen=True)
class Arrangement:
    """A text of edits that was read: by the number of a place, its edit and the number of its person; the order."""

    edits: Mapping[int, Edit] = field(default_factory=dict[int, Edit])
    who: Mapping[int, int] = field(default_factory=dict[int, int])
    front: tuple[int, ...] = ()


@dataclass(frozen=True)
class Arranged:
    """A layout with edits.

    given_count: how many places it had before them. numbers: for each place its number in the text, above given_count
    for places that were added. who: as in Arrangement. notes: a line for what could not be done.
    """

    layout: Layout
    given_count: int
    numbers: tuple[int, ...]
    who: Mapping[int, int] = field(default_factory=dict[int, int])
    notes: tuple[str, ...] = ()

    @classmethod
    def untouched(cls, layout: Layout) -> "Arranged":
        count = len(layout.slots)
        return cls(layout, count, tuple(range(1, count + 1)))

    @property
    def added(self) -> tuple[int, ...]:
        """The numbers of the places that were added."""
        return tuple(number for number in self.numbers if number > self.given_count)


def read(text: str) -> Arrangement:
    """The edits of a text. Raises BadArrange for anything else than what the top of this file says."""
    if not text.strip():
        return Arrangement()
    try:
        return _arrangement(hand_texts.table(hand_texts.value_in(text), "the text"))
    except Unreadable as why:
        raise BadArrange(str(why)) from why


def _arrangement(table: Mapping[str, Any]) -> Arrangement:
    edits = {_place(key): _edit(value, f"place {key}") for key, value in table.items() if key not in (_WHO, _FRONT)}
    for number, edit in edits.items():
        if edit.like == number:
            raise Unreadable(f"place {number} is like itself")
    who = {
        _place(key): _whole(value, f"who of place {key}", 0)
        for key, value in hand_texts.table(table.get(_WHO, {}), _WHO).items()
    }
    front = tuple(_whole(value, _FRONT, 1) for value in hand_texts.items(table.get(_FRONT, []), _FRONT))
    if len(set(front)) < len(front):
        raise Unreadable(f"{_FRONT} has a place twice")
    return Arrangement(edits, who, front)


def _place(key: str) -> int:
    """The number of a place of the name of an entry."""
    numbers = map(str, range(1, MOST_PLACES + 1))
    if key not in numbers:
        why = f"{plain(key, 40)!r} is neither {_WHO}, {_FRONT} nor the number of a place, from 1 to {MOST_PLACES}"
        raise Unreadable(why)
    return int(key)


def _whole(value: object, where: str, least: int) -> int:
    """A number of a place or person."""
    if type(value) is not int or not least <= value <= MOST_PLACES:
        raise Unreadable(f"{where} is {hand_texts.shown(value)}, not a whole number from {least} to {MOST_PLACES}")
    return value


def _switch(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise Unreadable(f"{where} is {hand_texts.shown(value)}, not true or false")
    return value


def _joints(value: object, where: str) -> Mapping[str, Point]:
    table = hand_texts.table(value, where)
    for name in table:
        if name not in JOINTS:
            raise Unreadable(f"{where} has {plain(name, 40)!r}, a joint that nobody has")
    return {name: hand_texts.point(point, f"{name} of {where}") for name, point in table.items()}


_READ: Mapping[str, Callable[[object, str], Any]] = {
    "move": hand_texts.point,
    "scale": lambda value, where: hand_texts.number(value, where, *_SCALES),
    "turn": lambda value, where: hand_texts.number(value, where, -360, 360),
    "mirror": _switch,
    "joints": _joints,
    "region": hand_texts.outlines,
    "out": _switch,
    "like": lambda value, where: _whole(value, where, 1),
}
"""By the name of a field of Edit, what reads it: it is called with the value and with where it stands, in words."""


def _edit(value: object, place: str) -> Edit:
    table = hand_texts.table(value, place)
    unknown = [name for name in table if name not in _READ]
    if unknown:
        raise Unreadable(f"{place} has {plain(unknown[0], 40)!r}, which is none of {', '.join(_READ)}")
    return Edit(**{name: _READ[name](entry, f"{name} of {place}") for name, entry in table.items()})


def arrange(layout: Layout, arrangement: Arrangement) -> Arranged:
    """The layout with edits; the same object where there are none.

    Raises BadArrange where all places are taken out.
    """
    untouched = Arranged.untouched(layout)
    if not arrangement.edits and not arrangement.front:
        return replace(untouched, who=arrangement.who, notes=_notes(arrangement, untouched))
    count = untouched.given_count
    canvas = (layout.width, layout.height)
    slots: dict[int, Slot] = {}
    for number, slot in enumerate(layout.slots, 1):
        edit = arrangement.edits.get(number, Edit())
        if edit.like:  # it was for a new place, and the layout has one of this number now
            slots[number] = slot
        elif not edit.out:
            slots[number] = _edited(slot, edit, canvas)
    for number, edit in sorted(arrangement.edits.items()):
        if number > count and 0 < edit.like <= count and not edit.out:
            source = replace(layout.slots[edit.like - 1], embeddings={})
            slots[number] = _edited(source, edit, canvas)
    if not slots:
        raise BadArrange("it takes out every place")
    for depth, number in enumerate(arrangement.front, 1):
        if number in slots:
            slots[number] = replace(slots[number], depth=depth)
    numbers = tuple(slots)
    described = tuple(place for place, number in enumerate(numbers, 1) if number in layout.described)
    edited = replace(layout, slots=tuple(slots.values()), described=described)
    arranged = Arranged(edited, count, numbers, arrangement.who)
    return replace(arranged, notes=_notes(arrangement, arranged))


def _notes(arrangement: Arrangement, arranged: Arranged) -> tuple[str, ...]:
    """Lines about edits that were not done."""
    edits = arrangement.edits
    taken_out = {number for number, edit in edits.items() if edit.out}
    gone = {*edits, *arrangement.who, *arrangement.front} - {*arranged.numbers} - taken_out
    taken = [number for number, edit in edits.items() if edit.like and number <= arranged.given_count]
    return (
        *gathered("Arranged by hand, but not there", [f"place {number}" for number in sorted(gone)]),
        *gathered("Not added by hand, as the layout has it now", [f"place {number}" for number in sorted(taken)]),
    )


def head_of(slot: Slot) -> float:
    """The height of the head of a place, px: the unit of its edits. Where only a point is known, PATCH."""
    return layouts.head_of(slot) or float(PATCH)


@dataclass(frozen=True)
class _Frame:
    """Where the points of a place come to.

    nose: before, px. target: where the nose comes to, px. head: px. mirror, scale: of an Edit. turn: a number of length
    1, by which x + iy is turned.
    """

    nose: complex
    target: complex
    head: float
    mirror: bool
    scale: float
    turn: complex

    def at(self, heads: Point) -> Point:
        """A point in heads from the nose, in px of the canvas before the edit."""
        return (self.nose.real + heads[0] * self.head, self.nose.imag + heads[1] * self.head)

    def moved(self, point: Point) -> Point:
        """Where a point of the canvas comes to."""
        from_nose = complex(*point) - self.nose
        if self.mirror:
            from_nose = -from_nose.conjugate()
        to = self.target + self.scale * self.turn * from_nose
        return (to.real, to.imag)

    def joint(self, joint: Joint) -> Joint:
        return (*self.moved(joint[:2]), joint[2])


def _edited(slot: Slot, edit: Edit, canvas: CanvasSize) -> Slot:
    """A place with an edit; the same one with an edit that says nothing."""
    pose_before = slot.pose
    slot = _bent(slot, edit.joints)
    nose = complex(*slot.center)
    head = head_of(slot)
    angle = math.radians(edit.turn)
    frame = _Frame(
        nose=nose,
        target=nose + head * complex(*edit.move),
        head=head,
        mirror=edit.mirror,
        scale=edit.scale,
        turn=complex(math.cos(angle), math.sin(angle)),
    )
    drawn = tuple(
        Outline(adds, tuple(frame.moved(frame.at(point)) for point in points)) for adds, points in edit.region
    )
    if replace(edit, joints={}, region=(), like=0) != Edit():  # what stays where it is stays to the last digit
        slot = _transformed(slot, frame)
    if slot.pose is not None and slot.pose is not pose_before:  # as layouts have poses: no detector sees far joints
        slot = replace(slot, pose=bodies.on_canvas(slot.pose, head * edit.scale, *canvas))
    return replace(slot, drawn=(*slot.drawn, *drawn)) if drawn else slot


def _bent(slot: Slot, joints: Mapping[str, Point]) -> Slot:
    """A place with some joints elsewhere, and each hand with its forearm. joints: heads from the nose, by name."""
    if slot.pose is None or not joints:
        return slot
    head = head_of(slot)
    x, y = slot.center
    bent = list(slot.pose)
    for name, (right, down) in joints.items():
        bent[JOINTS.index(name)] = (x + right * head, y + down * head, 1.0)
    pose = tuple(bent)
    return replace(
        slot,
        pose=pose,
        left_hand=_hand_with_forearm(slot.left_hand, slot.pose, pose, "left"),
        right_hand=_hand_with_forearm(slot.right_hand, slot.pose, pose, "right"),
    )


def _hand_with_forearm(hand: Hand | None, before: Pose, after: Pose, side: str) -> Hand | None:
    """A hand moved with the wrist, and turned as the forearm was: a hand does not grow as an arm is bent."""
    elbow, wrist = ELBOWS[side], WRISTS[side]
    if hand is None or (before[elbow] == after[elbow] and before[wrist] == after[wrist]):
        return hand
    old_way, way = (complex(*pose[wrist][:2]) - complex(*pose[elbow][:2]) for pose in (before, after))
    turn = way / old_way if old_way and way else 1 + 0j
    return poses.turned(hand, complex(*before[wrist][:2]), complex(*after[wrist][:2]), factor=turn / abs(turn))


def _transformed(slot: Slot, frame: _Frame) -> Slot:
    """A place mirrored, scaled, turned and moved as a whole."""
    mirror = frame.mirror
    hands = [_joints_moved(hand, frame) for hand in (slot.left_hand, slot.right_hand)]
    left_hand, right_hand = reversed(hands) if mirror else hands
    return replace(
        slot,
        center=frame.moved(slot.center),
        box=slot.box and _box(slot.box, frame),
        keypoints=slot.keypoints and _keypoints(slot.keypoints, frame),
        pose=slot.pose and _pose(slot.pose, frame),
        mask=None if slot.mask is None else _mask(slot.mask, frame),
        left_hand=left_hand,
        right_hand=right_hand,
        face_points=slot.face_points and _face_points(slot.face_points, frame),
        drawn=tuple(Outline(adds, tuple(map(frame.moved, points))) for adds, points in slot.drawn),
    )


def _joints_moved(joints: Sequence[Joint] | None, frame: _Frame) -> tuple[Joint, ...] | None:
    return None if joints is None else tuple(map(frame.joint, joints))


def _box(box: Box, frame: _Frame) -> Box:
    """An upright box around where the middle of the box comes to."""
    x0, y0, x1, y1 = box
    x, y = frame.moved(((x0 + x1) / 2, (y0 + y1) / 2))
    half_width, half_height = (x1 - x0) / 2 * frame.scale, (y1 - y0) / 2 * frame.scale
    return (x - half_width, y - half_height, x + half_width, y + half_height)


def _keypoints(keypoints: Keypoints, frame: _Frame) -> Keypoints:
    """In a mirror the left eye and the left corner of the mouth are the right ones."""
    moved = tuple(map(frame.moved, keypoints))
    return tuple(moved[number] for number in (1, 0, 2, 4, 3)) if frame.mirror else moved


def _pose(pose: Pose, frame: _Frame) -> Pose:
    """In a mirror the left arm is the right one: behind the nose, joints are in pairs."""
    moved = tuple(map(frame.joint, pose))
    if not frame.mirror:
        return moved
    return (moved[0], *(moved[number + 1 if number % 2 else number - 1] for number in range(1, len(moved))))


def _face_points(points: FacePoints, frame: _Frame) -> FacePoints:
    return tuple(map(frame.joint, other_side(points) if frame.mirror else points))


def _mask(mask: Tensor, frame: _Frame) -> Tensor:
    """A mask (H, W) as all of its pixels are moved; 0 where nothing comes to."""
    # Pillow asks where each pixel of the new picture was in the old one: the inverse of `_Frame.moved`.
    back = 1 / (frame.scale * frame.turn)

    def before(point: complex) -> complex:
        from_nose = back * (point - frame.target)
        return frame.nose + (-from_nose.conjugate() if frame.mirror else from_nose)

    origin = before(0)
    across, down = before(1) - origin, before(1j) - origin
    picture = Image.fromarray(mask.float().numpy().astype(np.float32))
    rows = (across.real, down.real, origin.real, across.imag, down.imag, origin.imag)
    moved = picture.transform(picture.size, Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR)
    return torch.as_tensor(np.array(moved))
