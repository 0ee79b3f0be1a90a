"""More places in a layout, for people who are not in the picture that it was made of."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..cast import Box, Layout, Point
from ..checks.errors import BadLayout, counted
from ..pictures import geometry
from ..pictures.geometry import area, shared_area
from . import bodies
from .layouts import facing, head_of

AT_POINT = "at x, y"
SIDES = ("free place", "left end", "right end", AT_POINT)

# Around the nose, in heads: crown and ears; shoulders down to the belly.
_HEAD: Box = (-0.42, -0.78, 0.42, 0.38)
_TRUNK: Box = (-0.80, 0.45, 0.80, 2.10)
_BESIDE = 1.8  # shoulder to shoulder as people stand for a photo, nose to nose, in heads
_STEP = 0.25  # between the places that are tried, in heads
_LEAST_STEP = 8.0  # the same in pixels
# How much worse than a hidden trunk, in `_badness`: a covered face, and a head of distance away and up or down.
_COVERED_FACE = 4
_APART = 0.5
_OUT_OF_ROW = 0.4
_MOST_STEPS = 128  # along the longer side: with small faces on a large canvas a finer grid would only take its time


@dataclass(frozen=True)
class _Spot:
    """The position of a head: of a place of the layout, or one that is tried for a new place.

    nose: px. head_height: crown to chin, px. number: of the place, from 1; 0 for a spot that is tried.
    """

    nose: Point
    head_height: float
    number: int = 0

    def around(self, box: Box) -> Box:
        """A box that is given in heads from the nose, brought to pixels of the canvas."""
        x, y = self.nose
        return geometry.Fit(scale_x=self.head_height, scale_y=self.head_height, shift_x=x, shift_y=y).box(box)


def add(layout: Layout, where: str, nose: Point, face_size: float, body: str, count: int) -> Layout:
    """The layout with more places after its own, for people who look into the camera.

    The heads of the new places are on the canvas and cover no other head, and no two noses are too close.
    where: one of SIDES. nose: px, of the first new person where `where` is AT_POINT, else not used; after that first
    one, all others get free places.
    face_size: height of the face boxes, px, 0 for as large as the faces around. body: "bust", "half", "full" or "none".
    count: how many places are added.
    Raises BadLayout where there is no room.
    """
    head_height = face_size / bodies.FACE_HEIGHT  # px; 0 stays 0, for as large as the heads around
    extended = layout
    for added in range(count):
        neighbours = _spots_of(extended)
        if where == AT_POINT and added == 0:
            spot = _at_point(nose, head_height, neighbours, extended)
        else:
            spot = _best_free(where, head_height, neighbours, extended)
        if spot is None:  # _best_free has found none; _at_point raises by itself
            face = (head_height or _head_in_middle(neighbours, layout)) * bodies.FACE_HEIGHT
            people = counted(len(layout.slots), "person", "people")
            raise BadLayout(
                f"There is room for {counted(added, 'face')} of about {face:.0f} px, not for {count}, with "
                f"more_where = {where}: the canvas is {layout.width}x{layout.height} px and shows {people}.",
                "Choose fewer more_places, another more_where, a larger picture or a smaller more_face_size.",
            )
        slot = facing(spot.nose, spot.head_height, body, (layout.width, layout.height))
        extended = replace(extended, slots=(*extended.slots, slot))
    return extended


def _spots_of(layout: Layout) -> list[_Spot]:
    """The spots of the places of a layout. Places of which the size of the head is not known are left out."""
    spots = [_Spot(slot.center, head_of(slot), number) for number, slot in enumerate(layout.slots, 1)]
    return [spot for spot in spots if spot.head_height]


def _at_point(nose: Point, head_height: float, neighbours: Sequence[_Spot], layout: Layout) -> _Spot:
    """The spot at a point. Raises BadLayout where it cannot be a place.

    head_height: px, 0 for as large as the heads around.
    """
    spot = _Spot(nose, head_height or _head_at(nose, neighbours, layout))
    why = _why_not(spot, neighbours, layout)
    if why:
        raise BadLayout(
            f"No person can be added at ({round(nose[0])}, {round(nose[1])}): {why}.",
            "Choose another more_x and more_y (of the nose), a smaller more_face_size, a larger picture or another "
            "more_where.",
        )
    return spot


def _best_free(where: str, head_height: float, neighbours: Sequence[_Spot], layout: Layout) -> _Spot | None:
    """The free spot that suits a group photo best; None where there is none. where, head_height: as `_candidates`."""
    candidates = _candidates(where, head_height, neighbours, layout)
    free = [spot for spot in candidates if not _why_not(spot, neighbours, layout)]
    return min(free, key=lambda spot: _badness(spot, neighbours, layout), default=None)


def _head_at(point: Point, neighbours: Sequence[_Spot], layout: Layout) -> float:
    """The height of a head at a point, px: as large as the heads around, near ones count more.

    It is a weighted mean, a sixth of the canvas's shorter side without neighbours. A neighbour's weight is
    1 / distance ** 2.
    """
    if not neighbours:
        return min(layout.width, layout.height) / 6
    # A distance below the neighbour's own head counts as one head, so that no weight grows without limit.
    weights = [1 / max(math.dist(point, other.nose), other.head_height) ** 2 for other in neighbours]
    weighted = [weight * other.head_height for weight, other in zip(weights, neighbours, strict=True)]
    return sum(weighted) / sum(weights)


def _head_in_middle(neighbours: Sequence[_Spot], layout: Layout) -> float:
    return _head_at((layout.width / 2, layout.height / 2), neighbours, layout)


def _candidates(where: str, head_height: float, neighbours: Sequence[_Spot], layout: Layout) -> Iterator[_Spot]:
    """Spots on a grid around the rows in which people stand, or at one end of these rows.

    where: one of SIDES. head_height: px, 0 for as large as the neighbours.
    """
    usual_head = head_height or _head_in_middle(neighbours, layout)
    # Of the three the widest step: in proportion to the heads, and never so small that there are too many spots to try.
    step = max(_LEAST_STEP, _STEP * usual_head, max(layout.width, layout.height) / _MOST_STEPS)
    noses = [neighbour.nose for neighbour in neighbours] or [(layout.width / 2, layout.height * 0.4)]
    # From the outermost nose to the edge of the canvas for an end of the rows, else over the whole width.
    left = max(x for x, _ in noses) if where == "right end" else 0.0
    right = min(x for x, _ in noses) if where == "left end" else float(layout.width)
    # One and a half heads above the highest nose, and one head below the lowest.
    top = min(y for _, y in noses) - 1.5 * usual_head
    bottom = max(y for _, y in noses) + usual_head
    for y in _steps_on_canvas(top, bottom, step, layout.height):
        for x in _steps_on_canvas(left, right, step, layout.width):
            yield _Spot((x, y), head_height or _head_at((x, y), neighbours, layout))


def _steps_on_canvas(first: float, last: float, step: float, side: int) -> list[float]:
    """The positions from `first` to `last`, a step apart, that lie on the canvas.

    Those far off the canvas are left out, because to try them would take minutes. side: of the canvas, px.
    """
    steps_to_canvas = max(0, math.ceil(-first / step))
    steps_to_end = math.floor((min(last, side) - first) / step)
    return [first + number * step for number in range(steps_to_canvas, steps_to_end + 1)]


def _why_not(spot: _Spot, neighbours: Sequence[_Spot], layout: Layout) -> str:
    """The reason why a spot cannot be a place, "" where it can."""
    box = spot.around(_HEAD)
    if shared_area(box, (0, 0, layout.width, layout.height)) < area(box):
        face = f"a face of {spot.head_height * bodies.FACE_HEIGHT:.0f} px"
        return f"with {face} head and hair would not be whole on the canvas of {layout.width}x{layout.height} px"
    for neighbour in neighbours:
        if shared_area(box, neighbour.around(_HEAD)):
            return f"the head would cover that of place {neighbour.number}"
    square = geometry.patch_rect(spot.nose)
    # All places: `neighbours` lacks those of which the size of the head is not known.
    for number, slot in enumerate(layout.slots, 1):
        if geometry.overlaps([square, geometry.patch_rect(slot.center)]):
            return f"the nose of place {number} is less than {geometry.PATCH} px away, so the faces would mix"
    return ""


def _badness(spot: _Spot, neighbours: Sequence[_Spot], layout: Layout) -> float:
    """How badly a spot suits a group photo; 0 is the best.

    It is a weighted sum of five terms:
    - the share of the trunk that is off the canvas, 0..1;
    - the share of the trunk behind heads and trunks of others, 0..1 for each of these, added up;
    - the share of the face over trunks of others, 0..1 for each of these, added up;
    - how far the nearest person is beyond the usual distance of neighbours, in heads;
    - how far the spot is above or below that person, in heads.
    Without neighbours only the first term counts.
    """
    face = spot.around(_HEAD)
    trunk = spot.around(_TRUNK)
    on_canvas = shared_area(trunk, (0, 0, layout.width, layout.height)) / area(trunk)  # share of the trunk, 0..1
    if not neighbours:
        return 1 - on_canvas
    hidden_area = 0.0
    covered_face = 0.0  # the share of the face that overlaps a neighbour's trunk, summed over all neighbours
    for neighbour in neighbours:
        hidden_area += shared_area(trunk, neighbour.around(_HEAD))
        hidden_area += shared_area(trunk, neighbour.around(_TRUNK))
        covered_face += shared_area(face, neighbour.around(_TRUNK)) / area(face)
    hidden = hidden_area / area(trunk)
    nearest = min(neighbours, key=lambda neighbour: math.dist(spot.nose, neighbour.nose))
    across = abs(spot.nose[0] - nearest.nose[0]) / spot.head_height
    up = abs(spot.nose[1] - nearest.nose[1]) / spot.head_height
    apart = max(0.0, math.hypot(across, up) - _BESIDE)
    # A face that is covered is the worst, because it is what the place is for. To stand one head too far away, or one
    # head out of the row, is about as bad as a trunk of which half is hidden.
    return (1 - on_canvas) + hidden + _COVERED_FACE * covered_face + _APART * apart + _OUT_OF_ROW * up
