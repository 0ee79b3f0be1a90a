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
from ..places.bodies import CROWN, SEEN, head_of_pose, middle, torso, unit
from .iuv import Surface

_Array = npt.NDArray[np.float64]
_Plane = tuple[float, float, float]
"""Of 255: in the middle, added from there to the end, added from there to the side (outer, or the person's left)."""
_Axis = tuple[Point, Point, float, float]
"""A point of a line, the unit vector down it, and from the point where a shape begins and how long it is, px."""
_Half = Callable[[_Array], _Array]
"""How far along an axis pixels are -> half the width of a shape there, px."""


@dataclass(frozen=True)
class _Chart:
    """A part from `start` to `end` across a shape."""

    part: int
    u: _Plane
    v: _Plane
    start: float = -1.0
    end: float = 1.0


_Sides = dict[int, tuple[_Chart, ...]]


def _sides(*charts: _Chart) -> _Sides:
    """Of the right and the left, whose parts alternate: -1 is the person's right side, 1 the left."""
    return {-1: charts, 1: tuple(replace(one, part=_LEFT_OF[one.part]) for one in charts)}


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

_HALF_HEAD, _NECK = 0.38, 0.27
"""Half the width of head and neck, in heads."""

# Coming one after the other, the later ones over the earlier: joints of the left side, radii at both in heads.
_HIP = 11
_LEGS = ((13, 15, (0.21, 0.13), (_SHIN, _SHIN_BEHIND)), (_HIP, 13, (0.31, 0.21), (_THIGH, _THIGH_BEHIND)))
_ARMS = ((5, 7, (0.20, 0.15), (_UPPER_ARM, _UPPER_ARM_BEHIND)), (7, 9, (0.15, 0.105), (_FOREARM, _FOREARM_BEHIND)))


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


class _Figure:
    """One person on a surface."""

    def __init__(self, surface: Surface, number: int, pose: Pose, head: float) -> None:
        self.surface, self.number, self.pose, self.head = surface, number, pose, head
        # Who shows their right shoulder on the viewer's left looks at the viewer.
        self.front = pose[5][0] >= pose[6][0] or min(pose[5][2], pose[6][2]) <= SEEN
        self.turn = 1 if self.front else -1
        self.corners = torso(pose)

    def draw(self) -> None:
        for side in (-1, 1):
            self._foot(side)
            for limb in _LEGS:
                self._limb(side, *limb)
        self._torso()
        self._head()
        for side in (-1, 1):
            for limb in _ARMS:
                self._limb(side, *limb)
            self._hand(side)

    def _joint(self, left: int, side: int) -> Point | None:
        """Of a side, by its number on the left one; None where it is not seen."""
        joint = self.pose[left + (side < 0)]
        return joint[:2] if joint[2] > SEEN else None

    def _limb(self, side: int, start: int, end: int, radii: Sequence[float], charts: tuple[_Sides, _Sides]) -> None:
        """charts: of those who look at the viewer, and of those seen from behind."""
        a, b = self._joint(start, side), self._joint(end, side)
        if a and not b and start == _HIP:  # below the picture, where the legs still begin in it
            b = a[0], a[1] + 1.85 * self.head
        if a and b:
            self._capsule(a, b, radii, side, charts[not self.front][side])

    def _hand(self, side: int) -> None:
        elbow, wrist = self._joint(7, side), self._joint(9, side)
        if elbow and wrist:
            x, y = unit(elbow, wrist)
            start, end = [(wrist[0] + x * away * self.head, wrist[1] + y * away * self.head) for away in (0.1, 0.42)]
            self._capsule(start, end, (0.16, 0.13), side, _HAND[side])

    def _foot(self, side: int) -> None:
        ankle = self._joint(15, side)
        if ankle:
            toes = ankle[0] + side * self.turn * 0.1 * self.head, ankle[1] + 0.26 * self.head
            self._capsule(ankle, toes, (0.15, 0.17), side, _FOOT[side])

    def _capsule(self, a: Point, b: Point, radii: Sequence[float], side: int, charts: Sequence[_Chart]) -> None:
        """From a to b with round ends; across goes outwards."""
        first, last = (radius * self.head for radius in radii)
        length = math.dist(a, b)

        def half(along: _Array) -> _Array:
            radius = first + (last - first) * (along / max(length, 1e-6)).clip(0, 1)
            beyond = np.maximum(np.maximum(-along, along - length), 0)
            return np.sqrt(np.maximum(radius**2 - beyond**2, 1e-9))

        axis = a, unit(a, b), -first, length + first + last
        self._paint(axis, half, max(first, last), side * self.turn, charts)

    def _torso(self) -> None:
        if not self.corners:
            return
        left, right, right_hip, left_hip = self.corners
        top, bottom = middle(left, right), middle(left_hip, right_hip)
        length, head = max(math.dist(top, bottom), 1.0), self.head
        shoulders, hips = math.dist(left, right) / 2 + 0.02 * head, math.dist(left_hip, right_hip) / 2 + 0.26 * head
        over, crotch = 0.18 * head, 0.3 * head
        at = [-over, 0, 0.6 * length, length, length + crotch]
        wide = [_NECK * head, shoulders, (shoulders + 2 * hips) / 3 * 0.92, hips, 0.02 * head]
        axis = top, unit(top, bottom), -over, length + over + crotch
        charts = _TORSO if self.front else _TORSO_BEHIND
        self._paint(axis, lambda along: np.interp(along, at, wide), max(wide), self.turn, charts)

    def _head(self) -> None:
        nose, head = self.pose[0], self.head
        if nose[2] <= SEEN:
            return
        neck = middle(*self.corners[:2]) if self.corners else (nose[0], nose[1] + 0.7 * head)
        (dx, dy), length = unit(nose[:2], neck), math.dist(neck, nose[:2])
        # The skull's middle lies between the ears; of one that is seen, half way to the nose.
        ears = [ear for ear in self.pose[3:5] if ear[2] > SEEN]
        skull = self.turn * sum((ear[0] - nose[0]) * dy - (ear[1] - nose[1]) * dx for ear in ears) / 2
        crown, chin, base = CROWN * head, 0.34 * head, max(length - 0.12 * head, 0.34 * head)

        def half(along: _Array) -> _Array:
            round_ = np.sqrt(np.maximum(1 - ((along - (crown + chin) / 2) / ((chin - crown) / 2)) ** 2, 1e-9))
            return np.maximum(round_ * _HALF_HEAD, _NECK * (along > 0)) * head

        widest = _HALF_HEAD * head
        charts = _head_charts(max(-0.8, min(0.8, -skull / widest)), self.front)
        self._paint((nose[:2], (dx, dy), crown, base - crown), half, widest, self.turn, charts, skull)

    def _paint(
        self, axis: _Axis, half: _Half, widest: float, turn: int, charts: Sequence[_Chart], aside: float = 0.0
    ) -> None:
        """The charts of a shape around an axis, as far as it is on the canvas.

        turn: 1 where across is to the viewer's right of what points down, else -1; aside: of its middle, px.
        """
        at, down, start, length = axis
        height, width = self.surface.person.shape
        ends = [(at[0] + down[0] * far, at[1] + down[1] * far) for far in (start, start + length)]
        reach = widest + abs(aside)
        (x0, x1), (y0, y1) = (
            (max(0, math.floor(min(along) - reach)), min(side, math.ceil(max(along) + reach) + 1))
            for along, side in zip(zip(*ends, strict=True), (width, height), strict=True)
        )
        if x0 >= x1 or y0 >= y1:
            return
        y, x = np.mgrid[y0:y1, x0:x1].astype(np.float64) + 0.5
        x, y = x - at[0], y - at[1]
        along = x * down[0] + y * down[1]
        across = ((x * down[1] - y * down[0]) * turn - aside) / half(along)
        along = 2 * (along - start) / length - 1
        iuv = np.zeros((3, *along.shape), np.uint8)
        for chart in charts:
            # At the rim itself one of the bands has to hold it.
            shown = (abs(along) <= 1) & (across >= chart.start) & (across <= chart.end)
            for channel, plane in enumerate((chart.v, chart.u)):
                value = (plane[0] + plane[1] * along + plane[2] * across).clip(0, 255)
                iuv[channel][shown] = value.astype(np.uint8)[shown]
            iuv[2][shown] = chart.part
        self.surface.put(self.number, x0, y0, torch.as_tensor(iuv))


def _head_charts(seam: float, front: bool) -> tuple[_Chart, _Chart]:
    """Right and left half of a head, which meet at the nose, or at the middle of what is seen from behind."""
    if not front:
        v = (120.0, -87.0, 0.0)
        return _Chart(23, (20, 0, -37), v, -1, seam), _Chart(24, (231, 0, -50), v, seam, 1)
    v = (135.0, -118.0, 0.0)
    # U runs to 249 at the nose on the right half and from 5 on on the left one, as fast as a whole half shows.
    right, left = 117 / (1 + seam), 140 / (1 - seam)
    return _Chart(23, (249 - right * seam, 0, right), v, -1, seam), _Chart(24, (5 - left * seam, 0, left), v, seam, 1)
