"""Parts by their nodes, with the toy model: what is worn, and how much of what lies beside the parts shows."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from miniature import export, garments, measure, net, places
from miniature.clothes_measured import Fitted, beside, shows, swapped, wearing
from miniature.garments import Slot
from miniature.in_host import Wardrobe, dressing, files_in, shared, sharing, worn
from miniature.outfits import fitting
from miniature.parts2whole import Pictures
from miniature.portraits import HELD_OUT
from shared.standins import narrow
from torch import Tensor

from .columns import Column


class Setting(NamedTuple):
    """parts: how many a picture. masks: whether they say what counts. by: Parts2Whole, with the denoiser as its own
    reference, or Share Parts Attention with a UNet that has learned it."""

    parts: int
    masks: bool = True
    by: str = "Parts2Whole"

    def pixels(self, wardrobe: Wardrobe, pictures: Pictures, place: places.Place) -> Tensor:
        """(H, W, 3)."""
        if not self.masks:
            pictures = pictures._replace(masks=torch.ones_like(pictures.masks))
        if self.by == SHARED:
            return shared(wardrobe, pictures, net.Settings())
        return worn(wardrobe, pictures, place, net.Settings())


ITSELF, SHARED = "the denoiser as its own reference", "Share Parts Attention"
SETTINGS = {
    "1 part": Setting(1),
    "2 parts": Setting(2),
    "3 parts": Setting(3),
    "4 parts": Setting(4),
    "1 part, without masks": Setting(1, masks=False),
    "3 parts, without masks": Setting(3, masks=False),
    f"3 parts, {ITSELF}": Setting(3, by=ITSELF),
    f"2 parts, {SHARED}": Setting(2, by=SHARED),
}


def _measured(name: str, meaning: str, best: str = "1") -> Column:
    """A column of the figures of a setting."""
    return Column(name, meaning, "ours", best, lambda settings: settings[0].get(name))


COLUMNS = (
    _measured("kind", "The share of clothes of the right kind."),
    _measured("colour", "The share of parts of the right colour."),
    _measured("pattern", "The share of clothes of the right pattern."),
    _measured("swapped", "The share of parts that look more like the new ones where all are exchanged."),
    _measured("beside", "How far a part's place follows the colours of what lies beside the part.", "0"),
)


class Dressed(NamedTuple):
    """The cartoon (H, W, 3) of each picture, and what is measured of them all."""

    pixels: list[Tensor]
    figures: dict[str, float]


class Drawn(NamedTuple):
    """Cartoons (H, W, 3), what is worn in each, and the pictures of the parts that they were drawn from."""

    pixels: list[Tensor]
    fitted: list[Fitted]
    pictures: list[Pictures]


def compared(people: int) -> Iterator[tuple[str, Dressed]]:
    wardrobes: dict[str, Wardrobe] = {}
    for setting in SETTINGS.values():
        if setting.by not in wardrobes:
            wardrobes[setting.by] = wardrobe_of(setting.by)
    for name, setting in SETTINGS.items():
        yield name, dressed(wardrobes[setting.by], setting, people)


def wardrobe_of(by: str) -> Wardrobe:
    with TemporaryDirectory() as folder:
        if by == SHARED:
            with files_in(Path(folder)) as files:
                return sharing(files.sharing)
        return dressing(export.files(Path(folder)), partial(narrow, vae=64), by == ITSELF)


def dressed(wardrobe: Wardrobe, setting: Setting, people: int) -> Dressed:
    """The same places twice, with other outfits; and of one part with other things beside every one and beside none."""
    rng = random.Random(HELD_OUT + 10 * setting.parts)
    slots = [rng.sample(list(Slot), setting.parts) for _ in range(people)]
    standing = [garments.UPRIGHT if setting.by == SHARED else garments.standing(rng) for _ in slots]

    def drawn(seed: int, things: float = 0.7) -> Drawn:
        rng_of_outfits = random.Random(HELD_OUT + seed)
        cartoons = Drawn([], [], [])
        for persons_slots, place in zip(slots, standing, strict=True):
            outfit, pictures = fitting(rng_of_outfits, persons_slots, things)
            pixels = setting.pixels(wardrobe, pictures, place)
            cartoons.pixels.append(pixels)
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
    return Dressed(first.pixels, figures)
