"""People who touch: arms that end on a neighbour's body, whatever the size and distance of the two.

Positions are in the picture, in heads (see builds.py). An arm is two bones of fixed length in space; what the picture
shows of them is shorter where the elbow is nearer to the camera than shoulder and hand, or further from it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..cast import Point
from .actions import BENDS, NEAR_SIDE, Arm, BodySides, DrawnArms, Hands, Holding, Spot, Touch, with_arm
from .bodies import CROWN, STANDING, Head, passes
from .builds import Build
from .vectors import between, moved, rightward, unit

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


class Bones(NamedTuple):
    """The lengths of upper arm and forearm."""

    upper: float
    lower: float

    @property
    def longest(self) -> float:
        """From shoulder to wrist of a straight arm."""
        return _STRAIGHT * (self.upper + self.lower)

    @property
    def shortest(self) -> float:
        """From shoulder to wrist of a folded arm."""
        return math.sqrt(self.upper**2 + self.lower**2 - 2 * self.upper * self.lower * math.cos(_FOLDED))

    def elbow(self, length: float) -> "Elbow":
        """Where the elbow is in an arm of this length from shoulder to wrist."""
        along = (self.upper**2 - self.lower**2 + length**2) / (2 * length)  # the law of cosines
        return Elbow(along, math.sqrt(max(0.0, self.upper**2 - along**2)))


class Elbow(NamedTuple):
    """Where the elbow is in an arm.

    shoulder ---- along ----+---------- wrist
                            | aside
                          elbow
    """

    along: float
    aside: float


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
    def bones(self) -> Bones:
        size = self.build.limbs * self.build.head
        return Bones(_UPPER * size, _LOWER * size)

    def joint(self, side: int, number: int) -> Point:
        """A joint from shoulder to knee of one side."""
        outwards, downwards = (self.sides.left if side == LEFT else self.sides.right)[number] or (0.0, 0.0)
        return moved(self.nose, (side * outwards, downwards), self.build.head)

    def side_of(self, neighbour: "Partner") -> int:
        """The side at which a neighbour stands."""
        return LEFT if neighbour.nose[0] > self.nose[0] else RIGHT

    def offsets(self, side: int, arm: "BentArm", hidden: bool) -> tuple[Point, Point | None]:
        """Elbow and wrist of an arm as a posture has them. hidden: whether the hand is behind the neighbour."""
        return self._offset(side, arm.elbow), None if hidden else self._offset(side, arm.wrist)

    def _offset(self, side: int, point: Point) -> Point:
        """A position as a posture has it: from the nose, in own heads, x outwards."""
        x, y = between(self.nose, point)
        return (side * x / self.build.head, y / self.build.head)


class BentArm(NamedTuple):
    """reaches: whether the wrist is where it should be."""

    elbow: Point
    wrist: Point
    reaches: bool


def arm(shoulder: Point, target: Point, bones: Bones, outward: int, bend: float) -> BentArm:
    """The arm from a shoulder to a target.

    A target that is too near is reached with the hand towards the camera. A target that is too far is not reached: a
    straight arm points at it.
    outward: the direction of the person's side, LEFT or RIGHT. bend: how much of the elbow's bend lies in the picture,
    from -1 to 1; the rest points to the camera. Above 0 the elbow goes down, or outwards where the arm hangs; below 0
    it goes the other way.
    """
    distance = math.dist(shoulder, target)
    seen_length = min(distance, bones.longest)
    length = max(seen_length, bones.shortest)  # in space: an arm that is longer than it looks points to the camera
    elbow = bones.elbow(length)
    # The way from shoulder to elbow in space has three parts: along the arm, which looks shorter in a tilted arm;
    # beside the arm in the picture; and towards the camera, of which a tilted arm shows some, back to the shoulder.
    tilt_sine = math.sqrt(length**2 - seen_length**2) / length  # of the angle between the arm and the picture
    to_camera = elbow.aside * math.sqrt(1 - bend**2)
    seen_along = elbow.along * seen_length / length - to_camera * tilt_sine
    to_target = unit(shoulder, target)
    beside_elbow = moved(shoulder, to_target, seen_along)
    seen_elbow = moved(beside_elbow, _bend_direction(to_target, outward), elbow.aside * bend)
    return BentArm(seen_elbow, moved(shoulder, to_target, seen_length), reaches=distance <= bones.longest)


def _bend_direction(to_target: Point, outward: int) -> Point:
    """The direction at right angles to an arm in which its elbow goes: down, or outwards if the arm is upright.

    to_target: the direction of the arm, of length 1. outward: that of the person's side, LEFT or RIGHT.
    """
    one_way = rightward(to_target)
    other_way = (-one_way[0], -one_way[1])
    is_upright = abs(to_target[0]) <= _LEVEL
    if is_upright:
        return max(one_way, other_way, key=lambda direction: direction[0] * outward)
    return max(one_way, other_way, key=lambda direction: direction[1])  # y grows downwards: the lower one


class HoldingPosture(NamedTuple):
    """The posture of one person who holds a neighbour.

    reaches: whether the near hand is where it should be, or is to touch nothing.
    """

    sides: BodySides
    reaches: bool


def hold(holding: Holding, leader: Partner, other: Partner) -> tuple[HoldingPosture, HoldingPosture]:
    """What leader and other look like when they hold each other: their postures with other arms."""
    return _held(holding.leader, leader, other), _held(holding.other, other, leader)


def _held(hands: Hands, person: Partner, neighbour: Partner) -> HoldingPosture:
    """The posture of `person` with the arms that reach for `neighbour`. hands: what the near and the far one touch.

    A near arm that does not reach points at the neighbour. An arm stays as it was where its hand touches nothing, where
    it would pass over a face, and where it is the far one and does not reach.
    """
    near = person.side_of(neighbour)
    sides = person.sides
    reaches = True
    if hands.near:
        bent = _reach(hands.near, person, neighbour, near)
        reaches = bent is not None and bent.reaches
        if bent:
            sides = _with_arm(sides, near, person.offsets(near, bent, hands.near.hidden))
    if hands.far:
        bent = _reach(hands.far, person, neighbour, -near)
        if bent and bent.reaches:
            sides = _with_arm(sides, -near, person.offsets(-near, bent, hands.far.hidden))
    return HoldingPosture(sides, reaches)


def hold_as_drawn(
    arms: DrawnArms, leader: Partner, other: Partner, distance: float
) -> tuple[HoldingPosture, HoldingPosture]:
    """As `hold`, by arms that are drawn for them. distance: nose to nose along the row, in heads."""
    return _held_as_drawn(arms.leader, leader, other, distance), _held_as_drawn(arms.other, other, leader, distance)


def _held_as_drawn(arm: Arm, person: Partner, neighbour: Partner, distance: float) -> HoldingPosture:
    to_neighbour = (distance, neighbour.nose[1] - person.nose[1])  # x outwards
    elbow = arm.elbow.towards(to_neighbour)
    wrist = arm.wrist and arm.wrist.towards(to_neighbour)
    return HoldingPosture(_with_arm(person.sides, person.side_of(neighbour), (elbow, wrist)), reaches=True)


def _with_arm(sides: BodySides, side: int, joints: Sequence[Point | None]) -> BodySides:
    """A posture with another arm. side: LEFT or RIGHT. joints: elbow and wrist, None for a hidden one."""
    if side == LEFT:
        return BodySides(with_arm(sides.left, joints), sides.right)
    return BodySides(sides.left, with_arm(sides.right, joints))


def _reach(touch: Touch, person: Partner, neighbour: Partner, side: int) -> BentArm | None:
    """An arm of `person` that passes over no face: the first that reaches what is to be touched, else the first.

    side: of the arm.
    """
    shoulder = person.joint(side, _SHOULDER)
    arms: list[BentArm] = []
    for spot in touch.spots:
        for target in _points(spot, neighbour, neighbour.side_of(person)):
            arms += [arm(shoulder, target, person.bones, side, bend) for bend in spot.bends]
    if not touch.spots:
        hand = _common_hand(person, neighbour)
        arms += [arm(shoulder, hand, person.bones, side, bend) for bend in BENDS]
    faces = (person.face, neighbour.face)
    clear = [bent for bent in arms if not _over_faces(shoulder, bent, touch.hidden, faces)]
    best = [bent for bent in clear if bent.reaches] or clear
    return best[0] if best else None


def _over_faces(shoulder: Point, bent: BentArm, hidden: bool, faces: Sequence[Head]) -> bool:
    """Whether an arm passes over one of these faces. hidden: whether the forearm is behind the neighbour."""
    start, elbow, wrist = ((*point, 1.0) for point in (shoulder, bent.elbow, bent.wrist))  # joints that are seen
    upper_over = any(passes(start, elbow, face) for face in faces)
    lower_over = not hidden and any(passes(elbow, wrist, face) for face in faces)
    return upper_over or lower_over


def _points(spot: Spot, person: Partner, near: int) -> list[Point]:
    """The points of a spot on a person, in the order in which they are tried, from `spot.start` to `spot.end`.

    near: the side of this person at which the one who touches them stands.
    """
    if spot.start < 0:  # the crown
        return [moved(person.nose, (0.0, CROWN), person.build.head)]
    side = near if spot.side == NEAR_SIDE else -near
    shoulder, hip, knee = (person.joint(side, number) for number in (_SHOULDER, _HIP, _KNEE))
    step_count = round((spot.end - spot.start) * _STEPS)
    points: list[Point] = []
    for step in range(step_count + 1):
        way = spot.start + step / _STEPS  # 0 at the shoulder, 1 at the hip, 2 at the knee
        if way < 1:
            points.append(moved(shoulder, between(shoulder, hip), way))
        else:
            points.append(moved(hip, between(hip, knee), way - 1))
    return points


def _common_hand(person: Partner, neighbour: Partner) -> Point:
    """The point where the hands of two people meet, the same for both.

    From left to right it lies between their shoulders, nearer to the one whose hand hangs higher. It is as high as that
    hand, or lower where an arm does not reach that high. y grows downwards, so the higher of two has the smaller y.
    """
    x, y = person.joint(person.side_of(neighbour), _SHOULDER)
    other_x, other_y = neighbour.joint(neighbour.side_of(person), _SHOULDER)
    length = _HANGING * sum(person.bones)
    other_length = _HANGING * sum(neighbour.bones)
    hanging_y = y + length
    other_hanging_y = other_y + other_length
    # Above 0 where the hand of `person` hangs lower, and so the two meet nearer the neighbour.
    lean = max(-_MOST_LEAN, min(_MOST_LEAN, _LEAN * (hanging_y - other_hanging_y)))
    meeting_x = x + (0.5 + lean) * (other_x - x)  # 0.5: halfway
    meeting_y = max(
        min(hanging_y, other_hanging_y),
        y - _rise_of_hand(length, across=meeting_x - x),
        other_y - _rise_of_hand(other_length, across=meeting_x - other_x),
    )
    return (meeting_x, meeting_y)


def _rise_of_hand(length: float, across: float) -> float:
    """How far above its shoulder a hand can be that is `across` beside it, 0 where the arm is too short for that.

    The arm is the longest side of a right triangle, `across` the second one, and this the third one.
    """
    return math.sqrt(max(0.0, length**2 - across**2))
