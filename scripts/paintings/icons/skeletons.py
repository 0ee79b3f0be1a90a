"""Pictures that ControlNets read: the joints, the outlines and the depth of somebody, and the surface of a body."""

from __future__ import annotations

from dataclasses import dataclass

from . import clothes
from .clothes import Outline
from .pen import Box, Frame, Line, Pen, Spot
from .people import FACE, SLEEVES, Arm, Arms

RAISED: Outline = ((0, 0.75), (0.50, 0.80), (0.80, 0.20), (1.16, -0.30))
LOWERED: Outline = ((0, 0.75), (0.50, 0.80), (0.72, 1.50), (0.92, 2.20))
LEG: Outline = ((0, 0.75), (0.28, 2.40), (0.29, 3.40), (0.28, 4.35))
LEFT_ARM_COLOURS = ("#ff5500", "#ffaa00", "#d5e600")
RIGHT_ARM_COLOURS = ("#ff2a00", "#aaff00", "#55ff00")
LEFT_LEG_COLOURS = ("#00ff55", "#00e6b8", "#00b8ff")
RIGHT_LEG_COLOURS = ("#00d5ff", "#0080ff", "#2a2aff")
JOINT = "#ff5a6e"
OUTLINE = "#f4f4f0"
NEAR = "#d2d2d2"
FAR = 30
BOTTOM = 120
"""How light depth is at the top and at the bottom of its picture, of 255."""
_BANDS = 48
"""Of the ground's depth, one lighter than the other."""


@dataclass(frozen=True)
class Side:
    """An arm and a leg. direction: -1 is left for the viewer."""

    direction: int
    arm: Arm
    arm_colours: tuple[str, str, str]
    leg_colours: tuple[str, str, str]


def joints(pen: Pen, frame: Frame, arms: Arms) -> None:
    """Limbs in their colours, with dots at the joints."""
    sides = (
        Side(-1, arms.left, LEFT_ARM_COLOURS, LEFT_LEG_COLOURS),
        Side(1, arms.right, RIGHT_ARM_COLOURS, RIGHT_LEG_COLOURS),
    )
    _limb(pen, frame.shape([(0, 0.75), (0, 0.0)]), ("#5500ff",))
    for side in sides:
        arm = RAISED if side.arm == "up" else LOWERED
        _limb(pen, frame.shape(arm, side.direction), side.arm_colours)
        _limb(pen, frame.shape(LEG, side.direction), side.leg_colours)


def _limb(pen: Pen, spots: list[Spot], limb_colours: tuple[str, ...]) -> None:
    for start, end, color in zip(spots, spots[1:], limb_colours, strict=False):
        pen.line([start, end], Line(color, 3))
    for spot in spots:
        pen.oval(spot, 2.6, 2.6, JOINT)


def silhouette(pen: Pen, frame: Frame, arms: Arms, color: str) -> None:
    """All of somebody in one colour."""
    for shape in _parts(frame, arms):
        pen.shape(shape, color, Line(color, 2))


def edges(pen: Pen, frame: Frame, arms: Arms, background: str) -> None:
    """The outline of somebody alone."""
    for shape in _parts(frame, arms):
        pen.line([*shape, shape[0]], Line(OUTLINE, 4.4))
    for shape in _parts(frame, arms):
        pen.shape(shape, background)


def _parts(frame: Frame, arms: Arms) -> list[list[Spot]]:
    shapes = [frame.arc(FACE, 0, 360), frame.shape([(-0.16, 0.4), (0.16, 0.4), (0.2, 0.9), (-0.2, 0.9)])]
    shapes.append(frame.shape(clothes.TRUNK))
    for side, arm in ((-1, arms.left), (1, arms.right)):
        shapes.append(frame.shape(SLEEVES[arm], side))
        shapes.append(frame.shape(clothes.LEG, side))
        shapes.append(frame.shape(clothes.SHOE, side))
    return shapes


def depth_of_ground(pen: Pen, box: Box) -> None:
    """Lighter to the bottom, where the ground is near."""
    height = box.height / _BANDS
    for band in range(_BANDS):
        light = FAR + (BOTTOM - FAR) * band // (_BANDS - 1)
        pen.box(Box(box.left, box.top + band * height, box.width, height + 1), f"#{light:02x}{light:02x}{light:02x}")


def body_surface(pen: Pen, frame: Frame) -> None:
    """A mannequin, each part of its body in a colour."""
    pen.shape(frame.oval(0, 0, 0.40, 0.52), "#3f5bc4")
    pen.shape(frame.shape(clothes.TRUNK), "#28b0ae")
    for side, arm, leg in ((-1, "#86cc58", "#c85878"), (1, "#d8d24e", "#e0913c")):
        pen.shape(frame.shape(clothes.SLEEVE_DOWN, side), arm)
        pen.shape(frame.shape(clothes.LEG, side), leg)


def five_points(pen: Pen, box: Box) -> None:
    """Eyes, nose and corners of the mouth."""
    frame = Frame(box.middle, box.width / 2)
    points = (
        (Spot(-0.32, -0.30), "#ff0000"), (Spot(0.32, -0.30), "#00ff00"), (Spot(0, 0), "#2020ff"),
        (Spot(-0.26, 0.30), "#ffff00"), (Spot(0.26, 0.30), "#ff00ff"),
    )  # fmt: skip
    for spot, color in points:
        pen.oval(frame.spot(spot.x, spot.y), 9, 9, color)
