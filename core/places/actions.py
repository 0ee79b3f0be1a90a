"""What people of a group do: where arms and legs go, and how near neighbours stand.

Lengths are in heads (see builds.py), of poses from the nose, y down. Right and left are the person's own, x grows
outwards on both sides. Lengths of limbs are what the camera sees of them: at most those of bodies.STANDING, less where
a limb points to the camera or away from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..cast import Point
from .bodies import KNEELING, SEATED, STANDING, Posture


class Reach(NamedTuple):
    """The position of an elbow or a wrist. to_neighbour: the share of the way to the neighbour on this side that is
    added to it."""

    x: float
    y: float
    to_neighbour: float = 0.0

    def towards(self, neighbour: Point) -> Point:
        """The position, in heads from the nose. neighbour: the way from this nose to the neighbour's nose, in heads."""
        return (self.x + self.to_neighbour * neighbour[0], self.y + self.to_neighbour * neighbour[1])


class Arm(NamedTuple):
    """An arm; a wrist of None is hidden from the camera."""

    elbow: Reach
    wrist: Reach | None


class Arms(NamedTuple):
    """Both arms; None is as the posture has it."""

    left: Arm | None
    right: Arm | None


BENDS = (1.0, 0.5, 0.0, -0.5)
NEAR_SIDE, FAR_SIDE = "near", "far"


class Spot(NamedTuple):
    """A part of one side of a neighbour.

    side: NEAR_SIDE, where the other stands, or FAR_SIDE. start, end: on the way down, where 0 is the shoulder, 1 the
    hip, 2 the knee, and -1 the crown. bends: of the elbow of the arm there, as touching.arm has it; the next is taken
    where the arm would pass over a face.
    """

    side: str
    start: float
    end: float
    bends: tuple[float, ...] = BENDS


class Touch(NamedTuple):
    """What a hand reaches for, see touching.py.

    spots: of the neighbour, the first that can be reached; none for the neighbour's hand. hidden: the hand is behind
    the neighbour.
    """

    spots: tuple[Spot, ...]
    hidden: bool = False


class Hands(NamedTuple):
    """Both hands of a person who holds a neighbour; None is as the posture has it. near: towards the neighbour."""

    near: Touch | None = None
    far: Touch | None = None


class DrawnArms(NamedTuple):
    """The near arms of two adults on one floor who hold each other."""

    leader: Arm
    other: Arm


@dataclass(frozen=True)
class Holding:
    """How two neighbours hold each other.

    leader: the taller, else the one nearer the middle of the row; where the other holds nobody, who does the action.
    drawn: instead of leader and other, for two adults on one floor. one: whether a person holds only one other.
    """

    leader: Hands
    other: Hands
    drawn: DrawnArms | None = None
    one: bool = False


class BodySides(NamedTuple):
    """A person's left side and right side."""

    left: Posture
    right: Posture


class Distance(NamedTuple):
    """The distance of two neighbours, nose to nose."""

    least: float
    most: float


_AS_POSTURE = Arms(None, None)
_USUAL = Distance(1.6, 2.1)
_CLEAR = 0.03  # left free between a raised arm and the middle between two people

# A posture is eight joints of a side: eye, ear, shoulder; elbow, wrist; hip, knee, ankle (bodies.Posture).
_TRUNK = slice(0, 3)
_LEGS = slice(5, 8)
_CHAIR: Posture = (*SEATED[:3], (0.78, 1.92), *SEATED[4:])
_FLOOR: Posture = (*STANDING[:3], (0.79, 1.90), (0.60, 2.78), (0.40, 2.78), (0.74, 3.20), (-0.16, 3.38))
_KNEE_UP: Posture = (*STANDING[:3], (0.79, 1.92), (0.54, 2.88), (0.40, 2.80), (0.52, 3.16), (0.50, 4.76))
_KNEE_DOWN: Posture = (*STANDING[:3], (0.79, 1.94), (0.60, 2.86), (0.38, 2.84), (0.44, 4.64), None)
_STRIDE: Posture = (*STANDING[:3], (0.79, 1.92), (0.74, 2.76), (0.36, 2.85), (0.30, 4.70), (0.22, 6.44))
_PUSH: Posture = (*STANDING[:3], (0.79, 1.86), (0.60, 2.52), (0.36, 2.85), (0.34, 4.62), (0.30, 5.86))


@dataclass(frozen=True)
class Action:
    """What a person of a group does.

    framing: the closest one that shows it.
    rows: how people stand or sit, the front row first; a row further back than these does as the last.
    arms: instead of those of `rows`. Whoever stands left of the middle does it mirrored.
    before: the arms of people who stand in front of another row, so that they hide no faces; None for `arms`.
    holding: instead of `arms` on a side on which a neighbour stands.
    beside: how near neighbours stand.
    """

    framing: str = "full"
    rows: tuple[BodySides, ...] = (
        BodySides(KNEELING, KNEELING),
        BodySides(SEATED, SEATED),
        BodySides(STANDING, STANDING),
    )
    arms: Arms = _AS_POSTURE
    before: Arms | None = None
    holding: Holding | None = None
    beside: Distance = _USUAL

    def side(self, posture: Posture, arm: Arm | None, distance: float | None) -> Posture:
        """The posture of one side of an adult with this arm, moved inwards where it would cross the middle between two
        neighbours.

        arm: of this side, None for that of `posture`. distance: nose to nose, to the neighbour on this side, in heads;
        None for nobody, which leaves the room that the most distant neighbour would.
        """
        if arm is None:
            return posture
        # From the nose to just before that middle. x grows towards the neighbour.
        half = (self.beside.most if distance is None else distance) / 2 - _CLEAR
        elbow_and_wrist: list[Point | None] = []
        for reach in arm:
            elbow_and_wrist.append(None if reach is None else (min(reach.x, half), reach.y))
        return with_arm(posture, elbow_and_wrist)


def with_arm(posture: Posture, joints: Sequence[Point | None]) -> Posture:
    """The posture with another elbow and wrist. joints: these two, None for a hidden one."""
    return (*posture[_TRUNK], *joints, *posture[_LEGS])


GROUP_PHOTO = "group photo"
_RAISED = Arm(Reach(0.86, -0.22), Reach(0.82, -1.16))
_BENT = Arm(Reach(0.88, 0.85), Reach(0.84, -0.10))
_WAVING = Arm(Reach(0.90, 1.24), Reach(0.92, 0.24))
_UPPER_CROSSED = Arm(Reach(0.78, 1.72), Reach(-0.20, 1.50))
_LOWER_CROSSED = Arm(Reach(0.78, 1.75), Reach(-0.22, 1.70))
# Around the neck, the hand on the far shoulder; the other's arm behind the back.
_AROUND = Arm(Reach(-0.25, 0.44, 1.0), Reach(0.60, 0.80, 1.0))
_BEHIND = Arm(Reach(-0.04, 1.80, 0.5), None)
_HAND_IN_HAND = Arm(Reach(-0.10, 1.95, 0.5), Reach(-0.03, 2.84, 0.5))
_HAND = Hands(Touch(()))
# On the near shoulder; lower, where that is too high for a child; on the head of a child whose shoulder is too low.
_ON_SHOULDER = (Spot(NEAR_SIDE, 0, 2), Spot(NEAR_SIDE, -1, -1))
_ON_SHOULDERS = Touch((Spot(FAR_SIDE, 0, 0, (-0.25, 0.0, 0.25, 0.5)), *_ON_SHOULDER))  # behind the neck
_BEHIND_WAIST = Touch((Spot(FAR_SIDE, 0.75, 2), Spot(NEAR_SIDE, 0.25, 2)), hidden=True)
_ACROSS = Touch((Spot(NEAR_SIDE, 0.25, 2),))

ACTIONS: Mapping[str, Action] = {
    GROUP_PHOTO: Action("bust"),
    "arms around shoulders": Action(
        "bust",
        holding=Holding(Hands(_ON_SHOULDERS), Hands(_BEHIND_WAIST), DrawnArms(_AROUND, _BEHIND)),
        beside=Distance(1.6, 1.8),
    ),
    "holding hands": Action("half", holding=Holding(_HAND, _HAND, DrawnArms(_HAND_IN_HAND, _HAND_IN_HAND))),
    "hands up": Action("bust", arms=Arms(_RAISED, _RAISED), before=Arms(_BENT, _BENT)),
    "waving": Action("bust", arms=Arms(_WAVING, None)),
    "arms crossed": Action("half", arms=Arms(_UPPER_CROSSED, _LOWER_CROSSED)),
    "walking": Action(rows=(BodySides(_STRIDE, _PUSH),)),
    "sitting": Action("half", rows=(BodySides(_FLOOR, _FLOOR), BodySides(_CHAIR, _CHAIR))),
    "kneeling": Action(rows=(BodySides(KNEELING, KNEELING), BodySides(_KNEE_UP, _KNEE_DOWN))),
    "hug": Action(
        "half",
        holding=Holding(Hands(_ON_SHOULDERS, _ACROSS), Hands(_BEHIND_WAIST, _ACROSS), one=True),
        beside=Distance(1.25, 1.35),
    ),
    "hand on shoulder": Action("bust", holding=Holding(Hands(Touch(_ON_SHOULDER)), Hands()), beside=_USUAL),
    "standing": Action("bust", rows=(BodySides(STANDING, STANDING),)),
}
