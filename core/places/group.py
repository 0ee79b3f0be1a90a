"""A group photo without a photo: rows of people, back rows higher and staggered, and what they do.

Lengths in heads until the end, of poses from the nose, y down, see bodies.py. Right and left are the person's own, x
grows outwards on both sides. Lengths of limbs are what the camera sees of them: at most those of bodies.STANDING, less
where a limb points to the camera or away from it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ..errors import BadLayout, counted
from ..geometry import check_size
from ..people import Layout, Point, Slot
from . import bodies
from .bodies import KNEELING, SEATED, STANDING, Posture

Reach = tuple[float, float, float]
"""x, y, and the share of the way to the neighbour on this side that is added to them."""
Arm = tuple[Reach, Reach | None]
"""Elbow and wrist; None is hidden from the camera."""
Sides = tuple[Posture, Posture]
"""A person's left side and right side."""

_CLEAR = 0.03  # left free between a raised arm and the middle between two people
_HAND = 0.25  # hand and air above a wrist

_LEGS = slice(5, 8)
_CHAIR: Posture = (*SEATED[:3], (0.78, 1.92), *SEATED[4:])
_FLOOR: Posture = (*STANDING[:3], (0.79, 1.90), (0.60, 2.78), (0.40, 2.78), (0.74, 3.20), (-0.16, 3.38))
_KNEE_UP: Posture = (*STANDING[:3], (0.79, 1.92), (0.54, 2.88), (0.40, 2.80), (0.52, 3.16), (0.50, 4.76))
_KNEE_DOWN: Posture = (*STANDING[:3], (0.79, 1.94), (0.60, 2.86), (0.38, 2.84), (0.44, 4.64), None)
_STRIDE: Posture = (*STANDING[:3], (0.79, 1.92), (0.74, 2.76), (0.36, 2.85), (0.30, 4.70), (0.22, 6.44))
_PUSH: Posture = (*STANDING[:3], (0.79, 1.86), (0.60, 2.52), (0.36, 2.85), (0.34, 4.62), (0.30, 5.86))


@dataclass(frozen=True)
class Action:
    """framing: the closest one that shows it.
    rows: how people stand or sit, the front row first; a row further back than these does as the last.
    arms: left and right, instead of those of `rows`. Whoever stands left of the middle does it mirrored.
    before: the same of those who have faces behind them, None if it is the same.
    holding: of two neighbours the arm of the one nearer the middle of the row, and the other's, instead of `arms`.
    beside: neighbours, nose to nose, least and most.
    """

    framing: str = "full"
    rows: tuple[Sides, ...] = ((KNEELING, KNEELING), (SEATED, SEATED), (STANDING, STANDING))
    arms: tuple[Arm | None, Arm | None] = (None, None)
    before: tuple[Arm | None, Arm | None] | None = None
    holding: tuple[Arm, Arm] | None = None
    beside: tuple[float, float] = (1.6, 2.1)

    def side(self, posture: Posture, arm: Arm | None, way: Point | None, nearer: bool) -> Posture:
        """One side of a person. The arm stays on its half of the way to the neighbour unless it holds that neighbour.

        way: from the nose to that of the neighbour on this side, x outwards, None where nobody stands; nearer: whether
        the person is nearer the middle of the row than the neighbour.
        """
        if self.holding and way:
            (x, y), arm = way, self.holding[not nearer]
            return (*posture[:3], *(at and (at[0] + at[2] * x, at[1] + at[2] * y) for at in arm), *posture[_LEGS])
        if arm is None:
            return posture
        half = (way[0] if way else self.beside[1]) / 2 - _CLEAR
        return (*posture[:3], *(reach and (min(reach[0], half), reach[1]) for reach in arm), *posture[_LEGS])


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
    "arms crossed": Action("half", arms=(((0.78, 1.72, 0), (-0.20, 1.50, 0)), ((0.78, 1.75, 0), (-0.22, 1.70, 0)))),
    "walking": Action(rows=((_STRIDE, _PUSH),)),
    "sitting": Action("half", rows=((_FLOOR, _FLOOR), (_CHAIR, _CHAIR))),
    "kneeling": Action(rows=((KNEELING, KNEELING), (_KNEE_UP, _KNEE_DOWN))),
}

FRAMINGS = ("bust", "half", "full")
MOST_ROWS = 4

# From the crown of the front row down to the lower edge of the picture; with `full` the feet decide.
_SHOWN = {"bust": 2.1, "half": 4.1}
_RISE = (1.2, 1.6)  # a row above the one in front of it, least and most
_SIDE = 0.95  # from an outermost nose to the edge: half the shoulders and some air
_ABOVE = 0.25  # air over the highest crown
_FEET = 0.4  # below the ankles of the front row
_STEP = 0.2  # a row further back stands this much higher in the picture
_SWAY = 0.06  # people differ in height

# The smallest head, in pixels, whose ID patches keep clear of each other at the least distances above:
# beside each other in one row, above each other in several.
_LEAST_HEAD = (42, 60)
_GOOD_HEAD = 116  # a face of 96 px: smaller ones lose their likeness


@dataclass(frozen=True)
class Formation:
    """Rows from back to front. across: per row the noses, in distances of neighbours, 0 in the middle of the group.
    `wide` and `high`: the least room they need, in heads."""

    across: tuple[tuple[float, ...], ...]
    postures: tuple[Sides, ...]
    framing: str
    action: Action

    @property
    def span(self) -> float:
        places = [x for row in self.across for x in row]
        return max(places) - min(places)

    @property
    def wide(self) -> float:
        return self.span * self.action.beside[0] + 2 * _SIDE

    def up(self, rise: float) -> list[float]:
        """Of each row, the nose over the lower edge of the picture, when each row is `rise` above the one in front.

        With `full` a row stands on one bench more than the row in front, unless people are taller by themselves.
        """
        if self.framing != "full":
            return [_SHOWN[self.framing] + bodies.CROWN + row * rise for row in range(len(self.across) - 1, -1, -1)]
        lowest = [max(at[1] for side in posture for at in side if at is not None) for posture in self.postures[::-1]]
        benches = accumulate((back + _STEP < front + _RISE[0] for front, back in pairwise(lowest)), initial=0)
        up = [_FEET + low + n * _STEP + high * rise for n, (low, high) in enumerate(zip(lowest, benches, strict=True))]
        return up[::-1]

    def high(self, rise: float = _RISE[0]) -> float:
        reaches = [reach for arm in self.action.arms if arm for reach in arm if reach]
        # So far hands are above the air over a crown.
        hands = max([0.0, *(_HAND - y + bodies.CROWN - _ABOVE for _, y, _ in reaches)])
        return self.up(rise)[0] - bodies.CROWN + _SWAY + _ABOVE + hands

    @property
    def least_head(self) -> int:
        return _LEAST_HEAD[len(self.across) > 1]

    def head(self, width: int, height: int) -> float:
        """The largest head, in pixels, with which everybody is in the picture."""
        return min(width / self.wide, height / self.high())

    def sway(self, row: int, place: int) -> float:
        """A height difference that looks accidental and is always the same: the golden ratio's fractional parts.
        Less where people hold each other, so that arms meet as intended."""
        most = _SWAY / 2 if self.action.holding else _SWAY
        return most * (2 * ((3 * row + place + 1) * 0.618 % 1) - 1)


def layout(count: int, framing: str, rows: int, width: int, height: int, action: str = GROUP_PHOTO) -> Layout:
    """`count` places, numbered from the back row to the front, left to right, each with a skeleton.

    framing: bust, half or full (front rows then sit or kneel); rows: 0 chooses; action: one of ACTIONS. The same input
    gives the same layout.
    Faces and patches never overlap or leave the canvas. Raises BadSize, BadLayout.
    """
    check_size("The layout", width, height)
    if not count:
        advice = "Connect the cast that Place Cast was given, before it has left people out."
        raise BadLayout("There are no people to make places for: the cast is empty.", advice)
    if rows > count:
        why = f"{rows} rows are too many for {counted(count, 'person', 'people')}."
        raise BadLayout(why, "Set rows to 0, which chooses, or to fewer.")
    formation = _chosen(count, framing, rows, width, height, ACTIONS[action])
    if formation.head(width, height) < formation.least_head:
        wide, high = (math.ceil(side * formation.least_head / 8) * 8 for side in (formation.wide, formation.high()))
        who, rows_used = counted(count, "person", "people"), counted(len(formation.across), "row")
        raise BadLayout(
            f"The canvas is {width}x{height} px; {who} with framing = {framing} in {rows_used} "
            f"need{'s' * (count == 1)} at least {wide}x{high} px.",
            "Use a larger canvas, fewer people, another framing or another number of rows (0 chooses).",
        )
    return Layout(width, height, _stand(formation, width, height))


def notes(count: int, framing: str, rows: int, width: int, height: int, action: str) -> tuple[str, ...]:
    """What `layout` of the same cannot show of an action."""
    does, found = ACTIONS[action], list[str]()
    formation = _chosen(count, framing, rows, width, height, does)
    if FRAMINGS.index(framing) < FRAMINGS.index(does.framing):
        found.append(f"{action} is out of the picture with framing = {framing}: set {does.framing}")
    if does.holding and min(map(len, formation.across)) == 1:
        found.append(f"{action}: a person alone in a row has no hand to hold")
    return tuple(found)


def _chosen(count: int, framing: str, rows: int, width: int, height: int, action: Action) -> Formation:
    """In so many rows; for 0 the fewest whose faces are good and not much smaller than the largest possible."""
    if rows:
        return _formation(count, framing, rows, action)
    every = [_formation(count, framing, number, action) for number in range(1, min(MOST_ROWS, count) + 1)]
    fitting = [one for one in every if one.head(width, height) >= one.least_head] or every
    largest = max(one.head(width, height) for one in fitting)
    enough = max(0.75 * largest, min(largest, _GOOD_HEAD))
    return next(one for one in fitting if one.head(width, height) >= enough)


def _formation(count: int, framing: str, rows: int, action: Action) -> Formation:
    each, more = divmod(count, rows)
    sizes = [each + (row < more) for row in range(rows)]
    front_first = action.rows[-rows if framing == "full" else -1 :]
    postures = [front_first[min(row, len(front_first) - 1)] for row in range(rows)]
    return Formation(_staggered(sizes), tuple(reversed(postures)), framing, action)


def _staggered(sizes: list[int]) -> tuple[tuple[float, ...], ...]:
    """Every row half a place beside the one in front; a row that is so by its number of people stays in the middle."""
    shift, shifts = 0.0, [0.0]
    for back, front in zip(reversed(sizes[:-1]), reversed(sizes[1:]), strict=True):
        if (back - front) % 2 == 0:
            shift = 0.0 if shift else 0.5
        shifts.append(shift)
    across = [
        [place - (size - 1) / 2 + moved for place in range(size)]
        for size, moved in zip(sizes, reversed(shifts), strict=True)
    ]
    middle = (min(map(min, across)) + max(map(max, across))) / 2
    return tuple(tuple(x - middle for x in row) for row in across)


def _stand(formation: Formation, width: int, height: int) -> tuple[Slot, ...]:
    head = formation.head(width, height)
    beside = min(formation.action.beside[1], (width / head - 2 * _SIDE) / formation.span) if formation.span else 0.0
    # The largest rise, within reason, that still fits.
    per_rise = formation.high(_RISE[0] + 1) - formation.high()
    rise = min(_RISE[1], _RISE[0] + (height / head - formation.high()) / per_rise) if per_rise else _RISE[0]
    # Height that is left over goes a little more below the group than above it, as photographers frame it.
    lift = (height / head - formation.high(rise)) * 0.6
    rows = [
        [(width / 2 + x * beside * head, height - (up + lift) * head) for x in places]
        for places, up in zip(formation.across, formation.up(rise), strict=True)
    ]
    slots: list[Slot] = []
    for row, noses in enumerate(rows):
        front = [(nose, head) for other in rows[row + 1 :] for nose in other]
        for n, nose in enumerate(noses):
            left, right = _sides(formation, row, n, beside)
            pose = bodies.on_canvas(bodies.body(nose, head, left, right=right), head, width, height)
            pose = bodies.behind(pose, front)
            if formation.action is not ACTIONS[GROUP_PHOTO]:  # which stays as it is in saved workflows
                pose = bodies.clear_of_faces(pose, front)
            # The whole person higher: only now, so that a row shows the same joints of everybody.
            by = formation.sway(row, n) * head
            nose, pose = (nose[0], nose[1] - by), tuple((x, y - by, seen) for x, y, seen in pose)
            slots.append(Slot(nose, bodies.face_box(nose, head), bodies.face_keypoints(nose, head), pose))
    return tuple(slots)


def _sides(formation: Formation, row: int, n: int, beside: float) -> Sides:
    """Both sides of the n-th of a row."""
    action, across, middle = formation.action, formation.across[row], (len(formation.across[row]) - 1) // 2
    postures = formation.postures[row]
    arms = action.before if row > 0 and action.before is not None else action.arms
    if across[n] < 0:
        postures, arms = (postures[1], postures[0]), (arms[1], arms[0])

    def way(to: int) -> Point | None:
        there = 0 <= to < len(across)
        return (beside, formation.sway(row, n) - formation.sway(row, to)) if there else None

    # A person's left is on the viewer's right.
    left = action.side(postures[0], arms[0], way(n + 1), n >= middle)
    return left, action.side(postures[1], arms[1], way(n - 1), n <= middle)
