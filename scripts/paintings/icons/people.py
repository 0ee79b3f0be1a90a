"""Who is drawn, and how much of them. A unit is the height of the head, whose middle is (0, 0)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from . import clothes, colours
from .clothes import Outfit
from .pen import Frame, Line, Oval, Pen, Spot

FACE = Oval(0, 0, 0.39, 0.50)
_SCALP = Oval(0, -0.05, 0.41, 0.49)
"""Hair above the face."""
_LONG_HAIR = Oval(0, -0.04, 0.46, 0.53)
FEET = clothes.SOLE
"""Where somebody stands, in heads below the middle of the head."""
SLEEVES = {"down": clothes.SLEEVE_DOWN, "up": clothes.SLEEVE_UP, "around": clothes.SLEEVE_AROUND}
HANDS = {
    "down": Oval(0.95, 2.22, 0.12, 0.14),
    "up": Oval(1.22, -0.10, 0.13, 0.14),
    "around": Oval(1.62, 0.86, 0.12, 0.12),
}

Hair = Literal["short", "fringe", "long", "round", "none"]
Arm = Literal["down", "up", "around"]


@dataclass(frozen=True)
class Look:
    """Who is drawn. rim: the line around everything. features: eyes and mouth."""

    skin: str
    hair: str
    style: Hair
    outfit: Outfit
    beard: bool = False
    glasses: bool = False
    features: bool = True
    rim: str = colours.WHITE
    ink: str = "#29232a"


@dataclass(frozen=True)
class Arms:
    """Of somebody in full length, as the viewer sees them."""

    left: Arm = "down"
    right: Arm = "down"


MAN = Look("#e2b08d", "#603a25", "short", Outfit("#c04347"))
BEARDED = Look("#754e37", "#1c1a1b", "short", Outfit("#456fc4"), beard=True)
BLOND = Look("#efcdb4", "#e0bc6f", "long", Outfit("#4d955e"))
DARK_HAIRED = Look("#c6906b", "#28211f", "long", Outfit("#d6a03d"))
GINGER = Look("#edbfa2", "#b0562b", "fringe", Outfit("#7f58a8"))
GREY_HAIRED = Look("#dfaf91", "#c3c6c8", "short", Outfit("#58a0a8"), beard=True)
CURLY = Look("#6f4833", "#241a18", "round", Outfit("#d6c647"))
IN_GLASSES = Look("#efcdb4", "#c79f5b", "fringe", Outfit("#86675a"), glasses=True)
EIGHT = (MAN, BEARDED, BLOND, DARK_HAIRED, GINGER, GREY_HAIRED, CURLY, IN_GLASSES)
NOBODY = Look(
    colours.NO_ONE, colours.NO_ONES_HAIR, "short", Outfit(colours.NO_ONES_CLOTHES, colours.NO_ONES_CLOTHES),
    features=False,
)  # fmt: skip
"""Somebody whose face is not made yet."""


def dressed(look: Look, **changes: str) -> Look:
    """The same person in other clothes. changes: colours of fields of the outfit."""
    return replace(look, outfit=replace(look.outfit, **changes))


def faceless(look: Look) -> Look:
    """The same clothes on somebody whose face is not made yet."""
    return replace(NOBODY, outfit=look.outfit)


def rimmed(look: Look, color: str) -> Look:
    """The same person with a line of another colour around them."""
    return replace(look, rim=color)


def in_ink(look: Look) -> Look:
    """The same person as an ink drawing."""
    paper = "#f5f1e6"
    outfit = Outfit(paper, paper, colours.INK, hatched=True)
    return replace(look, skin=paper, hair=colours.INK, outfit=outfit, rim=colours.INK, ink=colours.INK)


# --- Heads


def head(pen: Pen, look: Look, frame: Frame) -> None:
    """All of a head without a neck."""
    hair_behind(pen, look, frame)
    front_of_head(pen, look, frame)


def front_of_head(pen: Pen, look: Look, frame: Frame) -> None:
    """Face and hair before it, with a hat where one is worn."""
    rim = clothes.rim_of(frame, look.rim)
    pen.shape(frame.arc(FACE, 0, 360), look.skin, rim)
    if look.beard:
        beard(pen, look, frame)
    hair_in_front(pen, look, frame, rim)
    if look.features:
        features(pen, look, frame)
    if look.outfit.hat:
        clothes.hat(pen, frame, look.outfit.hat, rim)


def hair_behind(pen: Pen, look: Look, frame: Frame) -> None:
    """Hair that is seen around the face: it is drawn before the shoulders, which are in front of it."""
    rim = clothes.rim_of(frame, look.rim)
    if look.style == "long":
        top = frame.arc(_LONG_HAIR, 180, 360)
        ends = frame.shape([(0.51, 0.78), (-0.51, 0.78)])
        pen.shape([*top, *ends], look.hair, rim)
    if look.style == "round":
        pen.shape(frame.oval(0, -0.10, 0.58, 0.56), look.hair, rim)


def hair_in_front(pen: Pen, look: Look, frame: Frame, rim: Line) -> None:
    if look.style == "none":
        return
    # In hair all around the face a line would look like a hood.
    pen.shape(scalp(look, frame), look.hair, None if look.style == "round" else rim)


def scalp(look: Look, frame: Frame) -> list[Spot]:
    """Hair from the top of the head to the forehead."""
    oval = _LONG_HAIR if look.style == "long" else _SCALP
    top = frame.arc(oval, 180, 360)
    lines = {
        "fringe": [(0.39, -0.04), (0.33, -0.16), (0, -0.19), (-0.33, -0.16), (-0.39, -0.04)],
        "long": [(0.40, 0.02), (0.30, -0.20), (0.02, -0.32), (-0.20, -0.26), (-0.40, 0.02)],
    }
    parted = [(0.40, -0.02), (0.31, -0.20), (0.06, -0.30), (-0.18, -0.27), (-0.31, -0.16), (-0.40, -0.02)]
    return [*top, *frame.curve(lines.get(look.style, parted))]


def beard(pen: Pen, look: Look, frame: Frame) -> None:
    """Along the jaw, with the mouth in it."""
    jaw = frame.arc(Oval(0, 0, 0.37, 0.49), 8, 172)
    lip = frame.curve(
        [(-0.37, 0.05), (-0.30, 0.20), (-0.12, 0.17), (0, 0.14), (0.12, 0.17), (0.30, 0.20), (0.37, 0.05)]
    )
    pen.shape([*jaw, *lip], look.hair)


def features(pen: Pen, look: Look, frame: Frame) -> None:
    """Eyes and a smile."""
    line = Line(look.ink, max(1.0, frame.unit * 0.036))
    for side in (-1, 1):
        pen.line([frame.spot(side * 0.10, 0.0), frame.spot(side * 0.24, 0.0)], line)
        if look.glasses:
            pen.line(frame.oval(side * 0.18, 0.01, 0.145, 0.12), replace(line, width=line.width * 0.8))
    if look.glasses:
        pen.line([frame.spot(-0.035, 0), frame.spot(0.035, 0)], replace(line, width=line.width * 0.8))
    if look.beard:
        line = replace(line, color="#d98f86")
    pen.line(frame.arc(Oval(0, 0.20, 0.13, 0.08), 15, 165), line)


# --- Bodies


def bust(pen: Pen, look: Look, frame: Frame) -> None:
    """Somebody down to the chest: the picture around them has to end there."""
    rim = clothes.rim_of(frame, look.rim)
    hair_behind(pen, look, frame)
    neck(pen, look, frame, rim)
    pen.shape(frame.shape(clothes.CHEST), look.outfit.top, rim)
    front_of_head(pen, look, frame)


def standing(pen: Pen, look: Look, frame: Frame, arms: Arms | None = None) -> None:
    """Somebody from head to foot."""
    arms = arms or Arms()
    rim = clothes.rim_of(frame, look.rim)
    hair_behind(pen, look, frame)
    clothes.shoes(pen, frame, look.outfit, rim)
    clothes.trousers(pen, frame, look.outfit, rim)
    neck(pen, look, frame, rim)
    for side, arm in ((-1, arms.left), (1, arms.right)):
        hand = HANDS[arm]
        pen.shape(frame.oval(side * hand.x, hand.y, hand.wide, hand.high), look.skin, rim)
        color = look.outfit.jacket or look.outfit.top
        clothes.sleeve(pen, frame, SLEEVES[arm], side, color, rim)
        if look.outfit.hatched:
            clothes.hatch(pen, frame.shape(SLEEVES[arm], side), rim)
    clothes.trunk(pen, frame, look.outfit, rim)
    front_of_head(pen, look, frame)


def neck(pen: Pen, look: Look, frame: Frame, rim: Line) -> None:
    pen.shape(frame.shape([(-0.14, 0.35), (0.14, 0.35), (0.20, 0.72), (0, 0.90), (-0.20, 0.72)]), look.skin, rim)
