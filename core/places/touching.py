"""People who touch: arms that end on a neighbour's body, whatever the size and distance of the two.

Positions are in the picture, in heads of an adult. An arm is two bones of fixed length in space; what the picture shows
of them is shorter where the elbow is nearer to the camera than shoulder and hand, or further from it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from ..cast import Point
from .actions import BENDS, NEAR_SIDE, BodySides, Hands, Holding, Spot, Touch
from .bodies import CROWN, STANDING, Head, passes, unit
from .builds import Build

LEFT, RIGHT = 1, -1
"""A person's sides, as directions in the picture."""
_SHOULDER, _ELBOW, _WRIST, _HIP, _KNEE = 2, 3, 4, 5, 6
_UPPER = math.dist(STANDING[_SHOULDER] or (), STANDING[_ELBOW] or ())
_LOWER = math.dist(STANDING[_ELBOW] or (), STANDING[_WRIST] or ())
_STRAIGHT = 0.995  # the most of its length that an arm reaches
_FOLDED = math.radians(35)  # the sharpest angle of an elbow
_HANGING = 0.93  # how much of its length an arm reaches that hangs down and holds a hand
_LEAN, _MOST_LEAN = 0.3, 0.4  # how much nearer two hands meet to the taller person, for each head of difference
_LEVEL = 0.05  # two ways to bend an elbow that differ less in height are alike: the outer one is taken
_STEPS = 8  # tried from joint to joint of a neighbour


@dataclass(frozen=True)
class Figure:
    """One person. nose: in heads of an adult. sides: the posture, in the person's own heads."""

    nose: Point
    build: Build
    sides: BodySides

    @property
    def face(self) -> Head:
        return Head(self.nose, self.build.head)

    @property
    def bones(self) -> tuple[float, float]:
        """The lengths of upper arm and forearm."""
        size = self.build.limbs * self.build.head
        return _UPPER * size, _LOWER * size

    def joint(self, side: int, number: int) -> Point:
        """A joint from shoulder to knee of one side."""
        offset = (self.sides.left if side == LEFT else self.sides.right)[number] or (0.0, 0.0)
        return (self.nose[0] + side * offset[0] * self.build.head, self.nose[1] + offset[1] * self.build.head)

    def offset(self, side: int, point: Point) -> Point:
        """A position as a posture has it: from the nose, in own heads, x outwards."""
        return (side * (point[0] - self.nose[0]) / self.build.head, (point[1] - self.nose[1]) / self.build.head)


class BentArm(NamedTuple):
    """reaches: whether the wrist is where it should be."""

    elbow: Point
    wrist: Point
    reaches: bool


def arm(shoulder: Point, target: Point, bones: tuple[float, float], outward: int, bend: float = 1.0) -> BentArm:
    """The arm from a shoulder to a target.

    outward: the direction of the person's side. bend: how far the elbow goes down, or outwards from an arm that hangs,
    in parts of the way it can go; below 0 to the other side. What is left of the way goes to the camera.
    A target that is too near is reached with the hand towards the camera. A straight arm points at one too far.
    """
    upper, lower = bones
    along = unit(shoulder, target)
    seen = math.dist(shoulder, target)
    most = _STRAIGHT * (upper + lower)
    reaches = seen <= most
    seen = min(seen, most)
    folded = math.sqrt(upper**2 + lower**2 - 2 * upper * lower * math.cos(_FOLDED))
    length = max(seen, folded)  # in space, from shoulder to wrist
    tilt = math.sqrt(length**2 - seen**2) / length
    # The foot of the elbow on the line from shoulder to wrist, and its distance from that line: the law of cosines.
    foot = (upper**2 - lower**2 + length**2) / (2 * length)
    aside = math.sqrt(max(0.0, upper**2 - foot**2))
    across = (-along[1], along[0])
    if across[1] < -_LEVEL or (abs(across[1]) <= _LEVEL and across[0] * outward < 0):
        across = (along[1], -along[0])
    # At right angles to both `across` and the arm: of it the picture shows what lies along the arm, by its tilt.
    from_line = foot * seen / length - aside * math.sqrt(1 - bend**2) * tilt
    elbow = _sum(shoulder, along, from_line)
    return BentArm(_sum(elbow, across, aside * bend), _sum(shoulder, along, seen), reaches)


class Held(NamedTuple):
    """The posture of one person who holds a neighbour, and whether the near hand is where it should be."""

    sides: BodySides
    reaches: bool


def hold(holding: Holding, leader: Figure, other: Figure) -> tuple[Held, Held]:
    """What leader and other look like when they hold each other: their postures with other arms."""
    return _held(holding.leader, leader, other), _held(holding.other, other, leader)


def _held(hands: Hands, figure: Figure, neighbour: Figure) -> Held:
    near = LEFT if neighbour.nose[0] > figure.nose[0] else RIGHT
    sides = {LEFT: figure.sides.left, RIGHT: figure.sides.right}
    reaches = True
    for touch, side in ((hands.near, near), (hands.far, -near)):
        if touch is None:
            continue
        bent = _reach(touch, figure, neighbour, side, near)
        # A far arm that does not reach across the chest hangs down. The near one points at the neighbour.
        if side == near:
            reaches = bent is not None and bent.reaches
        if bent and (bent.reaches or side == near):
            wrist = None if touch.hidden else figure.offset(side, bent.wrist)
            posture = sides[side]
            sides[side] = (*posture[:_ELBOW], figure.offset(side, bent.elbow), wrist, *posture[_HIP:])
    return Held(BodySides(sides[LEFT], sides[RIGHT]), reaches)


def _reach(touch: Touch, figure: Figure, neighbour: Figure, side: int, near: int) -> BentArm | None:
    """The arm to the first spot that it reaches without passing over a face, else the first that passes over none."""
    shoulder = figure.joint(side, _SHOULDER)
    if touch.spots:
        arms = [
            arm(shoulder, target, figure.bones, side, bend)
            for spot in touch.spots
            for target in _points(spot, neighbour, -near)
            for bend in spot.bends
        ]
    else:
        hand = _common_hand(figure, neighbour, near)
        arms = [arm(shoulder, hand, figure.bones, side, bend) for bend in BENDS]
    faces = (figure.face, neighbour.face)
    clear = [bent for bent in arms if not _over_faces(shoulder, bent, touch.hidden, faces)]
    return next((bent for bent in clear if bent.reaches), clear[0] if clear else None)


def _over_faces(shoulder: Point, bent: BentArm, hidden: bool, faces: Sequence[Head]) -> bool:
    bones = [(shoulder, bent.elbow)]
    if not hidden:
        bones.append((bent.elbow, bent.wrist))
    return any(passes((*start, 1.0), (*end, 1.0), face) for (start, end), face in product(bones, faces))


def _points(spot: Spot, figure: Figure, near: int) -> list[Point]:
    """The points of a spot on a figure, in the order in which they are tried. near: the side that is touched first."""
    side = near if spot.side == NEAR_SIDE else -near
    joints = [figure.joint(side, number) for number in (_SHOULDER, _HIP, _KNEE)]
    if spot.start < 0:
        return [(figure.nose[0], figure.nose[1] + CROWN * figure.build.head)]
    count = round((spot.end - spot.start) * _STEPS)
    points: list[Point] = []
    for step in range(count + 1):
        way = spot.start + step / _STEPS
        index = min(int(way), len(joints) - 2)
        start, end = joints[index], joints[index + 1]
        share = way - index
        points.append((start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])))
    return points


def _common_hand(figure: Figure, neighbour: Figure, near: int) -> Point:
    """The point where the hands of two people meet, the same for both.

    It lies between them, nearer the one whose hand hangs higher, as low as that hand, and lower where the other does
    not reach up to it.
    """
    shoulders = (figure.joint(near, _SHOULDER), neighbour.joint(-near, _SHOULDER))
    lengths = (sum(figure.bones), sum(neighbour.bones))
    hanging = [shoulder[1] + _HANGING * length for shoulder, length in zip(shoulders, lengths, strict=True)]
    y = min(hanging)
    lean = max(-_MOST_LEAN, min(_MOST_LEAN, _LEAN * (hanging[0] - hanging[1])))  # towards the neighbour
    (start, _), (end, _) = shoulders
    x = start + (0.5 + lean) * (end - start)
    for shoulder, length in zip(shoulders, lengths, strict=True):
        up = math.sqrt(max(0.0, (_HANGING * length) ** 2 - (x - shoulder[0]) ** 2))
        y = max(y, shoulder[1] - up)
    return (x, y)


def _sum(point: Point, direction: Point, times: float) -> Point:
    return (point[0] + direction[0] * times, point[1] + direction[1] * times)
