"""The heads of painted people: face, eyes, hair, and what they wear on the nose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .canvas import Canvas, Color, Mask, lerp, mirrored, smooth
from .looks import HAIR, Look

LIGHT = (1.0, 0.97, 0.92)
DARK = (0.10, 0.07, 0.07)


def head(canvas: Canvas, look: Look, shadow: Color) -> None:
    """All of it but the hair behind."""
    face(canvas, look, shadow)
    freckles(canvas, look)
    beard(canvas, look)
    for side in (-1, 1):
        eye(canvas, look, side)
        brow(canvas, look, side)
    nose(canvas, look, shadow)
    mouth(canvas, look, shadow)
    moustache(canvas, look)
    lines_of_age(canvas, look, shadow)
    hair_in_front(canvas, look)
    if look.glasses:
        glasses(canvas, look)


def outline(look: Look) -> list[tuple[float, float]]:
    """The face from the forehead over the cheek to the chin."""
    half = [
        (0, -1.02), (-0.45, -0.92), (-look.wide + 0.06, -0.52), (-look.wide, 0.0), (-look.wide + 0.045, 0.38),
        (-look.jaw, 0.76), (-look.round - 0.04, look.chin - 0.08), (0, look.chin),
    ]  # fmt: skip
    return mirrored(half)


def face(canvas: Canvas, look: Look, shadow: Color) -> None:
    for side in (-1, 1):
        ear = canvas.ellipse(side * (look.wide + 0.045), 0.16, 0.10, 0.24, 0.008, side * -10)
        canvas.paint(ear, lerp(look.skin, shadow, 0.15 if side < 0 else 0.4))
        canvas.paint(canvas.ellipse(side * (look.wide + 0.05), 0.14, 0.045, 0.14, 0.025, side * -10) * ear, shadow, 0.6)
    inside = canvas.shape(outline(look), 0.006)
    canvas.paint(inside, look.skin)
    x, y = canvas.grid
    # Round: darker to the edge, and on the side away from the light.
    edge = 1 - canvas.softened(inside, 0.16)
    canvas.paint(inside * np.clip(edge * 1.5 - 0.15, 0, 1), shadow, 0.75)
    canvas.paint(inside * np.clip((x - 0.12) * 0.9, 0, 1), shadow, 0.55)
    canvas.paint(inside * np.clip((y - 0.55) * 0.6, 0, 1), shadow, 0.35)
    glow = lerp(look.skin, LIGHT, 0.55)
    canvas.paint(inside * canvas.ellipse(-0.18, -0.55, 0.38, 0.20, 0.16), glow, 0.55)
    canvas.paint(inside * canvas.ellipse(-0.44, 0.30, 0.17, 0.13, 0.10, 20), glow, 0.50)
    canvas.paint(inside * canvas.ellipse(0.40, 0.30, 0.13, 0.10, 0.09), glow, 0.25)
    canvas.paint(inside * canvas.ellipse(-0.03, look.chin - 0.17, 0.14, 0.07, 0.06), glow, 0.40)
    rouge = lerp(look.skin, (0.85, 0.30, 0.28), 0.55)
    for side in (-1, 1):
        canvas.paint(inside * canvas.ellipse(side * 0.48, 0.42, 0.19, 0.14, 0.11), rouge, 0.30 + 0.25 * look.makeup)
        # The hollow of the eye, and the shadow at the root of the nose.
        canvas.paint(inside * canvas.ellipse(side * look.apart, -0.03, 0.21, 0.12, 0.07), shadow, 0.45)
        canvas.paint(inside * canvas.ellipse(side * 0.14, 0.0, 0.055, 0.15, 0.045), shadow, 0.45 + 0.1 * side)


def eye(canvas: Canvas, look: Look, side: int) -> None:
    x0, w, h = side * look.apart, look.eye, look.open
    up = look.tilt

    def on(dx: float, dy: float) -> tuple[float, float]:
        return x0 + side * dx * w, dy * h - dx * up

    almond = [on(-1, 0.25), on(-0.55, -0.55), on(0, -1), on(0.6, -0.72), on(1, 0.05), on(0.55, 0.62), on(-0.1, 0.85),
              on(-0.65, 0.62)]  # fmt: skip
    white = canvas.shape(almond, 0.004)
    canvas.paint(white, (0.93, 0.91, 0.89))
    iris = h * 1.02
    cx, cy = x0 + 0.01 * side, -0.10 * h
    canvas.paint(white * canvas.ellipse(cx, cy, iris, iris, 0.006), lerp(look.iris, DARK, 0.55))
    canvas.paint(white * canvas.ellipse(cx, cy, iris * 0.82, iris * 0.82, 0.012), look.iris)
    canvas.paint(white * canvas.ellipse(cx + 0.2 * iris, cy + 0.35 * iris, iris * 0.4, iris * 0.3, 0.015),
                 lerp(look.iris, LIGHT, 0.6), 0.7)  # fmt: skip
    canvas.paint(white * canvas.ellipse(cx, cy, iris * 0.42, iris * 0.42, 0.006), (0.03, 0.02, 0.02))
    upper = [on(-1.0, 0.25), on(-0.55, -0.6), on(0, -1.04), on(0.6, -0.78), on(1.08, -0.1)]
    canvas.shade(white * canvas.line([(x, y + 0.02) for x, y in upper], 0.07, 0.018, taper=False), -0.8)
    canvas.paint(canvas.ellipse(cx - 0.35 * iris, cy - 0.38 * iris, iris * 0.19, iris * 0.19, 0.004), (1, 1, 1))
    lash = lerp(lerp(look.hair, DARK, 0.75), (0.2, 0.12, 0.1), 0.3 - 0.3 * look.makeup)
    canvas.paint(canvas.line(upper, 0.030 + 0.022 * look.makeup, 0.004), lash, 0.95)
    lower = [on(-0.9, 0.4), on(-0.1, 0.9), on(0.6, 0.66), on(1, 0.1)]
    canvas.paint(canvas.line(lower, 0.014, 0.006), lerp(look.skin, (0.35, 0.12, 0.1), 0.7), 0.7)
    crease = [on(-0.95, -0.35), on(-0.4, -1.35), on(0.2, -1.6), on(0.85, -1.1), on(1.2, -0.5)]
    canvas.paint(canvas.line(crease, 0.022, 0.010), lerp(look.skin, (0.3, 0.1, 0.08), 0.7), 0.65)
    lid = canvas.shape([*upper, *reversed(crease)], 0.012)
    canvas.paint(lid, lerp(look.skin, (0.45, 0.22, 0.24), 0.5), 0.25 + 0.3 * look.makeup)
    canvas.paint(canvas.ellipse(x0 + side * -0.96 * w, 0.28 * h, 0.022, 0.018, 0.006), (0.80, 0.50, 0.46), 0.8)


def brow(canvas: Canvas, look: Look, side: int) -> None:
    y, w, a, t = look.brow_up, look.eye, look.arch, look.brow
    middle = [(look.apart - 1.1 * w, y + 0.01), (look.apart - 0.3 * w, y - 0.02 - a * 0.5),
              (look.apart + 0.5 * w, y - 0.02 - a * 0.8), (look.apart + 1.35 * w, y + 0.045)]  # fmt: skip
    above = [(x, py - t * k) for (x, py), k in zip(middle, (0.55, 0.6, 0.45, 0.0), strict=True)]
    below = [(x, py + t * k) for (x, py), k in zip(middle, (0.55, 0.5, 0.3, 0.05), strict=True)]
    shape = [(side * x, py) for x, py in [*above, *reversed(below)]]
    color = lerp(look.hair, DARK, 0.35)
    canvas.paint(canvas.shape(shape, 0.014), color, 0.85)
    rng = np.random.default_rng(3)
    curve = smooth([(side * x, py) for x, py in middle], closed=False)
    for n in range(0, 27, 2):
        (x, py), lean, high = curve[n], side * (0.03 + 0.02 * rng.random()), t * (1 - n / 40)
        hair = [(x, py + high * 0.4), (x + lean * 0.5, py), (x + lean, py - high * 0.45)]
        canvas.paint(canvas.line(hair, 0.012), color, 0.6)


def nose(canvas: Canvas, look: Look, shadow: Color) -> None:
    y, w = look.nose, look.nostrils
    deep = lerp(shadow, DARK, 0.25)
    glow = lerp(look.skin, LIGHT, 0.65)
    away = [(0.05, -0.1), (0.07, 0.15), (w * 0.95, y - 0.02), (w * 0.6, y + 0.05), (0.05, y)]
    canvas.paint(canvas.shape(away, 0.035), shadow, 0.60)
    near = [(-0.08, -0.05), (-0.09, y - 0.16), (-w, y - 0.01), (-w * 0.8, y - 0.1), (-0.11, 0.1)]
    canvas.paint(canvas.shape(near, 0.03), shadow, 0.30)
    canvas.paint(canvas.line([(-0.02, -0.22), (-0.025, 0.1), (-0.02, y - 0.1)], 0.075, 0.025), glow, 0.55)
    canvas.paint(canvas.ellipse(-0.02, y - 0.055, 0.07, 0.055, 0.03), glow, 0.65)
    canvas.paint(canvas.line([(-w * 0.9, y + 0.04), (0, y + 0.105), (w * 0.9, y + 0.04)], 0.085, 0.03), shadow, 0.75)
    for side in (-1, 1):
        canvas.paint(canvas.ellipse(side * w * 0.52, y + 0.045, w * 0.26, 0.026, 0.010, side * -18), deep, 0.95)
        wing = [(side * w * 0.75, y - 0.12), (side * w * 1.08, y - 0.02), (side * w * 0.92, y + 0.06)]
        canvas.paint(canvas.line(wing, 0.028, 0.012), deep, 0.55)
    canvas.paint(canvas.ellipse(0, (y + 0.68) / 2 + 0.03, 0.03, 0.05, 0.02), shadow, 0.35)


def mouth(canvas: Canvas, look: Look, shadow: Color) -> None:
    y = (look.nose + look.chin) / 2 - 0.065
    w, h, s = look.mouth, look.lips, look.smile
    corners = (-w, y - s), (w, y - s)
    seam = [corners[0], (-w * 0.5, y + 0.004), (0, y + 0.012), (w * 0.5, y + 0.004), corners[1]]
    upper = [corners[0], (-w * 0.45, y - h * 0.75), (-w * 0.15, y - h), (0, y - h * 0.8), (w * 0.15, y - h),
             (w * 0.45, y - h * 0.75), *reversed(seam)]  # fmt: skip
    lower = [
        *seam,
        (w * 0.6, y + h * 0.9),
        (w * 0.25, y + h * 1.45),
        (-w * 0.25, y + h * 1.45),
        (-w * 0.6, y + h * 0.9),
    ]
    canvas.paint(canvas.ellipse(0, y + h * 1.45 + 0.06, w * 0.6, 0.04, 0.03), shadow, 0.65)
    lip = lerp(look.lip, look.skin, 0.30 - 0.25 * look.makeup)
    canvas.paint(canvas.shape(lower, 0.010), lip)
    canvas.paint(canvas.shape(upper, 0.010), lerp(lip, DARK, 0.22))
    canvas.paint(canvas.ellipse(-0.02, y + h * 0.75, w * 0.36, h * 0.28, 0.022), lerp(lip, LIGHT, 0.6), 0.55)
    canvas.paint(canvas.line(seam, 0.022, 0.006), lerp(look.lip, DARK, 0.72), 0.95)
    for x, cy in corners:
        canvas.paint(canvas.ellipse(x * 1.05, cy, 0.03, 0.03, 0.018), shadow, 0.7)


def lines_of_age(canvas: Canvas, look: Look, shadow: Color) -> None:
    y = (look.nose + look.chin) / 2 - 0.065
    for side in (-1, 1):
        fold = [
            (side * look.nostrils * 1.15, look.nose),
            (side * (look.mouth + 0.05), y - 0.06),
            (side * (look.mouth + 0.09), y + 0.08),
        ]
        canvas.paint(canvas.line(fold, 0.035, 0.016), shadow, 0.25 + 0.55 * look.age)
        bag = [
            (side * (look.apart - look.eye), 0.10),
            (side * look.apart, 0.16),
            (side * (look.apart + look.eye), 0.09),
        ]
        canvas.paint(canvas.line(bag, 0.025, 0.012), shadow, 0.25 + 0.5 * look.age)
    for n in range(3):
        crease = [(-0.38, -0.50 - 0.12 * n), (0, -0.53 - 0.12 * n), (0.38, -0.50 - 0.12 * n)]
        canvas.paint(canvas.line(crease, 0.018, 0.010), shadow, 0.55 * look.age)


def beard(canvas: Canvas, look: Look) -> None:
    if not look.beard:
        return
    y = (look.nose + look.chin) / 2 - 0.065
    inside = canvas.shape(outline(replace(look, chin=look.chin + 0.05 * look.beard)), 0.02)
    cheek = [(-look.wide - 0.1, 0.25), (-look.wide + 0.16, 0.45), (-0.38, look.nose + 0.14), (0, look.nose + 0.16)]
    below = [(look.wide + 0.1, 1.6), (-look.wide - 0.1, 1.6)]
    low = canvas.shape([*cheek, *((-x, y) for x, y in cheek[-2::-1]), *below], 0.05)
    bare = canvas.ellipse(0, y + 0.02, look.mouth * 0.85, look.lips * 1.5 + 0.02, 0.03)
    mask = inside * low * (1 - bare)
    color = lerp(look.hair, look.skin, 0.12)
    canvas.paint(mask, color, 0.35 + 0.55 * look.beard)
    strands(canvas, mask * (0.4 + 0.6 * look.beard), look.hair, 5, 260, 0.09)


def moustache(canvas: Canvas, look: Look) -> None:
    if not look.moustache:
        return
    y, w = look.nose + 0.10, look.mouth * 1.15
    shape = mirrored(
        [(0, y), (-w * 0.5, y + 0.0), (-w, y + 0.13), (-w * 0.85, y + 0.17), (-w * 0.4, y + 0.12), (0, y + 0.10)]
    )
    mask = canvas.shape(shape, 0.012)
    canvas.paint(mask, look.hair, 0.9 * look.moustache)
    strands(canvas, mask, look.hair, 5, 90, 0.07)


def freckles(canvas: Canvas, look: Look) -> None:
    rng, spots = np.random.default_rng(2), np.zeros((canvas.height, canvas.width), np.float32)
    for _ in range(round(70 * look.freckles)):
        x, y = rng.normal(0, 0.34), 0.28 + rng.normal(0, 0.10)
        np.maximum(spots, canvas.ellipse(x, y, 0.013, 0.011, 0.004), out=spots)
    canvas.paint(spots, lerp(look.skin, (0.55, 0.25, 0.12), 0.6), 0.55)


def strands(canvas: Canvas, mask: Mask, color: Color, seed: int, count: int, long: float) -> None:
    """Hairs within a mask, light and dark."""
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(mask > 0.3)
    light, dark = np.zeros_like(mask), np.zeros_like(mask)
    for n in rng.integers(0, len(rows), count):
        x = (float(columns[n]) - canvas.origin[0]) / canvas.unit
        y = (float(rows[n]) - canvas.origin[1]) / canvas.unit
        lean = (x * 0.25 + rng.normal(0, 0.02)) * long
        hairs = light if n % 3 == 0 else dark
        np.maximum(hairs, canvas.line([(x, y), (x + lean, y + long / 2), (x + lean * 2.2, y + long)], 0.012), out=hairs)
    canvas.paint(canvas.softened(dark, 0.003) * mask, lerp(color, DARK, 0.5), 0.5)
    canvas.paint(canvas.softened(light, 0.003) * mask, lerp(color, LIGHT, 0.35), 0.4)


def hair_behind(canvas: Canvas, look: Look) -> None:
    back = {
        "long": mirrored([(0, -1.35), (-0.75, -1.1), (-1.05, -0.3), (-1.02, 0.8), (-1.12, 1.7), (-0.6, 2.0)]),
        "bob": mirrored([(0, -1.34), (-0.78, -1.12), (-1.05, -0.4), (-1.10, 0.5), (-0.92, 0.95), (-0.4, 0.9)]),
        "bun": mirrored([(0, -1.30), (-0.7, -1.05), (-0.86, -0.3), (-0.8, 0.3)]),
    }.get(look.style)
    if back is None:
        return
    color = lerp(look.hair, DARK, 0.35)
    if look.style == "bun":
        knot = canvas.ellipse(0.05, -1.42, 0.36, 0.30, 0.01)
        canvas.paint(knot, look.hair)
        canvas.shade(knot * canvas.ellipse(0.2, -1.3, 0.3, 0.25, 0.12), -0.7)
        canvas.shade(knot * canvas.ellipse(-0.1, -1.55, 0.16, 0.08, 0.06), 0.35)
    mask = canvas.shape(back, 0.015)
    canvas.paint(mask, color)
    strands(canvas, mask, look.hair, 11, 160, 0.5)


def hair_in_front(canvas: Canvas, look: Look) -> None:
    if look.style == "bald":
        for side in (-1, 1):
            rim = canvas.shape(
                [
                    (side * 0.80, -0.62),
                    (side * 0.90, -0.35),
                    (side * 0.90, 0.05),
                    (side * 0.80, 0.02),
                    (side * 0.77, -0.3),
                ],
                0.03,
            )
            canvas.paint(rim, look.hair, 0.75)
        canvas.paint(canvas.ellipse(-0.2, -0.84, 0.25, 0.08, 0.06), LIGHT, 0.45)
        return
    for n, path in enumerate(HAIR[look.style]):
        shape = [(int(x) / 100, int(y) / 100) for x, y in (point.split(",") for point in path.split())]
        mask = canvas.shape(shape, 0.012)
        canvas.shade(canvas.shape([(x, y + 0.06) for x, y in shape], 0.05) * (1 - mask), -0.35)
        canvas.paint(mask, look.hair)
        x, _ = canvas.grid
        canvas.paint(mask * np.clip((x - 0.2) * 0.8, 0, 1), lerp(look.hair, DARK, 0.6), 0.8)
        canvas.paint(mask * canvas.ellipse(-0.35, -1.02, 0.34, 0.13, 0.08, -25), lerp(look.hair, LIGHT, 0.5), 0.6)
        strands(canvas, mask, look.hair, 7 + n, 170, 0.30 if look.style != "cropped" else 0.06)


def glasses(canvas: Canvas, look: Look) -> None:
    frame = (0.16, 0.12, 0.20)
    for side in (-1, 1):
        rim = canvas.ellipse(side * look.apart, 0.03, 0.265, 0.215)
        lens = canvas.ellipse(side * look.apart, 0.03, 0.235, 0.185)
        canvas.paint(rim * (1 - lens), frame, 0.95)
        canvas.paint(lens * canvas.ellipse(side * look.apart - 0.1, -0.06, 0.05, 0.09, 0.02, 35), (1, 1, 1), 0.22)
        canvas.paint(canvas.line([(side * (look.apart + 0.25), -0.02), (side * look.wide * 1.02, -0.05)], 0.035), frame)
    canvas.paint(
        canvas.line([(-look.apart + 0.25, 0.0), (0, -0.05), (look.apart - 0.25, 0.0)], 0.035, taper=False), frame
    )
