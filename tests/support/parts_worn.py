"""Outfits of drawn parts on the miniature's people: what is worn, and how much of what lies beside the parts shows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from miniature import garments, measure, net, places
from miniature.autoencoder import CELL
from miniature.avatars import Areas
from miniature.garments import Part, Slot
from miniature.parts2whole import Pictures
from miniature.places import Place
from miniature_in_host import HELD_OUT, UPRIGHT, Wardrobe, shared, worn
from torch import Tensor


class Fitting(NamedTuple):
    """An outfit, and the pictures of its parts."""

    outfit: dict[Slot, garments.Part]
    pictures: Pictures


def fitting(rng: random.Random, slots: Sequence[Slot], beside: float = 0.7) -> Fitting:
    """An outfit with a part for each slot, and pictures of these parts.

    beside: the share of pictures that show other things too. Where any does, the whole picture counts in half of the
    others, as without a painted mask.
    """
    outfit = garments.outfit(rng, slots)
    kinds = [rng.random() for _ in outfit]
    pixels: list[Tensor] = []
    masks: list[Tensor] = []
    for (slot, part), kind in zip(outfit.items(), kinds, strict=True):
        part_pixels, part_mask = garments.flat(random.Random(rng.random()), slot, part, kind < beside)
        pixels.append(part_pixels)
        masks.append(part_mask)
    all_masks = torch.stack(masks)
    if beside > 0:
        all_masks[torch.tensor(kinds) > (1 + beside) / 2] = 1
    return Fitting(outfit, Pictures(torch.stack(pixels), all_masks, torch.tensor(list(outfit))))


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


class Setting(NamedTuple):
    """parts: how many a picture. masks: whether they say what counts. shares: by Share Parts Attention with a UNet that
    has learned it, in the place of Parts2Whole."""

    parts: int
    masks: bool = True
    shares: bool = False

    def pixels(self, wardrobe: Wardrobe, pictures: Pictures, place: places.Place) -> Tensor:
        """(H, W, 3)."""
        if not self.masks:
            pictures = pictures._replace(masks=torch.ones_like(pictures.masks))
        if self.shares:
            return shared(wardrobe, pictures, net.Settings())
        return worn(wardrobe, pictures, place, net.Settings())


class Drawn(NamedTuple):
    """What is worn in each cartoon, and the pictures of the parts that it was drawn from."""

    fitted: list[Fitted]
    pictures: list[Pictures]


def dressed(wardrobe: Wardrobe, setting: Setting, people: int) -> dict[str, float]:
    """The same places twice, with other outfits; and of one part with other things beside every one and beside none."""
    rng = random.Random(HELD_OUT + 10 * setting.parts)
    slots = [rng.sample(list(Slot), setting.parts) for _ in range(people)]
    standing = [UPRIGHT if setting.shares else garments.standing(rng) for _ in slots]

    def drawn(seed: int, things: float = 0.7) -> Drawn:
        rng_of_outfits = random.Random(HELD_OUT + seed)
        cartoons = Drawn([], [])
        for persons_slots, place in zip(slots, standing, strict=True):
            outfit, pictures = fitting(rng_of_outfits, persons_slots, things)
            pixels = setting.pixels(wardrobe, pictures, place)
            cartoons.fitted.append(Fitted(measure.cells_of(pixels), place, outfit))
            cartoons.pictures.append(pictures)
        return cartoons

    first = drawn(1)
    second = drawn(2)
    figures = wearing(first.fitted) | {"swapped": swapped(second.fitted, [fitted.told for fitted in first.fitted])}
    if setting.parts == 1:
        much = drawn(3, 1.0)
        none = drawn(3, 0.0)
        pairs = zip(much.pictures, none.pictures, strict=True)
        colours = torch.cat([beside(with_things, plain) for with_things, plain in pairs])
        figures["beside"] = shows(much.fitted, none.fitted, colours)
    return figures
