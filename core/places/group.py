"""A group photo without a photo: rows of people, back rows higher and staggered. What they do: actions.py.

Lengths are in heads until the end, heights from the lower edge of the picture up.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

from ..checks.errors import BadLayout, counted, gathered, listed
from ..people import Layout, Point, Pose, Slot
from ..pictures.geometry import check_size
from . import bodies, touching
from .actions import ACTIONS, GROUP_PHOTO, Action, Arms, BodySides, Distance, Hands, Holding, with_arm
from .builds import ADULT, Build
from .people_text import Described
from .touching import Figure

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
    """The distances in a formation in a picture. head: crown to chin, px; the rest in heads.

    beside: between neighbours, nose to nose. rise: of a row over the one in front. lift: of the group over the lower
    edge.
    """

    head: float
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
    def foot(self) -> float:
        """The distance from the nose down to the lowest joint, in heads of an adult."""
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
class Formation:
    """Rows of people, from back to front.

    across: per row the noses from left to right, in distances of neighbours, 0 in the middle of the group. posed: the
    people of each row. The head of the tallest is the unit of all lengths.
    framing: one of FRAMINGS; it holds for the smallest of the front row.
    """

    across: tuple[tuple[float, ...], ...]
    posed: tuple[tuple[Posed, ...], ...]
    framing: str

    @cached_property
    def holds(self) -> tuple[tuple[Hold, ...], ...]:
        """Who holds whom, per row."""
        return tuple(tuple(_holds(row)) for row in self.posed)

    @property
    def seats_everybody_well(self) -> bool:
        """Whether nobody who wants to hold a neighbour is left alone, and none smaller than their row stand behind
        another row."""
        for row, holds in zip(self.posed, self.holds, strict=True):
            holding = {place for hold in holds for place in hold[1:]}
            if any(posed.action.holding and place not in holding for place, posed in enumerate(row)):
                return False
        return all(len({posed.foot for posed in row}) == 1 for row in self.posed[:-1])

    @cached_property
    def beside(self) -> Distance:
        """How near neighbours stand; who hold each other may stand nearer."""
        distances = [posed.action.beside for row in self.posed for posed in row]
        return Distance(max(each.least for each in distances), max(each.most for each in distances))

    @property
    def span(self) -> float:
        """The distance from the outermost nose on the left to that on the right, in distances of neighbours."""
        places = [x for row in self.across for x in row]
        return max(places) - min(places)

    @property
    def least_width(self) -> float:
        """The least width of the formation, in heads."""
        return self.span * self.beside.least + 2 * _SIDE

    def drop(self, row_index: int, place_index: int) -> float:
        """How much lower a nose is than the highest of the row, as all stand on one floor.

        Nobody of the rows in the back is lower: they would be behind those in front, so they stand on something.
        """
        row = self.posed[row_index]
        if row_index < len(self.posed) - 1:
            return 0.0
        return max(posed.foot for posed in row) - row[place_index].foot

    def nose_heights(self, rise: float) -> list[float]:
        """The height of the highest noses of each row above the lower edge, in heads, from back to front.

        rise: of a row over the row in front. With `full`, it is the height of a bench: rows stand on the floor, which
        comes up _STEP from row to row, and a row has one bench more than the row in front. It needs no bench more where
        its people are tall enough on the floor, as people who stand behind people who sit, and several where they are
        much smaller.
        """
        feet = [max(posed.foot for posed in row) for row in reversed(self.posed)]  # the front row first
        if self.framing != "full":
            # CROWN is below 0: the noses of the front row lie that much below the crowns.
            shown = _SHOWN[self.framing] + bodies.CROWN
            last = len(feet) - 1
            front = max(
                self.drop(last, place) + shown * posed.build.head for place, posed in enumerate(self.posed[last])
            )
            raised = [foot - feet[0] - row * rise for row, foot in enumerate(feet)]
            # Those behind a row that is higher than a rise would make it are higher, too.
            return [front + row * rise + max(raised[: row + 1]) for row in range(len(feet) - 1, -1, -1)]
        heights: list[float] = []
        benches = 0
        for row, foot in enumerate(feet):
            # On the floor, the noses of this row would be less than _LEAST_RISE above those of the row in front.
            if row > 0:
                lacking = feet[row - 1] + _LEAST_RISE - (foot + _STEP)
                benches += max(0, math.ceil(lacking / _LEAST_RISE))
            heights.append(_FEET + foot + row * _STEP + benches * rise)
        return heights[::-1]

    def least_height(self, rise: float = _LEAST_RISE) -> float:
        """The least height of the formation, in heads. rise: of a row over the row in front."""
        tops: list[float] = []
        for row_index, nose_height in enumerate(self.nose_heights(rise)):
            for place, posed in enumerate(self.posed[row_index]):
                crown = nose_height - self.drop(row_index, place) - bodies.CROWN * posed.build.head
                tops.append(crown + _SWAY + _ABOVE + _hands(posed))
        return max(tops)

    @property
    def smallest(self) -> float:
        """The smallest head, in heads."""
        return min(posed.build.head for row in self.posed for posed in row)

    def distances(self, row_index: int, beside: float) -> list[float]:
        """From nose to nose along a row, in heads. beside: of neighbours who do not hold each other."""
        row = self.posed[row_index]
        distances = [beside] * (len(row) - 1)
        for hold in self.holds[row_index]:
            width = (row[hold.leader].width + row[hold.other].width) / 2
            most = max(action.beside.most for action in ACTIONS.values() if action.holding is hold.holding)
            pair = min(hold.leader, hold.other)
            distances[pair] = min(beside, most * width)
        return distances

    @property
    def least_head(self) -> int:
        """The smallest head in pixels whose ID patches keep clear of each other."""
        least = self.beside.least
        nearest = min(distance for row in range(len(self.across)) for distance in (least, *self.distances(row, least)))
        return max(math.ceil(_PATCH / nearest), _LEAST_HEAD if len(self.across) > 1 else 0)

    def largest_head(self, width: int, height: int) -> float:
        """The largest head, in pixels, with which everybody is in a picture of this width and height in pixels."""
        return min(width / self.least_width, height / self.least_height())

    def spacing(self, width: int, height: int) -> Spacing:
        """How the formation stands in a picture of this size, in pixels, with the largest heads."""
        head = self.largest_head(width, height)
        beside = 0.0
        if self.span:
            # width / head is the width of the picture in heads, of which _SIDE is kept free at both ends.
            beside = min(self.beside.most, (width / head - 2 * _SIDE) / self.span)
        # The largest rise up to _MOST_RISE that still fits. One row does not rise.
        rise = _LEAST_RISE
        # The height of the formation grows by this for each head of rise; 0 where nothing rises, as with one row.
        height_per_rise = self.least_height(_LEAST_RISE + 1) - self.least_height()
        if height_per_rise:
            rise = min(_MOST_RISE, _LEAST_RISE + (height / head - self.least_height()) / height_per_rise)
        lift = (height / head - self.least_height(rise)) * _LIFT  # a share of the height that is left over
        return Spacing(head, beside, rise, lift)

    def sway(self, row_index: int, place_index: int) -> float:
        """How much taller one person stands than the row, in heads, below 0 for smaller: heights look accidental, and
        are the same at every run.

        The fractional parts of multiples of the golden ratio are spread evenly over 0..1 and never repeat. People who
        hold each other differ less, so that arms meet as intended.
        """
        held = any(place_index in hold[1:] for hold in self.holds[row_index])
        most = _SWAY / 2 if held or self.posed[row_index][place_index].action.holding else _SWAY
        fraction = (3 * row_index + place_index + 1) * 0.618 % 1
        return most * (2 * fraction - 1)


def _hands(posed: Posed) -> float:
    """How far raised hands are above the air over a crown, in heads.

    The arms of people who hold each other and of who stands `before` never reach above a crown.
    """
    above = 0.0
    for arm in posed.action.arms:
        # An Arm is its elbow and its wrist, or None as the posture has it. The hand of a hidden wrist is taken to be at
        # the elbow.
        for joint in arm or ():
            if joint is not None:
                # Heights above the nose, in heads. y points down from the nose, and CROWN is below 0: the air over a
                # crown ends _ABOVE - CROWN above the nose.
                above = max(above, _HAND - joint.y + bodies.CROWN - _ABOVE)
    return above * posed.build.head


def _holds(row: Sequence[Posed]) -> Iterator[Hold]:
    """Who holds whom in a row: each who has such an action holds the neighbours who have it too, else all neighbours.

    An action for two joins the first two who want it.
    """
    holdings = [posed.action.holding for posed in row]
    pairs = list(pairwise(range(len(row))))
    mutual = [pair for pair in pairs if holdings[pair[0]] and holdings[pair[0]] is holdings[pair[1]]]
    answered = {place for pair in mutual for place in pair}
    taken: set[int] = set()
    for pair in (*mutual, *(pair for pair in pairs if pair not in mutual)):
        wishes = [place for place in pair if holdings[place] and (pair in mutual or place not in answered)]
        wishes = [place for place in wishes if not (_only_one(holdings[place]) and taken.intersection(pair))]
        if not wishes:
            continue
        holding = holdings[wishes[0]]
        assert holding is not None
        if holding.one:
            taken.update(pair)
        leader = _leader(row, pair)
        if holding.other == Hands() and not all(holdings[place] is holding for place in pair):
            leader = wishes[0]
        yield Hold(holding, leader, sum(pair) - leader)


def _only_one(holding: Holding | None) -> bool:
    return holding is not None and holding.one


def _leader(row: Sequence[Posed], pair: tuple[int, int]) -> int:
    """The taller of two neighbours, else the one nearer the middle of the row."""
    left, right = pair
    if row[left].foot != row[right].foot:
        return max(pair, key=lambda place: row[place].foot)
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
        rows_used = counted(len(formation.across), "row")
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
    """`count` people, the tallest with a head of 1."""
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
    """The parts of actions that `layout` of the same arguments cannot show, a line each."""
    persons = _people(count, action, people)
    formation = _chosen_formation(persons, framing, row_count, width, height)
    lines: list[str] = []
    for name in dict.fromkeys(person.does for person in persons):
        if FRAMINGS.index(framing) < FRAMINGS.index(ACTIONS[name].framing):
            lines.append(f"{name} is out of the picture with framing = {framing}: set {ACTIONS[name].framing}")
    alone: dict[str, list[int]] = {}
    far: list[int] = []
    first = 1  # the number of the first place of a row
    for row_index, row in enumerate(formation.posed):
        holding = {place for hold in formation.holds[row_index] for place in hold[1:]}
        for place, posed in enumerate(row, first):
            if posed.action.holding and place - first not in holding:
                alone.setdefault(persons[place - 1].does, []).append(place)
        far += [first + place for place in _postures(formation, row_index, formation.spacing(width, height)).misses]
        first += len(row)
    lines += [f"{name}: nobody beside place {listed(places)} is free for it" for name, places in alone.items()]
    lines += gathered("Too far from the neighbour (let the taller one sit or kneel): place", far)
    return tuple(lines)


def _chosen_formation(people: Sequence[_Person], framing: str, row_count: int, width: int, height: int) -> Formation:
    """The formation of people in `row_count` rows, for a picture of this width and height in pixels.

    With row_count 0 it has the fewest rows in which faces are large enough to keep their likeness (_GOOD_HEAD), and at
    least three quarters as large as with the number of rows that makes them largest. Where no number of rows makes them
    large enough, it is the one that makes them largest. Formations with heads below their `least_head` count only where
    all have such. Those that suit people who differ come first.
    """
    if row_count:
        return _formation(people, framing, row_count)
    formations = [_formation(people, framing, number) for number in range(1, min(MOST_ROWS, len(people)) + 1)]
    fitting = [formation for formation in formations if formation.largest_head(width, height) >= formation.least_head]
    if not fitting:
        fitting = formations
    if len(set(people)) > 1:  # layouts of people who are all alike, in saved workflows, must stay the same
        fitting = [formation for formation in fitting if formation.seats_everybody_well] or fitting
    heads = [formation.largest_head(width, height) * formation.smallest for formation in fitting]
    largest = max(heads)
    enough = max(0.75 * largest, min(largest, _GOOD_HEAD))
    return next(formation for formation, head in zip(fitting, heads, strict=True) if head >= enough)


def _formation(people: Sequence[_Person], framing: str, row_count: int) -> Formation:
    """People spread over rows; the rows in the back have one person more where rows cannot be alike."""
    fewest, remainder = divmod(len(people), row_count)
    sizes = [fewest + 1 if row < remainder else fewest for row in range(row_count)]  # from back to front
    across = _staggered(sizes)
    ends = list(accumulate(sizes))
    posed: list[tuple[Posed, ...]] = []
    for row_index, (size, end, places) in enumerate(zip(sizes, ends, across, strict=True)):
        from_front = row_count - 1 - row_index
        row = zip(people[end - size : end], places, strict=True)
        posed.append(tuple(_posed(person, framing, row_count, from_front, mirrored=x < 0) for person, x in row))
    return Formation(across, tuple(posed), framing)


def _posed(person: _Person, framing: str, row_count: int, from_front: int, mirrored: bool) -> Posed:
    """A person in a row. from_front: 0 in the front row. mirrored: who stands left of the middle."""
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

    The people of every row stand over the gaps of the row in front. Rows with a common middle do so where one has an
    even and the other an odd number of people. Otherwise the row is shifted by half a place against the row in front.
    sizes: people per row, from back to front.
    """
    shift = 0.0  # of the row that is looked at, in places
    shifts = [0.0]  # the front row first
    for back, front in zip(reversed(sizes[:-1]), reversed(sizes[1:]), strict=True):
        if (back - front) % 2 == 0:
            shift = 0.0 if shift else 0.5
        shifts.append(shift)
    across = [
        [place - size / 2 + row_shift for place in range(size)]
        for size, row_shift in zip(sizes, reversed(shifts), strict=True)
    ]
    middle = (min(map(min, across)) + max(map(max, across))) / 2
    return tuple(tuple(x - middle for x in row) for row in across)


def _places_of_formation(formation: Formation, width: int, height: int) -> tuple[Slot, ...]:
    """The places of a formation on a canvas in pixels, from the back row to the front."""
    spacing = formation.spacing(width, height)
    head = spacing.head
    rows: list[list[bodies.Head]] = []
    for row_index, nose_height in enumerate(formation.nose_heights(spacing.rise)):
        y = height - (nose_height + spacing.lift) * head
        row: list[bodies.Head] = []
        for place, x in enumerate(_across(formation, row_index, spacing.beside)):
            nose = (width / 2 + x * head, y + formation.drop(row_index, place) * head)
            row.append(bodies.Head(nose, head * formation.posed[row_index][place].build.head))
        rows.append(row)
    slots: list[Slot] = []
    for row_index, row in enumerate(rows):
        front = [its_head for row_in_front in rows[row_index + 1 :] for its_head in row_in_front]
        postures = _postures(formation, row_index, spacing)
        for place, (its_head, sides) in enumerate(zip(row, postures.sides, strict=True)):
            pose = bodies.body(its_head.nose, its_head.height, sides.left, right=sides.right)
            pose = bodies.on_canvas(pose, its_head.height, width, height)
            pose = bodies.behind(pose, front)
            # Layouts of group photos in saved workflows must stay the same.
            held = any(place in hold[1:] for hold in formation.holds[row_index])
            if held or formation.posed[row_index][place].action is not ACTIONS[GROUP_PHOTO]:
                pose = bodies.clear_of_faces(pose, front)
            # The person is raised only now, after joints were hidden, so that a row shows the same joints of everybody.
            rise = formation.sway(row_index, place) * head
            slots.append(_raised_place(its_head.nose, pose, its_head.height, rise))
    return tuple(slots)


def _across(formation: Formation, row_index: int, beside: float) -> list[float]:
    """The noses of a row, in heads from the middle of the group. beside: distance of neighbours, in heads."""
    places = [x * beside for x in formation.across[row_index]]
    distances = formation.distances(row_index, beside)
    if all(distance == beside for distance in distances):
        return places
    nearer = list(accumulate(distances, initial=0.0))
    shift = (places[0] + places[-1] - nearer[-1]) / 2  # the middle of the row stays where it is
    return [x + shift for x in nearer]


def _raised_place(nose: Point, pose: Pose, head: float, rise: float) -> Slot:
    """The place of a person who is taller by so many pixels. head: crown to chin, px."""
    x, y = nose
    raised_nose = (x, y - rise)
    raised_pose = tuple((joint_x, joint_y - rise, confidence) for joint_x, joint_y, confidence in pose)
    return Slot(raised_nose, bodies.face_box(raised_nose, head), bodies.face_keypoints(raised_nose, head), raised_pose)


class _Postures(NamedTuple):
    """Of the people of a row, in their own heads. misses: the indices of those who do not reach whom they hold."""

    sides: list[BodySides]
    misses: list[int]


def _postures(formation: Formation, row_index: int, spacing: Spacing) -> _Postures:
    """The postures of a row, with the arms of people who hold each other."""
    row = formation.posed[row_index]
    distances = formation.distances(row_index, spacing.beside)
    sides = [_free_posture(formation, row_index, place, distances) for place in range(len(row))]
    heights = [formation.sway(row_index, place) - formation.drop(row_index, place) for place in range(len(row))]
    noses = [(x, -y) for x, y in zip(_across(formation, row_index, spacing.beside), heights, strict=True)]
    misses: list[int] = []
    # Who hugs has both arms around one neighbour, but for an arm that holds the other one.
    for hold in sorted(formation.holds[row_index], key=lambda hold: not hold.holding.one):
        leader, other = hold.leader, hold.other
        drawn = hold.holding.drawn
        if drawn and row[leader].build == row[other].build == ADULT and row[leader].foot == row[other].foot:
            for arm, place, neighbour in ((drawn.leader, leader, other), (drawn.other, other, leader)):
                way = (distances[min(leader, other)], heights[place] - heights[neighbour])
                joints = [reach and reach.towards(way) for reach in arm]
                left, right = sides[place]
                if neighbour > place:  # a person's left is on the viewer's right
                    sides[place] = BodySides(with_arm(left, joints), right)
                else:
                    sides[place] = BodySides(left, with_arm(right, joints))
            continue
        figures = [Figure(noses[place], row[place].build, sides[place]) for place in (leader, other)]
        for place, held in zip((leader, other), touching.hold(hold.holding, *figures), strict=True):
            sides[place] = held.sides
            if not held.reaches:
                misses.append(place)
    return _Postures(sides, misses)


def _free_posture(formation: Formation, row_index: int, place: int, distances: Sequence[float]) -> BodySides:
    """The posture of one person, in own heads, with the arms of somebody who holds nobody.

    distances: of the neighbours of the row, in heads.
    """
    posed = formation.posed[row_index][place]
    action = posed.action
    # Row 0 is in the back: people of all other rows have faces behind them.
    arms = action.before if row_index > 0 and action.before is not None else action.arms
    if formation.across[row_index][place] < 0:  # left of the middle: mirrored
        arms = Arms(arms.right, arms.left)
    # In the heads of an adult as wide as this person, whose posture the action has.
    room = [distance / posed.width for distance in distances]
    left = action.side(posed.posture.left, arms.left, room[place] if place < len(room) else None)
    right = action.side(posed.posture.right, arms.right, room[place - 1] if place else None)
    return BodySides(posed.build.of(left), posed.build.of(right))
