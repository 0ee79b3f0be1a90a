"""Drawn photos of people, aligned as a recogniser sees them, and what is true of each.

Hair may lie on one side only (turned heads), walls may look like hair or skin, light is uneven, glasses are not told:
what makes real photos hard to read.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

CROP = 112
_FINE = 2
_HEIGHT = CROP * _FINE
Colour = np.ndarray
"""(3,), RGB 0..1."""
_SKINS = np.array([
    (255, 224, 205), (246, 205, 175), (232, 184, 148), (205, 150, 112), (160, 108, 76), (110, 72, 52), (75, 50, 40),
]) / 255  # fmt: skip
_HAIRS = np.array([
    (25, 20, 20), (60, 40, 28), (105, 70, 42), (150, 105, 60), (215, 175, 105), (238, 214, 160), (175, 75, 35),
    (190, 190, 190), (235, 232, 228), (120, 40, 30),
]) / 255  # fmt: skip
_TEETH = (0.93, 0.90, 0.87)
_EYEBALL = (0.85, 0.85, 0.85)
_PUPIL = (0.15, 0.12, 0.10)


@dataclass(frozen=True)
class Person:
    """Before light and camera. beard: 0 to 1, how thick."""

    skin: Colour
    hair: Colour
    long: bool
    bald: bool
    beard: float


def draw(rng: random.Random, count: int) -> tuple[np.ndarray, Tensor]:
    """(n, 112, 112, 3) RGB uint8, and (n, 8) what is true: hair and skin as lit, hair length, beard."""
    crops: list[np.ndarray] = []
    truths: list[Tensor] = []
    for _ in range(count):
        pixels, truth = photo(rng, person(rng))
        crops.append(pixels)
        truths.append(truth)
    return np.stack(crops), torch.stack(truths)


def person(rng: random.Random) -> Person:
    """Dark skins as often as light ones, dark hair more often than other."""
    skin = _between(_SKINS, rng, (2, 2, 2, 3, 3, 3))
    hair = _between(_HAIRS, rng, (1, 1, 1, 1, 1, 1, 1, 1, 1))
    if rng.random() < 0.35:
        hair = np.clip(_HAIRS[rng.randrange(3)] * rng.uniform(0.7, 1.3), 0, 1)
    long = rng.random() < 0.5
    bald = rng.random() < 0.05
    beard = 0.0
    if rng.random() < (0.11 if long else 0.28):
        beard = rng.uniform(0.5, 1.0)
    return Person(skin, hair, long and not bald, bald, beard)


def _between(table: np.ndarray, rng: random.Random, often: Sequence[int]) -> Colour:
    """A colour between two neighbours of a table; often: how often each pair."""
    first = rng.choices(range(len(often)), often)[0]
    mixed = table[first] + rng.random() * (table[first + 1] - table[first])
    noise = np.array([rng.gauss(0, 0.03) for _ in range(3)])
    return np.clip(mixed + noise, 0.03, 0.99)


def photo(rng: random.Random, of: Person) -> tuple[np.ndarray, Tensor]:
    """(112, 112, 3) RGB uint8 and the (8,) truth."""
    sketch = _Sketch(rng, of)
    sketch.draw()
    return _taken(rng, sketch.pixels, of)


class _Sketch:
    """A head in an aligned crop; lengths in pixels of the crop."""

    def __init__(self, rng: random.Random, of: Person) -> None:
        self.rng = rng
        self.of = of
        self.turn = rng.gauss(0, 9)
        self.middle = 56 - 0.9 * self.turn
        self.wide = rng.uniform(35, 43)
        self.face = 56 + 0.2 * self.turn  # the features follow the camera less than the head
        if of.long:
            self.fall = rng.uniform(0.65, 1)
        else:
            self.fall = rng.uniform(0, 0.2)
        self.pixels = self._wall()

    def draw(self) -> None:
        uniform = self.rng.uniform
        if self.rng.random() < 0.8:  # clothes
            self._ellipse(self.middle + uniform(-10, 10), 150, uniform(60, 90), uniform(38, 50), self._any_colour())
        if not self.of.bald:
            self._hair_behind()
        self._head()
        if self.of.beard:
            self._beard()
        if not self.of.bald:
            self._fringe()
        self._features()

    def _any_colour(self) -> Colour:
        return np.array([self.rng.random() for _ in range(3)])

    def _wall(self) -> np.ndarray:
        """Two colours, one running into the other or with an edge between them."""
        first = self._wall_colour()
        second = self._wall_colour()
        line = np.linspace(0, 1, _HEIGHT)
        if self.rng.random() < 0.4:
            line = (line > self.rng.random()).astype(float)
        ramp = line[None, :, None]  # from left to right
        if self.rng.random() < 0.4:
            ramp = line[:, None, None]  # from top to bottom
        pixels = (first + ramp * (second - first)) * np.ones((_HEIGHT, _HEIGHT, 1))
        return np.ascontiguousarray(pixels, np.float32)

    def _wall_colour(self) -> Colour:
        rng = self.rng
        colour = self._any_colour() * 0.5 + 0.5 * rng.random()
        if rng.random() < 0.35:
            part = self.of.skin if rng.random() < 0.6 else self.of.hair
            colour = 0.5 * colour + 0.5 * part * rng.uniform(0.6, 1.2)
        return colour

    def _ellipse(
        self, x: float, y: float, wide: float, high: float, colour: Sequence[float] | Colour, thick: int = -1
    ) -> None:
        center = (int(x * _FINE), int(y * _FINE))
        radii = (max(1, int(wide * _FINE)), max(1, int(high * _FINE)))
        cv2.ellipse(self.pixels, center, radii, 0, 0, 360, _plain(colour), thick)

    def _polygon(self, corners: Sequence[tuple[float, float]], colour: Colour) -> None:
        points = np.round(np.array(corners) * _FINE).astype(np.int32)
        cv2.fillPoly(self.pixels, [points], _plain(colour))

    def _hair_behind(self) -> None:
        uniform = self.rng.uniform
        hair = self.of.hair
        reach = self.wide + uniform(2, 13)
        x = self.middle - 0.5 * self.turn + uniform(-4, 4)
        down = 40 + 85 * self.fall
        self._ellipse(x, uniform(30, 42), reach, uniform(44, 62), hair * uniform(0.8, 1.0))
        low = reach * uniform(0.85, 1.1)
        corners = [(x - reach, 36.0), (x + reach, 36.0), (x + low, down), (x - low, down)]
        self._polygon(corners, hair * uniform(0.7, 1.0))

    def _head(self) -> None:
        uniform = self.rng.uniform
        skin = self.of.skin
        x = self.middle
        self._polygon([(x - 20, 85), (x + 20, 85), (x + 24, 116), (x - 24, 116)], skin * uniform(0.6, 0.95))
        if not self.of.long:
            for side in (-1, 1):
                self._ellipse(x + side * (self.wide - 1), 62, 6, 11, skin * 0.9)
        self._ellipse(x, uniform(52, 58), self.wide, uniform(52, 58), skin)
        if self.rng.random() < 0.6:  # a cheek or a forehead in other light
            lit = np.clip(skin * uniform(0.85, 1.2), 0, 1)
            self._ellipse(x + uniform(-18, 18), uniform(25, 75), uniform(8, 16), uniform(6, 14), lit)

    def _beard(self) -> None:
        grown = self.pixels.copy()
        center = (int((56 - 0.4 * self.turn) * _FINE), 86 * _FINE)
        radii = (int((self.wide - 4) * _FINE), int(self.rng.uniform(22, 30) * _FINE))
        cv2.ellipse(grown, center, radii, 0, -10, 190, _plain(self.of.hair * 0.8), -1)
        thickness = min(1.0, 1.1 * self.of.beard)
        self.pixels += thickness * (grown - self.pixels)

    def _fringe(self) -> None:
        uniform = self.rng.uniform
        hair = self.of.hair
        x = self.middle
        wide = self.wide
        depth = self.rng.random()
        top = -8 + 38 * depth * depth if self.of.long else -4 + 28 * depth
        if self.rng.random() < 0.5:
            self._ellipse(x - 0.4 * self.turn, top - 22, wide * 1.06, 30, hair)
        else:
            brow = [(x + wide + 2, top + uniform(-6, 14)), (x + uniform(-12, 12), top + uniform(-4, 8))]
            brow.append((x - wide - 2, top + uniform(-6, 14)))
            self._polygon([(x - wide - 4, -5), (x + wide + 4, -5), *brow], hair)
        down = uniform(0.55, 1.0)
        for side in (-1, 1):
            if side * self.turn < 14:
                high = 20 + 18 * self.fall * self.rng.random()
                self._ellipse(x + side * (wide - 2), 24 + 10 * down, uniform(3, 10), high, hair)

    def _features(self) -> None:
        uniform = self.rng.uniform
        skin = self.of.skin
        x = self.face
        for side in (-1, 1):
            if self.rng.random() > 0.2:  # else shut
                self._ellipse(x + side * 17.6, 51.6, 5.5, 3.2, _EYEBALL)
                self._ellipse(x + side * 17.6, 51.6, 2.8, 3, _PUPIL)
            self._ellipse(x + side * 18, uniform(40, 44), 8.5, uniform(1, 3), self.of.hair * 0.7)
        if self.rng.random() < 0.15:
            for side in (-1, 1):
                frame = np.full(3, uniform(0.05, 0.4))
                self._ellipse(x + side * 17.6, 52, 12, 9, frame, thick=int(uniform(1, 3) * _FINE))
        self._ellipse(x + 0.3 * self.turn, 74, 6, 3, skin * 0.75)
        lips: Sequence[float] | Colour = _TEETH
        if self.rng.random() < 0.7:
            lips = np.clip(skin * np.array([0.9, 0.5, 0.5]), 0, 1)
        self._ellipse(x, 92, uniform(11, 16), uniform(2, 7), lips)


def _plain(colour: Sequence[float] | Colour) -> tuple[float, ...]:
    """As OpenCV takes colours."""
    return tuple(float(channel) for channel in colour)


def _taken(rng: random.Random, pixels: np.ndarray, of: Person) -> tuple[np.ndarray, Tensor]:
    """Light across the picture and in soft patches (locks of hair), a camera not quite straight, noise."""
    uniform = rng.uniform
    noise = np.random.default_rng(rng.randrange(1 << 30))
    line = np.linspace(-1, 1, _HEIGHT, dtype=np.float32)
    pixels = pixels * (1 + uniform(-0.3, 0.3) * line[None, :, None] + uniform(-0.12, 0.12) * line[:, None, None])
    patches = noise.normal(0, uniform(0, 0.16), (9, 9)).astype(np.float32)
    pixels *= 1 + cv2.resize(patches, (_HEIGHT, _HEIGHT), interpolation=cv2.INTER_CUBIC)[..., None]
    moved = cv2.getRotationMatrix2D((56 * _FINE, 64 * _FINE), rng.gauss(0, 7), uniform(0.9, 1.12))
    moved[:, 2] += [uniform(-5, 5) * _FINE, uniform(-5, 5) * _FINE]
    pixels = cv2.warpAffine(pixels, moved, (_HEIGHT, _HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    gain = np.clip(uniform(0.75, 1.15) * np.array([uniform(0.9, 1.1) for _ in range(3)]), 0, 1.3)
    lift = max(0.0, uniform(-0.06, 0.06))
    pixels = cv2.resize(pixels, (CROP, CROP), interpolation=cv2.INTER_AREA) * gain + lift
    pixels += noise.normal(0, uniform(0, 0.03), pixels.shape)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    hair = 0.9 * of.skin if of.bald else of.hair
    lit_hair = np.clip(hair * gain + lift, 0, 1)
    lit_skin = np.clip(of.skin * gain + lift, 0, 1)
    truth = np.concatenate([lit_hair, lit_skin, [float(of.long), of.beard]])
    return (np.clip(pixels, 0, 1) * 255).astype(np.uint8), torch.from_numpy(truth).float()
