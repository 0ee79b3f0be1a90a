"""A group photo without a photo: rows of people, back rows higher and staggered. What they do: actions.py.

Until the end lengths are in heads of the tallest (see builds.py), and heights from the lower edge of the picture up.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

from ..cast import Layout, Point, Pose, Slot
from ..checks.errors import BadLayout, counted, gathered, listed
from ..pictures.geometry import check_size
from . import bodies, touching
from .actions import ACTIONS, GROUP_PHOTO, Action, Arm, Arms, BodySides, Distance, DrawnArms, Hands, Holding, with_arm
from .builds import ADULT, Build
from .people_text import Described
from .touching import Partner

FRAMINGS = ("bust", "half", "full")
MOST_ROWS = 4

# From the crown of the front row down to the lower edge of the picture; with `full` the feet decide.
_SHOWN = {"bust": 2.1, "half": 4.1}
_LEAST_RISE, _MOST_RISE = 1.2, 1.6  # a row above the one in front of it
_SIDE = 0.95  # from an outermost nose to the edge: half the shoulders and some air
_ABOVE = 0.25  # air over the highest crown
_HAND = 0.25  # hand and air above a wrist
_FEET = 0.4  # below the ankles of the front row
_STEP = 0.2  # a row further back stands this much higher in the picture
_SWAY = 0.06  # people differ in height
_LIFT = 0.6  # the share of height left over that goes below the group, as photographers frame it

# The smallest head, in pixels, whose ID patches keep clear of each other at the least distances: _PATCH by the distance
# of neighbours, and in several rows 64 / (_LEAST_RISE - 2 * _SWAY), which is 59.3. A patch has 64 px; both have some
# pixels more for rounding.
_PATCH, _LEAST_HEAD = 66, 60
_GOOD_HEAD = 116  # 96 px / bodies.FACE_HEIGHT: smaller faces lose their likeness


class Spacing(NamedTuple):
    """The distances in a formation in a picture. unit_px: a head of the tallest, in pixels; the rest in such heads.

    beside: between neighbours, nose to nose. rise: of a row over the one in front. lift: of the group over the lower
    edge.
    """

    unit_px: float
    beside: float
    rise: float
    lift: float


@dataclass(frozen=True)
class Posed:
    """A person of a formation. posture: as an adult has it, mirrored where the action is."""

    build: Build
    action: Action
    posture: BodySides

    @cached_property
    def nose_to_floor(self) -> float:
        """The distance from the nose down to the lowest joint, in heads."""
        lowest = max(joint[1] for side in self.posture for joint in self.build.of(side) if joint is not None)
        return lowest * self.build.head

    @property
    def width(self) -> float:
        """Of the shoulders, relative to an adult's."""
        return self.build.head * self.build.limbs


class Hold(NamedTuple):
    """Two neighbours of a row who hold each other. leader, other: their indices in the row."""

    holding: Holding
    leader: int
    other: int


@dataclass(frozen=True)
class Row:
    """A row of people.

    number: from 0, which is in the back. noses: from left to right, in distances of neighbours, 0 in the middle of the
    group. people: a head is that of the tallest of the group, see builds.py.
    """

    number: int
    is_front: bool
    noses: tuple[float, ...]
    people: tuple[Posed, ...]

    @cached_property
    def holds(self) -> tuple[Hold, ...]:
        """Who holds whom."""
        return tuple(_holds(self.people))

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

        People of one height look drawn, so each differs by up to _SWAY. Those who hold each other, or wish to, differ
        half as much, so that arms meet as intended.
        """
        holds = index in self.in_holds or self.people[index].action.holding
        most = _SWAY / 2 if holds else _SWAY
        # Fractional parts of multiples of the golden ratio look accidental: they are spread evenly over 0..1.
        fraction = (3 * self.number + index + 1) * 0.618 % 1
        return most * (2 * fraction - 1)

    def distances(self, beside: float) -> list[float]:
        """From nose to nose along the row, in heads. beside: of neighbours who do not hold each other.

        The first is that of the people 0 and 1.
        """
        distances = [beside] * (len(self.people) - 1)
        for hold in self.holds:
            # The action that brought this holding says how far apart two adults may stand in it.
            most = max(action.beside.most for action in ACTIONS.values() if action.holding is hold.holding)
            mean_width = (self.people[hold.leader].width + self.people[hold.other].width) / 2
            distances[min(hold.leader, hold.other)] = min(beside, most * mean_width)
        return distances

    def across(self, beside: float) -> list[float]:
        """The noses, in heads from the middle of the group. beside: as in `distances`."""
        noses = [x * beside for x in self.noses]
        distances = self.distances(beside)
        if all(distance == beside for distance in distances):
            return noses
        from_first = list(accumulate(distances, initial=0.0))  # the same noses, counted from the first
        # Those who hold each other stand nearer, so the row is shorter. Its middle stays where it is.
        shift = (noses[0] + noses[-1] - from_first[-1]) / 2
        return [x + shift for x in from_first]

    def heads(self, spacing: Spacing, nose_height: float, width: int, height: int) -> list[bodies.Head]:
        """The heads on a canvas in pixels, from left to right. nose_height: see Formation.nose_heights."""
        unit_px = spacing.unit_px
        highest_y = height - (nose_height + spacing.lift) * unit_px
        heads: list[bodies.Head] = []
        for index, x in enumerate(self.across(spacing.beside)):
            nose = (width / 2 + x * unit_px, highest_y + self.drop(index) * unit_px)
            heads.append(bodies.Head(nose, unit_px * self.people[index].build.head))
        return heads

    def free_posture(self, index: int, beside: float) -> BodySides:
        """The posture of one person, in own heads, with the arms of somebody who holds nobody."""
        posed = self.people[index]
        action = posed.action
        # In front of another row `before` counts: arms that hide no faces of the row behind.
        arms = action.before if self.number > 0 and action.before is not None else action.arms
        if self.noses[index] < 0:  # left of the middle: mirrored
            arms = Arms(arms.right, arms.left)
        # In the heads of an adult as wide as this person, whose posture the action has. The person's left side is on
        # the viewer's right, beside the next one of the row.
        room = [distance / posed.width for distance in self.distances(beside)]
        left = action.side(posed.posture.left, arms.left, room[index] if index < len(room) else None)
        right = action.side(posed.posture.right, arms.right, room[index - 1] if index else None)
        return BodySides(posed.build.of(left), posed.build.of(right))


@dataclass(frozen=True)
class Formation:
    """Rows of people, from back to front. framing: one of FRAMINGS; it holds for the smallest of the front row."""

    rows: tuple[Row, ...]
    framing: str

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
        distances = [posed.action.beside for row in self.rows for posed in row.people]
        return Distance(max(each.least for each in distances), max(each.most for each in distances))

    @property
    def span(self) -> float:
        """The distance from the outermost nose on the left to that on the right, in distances of neighbours."""
        noses = [x for row in self.rows for x in row.noses]
        return max(noses) - min(noses)

    @property
    def least_width(self) -> float:
        """The least width of the formation, in heads."""
        return self.span * self.beside.least + 2 * _SIDE

    def nose_heights(self, rise: float) -> list[float]:
        """The height of the highest nose of each row above the lower edge, in heads, from back to front.

        rise: of a row over the row in front; with `full`, the height of a bench.
        """
        front_first = self._noses_over_benches(rise) if self.framing == "full" else self._noses_over_edge(rise)
        return front_first[::-1]

    def _noses_over_edge(self, rise: float) -> list[float]:
        """Nose heights from front to back, as in `nose_heights`, where the lower edge cuts the front row's bodies."""
        front = self.rows[-1]
        # How much is shown below a nose. CROWN is below 0: noses lie that much below the crowns.
        shown = _SHOWN[self.framing] + bodies.CROWN
        # So high that everybody in the front row, however much lower than the highest, shows that much.
        front_height = max(front.drop(index) + shown * posed.build.head for index, posed in enumerate(front.people))
        heights: list[float] = []
        # How much higher a row is than its rises alone, because its people are taller; all rows behind it are, too.
        extra = 0.0
        for rises, row in enumerate(reversed(self.rows)):
            extra = max(extra, row.tallest - front.tallest - rises * rise)
            heights.append(front_height + rises * rise + extra)
        return heights

    def _noses_over_benches(self, bench: float) -> list[float]:
        """Nose heights from front to back, as in `nose_heights`, where feet are seen. bench: the height of one.

        All rows stand on the floor, which comes up _STEP from row to row, and on benches. A row usually has one bench
        more than the row in front. It has no more where its people are tall enough on the floor, such as people who
        stand behind people who sit; it has several more where they are much smaller.
        """
        tallest = [row.tallest for row in reversed(self.rows)]
        heights: list[float] = []
        benches = 0  # under the row
        for row, height in enumerate(tallest):  # row 0 is in front, and has none
            if row > 0:
                # How far, on the floor, the noses of this row are below _LEAST_RISE over those in front.
                lacking = tallest[row - 1] + _LEAST_RISE - (height + _STEP)
                benches += max(0, math.ceil(lacking / _LEAST_RISE))
            heights.append(_FEET + height + row * _STEP + benches * bench)
        return heights

    def least_height(self, rise: float = _LEAST_RISE) -> float:
        """The least height of the formation, in heads. rise: of a row over the row in front."""
        tops: list[float] = []
        for row, nose_height in zip(self.rows, self.nose_heights(rise), strict=True):
            for index, posed in enumerate(row.people):
                crown = nose_height - row.drop(index) - bodies.CROWN * posed.build.head
                tops.append(crown + _SWAY + _ABOVE + _hands(posed))
        return max(tops)

    @property
    def smallest(self) -> float:
        """The smallest head, in heads."""
        return min(posed.build.head for row in self.rows for posed in row.people)

    @property
    def least_head(self) -> int:
        """The least size of a head, in pixels, at which the ID patches of all people keep clear of each other."""
        least = self.beside.least
        nearest = min([least, *(distance for row in self.rows for distance in row.distances(least))])
        clear_of_neighbours = math.ceil(_PATCH / nearest)
        if len(self.rows) == 1:
            return clear_of_neighbours
        return max(clear_of_neighbours, _LEAST_HEAD)

    def largest_head(self, width: int, height: int) -> float:
        """The largest head, in pixels, with which everybody is in a picture of this width and height in pixels."""
        return min(width / self.least_width, height / self.least_height())

    def spacing(self, width: int, height: int) -> Spacing:
        """The distances with which the formation fills a picture of this width and height in pixels.

        Heads are the largest that fit. Neighbours and rows stand as far apart as there is room, up to their most.
        """
        unit_px = self.largest_head(width, height)
        width_in_heads = width / unit_px
        height_in_heads = height / unit_px
        beside = 0.0
        if self.span:
            beside = min(self.beside.most, (width_in_heads - 2 * _SIDE) / self.span)
        # The largest rise up to _MOST_RISE that still fits. With one row nothing rises, so it stays the least.
        rise = _LEAST_RISE
        # The height of the formation grows by this for each head of rise; 0 where nothing rises, as with one row.
        height_per_rise = self.least_height(_LEAST_RISE + 1) - self.least_height()
        if height_per_rise:
            rise = min(_MOST_RISE, _LEAST_RISE + (height_in_heads - self.least_height()) / height_per_rise)
        height_left_over = height_in_heads - self.least_height(rise)
        return Spacing(unit_px, beside, rise, lift=height_left_over * _LIFT)


def _hands(posed: Posed) -> float:
    """How much height raised hands need above the air over the person's crown, in heads; 0 for hands below it.

    Only Action.arms are looked at: arms that hold somebody, and those of Action.before, never reach above a crown.
    """
    above = 0.0
    for arm in posed.action.arms:
        # An Arm is its elbow and its wrist, or None as the posture has it. The hand of a hidden wrist is taken to be at
        # the elbow.
        for joint in arm or ():
            if joint is not None:
                # The hand ends _HAND - y above the nose, as y points down from it. The air over the crown ends
                # _ABOVE - CROWN above the nose, as CROWN is below 0. Both in own heads.
                above = max(above, _HAND - joint.y + bodies.CROWN - _ABOVE)
    return above * posed.build.head


def _holds(row: Sequence[Posed]) -> Iterator[Hold]:
    """Who holds whom in a row: first pairs of the same wish, then the others, each from left to right.

    1. Neighbours who wish the same holding hold each other.
    2. Who has no neighbour of the same wish holds both neighbours. Where two such neighbours wish different holdings,
       they hold each other as the left one wishes.
    Nobody is in two holdings with Holding.one: the first one counts.
    """
    pairs = list(pairwise(range(len(row))))  # (left, right), their indices
    mutual = [(left, right) for left, right in pairs if _wish_the_same(row[left], row[right])]
    one_sided = [pair for pair in pairs if pair not in mutual]
    in_mutual = {index for pair in mutual for index in pair}
    taken: set[int] = set()  # indices of those who are in a holding with Holding.one
    for pair in (*mutual, *one_sided):
        is_mutual = pair in mutual
        # Whoever has a neighbour of the same wish does not wish to hold the other neighbour as well.
        wishing = pair if is_mutual else [index for index in pair if index not in in_mutual]
        wishes = _wishes(row, wishing, is_taken=not taken.isdisjoint(pair))
        if not wishes:
            continue
        wish = wishes[0]
        if wish.holding.one:
            taken.update(pair)
        # Where only the leader's arms do something, who wishes it has to lead.
        other_does_nothing = wish.holding.other == Hands()
        leader = wish.wisher if other_does_nothing and not is_mutual else _leader(row, pair)
        left, right = pair
        yield Hold(wish.holding, leader, right if leader == left else left)


def _wish_the_same(first: Posed, second: Posed) -> bool:
    """Whether two people wish to hold each other in the same way; not where they wish nothing."""
    return first.action.holding is not None and first.action.holding is second.action.holding


class _Wish(NamedTuple):
    """How somebody wishes to hold a neighbour. wisher: the index of that somebody in the row."""

    wisher: int
    holding: Holding


def _wishes(row: Sequence[Posed], wishing: Sequence[int], is_taken: bool) -> list[_Wish]:
    """Those wishes of two neighbours that can be fulfilled, that of the left one first.

    wishing: the indices of those of the two whose wishes count. is_taken: whether one of the two is in a holding with
    Holding.one already, so that they cannot have another such one.
    """
    wishes: list[_Wish] = []
    for index in wishing:
        holding = row[index].action.holding
        if holding and not (holding.one and is_taken):
            wishes.append(_Wish(index, holding))
    return wishes


def _leader(row: Sequence[Posed], pair: tuple[int, int]) -> int:
    """The taller of two neighbours, else the one nearer the middle of the row."""
    left, right = pair
    if row[left].nose_to_floor != row[right].nose_to_floor:
        return max(pair, key=lambda index: row[index].nose_to_floor)
    # Right of the middle the left one is nearer to it, left of the middle the right one.
    return left if left >= (len(row) - 1) // 2 else right


def layout(
    count: int,
    framing: str,
    row_count: int,
    width: int,
    height: int,
    action: str = GROUP_PHOTO,
    people: Sequence[Described] = (),
) -> Layout:
    """`count` places, numbered from the back row to the front, left to right, each with a skeleton.

    framing: one of FRAMINGS (with full, front rows sit or kneel). row_count: 0 chooses. action: one of ACTIONS.
    people: who is in each place, none for adults who all do `action`. The same input gives the same layout. Faces and
    patches never overlap or leave the canvas.
    Raises BadSize for an impossible size of the canvas, and BadLayout where there is no room.
    """
    check_size("The layout", width, height)
    if not count:
        advice = "Connect the cast that Place Cast was given, before it has left people out."
        raise BadLayout("There are no people to make places for: the cast is empty.", advice)
    everybody = counted(count, "person", "people")
    if row_count > count:
        raise BadLayout(f"{row_count} rows are too many for {everybody}.", "Set rows to 0, which chooses, or to fewer.")
    formation = _chosen_formation(_people(count, action, people), framing, row_count, width, height)
    if formation.largest_head(width, height) < formation.least_head:
        least_width = _up_to_8(formation.least_width * formation.least_head)
        least_height = _up_to_8(formation.least_height() * formation.least_head)
        verb = "needs" if count == 1 else "need"
        rows_used = counted(len(formation.rows), "row")
        raise BadLayout(
            f"The canvas is {width}x{height} px; {everybody} with framing = {framing} in {rows_used} {verb} at least "
            f"{least_width}x{least_height} px.",
            "Use a larger canvas, fewer people, another framing or another number of rows (0 chooses).",
        )
    described = tuple(number for number, person in enumerate(people, 1) if person.words)
    return Layout(width, height, _places_of_formation(formation, width, height), described)


def _up_to_8(side: float) -> int:
    """The next multiple of 8, the step of the latent grid."""
    return math.ceil(side / 8) * 8


class _Person(NamedTuple):
    """Who has a place, before there is one. does: the name of the action."""

    build: Build
    does: str


def _people(count: int, action: str, people: Sequence[Described]) -> list[_Person]:
    """`count` people, their builds scaled so that the tallest has a head of 1.

    action: of those for whom no action is described. people: a description of each, none for adults alone.
    """
    described = people or [Described()] * count
    tallest = max(person.build.head for person in described)
    return [
        _Person(replace(person.build, head=person.build.head / tallest), person.action or action)
        for person in described
    ]


def notes(
    count: int,
    framing: str,
    row_count: int,
    width: int,
    height: int,
    action: str,
    people: Sequence[Described] = (),
) -> tuple[str, ...]:
    """Lines about what `layout` of the same arguments cannot show.

    They name actions that are out of the picture, people with nobody to hold, and people who do not reach a neighbour.
    """
    persons = _people(count, action, people)
    formation = _chosen_formation(persons, framing, row_count, width, height)
    lines: list[str] = []
    for name in dict.fromkeys(person.does for person in persons):
        if FRAMINGS.index(framing) < FRAMINGS.index(ACTIONS[name].framing):
            lines.append(f"{name} is out of the picture with framing = {framing}: set {ACTIONS[name].framing}")
    alone: dict[str, list[int]] = {}  # name of an action -> places of people who have nobody to hold
    far: list[int] = []  # places of people who do not reach whom they hold
    spacing = formation.spacing(width, height)
    first = 1  # the number of the first place of a row
    for row in formation.rows:
        for place in [first + index for index in row.alone]:
            alone.setdefault(persons[place - 1].does, []).append(place)
        far += [first + index for index in _postures(row, spacing.beside).misses]
        first += len(row.people)
    lines += [f"{name}: nobody beside place {listed(places)} is free for it" for name, places in alone.items()]
    lines += gathered("Too far from the neighbour (let the taller one sit or kneel): place", far)
    return tuple(lines)


def _chosen_formation(people: Sequence[_Person], framing: str, row_count: int, width: int, height: int) -> Formation:
    """The formation of people in a picture of this width and height in pixels. row_count: 0 chooses.

    With 0, formations of 1 to MOST_ROWS rows are compared:
    1. Those in which ID patches overlap are left out, unless patches overlap in all.
    2. Where people differ, those that do not seat everybody well are left out, unless none does.
    3. Of the rest, the one of the fewest rows is chosen whose smallest head is large enough. That is at least 3/4 of
       the largest smallest head among them, and at least _GOOD_HEAD where one of them reaches it.
    """
    if row_count:  # the user has chosen
        return _formation(people, framing, row_count)
    formations = [_formation(people, framing, number) for number in range(1, min(MOST_ROWS, len(people)) + 1)]
    clear = [formation for formation in formations if formation.largest_head(width, height) >= formation.least_head]
    candidates = clear or formations
    if len(set(people)) > 1:  # layouts of people who are all alike, in saved workflows, must stay the same
        seated_well = [formation for formation in candidates if formation.seats_everybody_well]
        candidates = seated_well or candidates
    smallest_heads_px = [formation.largest_head(width, height) * formation.smallest for formation in candidates]
    best = max(smallest_heads_px)
    enough = max(0.75 * best, min(best, _GOOD_HEAD))
    # Candidates are in the order of their rows, fewest first.
    return next(each for each, head_px in zip(candidates, smallest_heads_px, strict=True) if head_px >= enough)


def _formation(people: Sequence[_Person], framing: str, row_count: int) -> Formation:
    """People spread over rows; the rows in the back have one person more where rows cannot be alike."""
    fewest, remainder = divmod(len(people), row_count)
    sizes = [fewest + 1 if row < remainder else fewest for row in range(row_count)]  # from back to front
    rows: list[Row] = []
    first = 0  # the index in `people` of the first of a row
    for number, noses in enumerate(_staggered(sizes)):
        from_front = row_count - 1 - number
        posed: list[Posed] = []
        for person, x in zip(people[first : first + len(noses)], noses, strict=True):
            posed.append(_posed(person, framing, row_count, from_front, mirrored=x < 0))
        first += len(noses)
        rows.append(Row(number, from_front == 0, noses, tuple(posed)))
    return Formation(tuple(rows), framing)


def _posed(person: _Person, framing: str, row_count: int, from_front: int, mirrored: bool) -> Posed:
    """A person in a row, in the posture of that row.

    from_front: how many rows are in front of this row. mirrored: for who stands left of the middle.
    """
    action = ACTIONS[person.does]
    # With `full`, the rows have the last `row_count` postures of the action, so that the back row has the last one.
    # With the other framings the legs are out of the picture: all have the last posture.
    used = row_count if framing == "full" else 1
    front_first = action.rows[-used:]
    # Where the action has fewer postures than there are rows, the rows further back have the last one, too.
    posture = front_first[min(from_front, len(front_first) - 1)]
    return Posed(person.build, action, BodySides(posture.right, posture.left) if mirrored else posture)


def _staggered(sizes: list[int]) -> tuple[tuple[float, ...], ...]:
    """The noses of each row, from back to front, in distances of neighbours, 0 in the middle of the group.

    The people of every row stand over the gaps of the row in front. Where one of these two rows has an even and the
    other an odd number of people, they do so with a common middle. Otherwise one of the two rows is shifted by half a
    distance.
    sizes: people per row, from back to front.
    """
    shift = 0.0  # of a row; the front row has none
    shifts = [shift]  # the front row first
    for back, front in zip(reversed(sizes[:-1]), reversed(sizes[1:]), strict=True):
        if (back - front) % 2 == 0:
            # Shifted against the row in front: it is shifted where that row is not, and not where that row is.
            shift = 0.0 if shift else 0.5
        shifts.append(shift)
    across = [
        [index - size / 2 + row_shift for index in range(size)]
        for size, row_shift in zip(sizes, reversed(shifts), strict=True)
    ]
    middle = (min(map(min, across)) + max(map(max, across))) / 2
    return tuple(tuple(x - middle for x in row) for row in across)


def _places_of_formation(formation: Formation, width: int, height: int) -> tuple[Slot, ...]:
    """The places of a formation on a canvas in pixels, from the back row to the front."""
    spacing = formation.spacing(width, height)
    nose_heights = formation.nose_heights(spacing.rise)
    heads_of_rows = [
        row.heads(spacing, nose_height, width, height)
        for row, nose_height in zip(formation.rows, nose_heights, strict=True)
    ]
    slots: list[Slot] = []
    for row, heads in zip(formation.rows, heads_of_rows, strict=True):
        in_front = [head for row_in_front in heads_of_rows[row.number + 1 :] for head in row_in_front]
        sides_of_people = _postures(row, spacing.beside).sides
        for index, (head, sides) in enumerate(zip(heads, sides_of_people, strict=True)):
            pose = bodies.body(head.nose, head.height, sides.left, right=sides.right)
            pose = bodies.on_canvas(pose, head.height, width, height)
            pose = bodies.behind(pose, in_front)
            # Who only poses for a group photo is left out: such layouts in saved workflows must stay the same.
            if index in row.in_holds or row.people[index].action is not ACTIONS[GROUP_PHOTO]:
                pose = bodies.clear_of_faces(pose, in_front)
            # The person is raised only now, after joints were hidden, so that a row shows the same joints of everybody.
            slots.append(_raised_place(head, pose, rise_px=row.sway(index) * spacing.unit_px))
    return tuple(slots)


def _raised_place(head: bodies.Head, pose: Pose, rise_px: float) -> Slot:
    """The place of a person who is taller by `rise_px`."""
    x, y = head.nose
    nose = (x, y - rise_px)
    raised_pose = tuple((joint_x, joint_y - rise_px, confidence) for joint_x, joint_y, confidence in pose)
    return Slot(nose, bodies.face_box(nose, head.height), bodies.face_keypoints(nose, head.height), raised_pose)


class _Postures(NamedTuple):
    """Of the people of a row, in their own heads. misses: the indices of those who do not reach whom they hold."""

    sides: list[BodySides]
    misses: list[int]


def _postures(row: Row, beside: float) -> _Postures:
    """The postures of a row, with the arms of people who hold each other.

    These arms are the drawn ones of the holding, where they fit the two, else they are computed (touching.py).
    beside: distance of neighbours who do not hold each other, in heads.
    """
    people = row.people
    sides = [row.free_posture(index, beside) for index in range(len(people))]
    heights = [row.sway(index) - row.drop(index) for index in range(len(people))]
    # In heads, y downwards, as touching.py has them.
    noses = [(x, -height) for x, height in zip(row.across(beside), heights, strict=True)]
    misses: list[int] = []
    # An arm that is set later replaces one that was set before. Hugs (Holding.one) come first, because another
    # neighbour may need one of the two arms of who hugs.
    for hold in sorted(row.holds, key=lambda hold: not hold.holding.one):
        leader, other = hold.leader, hold.other
        drawn = _drawn_arms(hold, people)
        if drawn:
            distance = row.distances(beside)[min(leader, other)]
            # Each of the two: the arm, the index of whose it is, and the index of the neighbour.
            for arm, index, neighbour in ((drawn.leader, leader, other), (drawn.other, other, leader)):
                to_neighbour = (distance, heights[index] - heights[neighbour])
                sides[index] = _with_drawn_arm(sides[index], arm, to_neighbour, is_left=neighbour > index)
            continue
        partners = [Partner(noses[index], people[index].build, sides[index]) for index in (leader, other)]
        for index, posture in zip((leader, other), touching.hold(hold.holding, *partners), strict=True):
            sides[index] = posture.sides
            if not posture.reaches:
                misses.append(index)
    return _Postures(sides, misses)


def _drawn_arms(hold: Hold, row: Sequence[Posed]) -> DrawnArms | None:
    """The drawn arms of the holding of two people, which are for two adults on one floor.

    None where the two are not that, or where the holding has no drawn arms.
    """
    leader, other = row[hold.leader], row[hold.other]
    are_adults = leader.build == other.build == ADULT
    on_one_floor = leader.nose_to_floor == other.nose_to_floor
    return hold.holding.drawn if are_adults and on_one_floor else None


def _with_drawn_arm(sides: BodySides, arm: Arm, to_neighbour: Point, is_left: bool) -> BodySides:
    """The posture with a drawn arm in place of the arm of one side.

    to_neighbour: from the person's nose to the neighbour's, in heads, x outwards. is_left: whether it is the person's
    left arm, on the viewer's right.
    """
    elbow = arm.elbow.towards(to_neighbour)
    wrist = arm.wrist and arm.wrist.towards(to_neighbour)
    if is_left:
        return BodySides(with_arm(sides.left, (elbow, wrist)), sides.right)
    return BodySides(sides.left, with_arm(sides.right, (elbow, wrist)))
