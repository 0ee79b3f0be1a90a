r"""A mannequin around each skeleton, as an approximate IUV picture of DensePose, which Parts2Whole reads as a pose.

In an IUV picture red is V and green is U, 0 to 255 along and across each part of the body; blue is the number of the
part, 1 to 24, as a number of 255; what is no body is black. Source: facebookresearch/DensePose, detectron/core/test.py
im_detect_body_uv and detectron/utils/vis.py, whose pictures are the poses of DeepFashion-MultiModal, with which
Parts2Whole was trained.

Limbs are capsules on which U runs along and V across. Each part's coordinates are a plane through those of people who
stand upright in published DensePose pictures, seen from the front or from behind. Outlines are those of a mannequin
without clothes; hands and feet point where the limb does.

A shape (limb, torso or head) lies along an axis, from its start to its end. `along` runs from -1 at the start to 1 at
the end, `across` from -1 at one rim to 1 at the other. Three signs say where things lie:

    side           1 for the person's own left limbs, -1 for the right ones
    facing_sign    1 for a person who looks at the viewer, -1 for one who is seen from behind
    across_sign    1 where `across` grows to the right of the picture on a shape that points down, else -1:
                   side * facing_sign for limbs (outwards), facing_sign for torso and head (to the person's left)

            facing_sign = 1                             facing_sign = -1

                  ( )                                         ( )
                  / \                                         / \
      right arm  /| |\  left arm                   left arm  /| |\  right arm
      side -1   / | | \  side 1                    side 1   / | | \  side -1

      across grows on the right arm  <-            across grows on the left arm   <-
                   on the torso      ->                         on the torso      <-
                   on the left arm   ->                         on the right arm  ->

On a shape that points elsewhere all of it is turned, see `_Axis`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..cast import Layout, Point, Pose
from ..checks.errors import BadLayout
from .bodies import CROWN, HALF_HEAD, NECK_BELOW_NOSE, SEEN, head_of_pose, torso
from .shapes import SHORTEST
from .vectors import middle, unit

_Array = npt.NDArray[np.float64]
_Coordinate = TypeVar("_Coordinate", float, _Array)
_HalfWidth = Callable[[_Array], _Array]
"""How far down an axis pixels are, px -> half the width of a shape there, px."""
_Plane = tuple[float, float, float]
"""U or V, 0 to 255, as a plane over a shape: (value in the middle, increase from the middle to the end of the axis,
increase from the middle to the rim where `across` is 1). That rim is the outer one of a limb, and the person's left one
of torso and head."""


@dataclass(frozen=True)
class _Chart:
    """A part of the body on a shape.

    part: DensePose's number. u, v: its coordinates. start, end: the values of `across` between which the part lies; two
    parts may share a shape side by side.
    """

    part: int
    u: _Plane
    v: _Plane
    start: float = -1.0
    end: float = 1.0


_Sides = dict[int, tuple[_Chart, ...]]
"""The charts of a limb of each side: -1 is the person's right side, 1 the left."""


def _both_sides(*right_charts: _Chart) -> _Sides:
    """The charts of a limb of the right side, and the same with the numbers that its parts have on the left one."""
    left_charts = tuple(replace(chart, part=_LEFT_OF[chart.part]) for chart in right_charts)
    return {-1: right_charts, 1: left_charts}


# Number of a part of the right side -> of the same part of the left side.
_LEFT_OF = {3: 4, 6: 5, 7: 8, 9: 10, 11: 12, 13: 14, 16: 15, 18: 17, 20: 19, 22: 21}

# A chart is written as: part, plane of U, plane of V, start and end across. The planes are fitted to published
# pictures, see the top of the module; tests compare both ends and both rims with such pictures.
_UPPER_ARM = _both_sides(
    _Chart(16, (116, 108, 0), (213, -25, 83), -1, 0.2), _Chart(18, (140, 100, 0), (250, -35, -80), 0.2)
)
_FOREARM = _both_sides(
    _Chart(20, (145, -97, 0), (14, 0, -100), -1, -0.3), _Chart(22, (136, 97, 0), (190, -45, -100), -0.3)
)
_HAND = {-1: (_Chart(3, (60, -17, 16), (102, 74, 40)),), 1: (_Chart(4, (185, 10, -18), (110, 95, 40)),)}
_THIGH = _both_sides(_Chart(9, (133, -103, 0), (140, -40, -75)))
_SHIN = _both_sides(_Chart(13, (128, 115, 0), (135, 12, 70)))
_FOOT = {-1: (_Chart(6, (130, -55, 12), (178, 25, 25)),), 1: (_Chart(5, (130, 55, 12), (160, 8, 47)),)}
_TORSO = (_Chart(2, (125, 115, 0), (128, -10, -90)),)

_UPPER_ARM_BEHIND = _both_sides(_Chart(18, (110, 105, 0), (114, -45, 50)))
_FOREARM_BEHIND = _both_sides(_Chart(22, (146, 95, 0), (80, -30, 40)))
_THIGH_BEHIND = _both_sides(_Chart(7, (125, 100, 0), (170, -40, 50)))
_SHIN_BEHIND = _both_sides(_Chart(11, (138, -110, 0), (120, 0, 75)))
_TORSO_BEHIND = (_Chart(1, (139, 113, 0), (123, 0, -106)),)

# Lengths of outlines, in heads.
_HALF_NECK = 0.27
"""Half the width of the neck."""
_NECK_ABOVE_SHOULDERS = 0.18
"""The torso begins this far above the line between the shoulders, at the root of the neck."""
_HEAD_ABOVE_SHOULDERS = 0.12
"""The head's shape ends this far above that line: it is drawn over the torso, so no gap shows between the two."""
_CHIN_BELOW_NOSE = 0.34
_FLESH_AT_SHOULDER = 0.02
"""The outline lies this far outside of the joint of a shoulder, whose round is that of the upper arm."""
_FLESH_AT_HIP = 0.26
"""The outline lies this far outside of the joint of a hip, which is inside of the pelvis."""
_WAIST_DOWN = 0.6
"""Share of the way from shoulders to hips where the waist is."""
_WAIST_SHARE = 0.92
"""The waist is this share of the mean width of shoulders and hips, in which the hips count twice."""
_CROTCH_BELOW_HIPS = 0.3
_HALF_CROTCH = 0.02
"""Half the width of the torso at its lower end: nearly a point, between the thighs."""
_HAND_START, _HAND_END = 0.1, 0.42
"""How far beyond the wrist the axis of a hand starts and ends. With its round ends the hand reaches over the wrist."""
_TOES_OUTWARDS = 0.1
_TOES_BELOW_ANKLE = 0.26

_MOST_SEAM = 0.8
"""The value of `across` beyond which the seam between the halves of a face does not go. Nearer to the rim the narrower
half would have hardly any width left, over which U would have to rise ever more steeply."""
_U_AT_NOSE_RIGHT, _U_AT_NOSE_LEFT = 249, 5
"""U of the right and the left half of a face where they meet."""
_U_OVER_RIGHT_HALF, _U_OVER_LEFT_HALF = 117, 140
"""How much U grows over one half of a face that looks into the camera, from the half's rim to the seam or back."""
_LEAST_SQUARE = 1e-9
"""The least number under the square root of a half width. `across` is a distance divided by the half width, which must
not be 0."""


@dataclass(frozen=True)
class _Radii:
    """Radii of a capsule at its start and at its end, in heads."""

    start: float
    end: float


@dataclass(frozen=True)
class _Limb:
    """A limb of both sides.

    start, end: the numbers of its joints on the left side. front, behind: its charts on a person who is seen from the
    front, or from behind.
    """

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
"""The length from the hip to the knee, in heads."""


@dataclass(frozen=True, eq=False)
class Surface:
    """The bodies of a layout on its canvas.

    iuv: (3, H, W) uint8: V, U and part, in this order, as red, green and blue of the picture. person: (H, W) int32, the
    number of the place, 0 is none. places: how many the layout has.
    """

    iuv: Tensor
    person: Tensor
    places: int

    @classmethod
    def empty(cls, layout: Layout) -> "Surface":
        size = (layout.height, layout.width)
        return cls(torch.zeros(3, *size, dtype=torch.uint8), torch.zeros(size, dtype=torch.int32), len(layout.slots))

    @property
    def image(self) -> Tensor:
        """The surface as a picture, (H, W, 3) float32 0..1."""
        return self.iuv.movedim(0, -1).contiguous().float() / 255

    @property
    def people_masks(self) -> Tensor:
        """Where each person is seen, in the order of the places: (places, H, W) float32, 0 or 1."""
        numbers = torch.arange(1, self.places + 1, dtype=torch.int32)
        return (self.person == numbers[:, None, None]).float()  # (places, 1, 1) beside (H, W)


def draw_layout(layout: Layout) -> Surface:
    """The surface of all people in a layout.

    People are drawn from the top of the canvas to the bottom, by the `center` of their place: who stands lower is in
    front, unless the `depth` of their places says otherwise. Raises BadLayout where somebody has no skeleton, or too
    little of it is seen to tell its size, and where nobody is on the canvas.
    """
    surface = Surface.empty(layout)
    slots = layout.slots
    for index in sorted(range(len(slots)), key=lambda index: (slots[index].depth, slots[index].center[1])):
        slot = slots[index]
        place_number = index + 1
        head_height = head_of_pose(slot.pose) if slot.pose else None
        if slot.pose is None or head_height is None:
            advice = (
                "Make the layout with Body (body) = full or half, with Layout for a Group or with Layout from Picture."
            )
            raise BadLayout(f"Place {place_number} has no skeleton to draw a body around.", advice)
        for shape in _Figure(slot.pose, head_height).shapes():
            shape.draw(surface, place_number)
    if not surface.person.any():
        raise BadLayout("No place of the layout is on its canvas.", "Move the places onto it.")
    return surface


@dataclass(frozen=True)
class _Axis:
    """The line around which a shape is painted.

    origin: a point of it, px. down: the unit vector along it. across_sign: see the top of the module. start: where the
    shape begins, from the origin, px. length: of the shape, px.
    """

    origin: Point
    down: Point
    across_sign: int
    start: float
    length: float

    def point_at(self, distance: float) -> Point:
        """The point of the line at a distance from the origin, px."""
        return (self.origin[0] + self.down[0] * distance, self.origin[1] + self.down[1] * distance)

    def distance_along(self, x: _Coordinate, y: _Coordinate) -> _Coordinate:
        """How far down the axis from its origin points lie, px."""
        return (x - self.origin[0]) * self.down[0] + (y - self.origin[1]) * self.down[1]

    def distance_across(self, x: _Coordinate, y: _Coordinate) -> _Coordinate:
        """How far beside the axis points lie, in the direction in which `across` grows, px."""
        # Times (down_y, -down_x), which is `down` turned by 90 degrees: (1, 0) for an axis that points down.
        to_the_side = (x - self.origin[0]) * self.down[1] - (y - self.origin[1]) * self.down[0]
        return to_the_side * self.across_sign


@dataclass(frozen=True)
class _Shape:
    """A limb, a torso or a head around an axis, with the charts that are drawn on it.

    half_width: of the shape, by the distance along the axis from its origin, both px. widest: the largest half width,
    px. middle_across: the distance across from the axis to the middle of the shape, px.
    """

    axis: _Axis
    half_width: _HalfWidth
    widest: float
    charts: Sequence[_Chart]
    middle_across: float = 0.0

    def draw(self, surface: Surface, place_number: int) -> None:
        """Draw the charts as far as they are on the canvas. place_number: of the person's place in the layout."""
        height, width = surface.person.shape
        axis = self.axis
        start = axis.point_at(axis.start)
        end = axis.point_at(axis.start + axis.length)
        reach = self.widest + abs(self.middle_across)
        columns = _pixel_range(start[0], end[0], reach, width)
        rows = _pixel_range(start[1], end[1], reach, height)
        if not columns or not rows:  # beside the canvas
            return
        x, y = np.meshgrid(np.array(columns) + 0.5, np.array(rows) + 0.5)  # centres of the pixels, (rows, columns) each
        pixels_along = axis.distance_along(x, y)
        pixels_across = axis.distance_across(x, y) - self.middle_across
        # -1 to 1 from the start of the shape to its end, and from one side to the other.
        along = 2 * (pixels_along - axis.start) / axis.length - 1
        across = pixels_across / self.half_width(pixels_along)
        v, u, part = (np.zeros(along.shape, np.uint8) for _ in range(3))
        for chart in self.charts:
            # Both ends of a band belong to it: a pixel on the rim itself lies in one of the bands.
            visible = (abs(along) <= 1) & (across >= chart.start) & (across <= chart.end)
            v[visible] = _coordinate(chart.v, along, across)[visible]
            u[visible] = _coordinate(chart.u, along, across)[visible]
            part[visible] = chart.part
        on_body = torch.as_tensor(part > 0)
        # Views of the pixels that the shape may touch: what is written into them is written into the surface.
        iuv = surface.iuv[:, rows.start : rows.stop, columns.start : columns.stop]
        person = surface.person[rows.start : rows.stop, columns.start : columns.stop]
        iuv[:, on_body] = torch.as_tensor(np.stack([v, u, part]))[:, on_body]
        person[on_body] = place_number


def _coordinate(plane: _Plane, along: _Array, across: _Array) -> npt.NDArray[np.uint8]:
    """U or V of pixels, (rows, columns). along, across: where on the shape each of them lies, see the top."""
    in_middle, to_end, to_rim = plane
    value = in_middle + to_end * along + to_rim * across
    return value.clip(0, 255).astype(np.uint8)


class _Figure:
    """One person, made of shapes; a method gives None for a shape whose joints are not seen.

    head_height: of their head, px. front: whether they look at the viewer. facing_sign: 1 where they do, else -1.
    corners: of the torso, as bodies.torso gives them.
    """

    def __init__(self, pose: Pose, head_height: float) -> None:
        self.pose = pose
        self.head_height = head_height
        left_shoulder = pose[_SHOULDER]
        right_shoulder = pose[_SHOULDER + 1]
        # A person whose right shoulder is on the viewer's left looks at the viewer. Where a shoulder is not seen, it is
        # taken to be so.
        self.front = left_shoulder[0] >= right_shoulder[0] or min(left_shoulder[2], right_shoulder[2]) <= SEEN
        self.facing_sign = 1 if self.front else -1
        self.corners = torso(pose)

    def shapes(self) -> list[_Shape]:
        """All that is seen of the person: legs, then torso and head, then arms and hands, which lie over the torso."""
        shapes: list[_Shape | None] = []
        for side in (-1, 1):
            shapes.append(self._foot(side))
            shapes.extend(self._limb(side, limb) for limb in _LEGS)
        shapes += [self._torso(), self._head()]
        for side in (-1, 1):
            shapes.extend(self._limb(side, limb) for limb in _ARMS)
            shapes.append(self._hand(side))
        return [shape for shape in shapes if shape is not None]

    def _joint(self, left_joint: int, side: int) -> Point | None:
        """A joint of a side, by its number on the left side; None where it is not seen."""
        is_right = side < 0
        joint = self.pose[left_joint + 1 if is_right else left_joint]
        return joint[:2] if joint[2] > SEEN else None

    def _limb(self, side: int, limb: _Limb) -> _Shape | None:
        """A limb of one side (-1 right, 1 left).

        None where one of its joints is not seen; but a thigh needs no knee.
        """
        start = self._joint(limb.start, side)
        end = self._joint(limb.end, side)
        if start and not end and limb.start == _HIP:
            # A hip without a knee: the knee is taken to be below the edge of the picture, straight down.
            end = (start[0], start[1] + _THIGH_LENGTH * self.head_height)
        if not start or not end:
            return None
        charts = limb.front if self.front else limb.behind
        return self._capsule(start, end, limb.radii, side, charts[side])

    def _hand(self, side: int) -> _Shape | None:
        """The hand of one side, which points where the forearm does."""
        elbow = self._joint(_ELBOW, side)
        wrist = self._joint(_WRIST, side)
        if not elbow or not wrist:
            return None
        x, y = unit(elbow, wrist)  # the direction of the forearm

        def beyond_wrist(heads: float) -> Point:
            """The point on the line of the forearm that lies so many heads beyond the wrist."""
            return (wrist[0] + x * heads * self.head_height, wrist[1] + y * heads * self.head_height)

        return self._capsule(beyond_wrist(_HAND_START), beyond_wrist(_HAND_END), _HAND_RADII, side, _HAND[side])

    def _foot(self, side: int) -> _Shape | None:
        """The foot of one side below its ankle, the toes outwards."""
        ankle = self._joint(_ANKLE, side)
        if not ankle:
            return None
        across_sign = side * self.facing_sign  # outwards on the picture
        toes = (
            ankle[0] + across_sign * _TOES_OUTWARDS * self.head_height,
            ankle[1] + _TOES_BELOW_ANKLE * self.head_height,
        )
        return self._capsule(ankle, toes, _FOOT_RADII, side, _FOOT[side])

    def _capsule(self, start: Point, end: Point, radii: _Radii, side: int, charts: Sequence[_Chart]) -> _Shape:
        """A shape from one point to another with round ends; `across` goes outwards.

        side: of the person, -1 right, 1 left.
        """
        start_radius = radii.start * self.head_height
        end_radius = radii.end * self.head_height
        length = math.dist(start, end)

        def half_width(pixels_along: _Array) -> _Array:
            """As _Shape.half_width: of a capsule, whose radius changes evenly from start to end."""
            share = (pixels_along / max(length, SHORTEST)).clip(0, 1)  # 0 at the start, 1 at the end
            radius = start_radius + (end_radius - start_radius) * share
            beyond = abs(pixels_along - pixels_along.clip(0, length))  # px beyond either end
            # The ends are round: `beyond` px from the centre of a circle its half chord is sqrt(radius^2 - beyond^2).
            return np.sqrt(np.maximum(radius**2 - beyond**2, _LEAST_SQUARE))

        # The shape begins a radius in front of `start` and ends a radius behind `end`.
        axis_length = length + start_radius + end_radius
        axis = _Axis(start, unit(start, end), side * self.facing_sign, start=-start_radius, length=axis_length)
        return _Shape(axis, half_width, max(start_radius, end_radius), charts)

    def _torso(self) -> _Shape | None:
        """The torso from the neck to the crotch, with straight outlines between shoulders, waist and hips."""
        if not self.corners:
            return None
        left_shoulder, right_shoulder, right_hip, left_hip = self.corners
        head_height = self.head_height
        between_shoulders = middle(left_shoulder, right_shoulder)
        between_hips = middle(left_hip, right_hip)
        length = max(math.dist(between_shoulders, between_hips), 1.0)  # px; above 0, so that the distances below ascend
        half_shoulders = math.dist(left_shoulder, right_shoulder) / 2 + _FLESH_AT_SHOULDER * head_height
        half_hips = math.dist(left_hip, right_hip) / 2 + _FLESH_AT_HIP * head_height
        half_waist = (half_shoulders + 2 * half_hips) / 3 * _WAIST_SHARE
        neck = -_NECK_ABOVE_SHOULDERS * head_height
        outline = (  # (distance down the axis from its origin between the shoulders, half width there), px
            (neck, _HALF_NECK * head_height),
            (0, half_shoulders),
            (_WAIST_DOWN * length, half_waist),
            (length, half_hips),
            (length + _CROTCH_BELOW_HIPS * head_height, _HALF_CROTCH * head_height),
        )
        distances, half_widths = zip(*outline, strict=True)

        def half_width(pixels_along: _Array) -> _Array:
            """As _Shape.half_width: straight lines between the points of the outline."""
            return np.interp(pixels_along, distances, half_widths)

        down = unit(between_shoulders, between_hips)
        axis_length = length + _NECK_ABOVE_SHOULDERS * head_height + _CROTCH_BELOW_HIPS * head_height
        axis = _Axis(between_shoulders, down, self.facing_sign, start=neck, length=axis_length)
        charts = _TORSO if self.front else _TORSO_BEHIND
        return _Shape(axis, half_width, max(half_widths), charts)

    def _head(self) -> _Shape | None:
        """An ellipse from the crown to the chin, and the neck below the nose; None where no nose is seen."""
        nose = self.pose[_NOSE]
        if nose[2] <= SEEN:
            return None
        head_height = self.head_height
        axis = self._head_axis(nose[:2])
        crown = axis.start
        chin = _CHIN_BELOW_NOSE * head_height  # from the nose down the axis, px
        skull_center = (crown + chin) / 2
        half_skull = (chin - crown) / 2

        def half_width(pixels_along: _Array) -> _Array:
            """As _Shape.half_width: of the ellipse of the skull, and below the nose at least of the neck."""
            from_middle = (pixels_along - skull_center) / half_skull  # -1 at the crown, 1 at the chin
            ellipse = np.sqrt(np.maximum(1 - from_middle**2, _LEAST_SQUARE))
            half_neck = _HALF_NECK * (pixels_along > 0)  # 0 above the nose
            return np.maximum(ellipse * HALF_HEAD, half_neck) * head_height

        # The middle of the skull lies between the ears; where only one is seen, half way from it to the nose, which is
        # on the axis. So its distance across is half of the sum of theirs.
        skull_middle = sum(axis.distance_across(x, y) for x, y, seen in self.pose[_EARS] if seen > SEEN) / 2
        widest = HALF_HEAD * head_height
        charts = _head_charts(_seam(skull_middle, widest), self.front)
        return _Shape(axis, half_width, widest, charts, middle_across=skull_middle)

    def _head_axis(self, nose: Point) -> _Axis:
        """The axis of the head and the neck, from the crown through the nose.

        It goes towards the middle between the shoulders, or without them straight down.
        """
        neck = (nose[0], nose[1] + NECK_BELOW_NOSE * self.head_height)
        if self.corners:
            left_shoulder, right_shoulder, _, _ = self.corners
            neck = middle(left_shoulder, right_shoulder)
        # From the nose down the axis, px. The crown's is negative: it lies above the nose.
        crown = CROWN * self.head_height
        chin = _CHIN_BELOW_NOSE * self.head_height
        end = max(math.dist(neck, nose) - _HEAD_ABOVE_SHOULDERS * self.head_height, chin)
        return _Axis(nose, unit(nose, neck), self.facing_sign, start=crown, length=end - crown)


def _pixel_range(start: float, end: float, reach: float, canvas_side: int) -> range:
    """The columns or rows of pixels that a shape may touch; none where it lies beside the canvas.

    start, end: the coordinates of the ends of the shape's axis. reach: the largest distance from the axis, px.
    canvas_side: of the canvas in this direction, px.
    """
    first = max(0, math.floor(min(start, end) - reach))
    return range(first, min(canvas_side, math.ceil(max(start, end) + reach) + 1))


def _seam(skull_middle: float, widest: float) -> float:
    """Where the halves of a face meet, in the skull's own `across`: 0 in the middle of the skull, 1 at its rim.

    They meet at the nose, at most _MOST_SEAM from the middle. skull_middle: how far across from the nose the middle
    lies. widest: from the middle to the rim. Both in px.
    """
    return max(-_MOST_SEAM, min(_MOST_SEAM, -skull_middle / widest))


def _head_charts(seam: float, front: bool) -> tuple[_Chart, _Chart]:
    """The charts of the right and the left half of a head, in this order (DensePose's parts 23 and 24).

    seam: the value of `across` at which the halves meet; -1 is the rim of the person's right half, 1 that of the left.
    front: whether the person looks at the viewer.
    """
    if not front:  # from behind, U falls from the person's right to the left on both halves, wherever they meet
        v = (120.0, -87.0, 0.0)
        return _Chart(23, (20, 0, -37), v, -1, seam), _Chart(24, (231, 0, -50), v, seam, 1)
    v = (135.0, -118.0, 0.0)
    # On the right half, from across = -1 to the seam, U rises by _U_OVER_RIGHT_HALF and ends at _U_AT_NOSE_RIGHT. On
    # the left half, from the seam to across = 1, it begins at _U_AT_NOSE_LEFT and rises by _U_OVER_LEFT_HALF.
    rise_right = _U_OVER_RIGHT_HALF / (1 + seam)  # of U per unit of `across`
    rise_left = _U_OVER_LEFT_HALF / (1 - seam)
    # A plane's first number is U at across = 0: U at the seam, less the rise from 0 to the seam.
    return (
        _Chart(23, (_U_AT_NOSE_RIGHT - rise_right * seam, 0, rise_right), v, start=-1, end=seam),
        _Chart(24, (_U_AT_NOSE_LEFT - rise_left * seam, 0, rise_left), v, start=seam, end=1),
    )
