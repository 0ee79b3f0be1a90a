"""Lesson 5: pictures of parts to the person who wears them, with a UNet that is its own reference.

No prompt and no pose says anything: the person who wears the parts always stands upright.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from ... import garments, net, parts2whole
from ...garments import Slot
from ...net import Miniature
from ...unet import WIDTH
from ..pool import Pool
from . import outfits
from .diffusion import with_first_steps
from .lesson import Lesson, Loss, device_of

FIRST_STEPS = 0.8
"""The share of examples that are a sampler's first step."""
CLOTHES = (Slot.UPPER, Slot.LOWER)
"""The parts of the template: in six of ten outfits."""


def make_loss(model: Miniature, photos: Pool) -> Loss:
    """The error of the velocity, of an outfit in one pose."""
    device = device_of(model)
    levels = net.noise_levels().float()
    unet = model.sharing
    empty_context = torch.zeros(1, 1, WIDTH, device=device)

    def loss(rng: random.Random) -> Tensor:
        slots = [random_slots(rng) for _ in range(2 * outfits.OUTFITS)]
        standing = [garments.UPRIGHT for _ in slots]
        worn = outfits.worn(model, rng, slots, standing)
        noisy = with_first_steps(worn.clean, levels, FIRST_STEPS)
        of_parts = empty_context.expand(len(worn.parts), -1, -1)
        unet.look_at(parts2whole.seen_by(unet, of_parts, worn.parts, worn.pictures, worn.counts))
        of_people = empty_context.expand(len(noisy.latents), -1, -1)
        velocity = unet(noisy.latents, noisy.steps.to(device), of_people)
        target = (noisy.kept.sqrt() * noisy.latents - worn.clean) / (1 - noisy.kept).sqrt()
        return ((velocity - target).square() * worn.cost).mean()

    return loss


def random_slots(rng: random.Random) -> Sequence[Slot]:
    """Of one outfit."""
    if rng.random() < 0.6:
        return CLOTHES
    return rng.sample(list(Slot), rng.randint(1, 4))


def prepare(model: Miniature, photos: Pool) -> None:
    """Begins as the UNet of the groups."""
    model.sharing.load_state_dict(model.unet.state_dict())


LESSON = Lesson(
    make_loss,
    learns=("sharing.",),
    # What need not change for one step without a prompt, and is not stored twice.
    still=("time_embed", "emb_layers", "attn2", "norm2", "input_blocks.1.0."),
    rate=1e-3,
    minutes=None,
    prepare=prepare,
)
