"""The people of a row, and who of them holds whom. How their arms do it: touching.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from . import bodies
from .actions import ACTIONS, Action, Arm, Arms, BodySides, Hands, Holding
from .bodies import Posture
from .builds import Build

ABOVE = 0.25
"""Air over the highest crown, in heads."""
_HAND = 0.25  # hand and air above a wrist, in heads


@dataclass(frozen=True)
class Posed:
    """A person of a formation.

    does: one of ACTIONS. posture: as an adult has it, mirrored where the action is. x: of the nose, in distances of
    neighbours, 0 in the middle of the group, below 0 to the viewer's left of it.
    """

    build: Build
    does: str
    posture: BodySides
    x: float

    @property
    def action(self) -> Action:
        return ACTIONS[self.does]

    @cached_property
    def nose_to_floor(self) -> float:
        """The distance from the nose down to the lowest joint, in heads."""
        lowest = max(joint[1] for side in self.posture for joint in self.build.of(side) if joint is not None)
        return lowest * self.build.head

    @property
    def width(self) -> float:
        """Of the shoulders, relative to an adult's."""
        return self.build.head * self.build.limbs

    @property
    def raised_hands(self) -> float:
        """How much height raised hands need above the air over the crown, in heads; 0 for hands below it.

        Only Action.arms are looked at: arms that hold somebody, and those of Action.before, never reach above a crown.
        """
        # The hand of a hidden wrist is taken to be at the elbow.
        joints = [joint for arm in self.action.arms if arm for joint in arm if joint]
        # From the nose, in own heads. y points down from it, and CROWN is below 0.
        hands = max((_HAND - joint.y for joint in joints), default=0.0)
        return max(0.0, hands + bodies.CROWN - ABOVE) * self.build.head

    def free_posture(self, before_others: bool, left_distance: float | None, right_distance: float | None) -> BodySides:
        """The posture, in own heads, with the arms of somebody who holds nobody.

        before_others: whether another row stands behind, of which the arms are to hide no faces. left_distance,
        right_distance: to the neighbours on the person's own sides, nose to nose, in heads; None for nobody.
        """
        arms = self.action.arms
        if before_others and self.action.before is not None:
            arms = self.action.before
        if self.x < 0:  # mirrored
            arms = Arms(left=arms.right, right=arms.left)
        return BodySides(
            left=self._side(self.posture.left, arms.left, left_distance),
            right=self._side(self.posture.right, arms.right, right_distance),
        )

    def _side(self, posture: Posture, arm: Arm | None, distance: float | None) -> Posture:
        """One side, in own heads. posture, arm: of an adult. distance: as in `free_posture`."""
        # In the heads of an adult who is as wide as this person.
        room = None if distance is None else distance / self.width
        return self.build.of(self.action.side(posture, arm, room))


@dataclass(frozen=True)
class Hold:
    """Two neighbours of a row who hold each other.

    leader, other: their indices in the row. apart: how far apart two adults may stand for it, in heads.
    """

    holding: Holding
    apart: float
    leader: int
    other: int

    @property
    def gap(self) -> int:
        """The index of the distance between the two in Row.distances: that of the one on the viewer's left."""
        return min(self.leader, self.other)


def holds(row: Sequence[Posed]) -> list[Hold]:
    """Who holds whom in a row: first pairs of the same wish, then the others, each from left to right.

    1. Neighbours who wish the same holding hold each other.
    2. Who has no neighbour of the same wish holds both neighbours. Where two such neighbours wish different holdings,
       they hold each other as the left one wishes.
    Nobody is in two holdings with Holding.one: the first one counts.
    """
    pairs = list(pairwise(range(len(row))))  # indices of neighbours, (left, right)
    mutual = [(left, right) for left, right in pairs if _wish_the_same(row[left], row[right])]
    one_sided = [pair for pair in pairs if pair not in mutual]
    in_mutual = {index for pair in mutual for index in pair}
    found: list[Hold] = []
    taken: set[int] = set()  # indices of those who are in a holding with Holding.one
    for pair in (*mutual, *one_sided):
        wishing = list(pair)
        if pair not in mutual:  # whoever has a neighbour of the same wish does not wish to hold the other one as well
            wishing = [index for index in pair if index not in in_mutual]
        action = _first_that_can_be([row[index].action for index in wishing], is_taken=not taken.isdisjoint(pair))
        if action is None or action.holding is None:
            continue
        if action.holding.one:
            taken.update(pair)
        leader, other = _leader_first(row, pair, action)
        found.append(Hold(action.holding, action.beside.most, leader, other))
    return found


def _wish_the_same(first: Posed, second: Posed) -> bool:
    """Whether two people wish to hold each other in the same way; not where they wish nothing."""
    return first.action.holding is not None and first.action.holding is second.action.holding


def _first_that_can_be(actions: Sequence[Action], is_taken: bool) -> Action | None:
    """The first of what two neighbours wish that is a holding and can be; None for none.

    is_taken: whether one of the two is in a holding with Holding.one already, and so cannot be in another such one.
    """
    for action in actions:
        if action.holding and not (action.holding.one and is_taken):
            return action
    return None


def _leader_first(row: Sequence[Posed], pair: tuple[int, int], action: Action) -> list[int]:
    """The two neighbours, first the one who leads.

    That is who does the action, where one of them does and the other needs to do nothing for it. Else it is the taller,
    else the one nearer the middle of the row, else the left one.
    """
    middle = (len(row) - 1) / 2
    has_to_lead = action.holding is not None and action.holding.other == Hands()

    def lowest_leads(index: int) -> tuple[bool, float, float]:
        posed = row[index]
        return (has_to_lead and posed.action is not action, -posed.nose_to_floor, abs(index - middle))

    return sorted(pair, key=lowest_leads)
