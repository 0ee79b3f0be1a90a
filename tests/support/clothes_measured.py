"""What is worn in a picture of the miniature's, and how much of what lies beside parts shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from miniature import garments, measure
from miniature.autoencoder import CELL
from miniature.avatars import Areas
from miniature.garments import Part, Slot
from miniature.parts2whole import Pictures
from miniature.places import Place
from torch import Tensor


class Fitted(NamedTuple):
    """One picture: its mean colours (3, H/8, W/8), who stands there, and what they were told to wear."""

    cells: Tensor
    place: Place
    told: garments.Outfit


def read(fitted: Fitted, slot: Slot, among: Sequence[Part] = ()) -> Part:
    """The part that comes nearest to what is seen in its region: of all that there are, or among these."""
    options = among or garments.every(slot)
    drawn = [garments.worn(fitted.place, {**fitted.told, slot: one}) for one in options]
    region = torch.stack([_region(areas, slot) for _, areas in drawn]).amax(0)
    errors = [((measure.cells_of(pixels.movedim(0, -1)) - fitted.cells).square() * region).sum() for pixels, _ in drawn]
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
        for slot, meant in fitted.told.items():
            found = read(fitted, slot)
            right["colour"].append(found.tone == meant.tone)
            if slot in (Slot.UPPER, Slot.LOWER):
                right["kind"].append(found.kind == meant.kind)
                right["pattern"].append(found.pattern == meant.pattern)
    return {name: sum(all_) / max(len(all_), 1) for name, all_ in right.items()}


def swapped(pictures: Sequence[Fitted], before: Sequence[garments.Outfit]) -> float:
    """The share of parts that look more like those told of than like those of before, without parts that are the same
    in another shade of their colour."""
    right = [
        read(fitted, slot, (meant, old[slot])) is meant
        for fitted, old in zip(pictures, before, strict=True)
        for slot, meant in fitted.told.items()
        if meant._replace(colour=None) != old[slot]._replace(colour=None)
    ]
    return sum(right) / max(len(right), 1)


def beside(shown: Pictures, plain: Pictures) -> Tensor:
    """(P, 3): by how much the mean colours outside of the masks differ, which are those of the first."""
    outside = 1 - shown.masks.mean((1, 2))
    return (shown.pixels - plain.pixels).mean((2, 3)) / outside[:, None]


def shows(pictures: Sequence[Fitted], without: Sequence[Fitted], colours: Tensor) -> float:
    """How much of what lies outside of masks is found in the regions of the parts, one in each picture: a regression of
    what it changes there. colours: (B, 3), of `beside`."""
    changed: list[Tensor] = []
    for one, other in zip(pictures, without, strict=True):
        (slot,) = one.told
        (_, areas) = garments.worn(one.place, one.told)
        region = _region(areas, slot)
        changed.append(((one.cells - other.cells) * region).sum((1, 2)) / region.sum())
    return float((torch.stack(changed) * colours).sum() / colours.square().sum())
