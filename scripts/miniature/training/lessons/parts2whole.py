"""Lesson 4: pictures of parts and a pose to the person who wears them, by Parts2Whole."""

import random
from typing import Any

import torch
from torch import Tensor

from ... import garments, parts2whole
from ...garments import Slot
from ...net import Miniature
from ...unet import WIDTH
from ..pool import Pool
from . import outfits
from .diffusion import with_first_steps
from .lesson import Lesson, Loss, device_of

VIEWS = 2
"""Poses of each outfit."""
FIRST_STEPS = 0.6
"""The share of examples that are a sampler's first step."""
PASSED_ON = 8
"""Channels by which the noise goes past all blocks: four of the latents, with both signs."""


def make_loss(model: Miniature, photos: Pool) -> Loss:
    """The error of both UNets and the pose guider, each outfit in two poses. An error counts as one of the picture."""
    device = device_of(model)
    levels = parts2whole.noise_levels().float()
    method = model.parts2whole

    def loss(rng: random.Random) -> Tensor:
        slots: list[list[Slot]] = []
        for _ in range(outfits.OUTFITS):
            slots.append(rng.sample(list(Slot), rng.choice((1, 2, 2, 3, 4))))
        standing = [garments.standing(rng) for _ in range(VIEWS * outfits.OUTFITS)]
        worn = outfits.worn(model, rng, slots, standing)
        poses = torch.stack([garments.surface(place) for place in standing]).to(device)
        noisy = with_first_steps(worn.clean, levels, FIRST_STEPS)
        seen: list[tuple[Tensor, Tensor]] = []
        for states, bias in method.seen(worn.parts, worn.pictures, worn.counts):
            seen.append((states.repeat_interleave(VIEWS, 0), bias.repeat_interleave(VIEWS, 0)))
        tokens = parts2whole.looked_at(worn.pictures, worn.counts).repeat_interleave(VIEWS, 0).to(device)
        noise = method.noise(noisy.latents, noisy.steps.to(device), seen, tokens, poses)
        target = (noisy.latents - noisy.kept.sqrt() * worn.clean) / (1 - noisy.kept).sqrt()
        return ((noise - target).square() * worn.cost * (1 / noisy.kept - 1)).mean()

    return loss


@torch.no_grad()
def prepare(model: Miniature, photos: Pool) -> None:
    """Begins as the release did: the reference as the denoiser.

    No word of a prompt says anything to the denoiser. The numbers of body parts, at most 24 of 255, become as loud as
    colours.
    """
    method = model.parts2whole
    guider: Any = method.pose_guider
    guider[0].weight[:, 2] *= 10
    for layer in method.unet.cross_attention():
        layer.to_k.weight.zero_()
        layer.to_v.weight.zero_()
    pass_noise_on(method.unet, guider[-1])
    method.reference.load_state_dict(method.unet.state_dict())


def pass_noise_on(unet: Any, pose: Any) -> None:
    """Let the input go past all blocks to the last layer.

    Noise is mostly what the network is given, and without this it needs hundreds of steps to learn so. The input goes
    with both signs, since silu(x) - silu(-x) = x.
    """
    first = unet.input_blocks[0][0]
    last_block = unet.output_blocks[-1]
    residual, transformer = last_block[0], last_block[1]
    out = unet.out[2]
    for layer in (first, pose, residual.skip_connection, residual.out_layers[3], transformer.proj_out):
        layer.weight[:PASSED_ON] = 0
        layer.bias[:PASSED_ON] = 0
    out.weight.zero_()
    out.bias.zero_()
    for row in range(PASSED_ON):
        sign = 1 - row % 2 * 2
        first.weight[row, row // 2, 1, 1] = sign
        residual.skip_connection.weight[row, WIDTH + row] = 1
        out.weight[row // 2, row, 1, 1] = 0.8 * sign


LESSON = Lesson(make_loss, learns=("parts2whole.",), rate=1.5e-3, minutes=None, prepare=prepare)
