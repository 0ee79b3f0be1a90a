"""What is worn in a picture of the miniature's, and how much of what lies beside parts shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from . import garments, measure
from .autoencoder import CELL
from .avatars import Areas
from .garments import Part, Slot
from .parts2whole import Pictures
from .places import Place


class Fitted(NamedTuple):
    """One picture: its mean colours (3, H/8, W/8), who stands there, and what they were told to wear."""

    cells: Tensor
    place: Place
    told: garments.Outfit


def read(fitted: Fitted, slot: Slot, among: Sequence[Part] = ()) -> Part:
    """The part that comes nearest to what is seen in its region: of all that there are, or among these."""
    options = among or garments.every(slot)
    pictures = [garments.worn(fitted.place, {**fitted.told, slot: part}) for part in options]
    region = torch.stack([_region(areas, slot) for _, areas in pictures]).amax(0)
    errors: list[Tensor] = []
    for pixels, _ in pictures:
        difference = measure.cells_of(pixels.movedim(0, -1)) - fitted.cells
        errors.append((difference.square() * region).sum())
    return options[int(torch.stack(errors).argmin())]


def _region(areas: Areas, slot: Slot) -> Tensor:
    """(H/8, W/8): how much of every cell the part takes."""
    wide, high = (side // CELL for side in garments.SIZE)
    return measure.share(garments.of_slot(areas, slot), 1, (high, wide)).view(high, wide)


def wearing(pictures: Sequence[Fitted]) -> dict[str, float]:
    """The shares of parts of which kind, colour and pattern are right; of the first and the last only clothes count,
    since the others have one."""
    right: dict[str, list[bool]] = {name: [] for name in ("kind", "colour", "pattern")}
    for fitted in pictures:
        for slot, expected in fitted.told.items():
            part = read(fitted, slot)
            right["colour"].append(part.tone == expected.tone)
            if slot in (Slot.UPPER, Slot.LOWER):
                right["kind"].append(part.kind == expected.kind)
                right["pattern"].append(part.pattern == expected.pattern)
    return {name: sum(answers) / max(len(answers), 1) for name, answers in right.items()}


def swapped(pictures: Sequence[Fitted], before: Sequence[garments.Outfit]) -> float:
    """The share of parts that look more like those told of than like those of before, without parts that are the same
    in another shade of their colour."""
    right: list[bool] = []
    for fitted, old in zip(pictures, before, strict=True):
        for slot, expected in fitted.told.items():
            if expected._replace(colour=None) != old[slot]._replace(colour=None):
                right.append(read(fitted, slot, (expected, old[slot])) is expected)
    return sum(right) / max(len(right), 1)


def beside(with_parts: Pictures, plain: Pictures) -> Tensor:
    """(P, 3): by how much the mean colours outside of the masks differ, which are those of the first."""
    outside = 1 - with_parts.masks.mean((1, 2))
    return (with_parts.pixels - plain.pixels).mean((2, 3)) / outside[:, None]


def shows(pictures: Sequence[Fitted], without: Sequence[Fitted], colours: Tensor) -> float:
    """How much of what lies outside of masks is found in the regions of the parts, one in each picture: a regression of
    what it changes there. colours: (B, 3), of `beside`."""
    changed: list[Tensor] = []
    for with_part, without_part in zip(pictures, without, strict=True):
        (slot,) = with_part.told
        (_, areas) = garments.worn(with_part.place, with_part.told)
        region = _region(areas, slot)
        changed.append(((with_part.cells - without_part.cells) * region).sum((1, 2)) / region.sum())
    return float((torch.stack(changed) * colours).sum() / colours.square().sum())
