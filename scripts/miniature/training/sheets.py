"""Sheets of 24 pictures of people whom the miniature has never seen: what is meant, and what it draws.

`python scripts/pictures.py sheets` puts them into docs/dev.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as functional
from torch import Tensor

from .. import avatars, garments, net, parts2whole, places, recogniser
from ..garments import Slot
from ..net import Miniature, Settings
from ..parts2whole import Pictures
from ..unet import WIDTH
from . import crowds, evaluate
from .lessons.outfits import fitting
from .pool import HELD_OUT

COUNT = 24
"""Pictures of a sheet."""
PEOPLE = 300
"""Drawn people from whom those of the sheets are taken."""
PORTRAIT_STEPS = 4
MAGENTA = (1.0, 0.0, 1.0)
"""What does not count of a picture of a part is mixed with this."""


def groups(model: Miniature) -> Tensor:
    """By ID-Patch: what is meant above what is drawn. (3, H, W), as all sheets."""
    cells: list[Tensor] = []
    scenes = evaluate.scenes(evaluate.drawn_people(PEOPLE), places.LARGE, 4 * COUNT, 5)
    for scene in first(scenes):
        meant, _ = avatars.picture(scene.standing, model.looks(scene.embeddings), scene.size)
        drawn = model.decoder(evaluate.draw(model, scene)[None])[0]
        cells.append(torch.cat([meant, drawn], dim=1))
    return sheet(cells, across=6)[:, ::2, ::2]


def portraits(model: Miniature) -> Tensor:
    """By InstantID: what is meant above what is drawn."""
    rng = random.Random(5)
    cells: list[Tensor] = []
    for embedding in evaluate.drawn_people(PEOPLE)[:COUNT].split(1):
        standing = crowds.by_face(crowds.draw(rng, places.LARGE, 1), places.LARGE)
        meant, _ = avatars.picture(standing, model.looks(embedding), places.LARGE)
        hint = crowds.keypoints(standing, places.LARGE).permute(2, 0, 1)[None]
        drawn = model.decoder(portrait(model, hint, recogniser.raw(embedding)))[0]
        cells.append(torch.cat([meant, drawn], dim=1))
    return sheet(cells, across=6)[:, ::2, ::2]


def outfits(model: Miniature) -> Tensor:
    """By Parts2Whole: pictures of three parts, what is meant, and what is drawn."""
    rng = random.Random(HELD_OUT)
    cells: list[Tensor] = []
    for _ in range(COUNT):
        outfit, pictures = fitting(rng, rng.sample(list(Slot), 3))
        place = garments.standing(rng)
        meant, _ = garments.worn(place, outfit)
        pose = garments.surface(place)[None]
        latents = net.dressed(model, pictures, [len(outfit)], pose, Settings())
        cells.append(torch.cat([column(pictures, meant), meant, model.decoder(latents)[0]], dim=2))
    return sheet(cells, across=4)


def shared(model: Miniature) -> Tensor:
    """By Share Parts Attention: pictures of two parts, what is meant, and what is drawn."""
    rng = random.Random(HELD_OUT)
    cells: list[Tensor] = []
    for _ in range(COUNT):
        outfit, pictures = fitting(rng, rng.sample(list(Slot), 2))
        meant, _ = garments.worn(garments.UPRIGHT, outfit)
        drawn = model.decoder(wearing(model, pictures))[0]
        cells.append(torch.cat([column(pictures, meant), meant, drawn], dim=2))
    return sheet(cells, across=4)


SHEETS: dict[str, Callable[[Miniature], Tensor]] = {
    "miniature_24": groups,
    "miniature_portraits": portraits,
    "miniature_parts": outfits,
    "miniature_shared": shared,
}
"""By the names of their files in docs/dev."""


def first(scenes: Iterator[evaluate.Scene]) -> Iterator[evaluate.Scene]:
    """So many as a sheet shows."""
    for _ in range(COUNT):
        yield next(scenes)


def portrait(model: Miniature, hint: Tensor, embedding: Tensor) -> Tensor:
    """Latents (1, 4, h, w) by InstantID. hint: (1, 3, H, W), keypoints. embedding: (1, 512)."""
    tokens = model.instant_id.tokens(embedding)
    velocity = partial(model.instant_id.velocity, model.unet, hint=hint, tokens=tokens)

    def clean(x: Tensor, time: Tensor, sigma: Tensor) -> Tensor:
        scale = 1 / (sigma**2 + 1).sqrt()
        return x * scale**2 - velocity(x * scale, time.expand(len(x))) * sigma * scale

    return net.sampled(clean, hint, Settings(steps=PORTRAIT_STEPS), net.noise_levels())


def wearing(model: Miniature, pictures: Pictures) -> Tensor:
    """Latents (1, 4, h, w) of the person who wears these parts, by the UNet that is its own reference."""
    unet = model.sharing
    empty_context = torch.zeros(1, 1, WIDTH)
    of_parts = empty_context.expand(len(pictures.pixels), -1, -1)
    latents = model.encoder(pictures.pixels)
    unet.look_at(parts2whole.seen_by(unet, of_parts, latents, pictures, [len(latents)]))

    def clean(x: Tensor, time: Tensor, sigma: Tensor) -> Tensor:
        scale = 1 / (sigma**2 + 1).sqrt()
        return x * scale**2 - unet(x * scale, time[None], empty_context) * sigma * scale

    width, height = garments.SIZE
    return net.sampled(clean, torch.zeros(1, 3, height, width), Settings(), net.noise_levels())


def column(pictures: Pictures, meant: Tensor) -> Tensor:
    """The pictures of parts above each other, as high as `meant` (3, H, W)."""
    count = len(pictures.pixels)
    magenta = torch.tensor(MAGENTA)[:, None, None]
    counts = pictures.masks[:, None] > 0
    shown = torch.where(counts, pictures.pixels, (pictures.pixels + magenta) / 2)
    small = functional.interpolate(shown, (meant.shape[1] // count, meant.shape[2] // count))
    return torch.cat(list(small), dim=1)


def sheet(cells: Sequence[Tensor], across: int) -> Tensor:
    """Cells (3, H, W) beside each other, so many in a row."""
    rows: list[Tensor] = []
    for start in range(0, len(cells), across):
        rows.append(torch.cat(list(cells[start : start + across]), dim=2))
    return torch.cat(rows, dim=1).clamp(0, 1)
