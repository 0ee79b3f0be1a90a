"""Lesson 1: pixels to latents and back, on crops of cartoons and clothes."""

import random

import torch
import torch.nn.functional as functional
from torch import Tensor

from ... import avatars, garments, places
from ...autoencoder import CELL
from ...garments import Slot
from ...looks import SIZE
from ...net import Miniature
from .. import crowds
from ..pool import Pool
from .lesson import Lesson, Loss, device_of

SIDE = 96
"""Width and height of a crop, in pixels."""
CROPS_OF_A_CROWD = 3
OUTFITS = 4
"""Crops of clothes in a batch."""
NOISE = 0.1
"""The largest noise in latents that the decoder learns not to draw: samplers leave some."""


def make_loss(model: Miniature, photos: Pool) -> Loss:
    """The difference of pixels, of mean colours, and a small cost of a fourth channel that is far from zero."""
    device = device_of(model)

    def loss(rng: random.Random) -> Tensor:
        crops = [crops_of_a_crowd(rng), crops_of_a_crowd(rng)]
        for _ in range(OUTFITS):
            crops.append(crop_of_clothes(rng))
        pixels = torch.cat(crops).to(device)  # (10, 3, 96, 96)
        latents = model.encoder(pixels)  # (10, 4, 12, 12)
        amount = NOISE * torch.rand_like(latents[:, :1, :1, :1])
        noise = amount * torch.randn_like(latents)
        drawn = model.decoder(latents + noise)
        pixel_error = 4 * functional.mse_loss(drawn, pixels) + functional.l1_loss(drawn, pixels)
        # What is hardly larger than a cell keeps its colour, however seldom it is seen.
        cell_error = functional.avg_pool2d(drawn - pixels, CELL).square().mean()
        return pixel_error + 20 * cell_error + 1e-3 * latents[:, 3].square().mean()

    return loss


def crop_of_clothes(rng: random.Random) -> Tensor:
    """(1, 3, 96, 96): a crop of a person who wears any parts, in half of the crops legs and shoes."""
    outfit = garments.outfit(rng, rng.sample(list(Slot), rng.randint(1, 5)))
    pixels, _ = garments.worn(garments.standing(rng), outfit)
    left = rng.randint(0, 32)
    top = rng.choice((rng.randint(0, 96), 96))
    return pixels[None, :, top : top + SIDE, left : left + SIDE]


def crops_of_a_crowd(rng: random.Random) -> Tensor:
    """(3, 3, 96, 96): crops of one picture, each around a person."""
    size = places.SMALL
    if rng.random() < 0.6:
        size = places.LARGE
    width, height = size
    people = crowds.draw(rng, size)
    pixels, _ = avatars.picture(people, torch.rand(len(people), SIZE), size)
    crops: list[Tensor] = []
    for (x, y), head, _ in rng.choices(people, k=CROPS_OF_A_CROWD):
        center_x = x + rng.uniform(-1, 1) * head
        center_y = y + rng.uniform(-1, 1.5) * head
        left = inside(center_x - SIDE / 2, width - SIDE)
        top = inside(center_y - SIDE / 2, height - SIDE)
        crops.append(pixels[:, top : top + SIDE, left : left + SIDE])
    return torch.stack(crops)


def inside(value: float, largest: int) -> int:
    """A whole number from 0 to `largest`."""
    return int(min(max(value, 0), largest))


LESSON = Lesson(make_loss, learns=("encoder.", "decoder."), settled=("encoder.",), minutes=20)
