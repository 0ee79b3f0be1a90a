"""A row of a group: how far apart its people stand, how much they differ in height, and where their arms go."""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from ..cast import Point
from . import bodies, touching
from .actions import BodySides, DrawnArms
from .builds import ADULT
from .holding import Hold, Posed, holds
from .touching import Partner

SWAY = 0.06
"""People differ in height by up to this much, in heads."""


@dataclass(frozen=True)
class Row:
    """A row of people, from left to right.

    number: from 0, which is in the back. first_place: the number of the place of its first person. people: a head is
    that of the tallest of the group, see builds.py.
    """

    number: int
    is_front: bool
    first_place: int
    people: tuple[Posed, ...]

    @cached_property
    def holds(self) -> list[Hold]:
        """Who holds whom."""
        return holds(self.people)

    @cached_property
    def in_holds(self) -> set[int]:
        """The indices of those who hold a neighbour or are held."""
        return {index for hold in self.holds for index in (hold.leader, hold.other)}

    @property
    def alone(self) -> list[int]:
        """The indices of those who want to hold a neighbour, and do not."""
        return [index for index, posed in enumerate(self.people) if posed.action.holding and index not in self.in_holds]

    @property
    def tallest(self) -> float:
        """The largest distance from nose to floor."""
        return max(posed.nose_to_floor for posed in self.people)

    def drop(self, index: int) -> float:
        """How much lower a person's nose is than the highest nose of the row, in heads.

        In the front row all stand on one floor. In the rows behind all noses are at one height: who is smaller stands
        on something, so as not to vanish behind those in front.
        """
        return self.tallest - self.people[index].nose_to_floor if self.is_front else 0.0

    def sway(self, index: int) -> float:
        """How much taller than the row one person stands, in heads, below 0 for smaller; the same at every run.

        People of one height look drawn, so each differs by up to SWAY. Those who hold each other, or wish to, differ
        half as much, so that arms meet as intended.
        """
        holds = index in self.in_holds or self.people[index].action.holding
        most = SWAY / 2 if holds else SWAY
        # Fractional parts of multiples of the golden ratio look accidental: they are spread evenly over 0..1.
        multiple = 3 * self.number + index + 1  # 3: people one behind another differ, too
        fraction = multiple * 0.618 % 1
        return most * (2 * fraction - 1)

    def distances(self, beside: float) -> list[float]:
        """From nose to nose along the row, in heads. beside: of neighbours who do not hold each other."""
        distances = [beside] * (len(self.people) - 1)
        for hold in self.holds:
            mean_width = (self.people[hold.leader].width + self.people[hold.other].width) / 2
            distances[hold.gap] = min(beside, hold.apart * mean_width)
        return distances

    def across(self, beside: float) -> list[float]:
        """The noses, in heads from the middle of the group. beside: as in `distances`."""
        noses = [posed.x * beside for posed in self.people]
        distances = self.distances(beside)
        some_stand_nearer = any(distance < beside for distance in distances)
        if not some_stand_nearer:
            return noses
        # So the row is shorter. Its middle stays where it is.
        from_first = list(accumulate(distances, initial=0.0))  # each nose, seen from the first one
        first = (noses[0] + noses[-1] - from_first[-1]) / 2
        return [x + first for x in from_first]

    def heads(self, spacing: "Spacing", nose_height: float) -> list[bodies.Head]:
        """The heads in pixels, from left to right. nose_height: see Formation.nose_heights."""
        heads: list[bodies.Head] = []
        for index, across in enumerate(self.across(spacing.beside)):
            x, highest_y = spacing.point(across, nose_height)
            nose = (x, highest_y + self.drop(index) * spacing.unit_px)
            heads.append(bodies.Head(nose, spacing.unit_px * self.people[index].build.head))
        return heads

    def postures(self, beside: float) -> "Postures":
        """The postures of the row, with the arms of people who hold each other. beside: as in `distances`."""
        sides = self._free_postures(beside)
        noses = self._noses(beside)
        distances = self.distances(beside)
        misses: list[int] = []
        # An arm that is set later replaces one that was set before. Hugs (Holding.one) come first, because another
        # neighbour may need one of the two arms of who hugs.
        for hold in sorted(self.holds, key=lambda hold: not hold.holding.one):
            pair = (hold.leader, hold.other)
            leader, other = (Partner(noses[index], self.people[index].build, sides[index]) for index in pair)
            drawn = self._drawn_arms(hold)
            if drawn:
                held = touching.hold_as_drawn(drawn, leader, other, distances[hold.gap])
            else:
                held = touching.hold(hold.holding, leader, other)
            for index, posture in zip(pair, held, strict=True):
                sides[index] = posture.sides
                if not posture.reaches:
                    misses.append(index)
        return Postures(sides, misses)

    def _free_postures(self, beside: float) -> list[BodySides]:
        """The postures of the row, in own heads, with the arms of people who hold nobody."""
        rooms = [None, *self.distances(beside), None]  # to the neighbours of everybody; nobody is beyond the ends
        is_before_others = self.number > 0
        sides: list[BodySides] = []
        for posed, (viewers_left, viewers_right) in zip(self.people, pairwise(rooms), strict=True):
            # A person's left side is on the viewer's right.
            posture = posed.free_posture(is_before_others, left_distance=viewers_right, right_distance=viewers_left)
            sides.append(posture)
        return sides

    def _noses(self, beside: float) -> list[Point]:
        """The noses as touching.py has them: in heads, y downwards from the highest nose of a row without sway."""
        ys = [self.drop(index) - self.sway(index) for index in range(len(self.people))]
        return list(zip(self.across(beside), ys, strict=True))

    def _drawn_arms(self, hold: Hold) -> DrawnArms | None:
        """The drawn arms of a holding, which are for two adults on one floor; None for other people, or without any."""
        leader, other = self.people[hold.leader], self.people[hold.other]
        are_adults = leader.build == other.build == ADULT
        on_one_floor = leader.nose_to_floor == other.nose_to_floor
        return hold.holding.drawn if are_adults and on_one_floor else None


@dataclass(frozen=True)
class Postures:
    """Of the people of a row, in their own heads. misses: the indices of those who do not reach whom they hold."""

    sides: list[BodySides]
    misses: list[int]


@dataclass(frozen=True)
class Spacing:
    """The distances in a formation in a picture of width x height pixels.

    unit_px: a head of the tallest, in pixels; the rest in such heads. beside: between neighbours, nose to nose. rise:
    of a row over the one in front. lift: of the group over the lower edge.
    """

    width: int
    height: int
    unit_px: float
    beside: float
    rise: float
    lift: float

    def point(self, across: float, height: float) -> Point:
        """A point in pixels. across: from the middle of the group. height: over the lower edge of the group."""
        return (self.width / 2 + across * self.unit_px, self.height - (height + self.lift) * self.unit_px)
