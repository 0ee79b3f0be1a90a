"""A painter's canvas: smooth shapes, soft edges, light and shadow."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Point = tuple[float, float]
Points = Sequence[Point] | np.ndarray
Color = tuple[float, float, float]
Mask = np.ndarray
"""(H, W) float32, 0..1."""

_FINE = 2
"""Drawn at so many times the size."""


class Canvas:
    """RGB 0..1. Lengths are in units of `unit` pixels around (x, y), y down."""

    def __init__(self, size: tuple[int, int], color: Color) -> None:
        self.width = size[0] * _FINE
        self.height = size[1] * _FINE
        self.pixels = np.broadcast_to(np.asarray(color, np.float32), (self.height, self.width, 3)).copy()
        self.origin = (0.0, 0.0)
        self.unit = float(_FINE)

    def look_at(self, x: float, y: float, unit: float) -> None:
        """From now on (0, 0) is this pixel, and 1 is so many pixels."""
        self.origin = (x * _FINE, y * _FINE)
        self.unit = unit * _FINE

    def in_pixels(self, points: Points) -> np.ndarray:
        """Points (n, 2) of the canvas as pixels of the enlarged picture."""
        return np.asarray(points, np.float32) * self.unit + np.asarray(self.origin, np.float32)

    @property
    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of every pixel."""
        y, x = np.mgrid[: self.height, : self.width].astype(np.float32)
        return (x - self.origin[0]) / self.unit, (y - self.origin[1]) / self.unit

    def shape(self, points: Points, soft: float = 0.0, sharp: bool = False) -> Mask:
        """What a smooth closed curve through the points holds; sharp: straight lines."""
        curve = np.asarray(points, np.float32)
        if not sharp:
            curve = smooth(points, closed=True)
        mask = np.zeros((self.height, self.width), np.uint8)
        # Four bits behind the point: sixteenths of a pixel.
        corners = (self.in_pixels(curve) * 16).astype(np.int32)
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, 4)
        return self.softened(mask.astype(np.float32) / 255, soft)

    def ellipse(self, x: float, y: float, wide: float, high: float, soft: float = 0.0, turn: float = 0.0) -> Mask:
        """Half as wide and high as these, turned clockwise by degrees."""
        angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        cosine = np.cos(np.radians(turn))
        sine = np.sin(np.radians(turn))
        across = wide * np.cos(angles)
        down = high * np.sin(angles)
        points = np.stack([x + across * cosine - down * sine, y + across * sine + down * cosine], 1)
        return self.shape(points, soft, sharp=True)

    def line(self, points: Points, thick: float, soft: float = 0.0, taper: bool = True) -> Mask:
        """A stroke through the points; with `taper` it is thin at its ends."""
        curve = smooth(points, closed=False)
        along = np.gradient(curve, axis=0)
        lengths = np.maximum(1e-6, np.linalg.norm(along, axis=1))
        across = np.stack([-along[:, 1], along[:, 0]], 1) / lengths[:, None]
        progress = np.linspace(0, 1, len(curve))
        widths = np.ones_like(progress)
        if taper:
            widths = np.sin(np.pi * progress) ** 0.6
        half = thick / 2 * widths[:, None]
        rim = np.concatenate([curve + across * half, (curve - across * half)[::-1]])
        return self.shape(rim, soft, sharp=True)

    def softened(self, mask: Mask, soft: float) -> Mask:
        if soft <= 0:
            return mask
        return cv2.GaussianBlur(mask, (0, 0), soft * self.unit)

    def paint(self, mask: Mask, color: Color | np.ndarray, opacity: float = 1.0) -> None:
        share = (mask * opacity)[..., None]
        self.pixels = self.pixels * (1 - share) + np.asarray(color, np.float32) * share

    def shade(self, mask: Mask, by: float) -> None:
        """Darker where `by` is below 0, with a warm cast, lighter above."""
        share = (mask * abs(by))[..., None]
        if by < 0:
            target = np.asarray((0.86, 0.78, 0.74), np.float32) * self.pixels * 0.55
        else:
            target = 1 - (1 - self.pixels) * 0.35
        self.pixels = self.pixels * (1 - share) + target * share

    def finished(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB at its size."""
        return self._small(self.pixels)

    def finished_mask(self, mask: Mask) -> np.ndarray:
        """(H, W, 1) uint8, 255 where the mask is."""
        return self._small(mask)[..., None]

    def _small(self, pixels: np.ndarray) -> np.ndarray:
        size = self.width // _FINE, self.height // _FINE
        return (cv2.resize(pixels.clip(0, 1), size, interpolation=cv2.INTER_AREA) * 255).round().astype(np.uint8)


def smooth(points: Points, closed: bool, steps: int = 12) -> np.ndarray:
    """Catmull and Rom's curve through the points, so many steps between two of them."""
    knots = np.asarray(points, np.float32)
    if closed:
        around = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        around = np.concatenate([knots[:1], knots, knots[-1:]])
    before, start, end, after = around[:-3, None], around[1:-2, None], around[2:-1, None], around[3:, None]
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[None, :, None]
    bend = t * (3 * start - before - 3 * end + after)
    curve = start + t / 2 * (end - before + t * (2 * before - 5 * start + 4 * end - after + bend))
    curve = curve.reshape(-1, 2)
    if closed:
        return curve
    return np.concatenate([curve, knots[-1:]])


def mirrored(points: Sequence[Point]) -> list[Point]:
    """The right side for a left one, from the top down: closed shapes from half of them."""
    return [*points, *((-x, y) for x, y in reversed(points) if x != 0)]


def lerp(first: Color, second: Color, share: float) -> Color:
    """A colour between two: the first where `share` is 0, the second where it is 1."""
    red, green, blue = (start * (1 - share) + end * share for start, end in zip(first, second, strict=True))
    return red, green, blue
