"""Painted clothes on white, a pose, and where two people stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from core.body_surface import mannequin
from core.places import group

from .canvas import Canvas, Color, Mask, Point, lerp, mirrored

WHITE = (1.0, 1.0, 1.0)
DARK = (0.08, 0.07, 0.10)
SIZE = 384, 448


def cloth(canvas: Canvas, mask: Mask, color: Color) -> None:
    """A piece of cloth, lit from the upper left."""
    canvas.paint(canvas.softened(mask, 0.06), (0.55, 0.55, 0.6), 0.35)
    canvas.paint(mask, color)
    x, y = canvas.grid
    canvas.shade(mask * np.clip(x * 0.7, 0, 1), -0.7)
    canvas.shade(mask * np.clip(y * 0.35, 0, 1), -0.4)
    canvas.shade(mask * np.clip((1 - canvas.softened(mask, 0.07)) * 1.6 - 0.3, 0, 1), -0.6)
    canvas.shade(mask * canvas.ellipse(-0.35, -0.55, 0.25, 0.35, 0.18), 0.35)


def fold(canvas: Canvas, mask: Mask, points: Sequence[Point], by: float = -0.5) -> None:
    canvas.shade(mask * canvas.line(points, 0.09, 0.035), by)


def seam(canvas: Canvas, points: Sequence[Point], color: Color, thick: float = 0.018) -> None:
    canvas.paint(canvas.line(points, thick, 0.003, taper=False), lerp(color, DARK, 0.55), 0.85)


def sleeves(canvas: Canvas, color: Color, long: float) -> None:
    for side in (-1, 1):
        arm = [(-0.52, -1.08), (-0.80, -0.92), (-0.98, -0.3), (-1.06, long), (-0.80, long + 0.05), (-0.62, -0.2)]
        mask = canvas.shape([(side * x, y) for x, y in arm], 0.004)
        cloth(canvas, mask, lerp(color, DARK, 0.08))
        fold(canvas, mask, [(side * 0.70, -0.25), (side * 0.86, -0.12), (side * 0.98, -0.2)])
        fold(canvas, mask, [(side * 0.74, 0.3), (side * 0.9, 0.38), (side * 1.0, 0.34)])
        seam(canvas, [(side * 1.05, long - 0.10), (side * 0.80, long - 0.05)], color)


def trunk(canvas: Canvas, color: Color, long: float) -> Mask:
    half = [(-0.24, -1.16), (-0.56, -1.06), (-0.62, -0.55), (-0.58, 0.1), (-0.62, long), (0, long + 0.05)]
    mask = canvas.shape(mirrored([(0, -1.0), *half]), 0.004)
    cloth(canvas, mask, color)
    for side in (-1, 1):
        fold(canvas, mask, [(side * 0.56, -0.55), (side * 0.40, -0.30), (side * 0.42, 0.2)])
        fold(canvas, mask, [(side * 0.30, 0.3), (side * 0.38, 0.7), (side * 0.30, long - 0.1)], -0.35)
    return mask


def jacket(canvas: Canvas) -> None:
    color = (0.16, 0.30, 0.46)
    sleeves(canvas, color, 0.95)
    trunk(canvas, color, 1.05)
    canvas.paint(canvas.shape([(-0.20, -1.12), (0.20, -1.12), (0.02, -0.25)], 0.004, sharp=True), (0.30, 0.24, 0.22))
    seam(canvas, [(0.02, -0.25), (0.02, 0.4), (0.02, 1.05)], color, 0.022)
    for side in (-1, 1):
        lapel = [(-0.24, -1.16), (-0.38, -0.80), (-0.28, -0.70), (-0.30, -0.62), (-0.01, -0.22), (-0.16, -1.0)]
        flap = canvas.shape([(side * x, y) for x, y in lapel], 0.004, sharp=True)
        canvas.paint(flap, lerp(color, WHITE, 0.12 if side < 0 else 0.04))
        seam(canvas, [(side * x, y) for x, y in lapel[:5]], color, 0.012)
        seam(canvas, [(side * 0.18, 0.52), (side * 0.44, 0.48)], color, 0.03)
    for y in (-0.12, 0.22, 0.56):
        canvas.paint(canvas.ellipse(0.09, y, 0.035, 0.035, 0.004), (0.80, 0.70, 0.42))
        canvas.shade(canvas.ellipse(0.10, y + 0.012, 0.02, 0.02, 0.008), -0.7)


def sweater(canvas: Canvas) -> None:
    color = (0.78, 0.36, 0.26)
    sleeves(canvas, color, 0.92)
    mask = trunk(canvas, color, 0.95)
    for y in (-0.62, -0.26, 0.10, 0.46):
        zigzag = [(x, y + 0.07 * (-1) ** n) for n, x in enumerate(np.arange(-0.62, 0.7, 0.124).tolist())]
        canvas.paint(mask * canvas.line(zigzag, 0.04, 0.004, taper=False), (0.96, 0.88, 0.74), 0.9)
    canvas.paint(mask * canvas.shape([(-0.8, 0.80), (0.8, 0.80), (0.8, 1.2), (-0.8, 1.2)], 0.004, sharp=True),
                 lerp(color, DARK, 0.25))  # fmt: skip
    ring = canvas.ellipse(0, -1.12, 0.27, 0.14) * (1 - canvas.ellipse(0, -1.16, 0.19, 0.085))
    canvas.paint(ring, lerp(color, DARK, 0.25))
    canvas.paint(canvas.ellipse(0, -1.16, 0.19, 0.085, 0.004), (0.35, 0.16, 0.12))


def shirt(canvas: Canvas) -> None:
    color = (0.74, 0.84, 0.94)
    sleeves(canvas, color, 0.90)
    mask = trunk(canvas, color, 1.0)
    for x in np.arange(-0.6, 0.65, 0.12).tolist():
        canvas.paint(
            mask * canvas.line([(x, -1.2), (x, 0), (x, 1.1)], 0.02, 0.003, taper=False), (0.40, 0.54, 0.76), 0.7
        )
    seam(canvas, [(0, -0.95), (0, 0.2), (0, 1.03)], color)
    for side in (-1, 1):
        flap = canvas.shape(
            [(side * x, y) for x, y in [(0, -0.96), (0.24, -1.20), (0.34, -0.98), (0.16, -0.80)]], 0.004
        )
        canvas.paint(flap, lerp(color, WHITE, 0.5))
        seam(canvas, [(0, -0.96), (side * 0.16, -0.80), (side * 0.34, -0.98)], color, 0.012)
    for y in np.arange(-0.7, 1.0, 0.3).tolist():
        canvas.paint(canvas.ellipse(0.0, y, 0.024, 0.024, 0.003), (0.98, 0.98, 0.98))


def trousers(canvas: Canvas) -> None:
    color = (0.30, 0.33, 0.38)
    half = [(-0.46, -1.20), (-0.56, -0.6), (-0.60, 0.3), (-0.56, 1.25), (-0.14, 1.27), (-0.08, 0.2), (0, -0.42)]
    mask = canvas.shape(mirrored([(0, -1.20), *half]), 0.004, sharp=True)
    cloth(canvas, mask, color)
    for side in (-1, 1):
        fold(canvas, mask, [(side * 0.34, -0.9), (side * 0.36, 0.2), (side * 0.36, 1.2)], 0.30)
        fold(canvas, mask, [(side * 0.04, -0.45), (side * 0.22, -0.38), (side * 0.40, -0.45)])
        fold(canvas, mask, [(side * 0.12, 0.35), (side * 0.32, 0.42), (side * 0.52, 0.34)], -0.35)
        seam(canvas, [(side * 0.44, -1.05), (side * 0.40, -0.85), (side * 0.55, -0.70)], color)
    canvas.paint(mask * canvas.shape([(-0.6, -1.3), (0.6, -1.3), (0.6, -1.06), (-0.6, -1.06)], 0.003, sharp=True),
                 (0.34, 0.22, 0.14))  # fmt: skip
    canvas.paint(canvas.shape([(-0.08, -1.19), (0.08, -1.19), (0.08, -1.07), (-0.08, -1.07)], 0.003, sharp=True),
                 (0.82, 0.74, 0.46))  # fmt: skip
    seam(canvas, [(0, -1.06), (0, -0.7), (0, -0.44)], color)


def hat(canvas: Canvas) -> None:
    color = (0.62, 0.50, 0.34)
    brim = canvas.ellipse(0, 0.38, 1.05, 0.30, 0.004)
    cloth(canvas, brim, lerp(color, DARK, 0.10))
    crown = canvas.shape([(-0.58, 0.32), (-0.52, -0.30), (-0.36, -0.62), (-0.08, -0.52), (0.10, -0.54), (0.38, -0.62),
                          (0.52, -0.30), (0.58, 0.32), (0.3, 0.42), (-0.3, 0.42)], 0.004)  # fmt: skip
    cloth(canvas, crown, color)
    band = crown * canvas.line([(-0.60, 0.18), (-0.3, 0.29), (0, 0.32), (0.3, 0.29), (0.60, 0.18)], 0.17, taper=False)
    canvas.paint(band, (0.26, 0.16, 0.14))
    canvas.shade(crown * canvas.ellipse(0.0, -0.45, 0.16, 0.12, 0.06), -0.6)


GARMENTS: dict[str, Callable[[Canvas], None]] = {
    "jacket": jacket, "sweater": sweater, "shirt": shirt, "trousers": trousers, "hat": hat,
}  # fmt: skip


def garment(paint: Callable[[Canvas], None]) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    canvas = Canvas(SIZE, WHITE)
    canvas.look_at(SIZE[0] / 2, SIZE[1] / 2, SIZE[1] * 0.36)
    paint(canvas)
    return canvas.finished()


def pose() -> np.ndarray:
    """The body surface of a person who stands, (H, W, 4), painted over where a jacket is open."""
    width, height = 512, 768
    standing = group.layout(1, "full", 1, width, height)
    canvas = Canvas((width, height), WHITE)
    canvas.look_at(*standing.slots[0].center, height / 8)
    opening = canvas.finished_mask(canvas.ellipse(0, 2.0, 0.22, 1.0))
    return np.concatenate([mannequin.draw_layout(standing).iuv.movedim(0, -1).numpy(), 255 - opening], 2)


def stands(side: int) -> np.ndarray:
    """A room, (H, W, 4), painted over where one of two people stands."""
    size = 512, 512
    canvas = Canvas(size, (0.86, 0.84, 0.80))
    canvas.look_at(size[0] / 2, size[1] / 2, size[1] / 2)
    x, y = canvas.grid
    canvas.paint(np.clip(y - 0.55, 0, 1) * 2, (0.60, 0.48, 0.38))
    canvas.paint(np.clip(np.hypot(x, y) - 0.5, 0, 1), (0.4, 0.38, 0.4), 0.5)
    middle = side * 0.42
    shoulders = [(middle, -0.12), (middle - 0.26, 0.08), (middle - 0.32, 0.6)]
    hem = [(middle - 0.3, 1.1), (middle + 0.3, 1.1)]
    other_side = [(middle + 0.32, 0.6), (middle + 0.26, 0.08)]
    body = canvas.shape([*shoulders, *hem, *other_side])
    return painted(canvas, np.maximum(canvas.ellipse(middle, -0.34, 0.19, 0.25), body))


def painted(canvas: Canvas, mask: Mask) -> np.ndarray:
    """As the mask editor saves a picture: transparent where somebody has painted."""
    return np.concatenate([canvas.finished(), 255 - canvas.finished_mask(mask)], 2)
