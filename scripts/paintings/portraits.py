"""Painted people, alone and together: head and shoulders, or from head to foot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import faces
from .canvas import Canvas, Color, lerp, mirrored
from .faces import DARK, LIGHT
from .looks import Look

Place = tuple[float, float, float]
"""x and y of the point between the eyes, and how long a head unit is, in pixels."""


def portrait(look: Look, size: tuple[int, int] = (416, 520)) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    canvas = Canvas(size, look.wall)
    wall(canvas, look.wall)
    canvas.look_at(size[0] / 2, size[1] * 0.43, size[1] * 0.235)
    person(canvas, look)
    return canvas.finished()


def together(looks: Sequence[Look], places: Sequence[Place], size: tuple[int, int]) -> np.ndarray:
    """A picture of several people, (H, W, 3) uint8 RGB; who comes later stands in front."""
    canvas = Canvas(size, (0.80, 0.82, 0.80))
    wall(canvas, (0.76, 0.82, 0.84))
    for look, place in zip(looks, places, strict=True):
        canvas.look_at(*place)
        person(canvas, look)
    return canvas.finished()


def wall(canvas: Canvas, color: Color) -> None:
    canvas.look_at(canvas.width / 4, canvas.height / 4, canvas.height / 4)
    x, y = canvas.grid
    canvas.paint(np.clip(1.1 - np.hypot(x + 0.4, y + 0.5) * 0.8, 0, 1), lerp(color, LIGHT, 0.6))
    canvas.paint(np.clip(np.hypot(x, y) - 0.7, 0, 1), lerp(color, (0.25, 0.25, 0.3), 0.6), 0.6)


def person(canvas: Canvas, look: Look) -> None:
    """Head and shoulders, the point between the eyes at the canvas' (0, 0)."""
    shadow = lerp(look.skin, (0.35, 0.10, 0.08), 0.45)
    faces.hair_behind(canvas, look)
    neck(canvas, look, shadow)
    shirt(canvas, look)
    faces.head(canvas, look, shadow)


def neck(canvas: Canvas, look: Look, shadow: Color) -> None:
    wide = neck_of(look)
    skin = canvas.shape(mirrored([(-wide, 0.6), (-wide, 1.3), (-wide - 0.12, 1.75), (0, 2.1)]), 0.005)
    canvas.paint(skin, look.skin)
    below = canvas.shape(mirrored([(-wide - 0.1, 0.6), (-wide - 0.05, look.chin + 0.12), (0, look.chin + 0.36)]), 0.07)
    canvas.paint(skin * below, shadow, 0.75)
    canvas.paint(skin * np.clip(canvas.grid[0] * 1.3, 0, 1), shadow, 0.5)


def neck_of(look: Look) -> float:
    return 0.46 if look.jaw > 0.6 else 0.36


def shirt(canvas: Canvas, look: Look, hem: float = 8.0) -> None:
    """hem: where it ends; it is straight below the shoulders, and narrower where the hem is seen."""
    wide, out = neck_of(look), 1.75 if look.jaw > 0.6 else 1.5
    sides = [(-out - 0.15, 3.2), (-out - 0.2, hem)] if hem > 7 else [(-out + 0.35, 3.0), (-out + 0.5, 5.0), (-1.2, hem)]
    cloth = canvas.shape(mirrored([(-wide - 0.03, 1.42), (-1.0, 1.66), (-out, 2.0), *sides]))
    neckline = canvas.shape(mirrored([(-wide + 0.02, 1.2), (-wide + 0.03, 1.52), (-0.2, 1.75), (0, 1.80)]), 0.01)
    cloth = cloth * (1 - neckline)
    canvas.paint(cloth, look.shirt)
    x, y = canvas.grid
    canvas.shade(cloth * np.clip((x + 0.1) / out, 0, 1), -0.7)
    canvas.shade(cloth * canvas.ellipse(-0.8, 1.9, 0.5, 0.25, 0.2), 0.35)
    canvas.shade(cloth * np.clip((y - 2.0) * 0.8, 0, 1), -0.5 if hem > 7 else -0.15)
    collar = canvas.line([(-wide, 1.46), (-0.3, 1.76), (0, 1.86), (0.3, 1.76), (wide, 1.46)], 0.10, 0.008, taper=False)
    canvas.paint(collar * (1 - neckline * 0.4), lerp(look.shirt, LIGHT, 0.22))
    canvas.shade(canvas.line([(-0.34, 1.86), (0, 1.98), (0.34, 1.86)], 0.06, 0.04), -0.4)


def standing(look: Look) -> np.ndarray:
    """One person from head to foot, (H, W, 3) uint8 RGB."""
    return full_length(look).finished()


def painted_shirt(look: Look) -> np.ndarray:
    """The same, (H, W, 4), as the mask editor saves it where somebody has painted over the shirt."""
    canvas = full_length(look)
    trunk = canvas.shape(mirrored([(-0.5, 1.35), (-1.9, 1.8), (-1.55, 4.0), (-1.5, 6.6)]))
    for side in (-1, 1):
        sleeve = [(side * 1.42, 2.0), (side * 1.85, 4.2), (side * 2.0, 6.5)]
        trunk = np.maximum(trunk, canvas.line(sleeve, 0.95, taper=False))
    return np.concatenate([canvas.finished(), 255 - canvas.finished_mask(trunk)], 2)


def full_length(look: Look) -> Canvas:
    size = 400, 600
    canvas = Canvas(size, look.wall)
    wall(canvas, look.wall)
    canvas.look_at(size[0] / 2, 84, 35)
    _, y = canvas.grid
    canvas.paint(np.clip((y - 12.2) * 0.7, 0, 0.6), (0.46, 0.42, 0.40))
    canvas.paint(canvas.ellipse(0.1, 13.75, 2.2, 0.28, 0.2), (0.2, 0.2, 0.22), 0.5)
    shadow = lerp(look.skin, (0.35, 0.10, 0.08), 0.45)
    faces.hair_behind(canvas, look)
    legs(canvas)
    arms(canvas, look, shadow)
    neck(canvas, look, shadow)
    shirt(canvas, look, hem=6.4)
    faces.head(canvas, look, shadow)
    return canvas


def legs(canvas: Canvas) -> None:
    trousers = 0.24, 0.27, 0.36
    for side in (-1, 1):
        canvas.paint(canvas.ellipse(side * 0.95, 13.45, 0.52, 0.30, 0.01), (0.16, 0.11, 0.09))
        outer = [(1.28, 5.8), (1.32, 7.4), (1.22, 10.0), (1.18, 13.2)]
        inner = [(0.52, 13.2), (0.36, 10.0), (-0.05, 7.6)]
        half = [(-0.05, 5.8), *outer, *inner]
        leg = canvas.shape([(side * x, y) for x, y in half], 0.01, sharp=True)
        canvas.paint(leg, trousers)
        canvas.shade(leg * canvas.line([(side * 0.75, 6.5), (side * 0.8, 10), (side * 0.82, 13)], 0.3, 0.15), 0.25)
        canvas.shade(leg * canvas.line([(side * 0.05, 7.0), (side * 0.38, 10), (side * 0.52, 13)], 0.3, 0.12), -0.6)


def arms(canvas: Canvas, look: Look, shadow: Color) -> None:
    for side in (-1, 1):
        hand = canvas.ellipse(side * 2.02, 6.6, 0.25, 0.46, 0.01, side * 6)
        canvas.paint(hand, look.skin if side < 0 else lerp(look.skin, shadow, 0.4))
        joints = [(side * 1.42, 2.2), (side * 1.85, 4.2), (side * 2.0, 6.4)]
        sleeve = canvas.line(joints, 0.66, 0.01, taper=False)
        canvas.paint(sleeve, lerp(look.shirt, DARK, 0.10 if side < 0 else 0.30))
        canvas.shade(sleeve * canvas.line([(x - 0.15, y) for x, y in joints], 0.2, 0.1), 0.2)
        canvas.shade(sleeve * canvas.line([(x + 0.25, y) for x, y in joints], 0.2, 0.1), -0.5)
