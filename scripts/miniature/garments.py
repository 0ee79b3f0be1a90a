"""Clothes, hair and faces: a flat picture of each with its mask, and the cartoon of a person who wears them."""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from core.body_surface import mannequin
from core.people import Layout, Pose
from core.people import Slot as PlaceSlot
from core.places import bodies

from .avatars import WALL, Area, Areas, Figure, area, palette
from .looks import HAIR, LENGTH, NOBODY, SHIRT, SKIN
from .places import Place

SIZE = (128, 192)
"""Width and height of pictures of people in clothes."""
FINE = 2
"""They are drawn at so many times the size."""


class Slot(IntEnum):
    """What a part can be, in the order in which a person is drawn."""

    SHOES, LOWER, UPPER, FACE, HAIR = range(5)


LABELS = ("shoes", "lower body clothes", "upper body clothes", "face", "hair or headwear")
KINDS = (("shoes",), ("trousers", "skirt"), ("shirt", "jacket"), ("face",), ("hair",))
PATTERNS = ("plain", "stripes", "dots", "checks")
"""Of clothes of the upper and the lower body; the rest is plain."""
COLOURS = torch.tensor([
    (0.85, 0.15, 0.15), (0.95, 0.55, 0.10), (0.95, 0.88, 0.20), (0.20, 0.65, 0.25), (0.10, 0.65, 0.65),
    (0.15, 0.30, 0.80), (0.50, 0.20, 0.70), (0.95, 0.50, 0.75), (0.45, 0.27, 0.12), (0.10, 0.10, 0.12),
])  # fmt: skip
SKINS = torch.tensor([(0.98, 0.86, 0.78), (0.90, 0.68, 0.50), (0.62, 0.42, 0.30), (0.33, 0.21, 0.15)])
_AREAS = (Area.SHOES, Area.TROUSERS, Area.SHIRT, Area.SKIN, Area.HAIR)
_MIDDLE = (3.36, 2.5, 1.2, -0.1, -0.15)
"""What of a person stands in the middle of a flat picture, by the slot, in heads below the nose."""
_HEAD = ((56, 74), (40, 50), (40, 50), (64, 90), (64, 90))
"""How large their head is there, by the slot: from and to, in pixels."""
_CELL = 0.42
"""Of a pattern, in heads."""


class Part(NamedTuple):
    """kind: of KINDS; tone: of the table of colours, of which `colour` is one; pattern: of PATTERNS."""

    kind: int
    tone: int
    colour: Tensor
    pattern: int


Outfit = Mapping[Slot, Part]
_GREYS = ((0.35,) * 3, (0.5,) * 3, (0.62,) * 3, tuple(NOBODY[SKIN].tolist()), tuple(NOBODY[HAIR].tolist()))
UNTOLD = {slot: Part(0, -1, torch.tensor(grey), 0) for slot, grey in zip(Slot, _GREYS, strict=True)}
"""Who wears what no picture tells of."""


def every(slot: Slot) -> list[Part]:
    """All parts of a slot."""
    patterns = range(1)
    if slot in (Slot.UPPER, Slot.LOWER):
        patterns = range(len(PATTERNS))
    table = COLOURS
    if slot == Slot.FACE:
        table = SKINS
    parts: list[Part] = []
    for kind, tone, pattern in itertools.product(range(len(KINDS[slot])), range(len(table)), patterns):
        parts.append(Part(kind, tone, table[tone], pattern))
    return parts


def outfit(rng: random.Random, slots: Sequence[Slot]) -> dict[Slot, Part]:
    """Any of them, in shades of its colour."""
    chosen = {slot: rng.choice(every(slot)) for slot in slots}
    parts: dict[Slot, Part] = {}
    for slot, part in chosen.items():
        shade = torch.tensor([rng.uniform(-0.05, 0.05) for _ in range(3)])
        parts[slot] = part._replace(colour=(part.colour + shade).clamp(0, 1))
    return parts


def accent(colours: Tensor) -> Tensor:
    """(..., 3): of a pattern on this colour, lighter on a dark one, else darker."""
    dark = (colours @ torch.tensor([0.3, 0.6, 0.1]))[..., None] < 0.45
    return torch.where(dark, 0.35 * colours + 0.62, 0.3 * colours)


# --- Who wears them


def standing(rng: random.Random) -> Place:
    """Somebody of large head, so that clothes are seen well, in a pose."""
    head = rng.uniform(37, 42)
    nose = 64 + rng.uniform(-5, 5), rng.uniform(0.78 * head, 192 - 3.7 * head)
    return Place(nose, head, _pose(rng, nose, head, (0.05, 1.25)))


def _pose(rng: random.Random, nose: tuple[float, float], head: float, raised: tuple[float, float]) -> Pose:
    """raised: how far the upper arms are from hanging down, in radians."""

    def side() -> bodies.Posture:
        arm = rng.uniform(*raised)
        leg = rng.uniform(-0.02, 0.22)
        forearm = arm + rng.uniform(-0.5, 0.5)
        shoulder = (0.56, 0.62)
        hip = (0.28, 1.8)
        elbow = _end(shoulder, 0.62, arm)
        wrist = _end(elbow, 0.55, forearm)
        knee = _end(hip, 0.72, leg)
        ankle = _end(knee, 0.7, leg)
        return (*bodies.STANDING[:2], shoulder, elbow, wrist, hip, knee, ankle)

    return bodies.body(nose, head, side(), right=side())


def _end(start: tuple[float, float], length: float, angle: float) -> tuple[float, float]:
    """Where a limb ends. angle: from hanging down, in radians."""
    x, y = start
    return x + length * float(np.sin(angle)), y + length * float(np.cos(angle))


class _Dressed(Figure):
    """kinds: per slot."""

    def __init__(self, areas: Areas, place: Place, kinds: Mapping[Slot, int]) -> None:
        look = torch.zeros(LENGTH + 1)
        look[LENGTH] = 0.35
        super().__init__(areas, 0, place, look, SIZE[1], FINE)
        self.kinds = kinds

    def dress(self, only: Slot | None) -> None:
        """only: this part alone, as on a flat picture."""
        strokes: tuple[tuple[Slot | None, Callable[[], None]], ...] = (
            (Slot.HAIR, self._hair_behind), (None, self._skin), (Slot.SHOES, self._shoes), (Slot.LOWER, self._lower),
            (Slot.UPPER, self._upper), (None, self._neck), (Slot.FACE, self._face), (Slot.HAIR, self._fringe),
            (Slot.FACE, self._features),
        )  # fmt: skip
        for slot, stroke in strokes:
            if only is None or slot == only:
                stroke()

    def _skin(self) -> None:
        for leg in ((11, 13, 15), (12, 14, 16)):
            self._limb(leg, 0.3, Area.SKIN)
        for arm in ((5, 7, 9), (6, 8, 10)):
            self._limb(arm, 0.24, Area.SKIN)
            self._dot(arm[-1], 0.15, Area.SKIN)

    def _shoes(self) -> None:
        for ankle, side in ((15, 1), (16, -1)):
            across = (self.pose[ankle][0] - self.x) / self.head
            down = (self.pose[ankle][1] - self.y) / self.head
            self._ellipse(across + 0.06 * side, down + 0.12, 0.26, 0.17, Area.SHOES, outline=True)

    def _lower(self) -> None:
        hips = [(-0.48, 1.6), (0.48, 1.6)]
        if self.kinds[Slot.LOWER]:
            self._polygon([*hips, (0.82, 2.75), (-0.82, 2.75)], Area.TROUSERS, outline=True)
            return
        for leg in ((11, 13, 15), (12, 14, 16)):
            self._limb(leg, 0.5, Area.TROUSERS)
        self._polygon([*hips, (0.52, 2.0), (-0.52, 2.0)], Area.TROUSERS)

    def _upper(self) -> None:
        jacket = bool(self.kinds[Slot.UPPER])
        for shoulder, elbow, wrist in ((5, 7, 9), (6, 8, 10)):
            sleeve = (shoulder, elbow, wrist) if jacket else (shoulder, elbow)
            self._limb(sleeve, 0.4, Area.LINE)
            self._limb(sleeve, 0.35, Area.SHIRT)
        low = 1.95 if jacket else 1.75
        right = [(0.16, 0.42), (0.5, 0.46), (0.62, 0.62), (0.54, 1.2), (0.56, low)]
        self._polygon([*right, *((-across, down) for across, down in reversed(right))], Area.SHIRT, outline=True)
        if jacket:
            self._polygon([(-0.02, 0.42), (0.02, 0.42), (0.02, low), (-0.02, low)], Area.LINE)


def worn(place: Place, parts: Outfit) -> tuple[Tensor, Areas]:
    """(3, H, W), 0..1, and its areas at FINE times the size. parts: of which there are pictures; the rest is grey."""
    whole = {**UNTOLD, **parts}
    areas = _areas(place, whole)
    return _shrunk(_coloured(areas, place, whole)), areas


def _areas(place: Place, whole: Outfit, only: Slot | None = None) -> Areas:
    areas = np.full((SIZE[1] * FINE, SIZE[0] * FINE), WALL, np.uint8)
    _Dressed(areas, place, {slot: part.kind for slot, part in whole.items()}).dress(only)
    return areas


def _coloured(areas: Areas, place: Place, whole: Outfit) -> Tensor:
    """(H, W, 3)."""
    look = NOBODY.clone()
    look[HAIR] = whole[Slot.HAIR].colour
    look[SKIN] = whole[Slot.FACE].colour
    look[SHIRT] = whole[Slot.UPPER].colour
    table = palette(look[None])
    for slot in (Slot.LOWER, Slot.SHOES):
        table[area(0, _AREAS[slot])] = whole[slot].colour
    pixels = table[torch.from_numpy(areas).long()]
    for slot in (Slot.LOWER, Slot.UPPER):
        marked = of_slot(areas, slot) & _marked(place, whole[slot].pattern)
        pixels[torch.from_numpy(marked)] = accent(whole[slot].colour)
    return pixels


def _marked(place: Place, pattern: int) -> np.ndarray:
    """(H, W) bool: what has a pattern's second colour."""
    rows, columns = np.mgrid[: SIZE[1] * FINE, : SIZE[0] * FINE].astype(np.float32) / FINE
    down = (rows - place.nose[1]) / (_CELL * place.head)  # in cells of the pattern
    across = (columns - place.nose[0]) / (_CELL * place.head)
    if pattern == PATTERNS.index("dots"):
        return (down % 2 - 1) ** 2 + (across % 2 - 1) ** 2 < 0.36
    cells = np.floor(down) + np.floor(across) * (pattern == PATTERNS.index("checks"))
    return (cells % 2 == 1) & (pattern > 0)


def _shrunk(pixels: Tensor) -> Tensor:
    """(FINE * H, FINE * W, 3) -> (3, H, W)."""
    return functional.avg_pool2d(pixels.movedim(-1, 0)[None], FINE)[0]


def of_slot(areas: Areas, slot: Slot) -> np.ndarray:
    """(H, W) bool: where this part is seen, without lines."""
    return areas == area(0, _AREAS[slot])


def surface(place: Place) -> Tensor:
    """(3, H, W): what Draw Skeletons draws of the body."""
    return mannequin.draw_layout(layout(place)).image.movedim(-1, 0)


def layout(place: Place) -> Layout:
    return Layout(*SIZE, (PlaceSlot(place.nose, pose=place.pose),))


# --- Flat pictures


def flat(rng: random.Random, slot: Slot, part: Part, beside: bool) -> tuple[Tensor, Tensor]:
    """A picture of a part (3, H, W) and its mask (H, W). beside: with other things around it, which do not count."""
    head = rng.uniform(*_HEAD[slot])
    nose = 64 + rng.uniform(-6, 6), 96 - _MIDDLE[slot] * head + rng.uniform(-8, 8)
    place = Place(nose, head, _pose(rng, nose, head, (0.3, 0.7)))
    whole = {**UNTOLD, slot: part}
    areas = _areas(place, whole, slot)
    inside = (areas != WALL).astype(np.uint8)
    pixels = np.ones((*areas.shape, 3), np.float32)
    if beside:
        pixels = _things(rng)
    # White around the part, so that it is seen whole.
    pixels[cv2.dilate(inside, np.ones((41, 41), np.uint8)) > 0] = 1.0
    mask = torch.from_numpy(inside).float()
    coloured = _coloured(areas, place, whole)
    return _shrunk(torch.lerp(torch.from_numpy(pixels), coloured, mask[..., None])), mask[::FINE, ::FINE]


EXAMPLES = ("face", "hair", "shirt", "trousers", "pose")


def examples() -> dict[str, Tensor]:
    """By EXAMPLES: four parts and a pose, (3, H, W) each."""
    rng = random.Random(4)
    parts = {
        Slot.FACE: Part(0, 1, SKINS[1], PATTERNS.index("plain")),
        Slot.HAIR: Part(0, 8, COLOURS[8], PATTERNS.index("plain")),
        Slot.UPPER: Part(0, 5, COLOURS[5], PATTERNS.index("stripes")),
        Slot.LOWER: Part(0, 0, COLOURS[0], PATTERNS.index("plain")),
    }
    pictures: list[Tensor] = []
    for slot, part in parts.items():
        pixels, _ = flat(rng, slot, part, False)
        pictures.append(pixels)
    pictures.append(surface(standing(rng)))
    return dict(zip(EXAMPLES, pictures, strict=True))


def _things(rng: random.Random) -> np.ndarray:
    """(H, W, 3): a wall with things of any colour."""
    width = SIZE[0] * FINE
    height = SIZE[1] * FINE

    def colour() -> tuple[float, ...]:
        return tuple(rng.random() for _ in range(3))

    wall = (1.0, 1.0, 1.0)
    if rng.random() < 0.5:
        wall = colour()
    pixels = np.full((height, width, 3), wall, np.float32)
    for _ in range(rng.randrange(3, 9)):
        x = round(rng.uniform(0, width))
        y = round(rng.uniform(0, height))
        across = round(rng.uniform(16, 85))
        down = round(rng.uniform(16, 85))
        if rng.random() < 0.5:
            cv2.rectangle(pixels, (x - across, y - down), (x + across, y + down), colour(), -1)
        else:
            cv2.ellipse(pixels, (x, y), (across, down), 0, 0, 360, colour(), -1)
    return pixels
