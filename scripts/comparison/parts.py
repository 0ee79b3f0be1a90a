"""Parts by their nodes, with the miniature: what is worn, and how much of what lies beside the parts shows."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from clothes_measured import Fitted, beside, shows, swapped, wearing
from miniature import export, garments, measure, net, places
from miniature.garments import Slot
from miniature.parts2whole import Pictures
from miniature.training.lessons.outfits import fitting
from miniature.training.pool import HELD_OUT
from miniature_made import Wardrobe, dressing, files_in, shared, sharing, worn
from standins_made import narrow
from torch import Tensor


class Way(NamedTuple):
    """parts: how many a picture. masks: whether they say what counts. by: Parts2Whole, with the denoiser as its own
    reference, or Share Parts Attention with a UNet that has learned it."""

    parts: int
    masks: bool = True
    by: str = "Parts2Whole"

    def pixels(self, wardrobe: Wardrobe, pictures: Pictures, place: places.Place) -> Tensor:
        """(H, W, 3)."""
        shown = pictures if self.masks else pictures._replace(masks=torch.ones_like(pictures.masks))
        if self.by == SHARED:
            return shared(wardrobe, shown, net.Settings())
        return worn(wardrobe, shown, place, net.Settings())


ITSELF, SHARED = "the denoiser as its own reference", "Share Parts Attention"
WAYS = {
    "1 part": Way(1),
    "2 parts": Way(2),
    "3 parts": Way(3),
    "4 parts": Way(4),
    "1 part, without masks": Way(1, masks=False),
    "3 parts, without masks": Way(3, masks=False),
    f"3 parts, {ITSELF}": Way(3, by=ITSELF),
    f"2 parts, {SHARED}": Way(2, by=SHARED),
}
LEARNED = [name for name, way in WAYS.items() if way.masks and way.by != ITSELF]
"""Those by networks that were trained for it."""


class Dressed(NamedTuple):
    """The cartoon (H, W, 3) of each picture, and what is measured of them all."""

    pixels: list[Tensor]
    figures: dict[str, float]


def compared(people: int) -> Iterator[tuple[str, Dressed]]:
    wardrobes = {by: wardrobe_of(by) for by in dict.fromkeys(way.by for way in WAYS.values())}
    for name, way in WAYS.items():
        yield name, dressed(wardrobes[way.by], way, people)


def wardrobe_of(by: str) -> Wardrobe:
    with TemporaryDirectory() as folder:
        if by == SHARED:
            with files_in(Path(folder)) as files:
                return sharing(files.sharing)
        return dressing(export.files(Path(folder)), partial(narrow, vae=64), by == ITSELF)


def dressed(wardrobe: Wardrobe, way: Way, people: int) -> Dressed:
    """The same places twice, with other outfits; and of one part with other things beside every one and beside none."""
    rng = random.Random(HELD_OUT + 10 * way.parts)
    slots = [rng.sample(list(Slot), way.parts) for _ in range(people)]
    standing = [garments.UPRIGHT if way.by == SHARED else garments.standing(rng) for _ in slots]

    def drawn(seed: int, things: float = 0.7) -> Iterator[tuple[Tensor, Fitted, Pictures]]:
        again = random.Random(HELD_OUT + seed)
        for each, place in zip(slots, standing, strict=True):
            told, pictures = fitting(again, each, things)
            pixels = way.pixels(wardrobe, pictures, place)
            yield pixels, Fitted(measure.cells_of(pixels), place, told), pictures

    (pixels, first, _), (_, second, _) = (zip(*drawn(seed), strict=True) for seed in (1, 2))
    figures = wearing(first) | {"swapped": swapped(second, [one.told for one in first])}
    if way.parts == 1:
        (_, much, shown), (_, none, plain) = (zip(*drawn(3, things), strict=True) for things in (1.0, 0.0))
        colours = torch.cat([beside(*each) for each in zip(shown, plain, strict=True)])
        figures["beside"] = shows(much, none, colours)
    return Dressed(list(pixels), figures)
