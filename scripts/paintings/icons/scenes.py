"""Pictures with people in them, as they come out of a workflow or go into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from . import colours, people, things
from .pen import Box, Frame, Line, Pen, Spot
from .people import Arms, Look


@dataclass(frozen=True)
class Backdrop:
    """What is behind people. horizon: where the ground begins, in parts of the height."""

    above: str
    ground: str
    horizon: float


OUTDOORS = Backdrop("#a8cbe3", "#7a9d6a", 0.80)
LAWN = Backdrop("#a8cbe3", "#7a9d6a", 0.66)
ROOM = Backdrop("#cbb089", "#95705a", 0.76)
STUDIO = Backdrop("#c3ab8b", "#c3ab8b", 1.0)
CUT_OUT = Backdrop("#fafafa", "#fafafa", 1.0)
SUNSET = Backdrop("#f6bd8c", "#e0ce9f", 0.55)
SNOW = Backdrop("#d6e1ec", "#f0f3f7", 0.55)
PARLOUR = Backdrop("#ecd7b6", "#9f7650", 0.55)
NIGHT = Backdrop("#2c3055", "#474858", 0.62)


@contextmanager
def picture(pen: Pen, box: Box, backdrop: Backdrop = OUTDOORS, rim: Line = things.EDGE) -> Iterator[None]:
    """A framed picture; what is drawn in the meantime is inside of it."""
    with pen.inside_box(box, things.RADIUS):
        pen.box(box, backdrop.above)
        horizon = box.height * backdrop.horizon
        pen.box(Box(box.left, box.top + horizon, box.width, box.height - horizon), backdrop.ground)
        yield
    pen.box(box, None, rim, things.RADIUS)


@dataclass(frozen=True)
class Standing:
    """Somebody in full length: where the feet are, how large a head is, in pixels, and their arms."""

    look: Look
    feet: Spot
    unit: float
    arms: Arms | None = None
    number: int = 0

    @property
    def frame(self) -> Frame:
        return Frame(Spot(self.feet.x, self.feet.y - people.FEET * self.unit), self.unit)


def stand(pen: Pen, people_there: Sequence[Standing]) -> None:
    """People in full length, the first one behind the others, and the numbers of those who have one."""
    for person in people_there:
        people.standing(pen, person.look, person.frame, person.arms)
    for person in people_there:
        if person.number:
            radius = min(things.BADGE, max(8.0, person.unit * 0.22))
            things.badge(pen, person.frame.spot(0, -0.60 - radius / person.unit), person.number, radius)


def pair(pen: Pen, box: Box, looks: Sequence[Look], unit: float, arms: Sequence[Arms | None] = (None, None)) -> None:
    """Two people in full length side by side, with their numbers."""
    down = box.top + box.height * 0.955
    places = [
        Standing(looks[0], Spot(box.at(0.29, 0).x, down), unit, arms[0], 1),
        Standing(looks[1], Spot(box.at(0.71, 0).x, down), unit, arms[1], 2),
    ]
    stand(pen, places)


def busts(pen: Pen, box: Box, looks: Sequence[Look | None], unit: float, down: float = 0.45) -> list[Frame]:
    """People down to the chest, evenly side by side; nobody in the place of a None. down: where the heads are."""
    frames: list[Frame] = []
    for number, look in enumerate(looks):
        frame = Frame(box.at((number + 0.5) / len(looks), down), unit)
        frames.append(frame)
        if look:
            people.bust(pen, look, frame)
    return frames


def portrait(pen: Pen, box: Box, look: Look, backdrop: Backdrop = OUTDOORS) -> None:
    """A picture of one person."""
    with picture(pen, box, backdrop):
        people.bust(pen, look, Frame(box.at(0.5, 0.44), box.width * 0.52))


def numbers_above(pen: Pen, frames: Sequence[Frame]) -> None:
    """A number above each head."""
    for number, frame in enumerate(frames, 1):
        things.badge(pen, frame.spot(0, -0.62 - things.BADGE / frame.unit), number)


def choice(pen: Pen, boxes: Sequence[Box], looks: Sequence[Sequence[Look | None]], best: int) -> None:
    """Small pictures of which one is kept: a tick on it, a cross on the others. best: its place, from 0."""
    for place, (box, people_there) in enumerate(zip(boxes, looks, strict=True)):
        rim = Line(colours.GREEN, 3.5) if place == best else things.EDGE
        with picture(pen, box, LAWN, rim):
            busts(pen, box, people_there, box.height * 0.34, 0.40)
        corner = Spot(box.right - 6, box.bottom - 6)
        if place == best:
            things.tick(pen, corner, 13)
        else:
            things.cross(pen, corner, 13)
