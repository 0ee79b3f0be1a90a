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
        self.width, self.height = size[0] * _FINE, size[1] * _FINE
        self.pixels = np.broadcast_to(np.asarray(color, np.float32), (self.height, self.width, 3)).copy()
        self.origin, self.unit = (0.0, 0.0), float(_FINE)

    def look_at(self, x: float, y: float, unit: float) -> None:
        """From now on (0, 0) is this pixel, and 1 is so many pixels."""
        self.origin, self.unit = (x * _FINE, y * _FINE), unit * _FINE

    def at(self, points: Points) -> np.ndarray:
        return np.asarray(points, np.float32) * self.unit + np.asarray(self.origin, np.float32)

    @property
    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of every pixel."""
        y, x = np.mgrid[: self.height, : self.width].astype(np.float32)
        return (x - self.origin[0]) / self.unit, (y - self.origin[1]) / self.unit

    def shape(self, points: Points, soft: float = 0.0, sharp: bool = False) -> Mask:
        """What a smooth closed curve through the points holds; sharp: straight lines."""
        curve = np.asarray(points, np.float32) if sharp else smooth(points, closed=True)
        found = np.zeros((self.height, self.width), np.uint8)
        cv2.fillPoly(found, [(self.at(curve) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        return self.softened(found.astype(np.float32) / 255, soft)

    def ellipse(self, x: float, y: float, wide: float, high: float, soft: float = 0.0, turn: float = 0.0) -> Mask:
        t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        a, b = wide * np.cos(t), high * np.sin(t)
        return self.shape(np.stack([x + a * c - b * s, y + a * s + b * c], 1), soft, sharp=True)

    def line(self, points: Points, thick: float, soft: float = 0.0, taper: bool = True) -> Mask:
        """A stroke through the points, thin at its ends."""
        curve = smooth(points, closed=False)
        along = np.gradient(curve, axis=0)
        across = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(1e-6, np.linalg.norm(along, axis=1))[:, None]
        t = np.linspace(0, 1, len(curve))
        half = thick / 2 * (np.sin(np.pi * t) ** 0.6 if taper else np.ones_like(t))[:, None]
        return self.shape(np.concatenate([curve + across * half, (curve - across * half)[::-1]]), soft, sharp=True)

    def softened(self, mask: Mask, soft: float) -> Mask:
        return cv2.GaussianBlur(mask, (0, 0), soft * self.unit) if soft > 0 else mask

    def paint(self, mask: Mask, color: Color | np.ndarray, opacity: float = 1.0) -> None:
        share = (mask * opacity)[..., None]
        self.pixels = self.pixels * (1 - share) + np.asarray(color, np.float32) * share

    def shade(self, mask: Mask, by: float) -> None:
        """Darker where `by` is below 0, with a warm cast, lighter above."""
        share = (mask * abs(by))[..., None]
        to = np.asarray((0.86, 0.78, 0.74), np.float32) * self.pixels * 0.55 if by < 0 else 1 - (1 - self.pixels) * 0.35
        self.pixels = self.pixels * (1 - share) + to * share

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
    """Catmull and Rom's curve through the points."""
    knots = np.asarray(points, np.float32)
    before, after = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    around = np.concatenate([before, knots, after])
    a, b, c, d = around[:-3, None], around[1:-2, None], around[2:-1, None], around[3:, None]
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[None, :, None]
    curve = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * b - a - 3 * c + d)))
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, knots[-1:]])


def mirrored(points: Sequence[Point]) -> list[Point]:
    """The right side for a left one, from the top down: closed shapes from half of them."""
    return [*points, *((-x, y) for x, y in reversed(points) if x != 0)]


def lerp(a: Color, b: Color, t: float) -> Color:
    red, green, blue = (one * (1 - t) + other * t for one, other in zip(a, b, strict=True))
    return red, green, blue
