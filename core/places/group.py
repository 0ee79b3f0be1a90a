"""A group photo without a photo: rows of people, back rows higher and staggered. What they do: actions.py.

Lengths are in heads until the end, heights from the lower edge of the picture up.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import BadLayout, counted
from ..geometry import check_size
from ..people import Layout, Point, Pose, Slot
from . import bodies
from .actions import ACTIONS, GROUP_PHOTO, Action, Arms, BodySides

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

# The smallest head, in pixels, whose ID patches keep clear of each other at the least distances above:
# beside each other in one row, above each other in several. A patch has 64 px: 64 / 1.6 heads (the least distance of
# neighbours) is 40, and 64 / (_LEAST_RISE - 2 * _SWAY) is 59.3; both have some pixels more for rounding.
_LEAST_HEAD_ONE_ROW, _LEAST_HEAD = 42, 60
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
class Formation:
    """Rows of people, from back to front.

    across: per row the noses from left to right, in distances of neighbours, 0 in the middle of the group. postures: of
    the people of each row.
    framing: one of FRAMINGS. action: what the people do.
    """

    across: tuple[tuple[float, ...], ...]
    postures: tuple[BodySides, ...]
    framing: str
    action: Action

    @property
    def span(self) -> float:
        """The distance from the outermost nose on the left to that on the right, in distances of neighbours."""
        places = [x for row in self.across for x in row]
        return max(places) - min(places)

    @property
    def least_width(self) -> float:
        """The least width of the formation, in heads."""
        return self.span * self.action.beside.least + 2 * _SIDE

    def nose_heights(self, rise: float) -> list[float]:
        """The height of the noses of each row above the lower edge, in heads, from back to front.

        rise: of a row over the row in front. With `full`, it is the height of a bench: rows stand on the floor, which
        comes up _STEP from row to row, and a row has one bench more than the row in front. It needs no bench more where
        its people are tall enough on the floor, as people who stand behind people who sit.
        """
        rows = len(self.across)
        if self.framing != "full":
            # CROWN is below 0: the noses of the front row lie that much below the crowns.
            front = _SHOWN[self.framing] + bodies.CROWN
            return [front + row * rise for row in range(rows - 1, -1, -1)]
        lowest = [_lowest_joint(posture) for posture in reversed(self.postures)]  # the front row first
        heights: list[float] = []
        benches = 0
        for row in range(rows):
            # On the floor, the noses of this row would be less than _LEAST_RISE above those of the row in front.
            if row > 0 and lowest[row] + _STEP < lowest[row - 1] + _LEAST_RISE:
                benches += 1
            heights.append(_FEET + lowest[row] + row * _STEP + benches * rise)
        return heights[::-1]

    def least_height(self, rise: float = _LEAST_RISE) -> float:
        """The least height of the formation, in heads. rise: of a row over the row in front."""
        hands_above_air = 0.0
        # The arms of `holding` and of who stands `before` never reach above a crown.
        for arm in self.action.arms:
            # An Arm is its elbow and its wrist, or None as the posture has it. The hand of a hidden wrist is taken to
            # be at the elbow.
            for joint in arm or ():
                if joint is not None:
                    # Heights above the nose, in heads. y points down from the nose, and CROWN is below 0: the air over
                    # a crown ends _ABOVE - CROWN above the nose.
                    hand_above_nose = _HAND - joint.y
                    hands_above_air = max(hands_above_air, hand_above_nose + bodies.CROWN - _ABOVE)
        return self.nose_heights(rise)[0] - bodies.CROWN + _SWAY + _ABOVE + hands_above_air

    @property
    def least_head(self) -> int:
        """The smallest head in pixels whose ID patches keep clear of each other."""
        return _LEAST_HEAD if len(self.across) > 1 else _LEAST_HEAD_ONE_ROW

    def largest_head(self, width: int, height: int) -> float:
        """The largest head, in pixels, with which everybody is in a picture of this width and height in pixels."""
        return min(width / self.least_width, height / self.least_height())

    def spacing(self, width: int, height: int) -> Spacing:
        """How the formation stands in a picture of this size, in pixels, with the largest heads."""
        head = self.largest_head(width, height)
        beside = 0.0
        if self.span:
            # width / head is the width of the picture in heads, of which _SIDE is kept free at both ends.
            beside = min(self.action.beside.most, (width / head - 2 * _SIDE) / self.span)
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
        most = _SWAY / 2 if self.action.holding else _SWAY
        fraction = (3 * row_index + place_index + 1) * 0.618 % 1
        return most * (2 * fraction - 1)


def _lowest_joint(posture: BodySides) -> float:
    """The distance from the nose down to the lowest joint of a posture, in heads."""
    return max(joint[1] for side in posture for joint in side if joint is not None)


def layout(count: int, framing: str, row_count: int, width: int, height: int, action: str = GROUP_PHOTO) -> Layout:
    """`count` places, numbered from the back row to the front, left to right, each with a skeleton.

    framing: one of FRAMINGS (with full, front rows sit or kneel). row_count: 0 chooses. action: one of ACTIONS. The
    same input gives the same layout. Faces and patches never overlap or leave the canvas.
    Raises BadSize for an impossible size of the canvas, and BadLayout where there is no room.
    """
    check_size("The layout", width, height)
    if not count:
        advice = "Connect the cast that Place Cast was given, before it has left people out."
        raise BadLayout("There are no people to make places for: the cast is empty.", advice)
    people = counted(count, "person", "people")
    if row_count > count:
        raise BadLayout(f"{row_count} rows are too many for {people}.", "Set rows to 0, which chooses, or to fewer.")
    formation = _chosen_formation(count, framing, row_count, width, height, ACTIONS[action])
    if formation.largest_head(width, height) < formation.least_head:
        least_width = _up_to_8(formation.least_width * formation.least_head)
        least_height = _up_to_8(formation.least_height() * formation.least_head)
        verb = "needs" if count == 1 else "need"
        rows_used = counted(len(formation.across), "row")
        raise BadLayout(
            f"The canvas is {width}x{height} px; {people} with framing = {framing} in {rows_used} {verb} at least "
            f"{least_width}x{least_height} px.",
            "Use a larger canvas, fewer people, another framing or another number of rows (0 chooses).",
        )
    return Layout(width, height, _places_of_formation(formation, width, height))


def _up_to_8(side: float) -> int:
    """The next multiple of 8, the step of the latent grid."""
    return math.ceil(side / 8) * 8


def notes(count: int, framing: str, row_count: int, width: int, height: int, action: str) -> tuple[str, ...]:
    """The parts of an action that `layout` of the same arguments cannot show, a line each."""
    chosen_action = ACTIONS[action]
    formation = _chosen_formation(count, framing, row_count, width, height, chosen_action)
    lines: list[str] = []
    if FRAMINGS.index(framing) < FRAMINGS.index(chosen_action.framing):
        lines.append(f"{action} is out of the picture with framing = {framing}: set {chosen_action.framing}")
    if chosen_action.holding and min(map(len, formation.across)) == 1:
        lines.append(f"{action}: a person alone in a row has no hand to hold")
    return tuple(lines)


def _chosen_formation(count: int, framing: str, row_count: int, width: int, height: int, action: Action) -> Formation:
    """The formation of `count` people in `row_count` rows, for a picture of this width and height in pixels.

    With row_count 0 it has the fewest rows in which faces are large enough to keep their likeness (_GOOD_HEAD), and at
    least three quarters as large as with the number of rows that makes them largest. Where no number of rows makes them
    large enough, it is the one that makes them largest. Formations with heads below their `least_head` count only where
    all have such.
    """
    if row_count:
        return _formation(count, framing, row_count, action)
    formations = [_formation(count, framing, number, action) for number in range(1, min(MOST_ROWS, count) + 1)]
    fitting = [formation for formation in formations if formation.largest_head(width, height) >= formation.least_head]
    if not fitting:
        fitting = formations
    heads = [formation.largest_head(width, height) for formation in fitting]
    largest = max(heads)
    enough = max(0.75 * largest, min(largest, _GOOD_HEAD))
    return next(formation for formation, head in zip(fitting, heads, strict=True) if head >= enough)


def _formation(count: int, framing: str, row_count: int, action: Action) -> Formation:
    """People spread over rows; the rows in the back have one person more where rows cannot be alike."""
    fewest, remainder = divmod(count, row_count)
    sizes = [fewest + 1 if row < remainder else fewest for row in range(row_count)]  # from back to front
    # With `full`, the rows have the last `row_count` postures of the action, so that the back row has the last one.
    # With the other framings the legs are out of the picture: all have the last posture.
    used = row_count if framing == "full" else 1
    front_first = action.rows[-used:]
    # Where the action has fewer postures than there are rows, the rows further back have the last one, too.
    postures = [front_first[min(row, len(front_first) - 1)] for row in range(row_count)]
    return Formation(_staggered(sizes), tuple(reversed(postures)), framing, action)


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
    rows: list[list[Point]] = []  # the noses, px
    for places, nose_height in zip(formation.across, formation.nose_heights(spacing.rise), strict=True):
        y = height - (nose_height + spacing.lift) * head
        rows.append([(width / 2 + x * spacing.beside * head, y) for x in places])
    slots: list[Slot] = []
    for row, noses in enumerate(rows):
        front = [bodies.Head(nose, head) for row_in_front in rows[row + 1 :] for nose in row_in_front]
        for place, nose in enumerate(noses):
            sides = _postures_of_person(formation, row, place, spacing.beside)
            pose = bodies.on_canvas(bodies.body(nose, head, sides.left, right=sides.right), head, width, height)
            pose = bodies.behind(pose, front)
            if formation.action is not ACTIONS[GROUP_PHOTO]:  # whose layouts in saved workflows must stay the same
                pose = bodies.clear_of_faces(pose, front)
            # The person is raised only now, after joints were hidden, so that a row shows the same joints of everybody.
            slots.append(_raised_place(nose, pose, head, formation.sway(row, place) * head))
    return tuple(slots)


def _raised_place(nose: Point, pose: Pose, head: float, rise: float) -> Slot:
    """The place of a person who is taller by so many pixels. head: crown to chin, px."""
    x, y = nose
    raised_nose = (x, y - rise)
    raised_pose = tuple((joint_x, joint_y - rise, confidence) for joint_x, joint_y, confidence in pose)
    return Slot(raised_nose, bodies.face_box(raised_nose, head), bodies.face_keypoints(raised_nose, head), raised_pose)


def _postures_of_person(formation: Formation, row_index: int, place_index: int, beside: float) -> BodySides:
    """The postures of both sides of one person.

    row_index: of the row, from the back. place_index: of the person in the row. beside: distance of neighbours, in
    heads.
    """
    action = formation.action
    across = formation.across[row_index]
    middle = (len(across) - 1) // 2
    postures = formation.postures[row_index]
    # Row 0 is in the back: people of all other rows have faces behind them.
    arms = action.before if row_index > 0 and action.before is not None else action.arms
    if across[place_index] < 0:  # left of the middle: mirrored
        postures = BodySides(postures.right, postures.left)
        arms = Arms(arms.right, arms.left)
    # A person's left is on the viewer's right.
    left = action.side(
        postures.left,
        arms.left,
        _way_to_neighbour(formation, row_index, place_index, place_index + 1, beside),
        nearer=place_index >= middle,
    )
    right = action.side(
        postures.right,
        arms.right,
        _way_to_neighbour(formation, row_index, place_index, place_index - 1, beside),
        nearer=place_index <= middle,
    )
    return BodySides(left, right)


def _way_to_neighbour(
    formation: Formation, row_index: int, place_index: int, neighbour_index: int, beside: float
) -> Point | None:
    """The vector from the nose of a person to that of a neighbour in the row, in heads, x outwards and y down.

    row_index: of the row, from the back. place_index, neighbour_index: of the two people in the row. beside: the
    distance of neighbours, in heads. None where nobody stands at neighbour_index.
    """
    if not 0 <= neighbour_index < len(formation.across[row_index]):
        return None
    return (beside, formation.sway(row_index, place_index) - formation.sway(row_index, neighbour_index))
