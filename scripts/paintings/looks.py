"""How the painted people look: nobody who lives, and no two alike."""

from __future__ import annotations

from dataclasses import dataclass

from .canvas import Color


@dataclass(frozen=True)
class Look:
    """Lengths in head units: 1 is from the eyes to some way below the mouth; colours 0..1."""

    skin: Color
    hair: Color
    iris: Color
    shirt: Color
    wall: Color
    wide: float = 0.80
    jaw: float = 0.62
    chin: float = 1.08
    round: float = 0.30
    apart: float = 0.34
    eye: float = 0.170
    open: float = 0.085
    tilt: float = 0.02
    brow: float = 0.055
    brow_up: float = -0.20
    arch: float = 0.05
    nose: float = 0.43
    nostrils: float = 0.145
    mouth: float = 0.25
    lips: float = 0.06
    lip: Color = (0.70, 0.32, 0.32)
    smile: float = 0.03
    style: str = "cropped"
    beard: float = 0.0
    moustache: float = 0.0
    freckles: float = 0.0
    glasses: bool = False
    age: float = 0.0
    makeup: float = 0.0


PEOPLE = {
    "anna": Look(
        (0.96, 0.80, 0.71), (0.66, 0.36, 0.15), (0.28, 0.48, 0.36), (0.20, 0.42, 0.50), (0.80, 0.84, 0.86),
        wide=0.73, jaw=0.50, chin=1.05, eye=0.182, open=0.098, brow=0.036, nose=0.37, nostrils=0.11, lips=0.07,
        mouth=0.24, style="long", makeup=0.4, arch=0.05, smile=0.055, freckles=1.0, brow_up=-0.21,
    ),
    "ben": Look(
        (0.47, 0.30, 0.22), (0.09, 0.07, 0.06), (0.20, 0.12, 0.08), (0.86, 0.66, 0.28), (0.74, 0.80, 0.76),
        wide=0.80, jaw=0.62, chin=1.18, eye=0.168, open=0.082, brow=0.065, nose=0.47, nostrils=0.205, mouth=0.31,
        lips=0.08, lip=(0.48, 0.26, 0.25), style="cropped", apart=0.36, brow_up=-0.19, arch=0.04, smile=0.05,
    ),
    "carla": Look(
        (0.96, 0.82, 0.75), (0.78, 0.77, 0.78), (0.32, 0.46, 0.62), (0.55, 0.30, 0.42), (0.88, 0.82, 0.76),
        wide=0.82, jaw=0.66, chin=1.04, eye=0.155, open=0.07, brow=0.04, nose=0.45, nostrils=0.15, mouth=0.25,
        lips=0.045, style="bob", glasses=True, age=0.9, smile=0.06, tilt=-0.02, makeup=0.3,
    ),
    "david": Look(
        (0.93, 0.74, 0.63), (0.33, 0.20, 0.12), (0.34, 0.42, 0.50), (0.35, 0.38, 0.44), (0.70, 0.76, 0.84),
        wide=0.75, jaw=0.62, chin=1.20, eye=0.16, open=0.072, brow=0.062, nose=0.50, nostrils=0.14, mouth=0.25,
        lips=0.05, style="swept", beard=1.0, apart=0.315, brow_up=-0.17, arch=0.02, lip=(0.70, 0.40, 0.36), smile=0.045,
    ),
    "elif": Look(
        (0.88, 0.68, 0.54), (0.07, 0.05, 0.06), (0.16, 0.09, 0.05), (0.82, 0.36, 0.30), (0.90, 0.86, 0.78),
        wide=0.82, jaw=0.58, chin=0.98, eye=0.165, open=0.068, brow=0.055, nose=0.44, nostrils=0.145, mouth=0.27,
        lips=0.09, style="bun", makeup=0.9, tilt=0.035, apart=0.385, arch=0.05, lip=(0.70, 0.20, 0.24), smile=0.05,
        round=0.36, brow_up=-0.18,
    ),
    "farid": Look(
        (0.74, 0.53, 0.39), (0.34, 0.33, 0.33), (0.16, 0.10, 0.07), (0.30, 0.44, 0.34), (0.84, 0.80, 0.74),
        wide=0.84, jaw=0.72, chin=1.08, eye=0.15, open=0.062, brow=0.08, nose=0.53, nostrils=0.185, mouth=0.27,
        lips=0.05, style="bald", moustache=1.0, age=0.8, apart=0.33, brow_up=-0.16, arch=0.04, lip=(0.60, 0.36, 0.32),
        smile=0.045, round=0.38,
    ),
}  # fmt: skip


HAIR = {
    "long": [
        "12,-136 -50,-130 -98,-75 -103,10 -98,90 -80,75 -74,10 -62,-45 -25,-80 12,-95",
        "8,-136 60,-128 98,-75 103,10 99,90 82,75 78,10 70,-45 45,-78 12,-95",
    ],
    "bob": [
        "-25,-136 -80,-115 -106,-50 -108,30 -95,72 -82,40 -80,-20 -70,-55 -45,-80 -10,-85 0,-120",
        "-32,-134 30,-138 85,-110 106,-50 108,30 96,72 84,40 82,-20 66,-50 25,-66 -25,-88",
    ],
    "bun": [
        "0,-132 -55,-120 -86,-70 -86,-10 -78,-10 -70,-50 -35,-82 0,-90",
        "0,-132 55,-120 86,-70 86,-10 78,-10 70,-50 35,-82 0,-90",
    ],
    "cropped": [
        "-80,-15 -87,-20 -84,-72 -50,-114 0,-122 50,-114 84,-72 87,-20 80,-15 74,-55 55,-74 0,-80 -55,-74 -74,-55",
    ],
    "swept": [
        "-80,0 -90,-50 -78,-115 -20,-142 45,-136 85,-95 88,-40 80,0 72,-2 70,-45 56,-70 10,-72 -45,-85 -68,-55 -78,-10",
    ],
}
"""What lies on the forehead and beside it, from the parting outwards; points in hundredths, as SVG writes them."""
