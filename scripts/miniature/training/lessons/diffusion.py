"""Noise for training: which steps are shown, noisy latents and what is to be predicted from them."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...net import Miniature

STEPS = 1000
LAST_STEP = STEPS - 1
"""The noisiest: a sampler begins with it."""


class Noisy(NamedTuple):
    """latents: (B, 4, h, w) with noise. velocity: what a network that predicts v is to answer, of the same shape."""

    latents: Tensor
    velocity: Tensor


class FirstSteps(NamedTuple):
    """Examples of which many are the first step of a sampler.

    steps: (B,). latents: (B, 4, h, w) with noise. kept: (B, 1, 1, 1), the share of the picture that is left, squared.
    """

    steps: Tensor
    latents: Tensor
    kept: Tensor


def random_steps(count: int) -> Tensor:
    """(count,): six in ten are noisy ones, at which the colours are decided."""
    noisy = torch.rand(count) < 0.6
    return torch.where(noisy, torch.randint(650, STEPS, (count,)), torch.randint(STEPS, (count,)))


@torch.no_grad()
def with_noise(model: Miniature, pixels: Tensor, kept: Tensor) -> Noisy:
    """Latents of pictures with noise. pixels: (B, 3, H, W). kept: (B,), how much of each is left, squared."""
    clean = model.encoder(pixels)
    kept = kept.view(-1, 1, 1, 1).to(clean)
    noise = torch.randn_like(clean)
    latents = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * clean
    return Noisy(latents, velocity)


def with_first_steps(clean: Tensor, levels: Tensor, first: float) -> FirstSteps:
    """Latents (B, 4, h, w) with noise.

    levels: (1000,), how much of a picture is left at each step, squared. first: the share of examples that are a
    sampler's first step. A sampler begins with noise alone; the last step of the schedule leaves some of the picture.
    """
    steps = random_steps(len(clean))
    noise = torch.randn_like(clean)
    steps[torch.rand(len(clean)) < first] = LAST_STEP
    kept = levels[steps].view(-1, 1, 1, 1).to(clean)
    begins = (steps == LAST_STEP).view(-1, 1, 1, 1).to(clean.device)
    mixed = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    return FirstSteps(steps, torch.where(begins, noise, mixed), kept)


def quick_in_half(device: torch.device) -> bool:
    """Whether bf16 is used. A processor without it takes 13 times as long."""
    return device.type == "cuda" or bool(torch.cpu.get_capabilities().get("avx512_bf16"))
