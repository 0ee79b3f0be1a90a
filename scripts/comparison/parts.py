"""Parts2Whole by its nodes, with the miniature: what is worn, and how much of what lies beside the parts shows."""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from miniature import export, garments, measure, net
from miniature.garments import Slot
from miniature.parts2whole import Pictures
from miniature.training import lessons, train
from miniature_made import Wardrobe, dressing, shared, worn
from standins_made import narrow
from torch import Tensor

SLOTS = (Slot.UPPER, Slot.LOWER, Slot.FACE)


class Way(NamedTuple):
    """masks: whether they say what counts. apart: whether every part has a picture of its own. itself: whether the
    denoiser is its own reference, without training. draw: by which nodes."""

    masks: bool = True
    apart: bool = False
    itself: bool = False
    draw: Callable[..., Tensor] = worn


WAYS = {
    "all parts at once": Way(),
    "all parts at once, without masks": Way(masks=False),
    "a part a picture": Way(apart=True),
    "a part a picture, without masks": Way(masks=False, apart=True),
    "the denoiser as its own reference": Way(itself=True),
    "Share Parts Attention, no pose": Way(draw=shared),
}


class Dressed(NamedTuple):
    """The cartoon (H, W, 3) of each picture, and what is measured of them all."""

    pixels: list[Tensor]
    figures: dict[str, float]


def compared(people: int) -> Iterator[tuple[str, Dressed]]:
    wardrobes = {itself: _wardrobe(itself) for itself in (False, True)}
    for name, way in WAYS.items():
        yield name, _dressed(wardrobes[way.itself], way, people)


def _wardrobe(itself: bool) -> Wardrobe:
    with TemporaryDirectory() as folder:
        return dressing(export.files(Path(folder)), partial(narrow, vae=64), itself)


def _dressed(wardrobe: Wardrobe, way: Way, people: int) -> Dressed:
    """Other things lie beside the parts; of one part a picture is drawn without them as well."""
    slots = [[SLOTS[number % len(SLOTS)]] if way.apart else SLOTS for number in range(people)]
    much = _worn(wardrobe, slots, 1.0, way)
    figures = measure.wearing([fitted for _, fitted, _ in much])
    if way.apart:
        none = _worn(wardrobe, slots, 0.0, way)
        colours = torch.cat([measure.beside(one, other) for (_, _, one), (_, _, other) in zip(much, none, strict=True)])
        figures["beside"] = measure.shows([one for _, one, _ in much], [one for _, one, _ in none], colours)
    return Dressed([pixels for pixels, _, _ in much], figures)


def _worn(
    wardrobe: Wardrobe, slots: Sequence[Sequence[Slot]], beside: float, way: Way
) -> list[tuple[Tensor, measure.Fitted, Pictures]]:
    """Of each the picture, what is read of it, and the pictures of its parts."""
    rng, found = random.Random(train.HELD_OUT + 9), list[tuple[Tensor, measure.Fitted, Pictures]]()
    for each in slots:
        place, (told, pictures) = garments.standing(rng), lessons.fitting(rng, each, beside)
        given = pictures if way.masks else Pictures(pictures.pixels, torch.ones_like(pictures.masks), pictures.labels)
        pixels = way.draw(wardrobe, given, place, net.Settings())
        found.append((pixels, measure.Fitted(measure.cells_of(pixels), place, told), pictures))
    return found
