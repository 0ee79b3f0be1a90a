"""Training, part 1: the autoencoder, on crops of cartoons. Five minutes on one core."""

from __future__ import annotations

import random
import time

import torch
import torch.nn.functional as functional
from torch import Tensor

from .. import avatars, places
from ..looks import SIZE
from ..net import Miniature
from . import crowds

_CROP, _RATE = 96, 2e-3


def fit(net: Miniature, minutes: float) -> float:
    """Train encoder and decoder; returns the last loss."""
    rng, weights = random.Random(0), [*net.encoder.parameters(), *net.decoder.parameters()]
    optimiser = torch.optim.AdamW(weights, _RATE, betas=(0.9, 0.99))
    started, loss = time.monotonic(), torch.zeros(())
    while (done := (time.monotonic() - started) / (60 * minutes)) < 1:
        optimiser.param_groups[0]["lr"] = _RATE * max(0.03, 1 - done)
        crops = torch.cat([_crops(rng) for _ in range(4)])
        latents = net.encoder(crops)
        # Samplers leave some noise; the decoder should not draw it.
        noise = 0.1 * torch.rand(len(latents), 1, 1, 1) * torch.randn_like(latents)
        drawn = net.decoder(latents + noise)
        loss = 4 * functional.mse_loss(drawn, crops) + functional.l1_loss(drawn, crops)
        loss = loss + 1e-3 * latents[:, 3].square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
    return loss.item()


def _crops(rng: random.Random) -> Tensor:
    """(3, 3, 96, 96) of one picture, each about somebody."""
    size = places.LARGE if rng.random() < 0.6 else places.SMALL
    people = crowds.draw(rng, size)
    pixels, _ = avatars.picture(people, torch.rand(len(people), SIZE), size)
    return torch.stack([_crop(rng, pixels, rng.choice(people)) for _ in range(3)])


def _crop(rng: random.Random, pixels: Tensor, about: places.Place) -> Tensor:
    height, width = pixels.shape[1:]
    (x, y), head, _ = about
    left = int(min(max(x + rng.uniform(-1, 1) * head - _CROP / 2, 0), width - _CROP))
    top = int(min(max(y + rng.uniform(-1, 1.5) * head - _CROP / 2, 0), height - _CROP))
    return pixels[:, top : top + _CROP, left : left + _CROP]
