"""What the people of a group do: a small library of poses. Lengths in heads from the nose, y down, see bodies.py.

Right and left are the person's own, x grows outwards on both sides. Lengths of limbs are what the camera sees of them:
at most those of bodies.STANDING, less where a limb points to the camera or away from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..people import Point
from .bodies import KNEELING, SEATED, STANDING, Posture

Reach = tuple[float, float, float]
"""x, y, and the share of the way to the neighbour on this side that is added to them."""
Arm = tuple[Reach, Reach | None]
"""Elbow and wrist; None is hidden from the camera."""
Sides = tuple[Posture, Posture]
"""A person's left side and right side."""
Ways = tuple[Point | None, Point | None]
"""From a nose to that of the neighbour on the left and on the right, x outwards; None where nobody stands."""

# Left free between a raised arm and the middle between two people.
_CLEAR = 0.03
# Hand and air above a wrist.
_HAND = 0.25

_LEGS = slice(5, 8)
_CHAIR: Posture = (*SEATED[:3], (0.78, 1.92), *SEATED[4:])
_FLOOR: Posture = (*STANDING[:3], (0.79, 1.90), (0.60, 2.78), (0.40, 2.78), (0.74, 3.20), (-0.16, 3.38))
_KNEE_UP: Posture = (*STANDING[:3], (0.79, 1.92), (0.54, 2.88), (0.40, 2.80), (0.52, 3.16), (0.50, 4.76))
_KNEE_DOWN: Posture = (*STANDING[:3], (0.79, 1.94), (0.60, 2.86), (0.38, 2.84), (0.44, 4.64), None)
_STEP: Posture = (*STANDING[:3], (0.79, 1.92), (0.74, 2.76), (0.36, 2.85), (0.30, 4.70), (0.22, 6.44))
_PUSH: Posture = (*STANDING[:3], (0.79, 1.86), (0.60, 2.52), (0.36, 2.85), (0.34, 4.62), (0.30, 5.86))


@dataclass(frozen=True)
class Action:
    """framing: the closest one that shows it.
    rows: how people stand or sit, the front row first; a row further back than these does as the last.
    arms: left and right, in the place of those of `rows`. Whoever stands left of the middle does it mirrored.
    before: the same of those who have faces behind them, None if it is the same.
    holding: of two neighbours the arm of the one nearer the middle of the row, and the other's, in the place of `arms`.
    beside: neighbours, nose to nose, least and most.
    """

    framing: str = "full"
    rows: tuple[Sides, ...] = ((KNEELING, KNEELING), (SEATED, SEATED), (STANDING, STANDING))
    arms: tuple[Arm | None, Arm | None] = (None, None)
    before: tuple[Arm | None, Arm | None] | None = None
    holding: tuple[Arm, Arm] | None = None
    beside: tuple[float, float] = (1.6, 2.1)

    @property
    def above(self) -> float:
        """From a nose up to the highest hand and some air."""
        return max((_HAND - reach[1] for arm in self.arms if arm for reach in arm if reach), default=0.0)

    def sides(self, row: Sides, aside: float, ways: Ways, inner: tuple[bool, bool], covering: bool) -> Sides:
        """Both sides of a person. Arms stay on their half of the way to a neighbour unless they hold that neighbour.

        aside: where the person stands, 0 in the middle of the group; inner: whether it is they who are nearer the
        middle of the row than the neighbour on the left, and on the right; covering: they have faces behind them.
        """
        arms = self.before if covering and self.before is not None else self.arms
        if aside < 0:
            row, arms = (row[1], row[0]), (arms[1], arms[0])
        of_sides = zip(row, arms, ways, inner, strict=True)
        left, right = (self._side(posture, arm, way, nearer) for posture, arm, way, nearer in of_sides)
        return left, right

    def _side(self, posture: Posture, arm: Arm | None, way: Point | None, nearer: bool) -> Posture:
        if self.holding and way:
            return (*posture[:3], *(_towards(reach, way) for reach in self.holding[not nearer]), *posture[_LEGS])
        if arm is None:
            return posture
        half = (way[0] if way else self.beside[1]) / 2 - _CLEAR
        return (*posture[:3], *(reach and (min(reach[0], half), reach[1]) for reach in arm), *posture[_LEGS])


def _towards(reach: Reach | None, way: Point) -> Point | None:
    return reach and (reach[0] + reach[2] * way[0], reach[1] + reach[2] * way[1])


GROUP_PHOTO = "group photo"
_RAISED: Arm = ((0.86, -0.22, 0.0), (0.82, -1.16, 0.0))
_BENT: Arm = ((0.88, 0.85, 0.0), (0.84, -0.10, 0.0))
_WAVING: Arm = ((0.90, 1.24, 0.0), (0.92, 0.24, 0.0))
# Around the neck, the hand on the far shoulder; the other's arm behind the back.
_AROUND: Arm = ((-0.25, 0.44, 1.0), (0.60, 0.80, 1.0))
_BEHIND: Arm = ((-0.04, 1.80, 0.5), None)
_HAND_IN_HAND: Arm = ((-0.10, 1.95, 0.5), (-0.03, 2.84, 0.5))

ACTIONS: Mapping[str, Action] = {
    GROUP_PHOTO: Action("bust"),
    "arms around shoulders": Action("bust", holding=(_AROUND, _BEHIND), beside=(1.6, 1.8)),
    "holding hands": Action("half", holding=(_HAND_IN_HAND, _HAND_IN_HAND)),
    "hands up": Action("bust", arms=(_RAISED, _RAISED), before=(_BENT, _BENT)),
    "waving": Action("bust", arms=(_WAVING, None)),
    "arms crossed": Action(
        "half", arms=(((0.78, 1.72, 0.0), (-0.20, 1.50, 0.0)), ((0.78, 1.75, 0.0), (-0.22, 1.70, 0.0)))
    ),
    "walking": Action(rows=((_STEP, _PUSH),)),
    "sitting": Action("half", rows=((_FLOOR, _FLOOR), (_CHAIR, _CHAIR))),
    "kneeling": Action(rows=((KNEELING, KNEELING), (_KNEE_UP, _KNEE_DOWN))),
}
