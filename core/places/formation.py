"""Rows of people, back rows higher and staggered: how large they are in a picture, and how high every row stands.

Lengths are in heads of the tallest (see builds.py), and heights from the lower edge of the picture up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from . import bodies
from .actions import ACTIONS, BodySides, Distance
from .builds import Build
from .holding import ABOVE, Posed
from .rows import SWAY, Row, Spacing

FRAMINGS = ("bust", "half", "full")

# From the crown of the front row down to the lower edge of the picture; with `full` the feet decide.
_SHOWN = {"bust": 2.1, "half": 4.1}
_LEAST_RISE, _MOST_RISE = 1.2, 1.6  # a row above the one in front of it
_SIDE = 0.95  # from an outermost nose to the edge: half the shoulders and some air
_FEET = 0.4  # below the ankles of the front row
_STEP = 0.2  # a row further back stands this much higher in the picture
_LIFT = 0.6  # the share of height left over that goes below the group, as photographers frame it

# The smallest head, in pixels, whose ID patches keep clear of each other at the least distances: _PATCH by the distance
# of neighbours, and in several rows 64 / (_LEAST_RISE - 2 * SWAY), which is 59.3. A patch has 64 px; both have some
# pixels more for rounding.
_PATCH, _LEAST_HEAD = 66, 60


@dataclass(frozen=True)
class Formation:
    """Rows of people, from back to front. framing: one of FRAMINGS; it holds for the smallest of the front row."""

    rows: tuple[Row, ...]
    framing: str

    @property
    def people(self) -> list[Posed]:
        """Everybody, in the order of their places."""
        return [posed for row in self.rows for posed in row.people]

    @property
    def seats_everybody_well(self) -> bool:
        """Whether all who want to hold a neighbour do, and the people of each row behind another are of one height."""
        if any(row.alone for row in self.rows):
            return False
        return all(len({posed.nose_to_floor for posed in row.people}) == 1 for row in self.rows[:-1])

    @cached_property
    def beside(self) -> Distance:
        """The least and the most distance of neighbours: of each the largest that an action of the group has.

        Those who hold each other may stand nearer.
        """
        distances = [posed.action.beside for posed in self.people]
        return Distance(max(each.least for each in distances), max(each.most for each in distances))

    @property
    def span(self) -> float:
        """The distance from the outermost nose on the left to that on the right, in distances of neighbours."""
        noses = [posed.x for posed in self.people]
        return max(noses) - min(noses)

    @property
    def least_width(self) -> float:
        """The least width of the formation."""
        return self.span * self.beside.least + 2 * _SIDE

    def nose_heights(self, rise: float) -> list[float]:
        """The height of the highest nose of each row, from back to front.

        rise: of a row over the row in front; with `full`, the height of a bench.
        """
        front_first = self.rows[::-1]
        if self.framing == "full":
            heights = _noses_over_benches(front_first, bench=rise)
        else:
            heights = _noses_over_edge(front_first, rise, _SHOWN[self.framing])
        return heights[::-1]

    def least_height(self, rise: float = _LEAST_RISE) -> float:
        """The least height of the formation. rise: of a row over the row in front."""
        tops: list[float] = []
        for row, nose_height in zip(self.rows, self.nose_heights(rise), strict=True):
            for index, posed in enumerate(row.people):
                crown = nose_height - row.drop(index) - bodies.CROWN * posed.build.head  # CROWN is below 0
                tops.append(crown + SWAY + ABOVE + posed.raised_hands)
        return max(tops)

    @property
    def smallest(self) -> float:
        return min(posed.build.head for posed in self.people)

    @property
    def least_head(self) -> int:
        """The least size of a head, in pixels, at which the ID patches of all people keep clear of each other."""
        least = self.beside.least
        distances = [distance for row in self.rows for distance in row.distances(least)]
        clear_of_neighbours = math.ceil(_PATCH / min([least, *distances]))
        return clear_of_neighbours if len(self.rows) == 1 else max(clear_of_neighbours, _LEAST_HEAD)

    def largest_head(self, width: int, height: int) -> float:
        """The largest head, in pixels, with which everybody is in a picture of this width and height in pixels."""
        return min(width / self.least_width, height / self.least_height())

    def spacing(self, width: int, height: int) -> Spacing:
        """The distances with which the formation fills a picture of this width and height in pixels.

        Heads are the largest that fit. Neighbours and rows stand as far apart as there is room, up to their most.
        """
        unit_px = self.largest_head(width, height)
        beside = 0.0  # of people who all stand in one column
        if self.span:
            beside = min(self.beside.most, (width / unit_px - 2 * _SIDE) / self.span)
        picture_height = height / unit_px
        rise = self._rise(picture_height)
        lift = (picture_height - self.least_height(rise)) * _LIFT
        return Spacing(width, height, unit_px, beside, rise, lift)

    def _rise(self, picture_height: float) -> float:
        """The largest rise up to _MOST_RISE that fits; with one row nothing rises, so it is the least."""
        height_per_rise = self.least_height(_LEAST_RISE + 1) - self.least_height()
        if not height_per_rise:
            return _LEAST_RISE
        return min(_MOST_RISE, _LEAST_RISE + (picture_height - self.least_height()) / height_per_rise)


def _noses_over_edge(rows: Sequence[Row], rise: float, shown: float) -> list[float]:
    """The heights of the highest noses of rows, where the lower edge cuts the bodies of the front row.

    rows: from front to back. rise: of a row over the row in front. shown: of a person of the front row, from the crown
    down.
    """
    front = rows[0]
    below_nose = shown + bodies.CROWN  # CROWN is below 0: noses lie that much below the crowns
    # So high that everybody in the front row, however much lower than the highest, shows that much.
    front_height = max(front.drop(index) + below_nose * posed.build.head for index, posed in enumerate(front.people))
    heights: list[float] = []
    raised = 0.0  # how much higher a row is than its rises make it; all rows behind a raised one are raised, too
    for number, row in enumerate(rows):
        taller = row.tallest - front.tallest  # how much higher their noses are where both rows stand on one floor
        raised = max(raised, taller - number * rise)
        heights.append(front_height + number * rise + raised)
    return heights


def _noses_over_benches(rows: Sequence[Row], bench: float) -> list[float]:
    """The heights of the highest noses of rows, where feet are seen. rows: from front to back. bench: height of one.

    All rows stand on the floor, which comes up _STEP from row to row, and on benches. A row usually has one bench more
    than the row in front. It has no more where its people are tall enough on the floor, such as people who stand behind
    people who sit; it has several more where they are much smaller.
    """
    benches = [0]  # under each row; none under the front row
    for in_front, row in pairwise(rows):
        # How far the noses of this row are below _LEAST_RISE over those in front, were both on the floor.
        lacking = in_front.tallest + _LEAST_RISE - (row.tallest + _STEP)
        # By the least height of a bench, so that their number does not depend on how high they become.
        benches.append(benches[-1] + max(0, math.ceil(lacking / _LEAST_RISE)))
    heights: list[float] = []
    for number, (row, bench_count) in enumerate(zip(rows, benches, strict=True)):
        heights.append(_FEET + row.tallest + number * _STEP + bench_count * bench)
    return heights


@dataclass(frozen=True)
class Figure:
    """Somebody to be placed. does: one of ACTIONS."""

    build: Build
    does: str


def formation(people: Sequence[Figure], framing: str, row_count: int) -> Formation:
    """People spread over rows; the rows in the back have one person more where rows cannot be alike."""
    fewest, remainder = divmod(len(people), row_count)
    sizes = [fewest + 1 if row < remainder else fewest for row in range(row_count)]  # from back to front
    waiting = iter(people)
    rows: list[Row] = []
    first_place = 1
    for number, noses in enumerate(_staggered(sizes)):
        rows_in_front = row_count - 1 - number
        posed: list[Posed] = []
        for x in noses:
            person = next(waiting)
            posture = _posture(person.does, framing, row_count, rows_in_front)
            if x < 0:
                posture = BodySides(left=posture.right, right=posture.left)
            posed.append(Posed(person.build, person.does, posture, x))
        rows.append(Row(number, rows_in_front == 0, first_place, tuple(posed)))
        first_place += len(posed)
    return Formation(tuple(rows), framing)


def _posture(does: str, framing: str, row_count: int, rows_in_front: int) -> BodySides:
    """The posture of an action in a row. does: the name of the action."""
    postures = ACTIONS[does].rows  # from front to back
    # With `full`, the rows have the last `row_count` postures of the action, so that the back row has the last one.
    # With the other framings the legs are out of the picture: all have the last posture.
    used = postures[-row_count:] if framing == "full" else postures[-1:]
    # Where the action has fewer postures than there are rows, the rows further back have the last one, too.
    return used[min(rows_in_front, len(used) - 1)]


def _staggered(sizes: Sequence[int]) -> list[list[float]]:
    """The noses of each row, from back to front, in distances of neighbours, 0 in the middle of the group.

    The people of every row stand over the gaps of the row in front. Where one of these two rows has an even and the
    other an odd number of people, they do so with a common middle. Otherwise one of the two rows is shifted by half a
    distance.
    sizes: people per row, from back to front.
    """
    shifts = [0.0]  # of each row, from front to back
    for front, back in pairwise(reversed(sizes)):
        have_common_middle = (back - front) % 2 == 1
        # Shifted against the row in front: by half where that row is not shifted, and not where it is.
        shifts.append(shifts[-1] if have_common_middle else 0.5 - shifts[-1])
    noses: list[list[float]] = []
    for size, shift in zip(sizes, reversed(shifts), strict=True):
        noses.append([index - size / 2 + shift for index in range(size)])
    middle = (min(map(min, noses)) + max(map(max, noses))) / 2
    return [[x - middle for x in row] for row in noses]
