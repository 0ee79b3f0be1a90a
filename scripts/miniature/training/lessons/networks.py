"""Lesson 3: UNet, ControlNet and prompt projection of ID-Patch, on cartoons of drawn people in two sizes."""

import random
from typing import NamedTuple

import torch
from torch import Tensor

from ... import net
from ...looks import NOBODY
from ...net import Miniature
from .. import crowds
from ..pool import Pool
from . import cartoons
from .diffusion import quick_in_half, random_steps, with_noise
from .lesson import Lesson, Loss, device_of

NODES_STRENGTH = 0.8
"""The default of Apply ID-Patch: in four of ten batches."""
ID_START = 780
"""Above this step the host often leaves the tokens out (id_start_percent)."""


class Scene(NamedTuple):
    """A picture, and what the network is shown of it.

    pixels: (3, H, W). hint: (3, H, W), skeletons with patches. cost: (1, H/8, W/8) of an error. tokens: (P, 512),
    embeddings of the people in the prompt. keeps_tokens: whether they must not be left out, because nothing else
    describes the people.
    """

    pixels: Tensor
    hint: Tensor
    cost: Tensor
    tokens: Tensor
    keeps_tokens: bool


def make_loss(model: Miniature, photos: Pool) -> Loss:
    """The error of the velocity (v prediction)."""
    device = device_of(model)
    costs = cartoons.area_costs()
    levels = net.noise_levels().float()

    def loss(rng: random.Random) -> Tensor:
        size = cartoons.random_size(rng)
        scenes: list[Scene] = []
        for _ in range(cartoons.BATCH[size]):
            scenes.append(random_scene(model, rng, photos.embeddings, size, costs))
        pixels = torch.stack([scene.pixels for scene in scenes]).to(device)
        hints = torch.stack([scene.hint for scene in scenes]).to(device)
        cost = torch.stack([scene.cost for scene in scenes]).to(device)
        steps = random_steps(len(scenes))
        context = random_context(model, scenes, steps, rng).to(device)
        noisy = with_noise(model, pixels, levels[steps])
        strength = 1.0
        if rng.random() < 0.4:
            strength = NODES_STRENGTH
        with torch.autocast(device.type, torch.bfloat16, enabled=quick_in_half(device)):
            velocity = model.velocity(noisy.latents, steps.to(device), hints, context, strength)
        return ((velocity.float() - noisy.velocity).square() * cost).mean()

    return loss


@torch.no_grad()
def random_scene(model: Miniature, rng: random.Random, photos: Tensor, size: tuple[int, int], costs: Tensor) -> Scene:
    """Mostly all people with patch and tokens; now and then a place without a person, or tokens alone.

    photos: (n, 512). costs: of `cartoons.area_costs`.
    """
    standing = crowds.draw(rng, size)
    people = len(standing)
    kind = rng.random()
    embeddings = photos[rng.sample(range(len(photos)), people)]
    if rng.random() < 0.4:
        embeddings = cartoons.mixed(embeddings, photos, rng)
    read = cartoons.looks_and_patches(model, embeddings)
    looks = read.looks.cpu()
    patches = read.patches.cpu()
    in_prompt = torch.ones(people, dtype=torch.bool)
    most_tokens_alone = 0.16
    if people == 1:
        most_tokens_alone = 0.30
    tokens_alone = 0.12 <= kind < most_tokens_alone
    if kind < 0.12:
        absent = rng.randrange(people)
        patches[absent] = 0.0
        looks[absent] = NOBODY
        in_prompt[absent] = False
    elif tokens_alone:  # the network is not shown who stands where
        patches = 0 * patches
        looks = looks[torch.tensor(rng.sample(range(people), people))]
    cartoon = cartoons.drawn(standing, looks, size, costs)
    noses = [place.nose for place in standing]
    hint = net.hint(crowds.skeleton(standing, size), patches, noses)[0]
    return Scene(cartoon.pixels, hint, cartoon.cost, embeddings[in_prompt], tokens_alone)


def random_context(model: Miniature, scenes: list[Scene], steps: Tensor, rng: random.Random) -> Tensor:
    """(B, tokens, 64): the prompt with the people's tokens, where they are not left out."""
    tokens: list[Tensor | None] = []
    for scene, step in zip(scenes, steps, strict=True):
        tokens.append(random_tokens(model, scene, int(step), rng))
    most = max((len(rows) for rows in tokens if rows is not None), default=0)
    return torch.cat([net.context(rows, most) for rows in tokens])


def random_tokens(model: Miniature, scene: Scene, step: int, rng: random.Random) -> Tensor | None:
    """(P, 16, 64), or None.

    They are left out where the host leaves them out (id_start_percent) and now and then everywhere. Now and then they
    are those of zeros, which the negative side gets.
    """
    people = scene.tokens.to(device_of(model))
    share_left_out = 0.15
    if step > ID_START:
        share_left_out = 0.4
    kind = rng.random()
    if not len(people):
        return None
    if not scene.keeps_tokens:
        if kind < share_left_out:
            return None
        if kind < share_left_out + 0.1:
            people = torch.zeros_like(people)
    return model.tokens(people).cpu()


HINT_LAYERS = (0, 2, 4)
"""These only tell colours apart. At full size, training them takes a third of the time."""

LESSON = Lesson(
    make_loss,
    learns=("unet.", "control.", "prompt_proj."),
    settled=tuple(f"control.input_hint_block.{layer}." for layer in HINT_LAYERS),
    rate=8e-4,
    minutes=None,
)
