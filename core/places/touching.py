"""People who touch: arms that end on a neighbour's body, whatever the size and distance of the two.

Positions are in the picture, in heads (see builds.py). An arm is two bones of fixed length in space; what the picture
shows of them is shorter where the elbow is nearer to the camera than shoulder and hand, or further from it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from ..cast import Point
from .actions import BENDS, NEAR_SIDE, BodySides, Hands, Holding, Spot, Touch, with_arm
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
class Partner:
    """One of two people who touch. nose: in heads. sides: the posture, in own heads."""

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

    A target that is too near is reached with the hand towards the camera. A target that is too far is not reached: a
    straight arm points at it.
    bones: the lengths of upper arm and forearm. outward: the direction of the person's side, LEFT or RIGHT.
    bend: how much of the elbow's bend lies in the picture, from -1 to 1; the rest points to the camera. Above 0 the
    elbow goes down, or outwards where the arm hangs; below 0 it goes the other way.
    """
    upper, lower = bones
    to_target = unit(shoulder, target)  # a direction of length 1
    distance = math.dist(shoulder, target)
    longest = _STRAIGHT * (upper + lower)
    shortest = math.sqrt(upper**2 + lower**2 - 2 * upper * lower * math.cos(_FOLDED))
    length_seen = min(distance, longest)
    length = max(length_seen, shortest)  # in space, from shoulder to wrist
    tilt = math.sqrt(length**2 - length_seen**2) / length  # the sine of the angle between the arm and the picture
    elbow_along, elbow_aside = _elbow_in_space(upper, lower, length)
    # The part of the bend that points to the camera is at right angles to the arm. As the arm is tilted, the picture
    # shows some of that part, along the arm and back to the shoulder.
    along_seen = elbow_along * length_seen / length - elbow_aside * math.sqrt(1 - bend**2) * tilt
    beside_elbow = _sum(shoulder, to_target, along_seen)
    elbow = _sum(beside_elbow, _bend_direction(to_target, outward), elbow_aside * bend)
    wrist = _sum(shoulder, to_target, length_seen)
    return BentArm(elbow, wrist, reaches=distance <= longest)


def _elbow_in_space(upper: float, lower: float, length: float) -> tuple[float, float]:
    """Where the elbow is in an arm of this length from shoulder to wrist: elbow_along and elbow_aside.

    shoulder ---- elbow_along ----+---------- wrist
                                  | elbow_aside
                                elbow
    """
    elbow_along = (upper**2 - lower**2 + length**2) / (2 * length)  # the law of cosines
    elbow_aside = math.sqrt(max(0.0, upper**2 - elbow_along**2))
    return elbow_along, elbow_aside


def _bend_direction(to_target: Point, outward: int) -> Point:
    """The direction at right angles to an arm in which its elbow goes: down, or outwards if the arm is upright.

    to_target: the direction of the arm, of length 1. outward: that of the person's side, LEFT or RIGHT.
    """
    x, y = to_target
    one_way, other_way = (-y, x), (y, -x)
    if abs(x) > _LEVEL:
        return one_way if x > 0 else other_way  # y grows downwards, so the lower one has the larger y
    return one_way if -y * outward >= 0 else other_way  # -y is how far `one_way` goes to the viewer's right


class HoldingPosture(NamedTuple):
    """The posture of one person who holds a neighbour, and whether the near hand is where it should be.

    `reaches` is also True where the near hand is to touch nothing.
    """

    sides: BodySides
    reaches: bool


def hold(holding: Holding, leader: Partner, other: Partner) -> tuple[HoldingPosture, HoldingPosture]:
    """What leader and other look like when they hold each other: their postures with other arms."""
    return _held(holding.leader, leader, other), _held(holding.other, other, leader)


def _held(hands: Hands, person: Partner, neighbour: Partner) -> HoldingPosture:
    """The posture of `person` with the arms that reach for `neighbour`. hands: what the near and the far one touch.

    An arm stays as it was where its hand touches nothing, or where it would pass over a face.
    """
    near = LEFT if neighbour.nose[0] > person.nose[0] else RIGHT
    sides = {LEFT: person.sides.left, RIGHT: person.sides.right}
    reaches = True
    for touch, side in ((hands.near, near), (hands.far, -near)):
        if touch is None:
            continue
        bent = _reach(touch, person, neighbour, side, near)
        # Where an arm does not reach, the near one points at the neighbour, and the far one stays as it was.
        if side == near:
            reaches = bent is not None and bent.reaches
        if bent and (bent.reaches or side == near):
            wrist = None if touch.hidden else person.offset(side, bent.wrist)
            sides[side] = with_arm(sides[side], (person.offset(side, bent.elbow), wrist))
    return HoldingPosture(BodySides(sides[LEFT], sides[RIGHT]), reaches)


def _reach(touch: Touch, person: Partner, neighbour: Partner, side: int, near: int) -> BentArm | None:
    """An arm of `person` to a point of a touch, the first of these that there is:

    1. one that passes over no face and reaches its point; 2. one that passes over no face; 3. None.
    The points are those of the spots of `touch` on the neighbour. Without spots the only one is where the hands of both
    meet. side: of the arm. near: the person's side at which the neighbour stands.
    """
    shoulder = person.joint(side, _SHOULDER)
    if touch.spots:
        arms = [
            arm(shoulder, target, person.bones, side, bend)
            for spot in touch.spots
            for target in _points(spot, neighbour, -near)  # the neighbour's side at which the person stands
            for bend in spot.bends
        ]
    else:
        hand = _common_hand(person, neighbour, near)
        arms = [arm(shoulder, hand, person.bones, side, bend) for bend in BENDS]
    faces = (person.face, neighbour.face)
    clear = [bent for bent in arms if not _over_faces(shoulder, bent, touch.hidden, faces)]
    return next((bent for bent in clear if bent.reaches), clear[0] if clear else None)


def _over_faces(shoulder: Point, bent: BentArm, hidden: bool, faces: Sequence[Head]) -> bool:
    """Whether an arm passes over one of these faces. hidden: whether the forearm is behind the neighbour."""
    bones = [(shoulder, bent.elbow)]
    if not hidden:
        bones.append((bent.elbow, bent.wrist))
    # 1.0: `passes` takes joints, and all of these count as seen.
    return any(passes((*start, 1.0), (*end, 1.0), face) for (start, end), face in product(bones, faces))


def _points(spot: Spot, person: Partner, near: int) -> list[Point]:
    """The points of a spot on a person, in the order in which they are tried, from `spot.start` to `spot.end`.

    near: the side of this person at which the one who touches them stands.
    """
    if spot.start < 0:  # the crown
        return [(person.nose[0], person.nose[1] + CROWN * person.build.head)]
    side = near if spot.side == NEAR_SIDE else -near
    joints = [person.joint(side, number) for number in (_SHOULDER, _HIP, _KNEE)]
    count = round((spot.end - spot.start) * _STEPS)
    points: list[Point] = []
    for step in range(count + 1):
        position = spot.start + step / _STEPS  # 0.25 is a quarter of the way from joint 0 to joint 1
        index = min(int(position), len(joints) - 2)
        start, end = joints[index], joints[index + 1]
        share = position - index
        points.append((start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])))
    return points


def _common_hand(person: Partner, neighbour: Partner, near: int) -> Point:
    """The point where the hands of two people meet, the same for both.

    From left to right it lies between their shoulders, nearer to the one whose hand hangs higher. It is as high as that
    hand, or lower where an arm does not reach that high. y grows downwards, so the higher of two has the smaller y.
    """
    shoulders = (person.joint(near, _SHOULDER), neighbour.joint(-near, _SHOULDER))
    arm_lengths = [_HANGING * sum(person.bones), _HANGING * sum(neighbour.bones)]
    hanging_y = [y + length for (_, y), length in zip(shoulders, arm_lengths, strict=True)]
    # Above 0 where the hand of `person` hangs lower, and so the two meet nearer the neighbour.
    lean = max(-_MOST_LEAN, min(_MOST_LEAN, _LEAN * (hanging_y[0] - hanging_y[1])))
    (person_x, _), (neighbour_x, _) = shoulders
    meeting_x = person_x + (0.5 + lean) * (neighbour_x - person_x)  # 0.5: halfway
    meeting_y = min(hanging_y)
    for (x, y), length in zip(shoulders, arm_lengths, strict=True):
        # The other side of a right triangle: the arm is its longest side, the way across to the point the third one.
        highest_reach = y - math.sqrt(max(0.0, length**2 - (meeting_x - x) ** 2))
        meeting_y = max(meeting_y, highest_reach)
    return (meeting_x, meeting_y)


def _sum(point: Point, direction: Point, times: float) -> Point:
    return (point[0] + direction[0] * times, point[1] + direction[1] * times)
