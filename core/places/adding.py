"""More places beside those that are taken: where there is room, with faces as large as their neighbours'."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .. import geometry
from ..errors import BadLayout, counted
from ..geometry import area, shared
from ..people import Box, Layout, Point, Slot
from . import bodies, layouts

SIDES = ("free place", "left end", "right end", "at x, y")

# Around the nose, in heads: crown and ears; shoulders down to the belly.
_HEAD: Box = (-0.42, -0.78, 0.42, 0.38)
_TRUNK: Box = (-0.80, 0.45, 0.80, 2.10)
# Shoulder to shoulder as people stand for a photo, nose to nose, in heads.
_BESIDE = 1.8
_STEP = 0.25  # of the places that are tried, in heads


@dataclass(frozen=True)
class _Spot:
    """number: of the place, 0 for one that is tried."""

    nose: Point
    head: float
    number: int = 0

    def around(self, box: Box) -> Box:
        return geometry.Fit(self.head, self.head, *self.nose).box(box)


def add(layout: Layout, where: str, at: Point, face_size: float, body: str, count: int = 1) -> Layout:
    """The layout with one more place or several, the last ones, of people who look into the camera.

    where: one of SIDES; at: the nose, px, of the first for "at x, y", whom the others join in free places; face_size:
    height of the face boxes, px, 0 as large as the faces around; body: one of bodies.BODIES. The heads are on the
    canvas and cover no other head, nor an ID patch another.
    Raises BadLayout.
    """
    wanted, extended = face_size / bodies.FACE_HEIGHT, layout
    for room in range(count):
        others = [_Spot(slot.center, head, n) for n, slot in enumerate(extended.slots, 1) if (head := head_of(slot))]
        if where == "at x, y" and room == 0:
            one = _Spot(at, wanted or _head_at(at, others, layout))
            if why := _why_not(one, others, layout):
                advice = "Choose another x and y (of the nose), a smaller face_size, a larger picture or another where."
                raise BadLayout(f"No person can be added at ({round(at[0])}, {round(at[1])}): {why}.", advice)
        else:
            tried = _candidates(layout, others, wanted, where)
            free = [one for one in tried if not _why_not(one, others, extended)]
            one = min(free, key=lambda one: _cost(one, others, layout), default=None)
        if one is None:
            face = (wanted or _head_at((layout.width / 2, layout.height / 2), others, layout)) * bodies.FACE_HEIGHT
            shown = f"{layout.width}x{layout.height} px and shows {counted(len(layout.slots), 'person', 'people')}"
            raise BadLayout(
                f"There is room for {counted(room, 'face')} of about {face:.0f} px, not for {count}, with where = "
                f"{where}: the canvas is {shown}.",
                "Choose a smaller count, another where, a larger picture or a smaller face_size.",
            )
        place = layouts.facing(one.nose, one.head, body, (layout.width, layout.height))
        extended = replace(extended, slots=(*extended.slots, place))
    return extended


def head_of(slot: Slot) -> float:
    """Crown to chin, px; 0 where only a point is known."""
    if slot.keypoints is not None:
        return bodies.head_of_face(slot.keypoints)
    if slot.box is not None:
        return max(1.0, slot.box[3] - slot.box[1]) / bodies.FACE_HEIGHT
    return (bodies.head_of_pose(slot.pose) if slot.pose else None) or 0.0


def _head_at(point: Point, others: Sequence[_Spot], layout: Layout) -> float:
    """As large as those around: near ones count more. A sixth of the canvas where nobody's size is known."""
    if not others:
        return min(layout.width, layout.height) / 6
    weights = [1 / max(math.dist(point, other.nose), other.head) ** 2 for other in others]
    return sum(w * other.head for w, other in zip(weights, others, strict=True)) / sum(weights)


def _candidates(layout: Layout, others: Sequence[_Spot], wanted: float, where: str) -> Iterator[_Spot]:
    middle = wanted or _head_at((layout.width / 2, layout.height / 2), others, layout)
    # On a large canvas with small faces a finer grid would only take its time.
    step = max(8.0, _STEP * middle, max(layout.width, layout.height) / 128)
    noses = [other.nose for other in others] or [(layout.width / 2, layout.height * 0.4)]
    low, high = 0.0, float(layout.width)
    if where == "left end":
        high = min(x for x, _ in noses)
    if where == "right end":
        low = max(x for x, _ in noses)
    top, bottom = min(y for _, y in noses) - 1.5 * middle, max(y for _, y in noses) + middle
    for row in _within(top, bottom, step, layout.height):
        for column in _within(low, high, step, layout.width):
            nose = (low + column * step, top + row * step)
            yield _Spot(nose, wanted or _head_at(nose, others, layout))


def _within(first: float, last: float, step: float, side: int) -> range:
    """Numbers of the steps from `first` to `last` that are on the canvas: places far off it would take minutes."""
    return range(max(0, math.ceil(-first / step)), math.floor((min(last, side) - first) / step) + 1)


def _why_not(one: _Spot, others: Sequence[_Spot], layout: Layout) -> str:
    """Why nobody can stand there, "" where somebody can."""
    box = one.around(_HEAD)
    if shared(box, (0, 0, layout.width, layout.height)) < area(box):
        face = f"a face of {one.head * bodies.FACE_HEIGHT:.0f} px"
        return f"with {face} head and hair would not be whole on the canvas of {layout.width}x{layout.height} px"
    for other in others:
        if shared(box, other.around(_HEAD)):
            return f"the head would cover that of place {other.number}"
    patch = geometry.patch_rect(one.nose)
    for number, slot in enumerate(layout.slots, 1):
        if geometry.overlaps([patch, geometry.patch_rect(slot.center)]):
            return f"the nose of place {number} is less than {geometry.PATCH} px away, so their ID patches would mix"
    return ""


def _cost(one: _Spot, others: Sequence[_Spot], layout: Layout) -> float:
    """How little a place suits a group photo: hidden behind others or cut off, away from them, out of their row."""
    face, trunk, head = one.around(_HEAD), one.around(_TRUNK), one.head
    seen = shared(trunk, (0, 0, layout.width, layout.height)) / area(trunk)
    if not others:
        return 1 - seen
    hidden = sum(shared(trunk, other.around(part)) for other in others for part in (_HEAD, _TRUNK)) / area(trunk)
    before = sum(shared(face, other.around(_TRUNK)) / area(face) for other in others)
    nearest = min(others, key=lambda other: math.dist(one.nose, other.nose))
    across, up = abs(one.nose[0] - nearest.nose[0]) / head, abs(one.nose[1] - nearest.nose[1]) / head
    apart = max(0.0, math.hypot(across, up) - _BESIDE)
    return (1 - seen) + hidden + 4 * before + 0.5 * apart + 0.4 * up
