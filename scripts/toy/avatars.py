"""The cartoon: people of a look in their places, drawn as areas with a number each, then coloured."""

import itertools
from collections.abc import Sequence
from enum import IntEnum

import cv2
import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from core.cast import Point
from core.places.bodies import SEEN

from .looks import BEARD, HAIR, LENGTH, SHIRT, SKIN, worn
from .places import Place

Areas = np.ndarray
"""(H, W) uint8: 0 is the wall, 255 the white of an eye, the rest `area`."""


class Area(IntEnum):
    """Of one person."""

    SHIRT, SKIN, HAIR, LINE, MOUTH, CHIN, SHADE, TROUSERS, SHOES = range(9)


WALL, WHITE = 0, 255
WALL_COLOUR = (0.84, 0.90, 0.95)
_FINE = 4  # OpenCV's coordinates in sixteenths of a pixel
_COLOURS = {
    "wall": WALL_COLOUR,
    "white": (0.97, 0.97, 0.97),
    "line": (0.22, 0.17, 0.20),
    "trousers": (0.27, 0.31, 0.42),
    "mouth": (0.80, 0.30, 0.32),
}


def area(person: int, part: Area) -> int:
    """The number of a part of the person with this index."""
    return 1 + len(Area) * person + part


def picture(places: Sequence[Place], looks: Tensor, size: tuple[int, int], fine: int = 2) -> tuple[Tensor, Areas]:
    """(3, H, W), 0..1, and its areas at `fine` times the size."""
    areas = draw(places, looks, size, fine)
    pixels = palette(looks)[torch.from_numpy(areas).long()].permute(2, 0, 1)[None]
    return functional.avg_pool2d(pixels, fine)[0], areas


def draw(places: Sequence[Place], looks: Tensor, size: tuple[int, int], fine: int = 2) -> Areas:
    """(fine*H, fine*W). Who comes later in the list stands in front."""
    areas = np.zeros((size[1] * fine, size[0] * fine), np.uint8)
    for person, (place, look) in enumerate(zip(places, worn(looks), strict=True)):
        Figure(areas, person, place, look, size[1], fine).draw()
    return areas


def palette(looks: Tensor) -> Tensor:
    """(256, 3): the colour of every area."""
    colours = torch.zeros(256, 3)
    fixed = {name: torch.tensor(colour) for name, colour in _COLOURS.items()}
    colours[WALL], colours[WHITE] = fixed["wall"], fixed["white"]
    for person, look in enumerate(worn(looks)):
        hair, skin, shirt, beard = look[HAIR], look[SKIN], look[SHIRT], look[BEARD]
        of_part = {
            Area.SHIRT: shirt,
            Area.SKIN: skin,
            Area.HAIR: hair,
            Area.LINE: fixed["line"],
            Area.MOUTH: 0.7 * fixed["mouth"] + 0.25 * skin,
            Area.CHIN: torch.lerp(skin, 0.9 * hair, beard),
            Area.SHADE: 0.85 * skin,
            Area.TROUSERS: fixed["trousers"],
        }
        for part, colour in of_part.items():
            colours[area(person, part)] = colour
    return colours


class Figure:
    """One person. Lengths in heads from the nose, y down."""

    def __init__(self, areas: Areas, person: int, place: Place, look: Tensor, height: int, fine: int) -> None:
        self.areas, self.person, self.height, self.fine = areas, person, height, fine
        (self.x, self.y), self.head, self.pose = place
        self.length = float(look[LENGTH])
        self.edge = max(1, round(0.022 * self.head * fine))

    def draw(self) -> None:
        self._hair_behind()
        self._legs()
        self._trunk()
        self._arms()
        self._neck()
        self._hair_on_shoulders()
        self._face()
        self._fringe()
        self._features()

    # --- Strokes

    def _at(self, across: float, down: float) -> tuple[int, int]:
        return self._pixel((self.x + across * self.head, self.y + down * self.head))

    def _pixel(self, point: Point) -> tuple[int, int]:
        x, y = (round(side * self.fine * (1 << _FINE)) for side in point)
        return x, y

    def _ellipse(
        self, across: float, down: float, wide: float, high: float, part: Area | None,
        start: int = 0, end: int = 360, outline: bool = False,
    ) -> None:  # fmt: skip
        scale = self.head * self.fine * (1 << _FINE)
        radii = max(1, round(wide * scale)), max(1, round(high * scale))
        value = WHITE if part is None else area(self.person, part)
        center = self._at(across, down)
        cv2.ellipse(self.areas, center, radii, 0, start, end, (value,), -1, cv2.LINE_8, _FINE)
        if outline:
            line = area(self.person, Area.LINE)
            cv2.ellipse(self.areas, center, radii, 0, start, end, (line,), self.edge, cv2.LINE_8, _FINE)

    def _polygon(self, corners: Sequence[Point], part: Area, outline: bool = False) -> None:
        points = [np.array([self._at(*corner) for corner in corners], np.int32)]
        cv2.fillPoly(self.areas, points, (area(self.person, part),), cv2.LINE_8, _FINE)
        if outline:
            line = area(self.person, Area.LINE)
            cv2.polylines(self.areas, points, True, (line,), self.edge, cv2.LINE_8, _FINE)

    def _limb(self, joints: Sequence[int], thick: float, part: Area) -> None:
        width = max(1, round(thick * self.head * self.fine))
        for a, b in itertools.pairwise(joints):
            if self._seen(a) and self._seen(b):
                ends = self._pixel(self.pose[a][:2]), self._pixel(self.pose[b][:2])
                cv2.line(self.areas, *ends, (area(self.person, part),), width, cv2.LINE_8, _FINE)

    def _dot(self, joint: int, radius: float, part: Area) -> None:
        if self._seen(joint):
            pixels = round(radius * self.head * self.fine * (1 << _FINE))
            center = self._pixel(self.pose[joint][:2])
            cv2.circle(self.areas, center, pixels, (area(self.person, part),), -1, cv2.LINE_8, _FINE)

    def _seen(self, *joints: int) -> bool:
        return all(self.pose[joint][2] > SEEN for joint in joints)

    # --- Parts, back to front

    def _hair_behind(self) -> None:
        end, wide = -0.05 + 1.05 * self.length, 0.43 + 0.04 * self.length
        self._ellipse(0, -0.22, 0.43, 0.49, Area.HAIR, outline=True)
        self._polygon([(-0.43, -0.22), (0.43, -0.22), (wide, end), (-wide, end)], Area.HAIR)
        self._ellipse(0, end, wide, 0.09, Area.HAIR)

    def _legs(self) -> None:
        for hip, knee, ankle in ((11, 13, 15), (12, 14, 16)):
            self._limb((hip, knee, ankle), 0.38, Area.TROUSERS)
            if self._seen(hip) and not self._seen(knee):  # the leg goes on below the picture
                x, y = self.pose[hip][:2]
                ends = self._pixel((x, y)), self._pixel((x, self.height + self.head))
                width = round(0.38 * self.head * self.fine)
                trousers = area(self.person, Area.TROUSERS)
                cv2.line(self.areas, *ends, (trousers,), width, cv2.LINE_8, _FINE)
            self._dot(ankle, 0.19, Area.LINE)

    def _trunk(self) -> None:
        if self._seen(11, 12):
            low = (max(self.pose[11][1], self.pose[12][1]) - self.y) / self.head
        else:
            low = (self.height - self.y) / self.head + 0.3
        if any(self._seen(joint) for joint in (11, 12, 13, 14)):
            low = min(low, 3.2)
        right = [(0.16, 0.44), (0.55, 0.56), (0.74, 0.68), (0.80, 0.95), (0.74, low)]
        left = [(-across, down) for across, down in reversed(right)]
        self._polygon([*right, *left], Area.SHIRT, outline=True)

    def _arms(self) -> None:
        for arm in ((5, 7, 9), (6, 8, 10)):
            self._limb(arm, 0.32, Area.LINE)
            self._limb(arm, 0.276, Area.SHIRT)
            self._dot(arm[-1], 0.15, Area.SKIN)

    def _neck(self) -> None:
        self._polygon([(-0.15, 0.1), (0.15, 0.1), (0.16, 0.5), (-0.16, 0.5)], Area.SHADE)
        self._ellipse(0, 0.5, 0.16, 0.1, Area.SHADE)

    def _hair_on_shoulders(self) -> None:
        if self.length > 0.45:  # over the shoulders
            fall = (self.length - 0.45) / 0.55
            for side in (-1, 1):
                self._ellipse(side * 0.38, 0.18 + 0.30 * fall, 0.12, 0.30 + 0.25 * fall, Area.HAIR)

    def _face(self) -> None:
        for side in (-1, 1):
            self._ellipse(side * 0.34, -0.1, 0.07, 0.1, Area.SHADE)
        self._ellipse(0, -0.15, 0.34, 0.47, Area.SKIN, outline=True)
        self._ellipse(0, 0.03, 0.32, 0.275, Area.CHIN, -8, 188)

    def _fringe(self) -> None:
        self._ellipse(0, -0.33, 0.375, 0.38, Area.HAIR, 180, 360)
        self._ellipse(0, -0.34, 0.375, 0.12, Area.HAIR)
        for side in (-1, 1):
            self._ellipse(side * 0.335, -0.28, 0.05, 0.2, Area.HAIR)

    def _features(self) -> None:
        for side in (-1, 1):
            self._ellipse(side * 0.137, -0.12, 0.062, 0.07, None)
            self._ellipse(side * 0.137, -0.11, 0.04, 0.055, Area.LINE)
        self._ellipse(0, 0.03, 0.045, 0.05, Area.SHADE)
        self._ellipse(0, 0.13, 0.12, 0.085, Area.MOUTH, 0, 180)
