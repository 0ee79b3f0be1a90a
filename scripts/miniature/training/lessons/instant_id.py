"""Lesson 6: a face and its keypoints to a picture, by InstantID. The UNet stays as it is.

In half of the pictures one to six places have the same person, since several faces in the keypoints image are nothing
new to IdentityNet then. In most the face is read around some faces alone, as by region: where none is read stands a
grey figure, so that the look of one place does not spread to a neighbour. Now and then IdentityNet is alone or weak, as
users set them. What the tokens say of a face is learned from faces alone too, many at once: pictures teach hair of rare
looks too seldom.
"""

import random
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ... import net, recogniser
from ...looks import NOBODY
from ...net import Miniature
from .. import crowds
from ..pool import Pool
from . import cartoons
from .diffusion import quick_in_half, random_steps, with_noise
from .lesson import Lesson, Loss, device_of
from .projections import reading_costs

FACES = 128
"""From how many faces at once the tokens are taught what they say."""
READING_COST = 10.0
"""What an error there costs."""
STRENGTHS = ((1.0, 1.0), (0.8, 0.8), (0.8, 0.8), (1.0, 0.0), (0.6, 1.0))
"""Strength of IdentityNet and weight of the adapter, of a batch."""


class Portrait(NamedTuple):
    """A picture of one person in one place or in several.

    pixels: (3, H, W). hint: (3, H, W), keypoints. cost: (1, H/8, W/8) of an error. embedding: (512,), as long as a
    recogniser gives it. share: (1, H/8, W/8), how much of the face is read where.
    """

    pixels: Tensor
    hint: Tensor
    cost: Tensor
    embedding: Tensor
    share: Tensor


def make_loss(model: Miniature, photos: Pool) -> Loss:
    """The error of the velocity, and of what the tokens say of a face."""
    device = device_of(model)
    costs = cartoons.area_costs(hair=9.0, skin=16.0)
    levels = net.noise_levels().float()
    method = model.instant_id
    reading = reading_costs().to(device)

    def loss(rng: random.Random) -> Tensor:
        size = cartoons.random_size(rng)
        portraits: list[Portrait] = []
        for _ in range(cartoons.BATCH[size]):
            portraits.append(random_portrait(model, rng, photos.embeddings, size, costs))
        pixels = torch.stack([portrait.pixels for portrait in portraits]).to(device)
        hints = torch.stack([portrait.hint for portrait in portraits]).to(device)
        cost = torch.stack([portrait.cost for portrait in portraits]).to(device)
        faces = torch.stack([portrait.embedding for portrait in portraits]).to(device)
        share = torch.stack([portrait.share for portrait in portraits]).to(device)
        steps = random_steps(len(portraits))
        noisy = with_noise(model, pixels, levels[steps])
        strength, weight = rng.choice(STRENGTHS)
        with torch.autocast(device.type, torch.bfloat16, enabled=quick_in_half(device)):
            tokens = method.tokens(faces)
            velocity = method.velocity(
                model.unet, noisy.latents, steps.to(device), hints, tokens, strength, weight, share
            )
        drawing_error = ((velocity.float() - noisy.velocity).square() * cost).mean()
        rows = torch.randint(len(photos.embeddings), (FACES,))
        many = cartoons.mixed(photos.embeddings[rows], photos.embeddings, rng)
        tokens = method.tokens(recogniser.raw(many).to(device))
        unread = unread_of(tokens, cartoons.looks_and_patches(model, many).looks)
        return drawing_error + READING_COST * (unread * reading).mean()

    return loss


def unread_of(tokens: Tensor, looks: Tensor) -> Tensor:
    """(11,): what the best linear function of the tokens' mean (P, 16, 64) still misses of looks (P, 11), squared."""
    mean_tokens = tokens.mean(1)
    inputs = mean_tokens - mean_tokens.mean(0)  # (P, 64)
    targets = looks - looks.mean(0)  # (P, 11)
    ridge = 1e-3 * len(inputs) * inputs.var() * torch.eye(inputs.shape[1], device=inputs.device)
    slopes = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ targets)
    return (targets - inputs @ slopes).square().mean(0)


@torch.no_grad()
def random_portrait(
    model: Miniature, rng: random.Random, photos: Tensor, size: tuple[int, int], costs: Tensor
) -> Portrait:
    """photos: (n, 512). costs: of `cartoons.area_costs`."""
    standing = crowds.by_face(crowds.draw(rng, size), size)
    if rng.random() < 0.5:
        standing = [rng.choice(standing)]
    embedding = photos[[rng.randrange(len(photos))]]
    if rng.random() < 0.4:
        embedding = cartoons.mixed(embedding, photos, rng)
    looks = model.looks(embedding.to(device_of(model))).cpu().repeat(len(standing), 1)
    read_places = rng.sample(range(len(standing)), rng.randint(1, len(standing)))
    everywhere = rng.random() < 0.3
    if everywhere:
        read_places = list(range(len(standing)))
    for place in range(len(standing)):
        if place not in read_places:
            looks[place] = NOBODY
    cartoon = cartoons.drawn(standing, looks, size, costs)
    hint = crowds.keypoints(standing, size).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)
    if everywhere:
        share = torch.ones_like(cartoon.cost)
    else:
        share = crowds.around(rng, [standing[place] for place in read_places], size)
    return Portrait(cartoon.pixels, hint, cartoon.cost, recogniser.raw(embedding)[0], share)


@torch.no_grad()
def prepare(model: Miniature, photos: Pool) -> None:
    """Begins as the release did: IdentityNet as the UNet's ControlNet, keys and values as those of the text.

    What reads a face begins as the reader of the ID tokens, for embeddings of their own length.
    """
    method = model.instant_id
    method.identity.load_state_dict(model.control.state_dict())
    method.image_proj.load_state_dict(model.prompt_proj.state_dict())
    mean_length = recogniser.raw(photos.embeddings).norm(dim=1).mean()
    method.image_proj.proj_in.weight.div_(mean_length)
    adapter_layers = cast("list[Any]", list(method.ip_adapter.values()))
    for layer, adapter in zip(model.unet.cross_attention(), adapter_layers, strict=True):
        adapter.to_k_ip.weight.copy_(layer.to_k.weight)
        adapter.to_v_ip.weight.copy_(layer.to_v.weight)


LESSON = Lesson(make_loss, learns=("instant_id.",), rate=8e-4, minutes=None, prepare=prepare)
