"""A group photo without a photo: rows of people, back rows higher and staggered. Lengths in heads until the end."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import BadChoice, BadLayout, counted
from ..geometry import check_size
from ..people import Layout, Point, Pose, Slot
from . import bodies
from .bodies import KNEELING, SEATED, STANDING, Posture

FRAMINGS = ("bust", "half", "full")
MOST_ROWS = 4

# From the crown of the front row down to the lower edge of the picture; with `full` the feet decide.
_SHOWN = {"bust": 2.1, "half": 4.1}
_RISE = (1.2, 1.6)  # a row above the one in front of it, least and most
_BESIDE = (1.6, 2.1)  # neighbours of a row, nose to nose, least and most
_SIDE = 0.95  # from an outermost nose to the edge: half the shoulders and some air
_ABOVE = 0.25  # air over the highest crown
_FEET = 0.4  # below the ankles of the front row
_STEP = 0.2  # a row further back stands this much higher in the picture
_SWAY = 0.06  # people differ in height

# The smallest head, in pixels, whose ID patches keep clear of each other at the least distances above:
# beside each other in one row, above each other in several.
_LEAST_HEAD = (42, 60)
# A face of 96 px: smaller ones lose their likeness.
_GOOD_HEAD = 116


@dataclass(frozen=True)
class Formation:
    """Rows from back to front. across: per row the noses, in distances of neighbours, 0 in the middle of the group.
    `wide` and `high`: the least room they need, in heads."""

    across: tuple[tuple[float, ...], ...]
    postures: tuple[Posture, ...]
    framing: str

    @property
    def span(self) -> float:
        places = [x for row in self.across for x in row]
        return max(places) - min(places)

    @property
    def wide(self) -> float:
        return self.span * _BESIDE[0] + 2 * _SIDE

    def up(self, rise: float = _RISE[0]) -> list[float]:
        """Of each row, the nose over the lower edge of the picture, when each row is `rise` above the one in front."""
        behind = range(len(self.across) - 1, -1, -1)
        if self.framing != "full":
            return [_SHOWN[self.framing] + bodies.CROWN + row * rise for row in behind]
        # A fourth row stands on a bench.
        return [
            _FEET + _lowest(posture) + row * _STEP + max(0, row - 2) * rise
            for posture, row in zip(self.postures, behind, strict=True)
        ]

    def high(self, rise: float = _RISE[0]) -> float:
        return self.up(rise)[0] - bodies.CROWN + _SWAY + _ABOVE

    @property
    def least_head(self) -> int:
        return _LEAST_HEAD[len(self.across) > 1]

    def head(self, width: int, height: int) -> float:
        """The largest head, in pixels, with which everybody is in the picture."""
        return min(width / self.wide, height / self.high())

    def fits(self, width: int, height: int) -> bool:
        return self.head(width, height) >= self.least_head


def layout(count: int, framing: str, rows: int, width: int, height: int) -> Layout:
    """`count` places, numbered from the back row to the front, left to right, each with a skeleton.

    framing: bust, half or full (front rows then sit or kneel); rows: 0 chooses. The same input gives the same layout.
    Faces and patches never overlap or leave the canvas. Raises BadSize, BadChoice, BadLayout.
    """
    check_size("The layout", width, height)
    if framing not in FRAMINGS:
        raise BadChoice("framing", framing, FRAMINGS)
    if not count:
        raise BadLayout(
            "There is nobody to make places for: the cast is empty.",
            "Connect the cast that Place Cast was given, before it has left people out.",
        )
    if rows > count:
        there = "is 1 person" if count == 1 else f"are {count} people"
        raise BadLayout(
            f"{rows} rows were asked for, but there {there}.",
            "Set rows to 0 to have them chosen, or to no more than the number of people.",
        )
    formation = _formation(count, framing, rows) if rows else _best(count, framing, width, height)
    if not formation.fits(width, height):
        raise _no_room(count, formation, width, height)
    return Layout(width, height, _stand(formation, width, height))


def _no_room(count: int, formation: Formation, width: int, height: int) -> BadLayout:
    (wide, high), who = _least_canvas(formation), counted(count, "person", "people")
    return BadLayout(
        f"The canvas is {width}x{height} px; {who} with framing = {formation.framing} in "
        f"{counted(len(formation.across), 'row')} "
        f"need{'s' * (count == 1)} at least {wide}x{high} px.",
        "Use a larger canvas, fewer people, another framing or another number of rows (0 chooses).",
    )


def _best(count: int, framing: str, width: int, height: int) -> Formation:
    """The fewest rows whose faces are good and not much smaller than the largest possible."""
    every = [_formation(count, framing, rows) for rows in range(1, min(MOST_ROWS, count) + 1)]
    formations = [formation for formation in every if formation.fits(width, height)] or every
    heads = [formation.head(width, height) for formation in formations]
    enough = max(0.75 * max(heads), min(max(heads), _GOOD_HEAD))
    return next(formation for formation, head in zip(formations, heads, strict=True) if head >= enough)


def _least_canvas(formation: Formation) -> tuple[int, int]:
    wide, high = (math.ceil(side * formation.least_head / 8) * 8 for side in (formation.wide, formation.high()))
    return wide, high


def _formation(count: int, framing: str, rows: int) -> Formation:
    each, more = divmod(count, rows)
    sizes = [each + (row < more) for row in range(rows)]
    front_first = (SEATED, STANDING) if rows == 2 else (KNEELING, SEATED, STANDING)
    if rows == 1 or framing != "full":
        front_first = (STANDING,)
    postures = [front_first[min(row, len(front_first) - 1)] for row in range(rows)]
    return Formation(_staggered(sizes), tuple(reversed(postures)), framing)


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


def _lowest(posture: Posture) -> float:
    return max(offset[1] for offset in posture if offset is not None)


def _stand(formation: Formation, width: int, height: int) -> tuple[Slot, ...]:
    head = formation.head(width, height)
    beside = min(_BESIDE[1], (width / head - 2 * _SIDE) / formation.span) if formation.span else 0.0
    rise = _roomy_rise(formation, height / head)
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
            pose = bodies.on_canvas(bodies.body(nose, head, formation.postures[row]), head, width, height)
            slots.append(_raised(nose, bodies.behind(pose, front), head, _sway(row, n) * head))
    return tuple(slots)


def _roomy_rise(formation: Formation, room: float) -> float:
    """The largest rise, within reason, that still fits into `room` heads."""
    per_rise = formation.high(_RISE[0] + 1) - formation.high()
    return min(_RISE[1], _RISE[0] + (room - formation.high()) / per_rise) if per_rise else _RISE[0]


def _sway(row: int, place: int) -> float:
    """A height difference that looks accidental and is always the same: the golden ratio's fractional parts."""
    return _SWAY * (2 * ((3 * row + place + 1) * 0.618 % 1) - 1)


def _raised(nose: Point, pose: Pose, head: float, by: float) -> Slot:
    """A place, the whole person `by` higher: only now, so that a row shows the same joints of everybody."""
    nose = (nose[0], nose[1] - by)
    pose = tuple((x, y - by, seen) for x, y, seen in pose)
    return Slot(nose, bodies.face_box(nose, head), bodies.face_keypoints(nose, head), pose)
