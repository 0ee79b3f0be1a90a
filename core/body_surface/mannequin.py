"""An approximate IUV picture of skeletons: limbs as capsules on which U runs along and V across.

Each part's coordinates are a plane through those of people who stand upright in published DensePose pictures, seen from
the front or from behind. Outlines are those of a mannequin without clothes; hands and feet point where the limb does.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from ..errors import BadLayout
from ..people import Layout, Point, Pose
from ..places.bodies import CROWN, HALF_HEAD, SEEN, head_of_pose, middle, torso, unit
from .iuv import Surface

_Array = npt.NDArray[np.float64]
_HalfWidth = Callable[[_Array], _Array]
"""How far down an axis pixels are, px -> half the width of a shape there, px."""
_Plane = tuple[float, float, float]
"""A coordinate over a shape, of 255: in its middle, what is added from there to the end, and what to the side.

The side is the outer one of a limb, the person's left one of torso and head.
"""


@dataclass(frozen=True)
class _Chart:
    """A part of the body on a shape.

    part: DensePose's number. start, end: the edges of the part across the shape, from -1 to 1. u, v: its coordinates.
    """

    part: int
    u: _Plane
    v: _Plane
    start: float = -1.0
    end: float = 1.0


_Sides = dict[int, tuple[_Chart, ...]]
"""The charts of a limb of each side: -1 is the person's right side, 1 the left."""


def _sides(*right: _Chart) -> _Sides:
    """The charts of a limb of the right side, and the same with the numbers that its parts have on the left one."""
    left = tuple(replace(chart, part=_LEFT_OF[chart.part]) for chart in right)
    return {-1: right, 1: left}


_LEFT_OF = {3: 4, 6: 5, 7: 8, 9: 10, 11: 12, 13: 14, 16: 15, 18: 17, 20: 19, 22: 21}

_UPPER_ARM = _sides(_Chart(16, (116, 108, 0), (213, -25, 83), -1, 0.2), _Chart(18, (140, 100, 0), (250, -35, -80), 0.2))
_FOREARM = _sides(_Chart(20, (145, -97, 0), (14, 0, -100), -1, -0.3), _Chart(22, (136, 97, 0), (190, -45, -100), -0.3))
_HAND = {-1: (_Chart(3, (60, -17, 16), (102, 74, 40)),), 1: (_Chart(4, (185, 10, -18), (110, 95, 40)),)}
_THIGH = _sides(_Chart(9, (133, -103, 0), (140, -40, -75)))
_SHIN = _sides(_Chart(13, (128, 115, 0), (135, 12, 70)))
_FOOT = {-1: (_Chart(6, (130, -55, 12), (178, 25, 25)),), 1: (_Chart(5, (130, 55, 12), (160, 8, 47)),)}
_TORSO = (_Chart(2, (125, 115, 0), (128, -10, -90)),)

_UPPER_ARM_BEHIND = _sides(_Chart(18, (110, 105, 0), (114, -45, 50)))
_FOREARM_BEHIND = _sides(_Chart(22, (146, 95, 0), (80, -30, 40)))
_THIGH_BEHIND = _sides(_Chart(7, (125, 100, 0), (170, -40, 50)))
_SHIN_BEHIND = _sides(_Chart(11, (138, -110, 0), (120, 0, 75)))
_TORSO_BEHIND = (_Chart(1, (139, 113, 0), (123, 0, -106)),)

_NECK_HALF = 0.27
"""Half the width of the neck, in heads."""


@dataclass(frozen=True)
class _Radii:
    """Radii of a capsule at its start and at its end, in heads."""

    start: float
    end: float


@dataclass(frozen=True)
class _Limb:
    """A limb of both sides. start, end: joints of the left side. front, behind: its charts, seen from there."""

    start: int
    end: int
    radii: _Radii
    front: _Sides
    behind: _Sides


# Numbers of joints of the left side in a Pose; those of the right side are one more.
_NOSE = 0
_EARS = slice(3, 5)
_SHOULDER, _ELBOW, _WRIST = 5, 7, 9
_HIP, _KNEE, _ANKLE = 11, 13, 15

# Drawn one after the other, the later ones over the earlier.
_LEGS = (
    _Limb(_KNEE, _ANKLE, _Radii(0.21, 0.13), _SHIN, _SHIN_BEHIND),
    _Limb(_HIP, _KNEE, _Radii(0.31, 0.21), _THIGH, _THIGH_BEHIND),
)
_ARMS = (
    _Limb(_SHOULDER, _ELBOW, _Radii(0.20, 0.15), _UPPER_ARM, _UPPER_ARM_BEHIND),
    _Limb(_ELBOW, _WRIST, _Radii(0.15, 0.105), _FOREARM, _FOREARM_BEHIND),
)
_HAND_RADII = _Radii(0.16, 0.13)
_FOOT_RADII = _Radii(0.15, 0.17)
_THIGH_LENGTH = 1.85
"""From the hip to the knee, in heads."""


def drawn(layout: Layout) -> Surface:
    """Everybody in a layout, upper ones first: who stands lower is in front. `person` has the numbers of places.

    Raises BadLayout where somebody has no skeleton, or none of it is seen.
    """
    surface = Surface.empty(layout.width, layout.height)
    for number, slot in sorted(enumerate(layout.slots, 1), key=lambda place: place[1].center[1]):
        head = head_of_pose(slot.pose) if slot.pose else None
        if slot.pose is None or head is None:
            advice = "Make the layout with body = full or half, with Layout for a Group or with Layout from Picture."
            raise BadLayout(f"Place {number} has no skeleton to draw a body around.", advice)
        _Figure(surface, number, slot.pose, head).draw()
    if not surface.person.any():
        raise BadLayout("No place of the layout is on its canvas.", "Move the places onto it.")
    return surface


@dataclass(frozen=True)
class _Axis:
    """The line around which a shape is painted.

    origin: a point of it, px. down: the unit vector along it. start: where the shape begins, from the origin, px.
    length: of the shape, px.
    """

    origin: Point
    down: Point
    start: float
    length: float

    def at(self, along: float) -> Point:
        """The point so many px from the origin."""
        return (self.origin[0] + self.down[0] * along, self.origin[1] + self.down[1] * along)


class _Figure:
    """One person on a surface. head: the height of their head, px."""

    def __init__(self, surface: Surface, number: int, pose: Pose, head: float) -> None:
        self.surface = surface
        self.number = number
        self.pose = pose
        self.head = head
        left_shoulder = pose[_SHOULDER]
        right_shoulder = pose[_SHOULDER + 1]
        # Who shows their right shoulder on the viewer's left looks at the viewer.
        self.front = left_shoulder[0] >= right_shoulder[0] or min(left_shoulder[2], right_shoulder[2]) <= SEEN
        self.turn = 1 if self.front else -1
        self.corners = torso(pose)

    def draw(self) -> None:
        """Draw the person: legs, then torso and head, then arms and hands, which lie over the torso."""
        for side in (-1, 1):
            self._foot(side)
            for limb in _LEGS:
                self._limb(side, limb)
        self._torso()
        self._head()
        for side in (-1, 1):
            for limb in _ARMS:
                self._limb(side, limb)
            self._hand(side)

    def _joint(self, left: int, side: int) -> Point | None:
        """A joint of a side, by its number on the left one; None where it is not seen."""
        joint = self.pose[left + (side < 0)]
        return joint[:2] if joint[2] > SEEN else None

    def _limb(self, side: int, limb: _Limb) -> None:
        """Draw a limb of one side (-1 right, 1 left), as far as its joints are seen."""
        start = self._joint(limb.start, side)
        end = self._joint(limb.end, side)
        if start is None:
            return
        if end is None and limb.start == _HIP:
            # The knee is below the picture, in which the thigh still begins.
            end = (start[0], start[1] + _THIGH_LENGTH * self.head)
        if end is None:
            return
        charts = limb.front if self.front else limb.behind
        self._capsule(start, end, limb.radii, side, charts[side])

    def _hand(self, side: int) -> None:
        """Draw the hand of one side, which points where the forearm does; nothing where elbow or wrist is not seen."""
        elbow = self._joint(_ELBOW, side)
        wrist = self._joint(_WRIST, side)
        if elbow and wrist:
            x, y = unit(elbow, wrist)
            start, end = [(wrist[0] + x * away * self.head, wrist[1] + y * away * self.head) for away in (0.1, 0.42)]
            self._capsule(start, end, _HAND_RADII, side, _HAND[side])

    def _foot(self, side: int) -> None:
        """Draw the foot of one side below its ankle, the toes outwards; nothing where the ankle is not seen."""
        ankle = self._joint(_ANKLE, side)
        if ankle:
            toes = (ankle[0] + side * self.turn * 0.1 * self.head, ankle[1] + 0.26 * self.head)
            self._capsule(ankle, toes, _FOOT_RADII, side, _FOOT[side])

    def _capsule(self, start: Point, end: Point, radii: _Radii, side: int, charts: Sequence[_Chart]) -> None:
        """A shape from one point to another with round ends; across goes outwards."""
        first = radii.start * self.head
        last = radii.end * self.head
        length = math.dist(start, end)

        def half_width(along: _Array) -> _Array:
            radius = first + (last - first) * (along / max(length, 1e-6)).clip(0, 1)
            beyond = np.maximum(np.maximum(-along, along - length), 0)  # px beyond either end
            return np.sqrt(np.maximum(radius**2 - beyond**2, 1e-9))

        axis = _Axis(start, unit(start, end), -first, length + first + last)
        self._paint(axis, half_width, max(first, last), side * self.turn, charts)

    def _torso(self) -> None:
        """Draw the torso from the neck to the crotch, with straight outlines between shoulders, waist and hips."""
        if not self.corners:
            return
        left, right, right_hip, left_hip = self.corners
        head = self.head
        top = middle(left, right)
        bottom = middle(left_hip, right_hip)
        length = max(math.dist(top, bottom), 1.0)
        neck = -0.18 * head
        crotch = length + 0.3 * head
        half_shoulders = math.dist(left, right) / 2 + 0.02 * head
        half_hips = math.dist(left_hip, right_hip) / 2 + 0.26 * head
        half_waist = (half_shoulders + 2 * half_hips) / 3 * 0.92
        # How far down the axis, from between the shoulders, which half width is, px.
        heights = [neck, 0, 0.6 * length, length, crotch]
        half_widths = [_NECK_HALF * head, half_shoulders, half_waist, half_hips, 0.02 * head]

        def half_width(along: _Array) -> _Array:
            return np.interp(along, heights, half_widths)

        axis = _Axis(top, unit(top, bottom), neck, length + 0.18 * head + 0.3 * head)
        charts = _TORSO if self.front else _TORSO_BEHIND
        self._paint(axis, half_width, max(half_widths), self.turn, charts)

    def _head(self) -> None:
        """An ellipse from the crown to the chin, and the neck below the nose."""
        head = self.head
        nose = self.pose[_NOSE]
        if nose[2] <= SEEN:
            return
        neck = (nose[0], nose[1] + 0.7 * head)
        if self.corners:
            neck = middle(*self.corners[:2])
        down = unit(nose[:2], neck)
        skull = self._skull(down)
        # From the nose down the axis, px.
        crown = CROWN * head
        chin = 0.34 * head
        neck_end = max(math.dist(neck, nose[:2]) - 0.12 * head, chin)

        def half_width(along: _Array) -> _Array:
            from_middle = (along - (crown + chin) / 2) / ((chin - crown) / 2)  # -1 at the crown, 1 at the chin
            ellipse = np.sqrt(np.maximum(1 - from_middle**2, 1e-9))
            return np.maximum(ellipse * HALF_HEAD, _NECK_HALF * (along > 0)) * head

        widest = HALF_HEAD * head
        charts = _head_charts(max(-0.8, min(0.8, -skull / widest)), self.front)
        axis = _Axis(nose[:2], down, crown, neck_end - crown)
        self._paint(axis, half_width, widest, self.turn, charts, skull)

    def _skull(self, down: Point) -> float:
        """The distance across from the nose to the middle of the skull, px; 0 where no ear is seen.

        The middle lies between the ears; where only one is seen, half way from it to the nose. down: the unit vector
        from the nose to the neck.
        """
        nose = self.pose[_NOSE]
        across = 0.0  # of the ears that are seen, summed
        for ear in self.pose[_EARS]:
            if ear[2] > SEEN:
                across += (ear[0] - nose[0]) * down[1] - (ear[1] - nose[1]) * down[0]
        return self.turn * across / 2

    def _paint(
        self,
        axis: _Axis,
        half_width: _HalfWidth,
        widest: float,
        turn: int,
        charts: Sequence[_Chart],
        aside: float = 0.0,
    ) -> None:
        """The charts of a shape around an axis, as far as it is on the canvas.

        widest: the largest half width, px. turn: 1 where across is to the viewer's right of what points down, else -1.
        aside: how far across from the axis the middle of the shape lies, px.
        """
        height, width = self.surface.person.shape
        start = axis.at(axis.start)
        end = axis.at(axis.start + axis.length)
        reach = widest + abs(aside)
        x0, x1 = _pixels(start[0], end[0], reach, width)
        y0, y1 = _pixels(start[1], end[1], reach, height)
        if x0 >= x1 or y0 >= y1:
            return
        y, x = np.mgrid[y0:y1, x0:x1].astype(np.float64) + 0.5  # the centres of pixels, (rows, columns) each
        x = x - axis.origin[0]
        y = y - axis.origin[1]
        pixels_along = x * axis.down[0] + y * axis.down[1]
        pixels_across = (x * axis.down[1] - y * axis.down[0]) * turn - aside
        # -1 to 1 from one side of the shape to the other, and from its start to its end.
        across = pixels_across / half_width(pixels_along)
        along = 2 * (pixels_along - axis.start) / axis.length - 1
        iuv = np.zeros((3, *along.shape), np.uint8)
        for chart in charts:
            # At the rim itself one of the bands has to hold it.
            shown = (abs(along) <= 1) & (across >= chart.start) & (across <= chart.end)
            # The surface keeps V, U, part.
            for channel, plane in enumerate((chart.v, chart.u)):
                value = (plane[0] + plane[1] * along + plane[2] * across).clip(0, 255)
                iuv[channel][shown] = value.astype(np.uint8)[shown]
            iuv[2][shown] = chart.part
        self.surface.put(self.number, x0, y0, torch.as_tensor(iuv))


def _pixels(start: float, end: float, reach: float, side: int) -> tuple[int, int]:
    """The first pixel of an axis of `side` pixels within `reach` of a line, and the one behind the last."""
    return (
        max(0, math.floor(min(start, end) - reach)),
        min(side, math.ceil(max(start, end) + reach) + 1),
    )


def _head_charts(seam: float, front: bool) -> tuple[_Chart, _Chart]:
    """Right and left half of a head, which meet at the nose, or at the middle of what is seen from behind.

    seam: where they meet, across: -1 at the side of the right half, 1 at that of the left one.
    """
    if not front:
        v = (120.0, -87.0, 0.0)
        return _Chart(23, (20, 0, -37), v, -1, seam), _Chart(24, (231, 0, -50), v, seam, 1)
    v = (135.0, -118.0, 0.0)
    # U runs to 249 at the nose on the right half and from 5 on on the left one, as fast as a whole half shows.
    right = 117 / (1 + seam)
    left = 140 / (1 - seam)
    return _Chart(23, (249 - right * seam, 0, right), v, -1, seam), _Chart(24, (5 - left * seam, 0, left), v, seam, 1)
