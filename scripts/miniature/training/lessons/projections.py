"""Lesson 2: an embedding of a photo to a look."""

import colorsys
import math
import random
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from ... import net
from ...looks import BEARD, HAIR, LENGTH, SIZE, SKIN
from ...net import Miniature
from ...unet import WIDTH
from ..pool import Pool
from .lesson import Lesson, Loss, device_of

BATCH = 256
NOISE = 0.004
"""Of embeddings, per number: two photos of a person are not quite the same."""
TOKEN_COST = 0.3
"""What an error of the tokens costs beside the same error of the patch."""
SHIRT_COMPONENTS = 7
"""Principal components of embeddings that the colour of the shirt depends on."""


class Whitening(NamedTuple):
    """Principal components of embeddings with unit variance, largest first.

    mean: (512,). matrix: (64, 512); applied to an embedding without the mean it gives the components.
    """

    mean: Tensor
    matrix: Tensor


def make_loss(model: Miniature, photos: Pool) -> Loss:
    """What patches say is a look, and the mean of a person's tokens begins with it."""
    device = device_of(model)
    whitening = whitening_of(photos.embeddings)
    shirts = shirt_colors((photos.embeddings - whitening.mean) @ whitening.matrix.T)
    embeddings = photos.embeddings.to(device)
    looks = torch.cat([photos.truth[:, :6], shirts, photos.truth[:, 6:]], dim=1).to(device)  # (n, 11)
    cost = reading_costs().to(device)

    def loss(_: random.Random) -> Tensor:
        rows = torch.randint(len(looks), (BATCH,))
        noise = NOISE * torch.randn(BATCH, net.EMBEDDING, device=device)
        noisy = functional.normalize(embeddings[rows] + noise, dim=-1)
        look_of_tokens = model.tokens(noisy).mean(1)[:, :SIZE]
        patch_error = (model.looks(noisy) - looks[rows]).square()
        token_error = (look_of_tokens - looks[rows]).square()
        return ((patch_error + TOKEN_COST * token_error) * cost).mean()

    return loss


def reading_costs() -> Tensor:
    """(11,): what an error in each number of a look costs where it is read from an embedding."""
    cost = torch.ones(SIZE)
    cost[HAIR] = 2.0
    cost[SKIN] = 2.0
    cost[LENGTH] = 0.3
    cost[BEARD] = 0.3
    return cost


@torch.no_grad()
def prepare(model: Miniature, photos: Pool) -> None:
    """Both projections begin with the principal components of the embeddings."""
    whitening = whitening_of(photos.embeddings)
    for projection in (model.patch_proj, model.prompt_proj):
        projection.proj_in.weight.copy_(whitening.matrix)
        projection.proj_in.bias.copy_(-whitening.matrix @ whitening.mean)


def whitening_of(embeddings: Tensor) -> Whitening:
    """Of embeddings (n, 512)."""
    mean = embeddings.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((embeddings - mean).T.double()))
    # eigh gives the smallest first.
    largest = values[-WIDTH:].flip(0)
    components = vectors[:, -WIDTH:].flip(1) / (largest + 1e-5).sqrt()
    return Whitening(mean, components.T.float().contiguous())


def shirt_colors(components: Tensor) -> Tensor:
    """(n, 64) principal components -> (n, 3): a vivid colour that is a function of the embedding, so that two photos of
    a person agree."""
    mixing = torch.randn(SHIRT_COMPONENTS, 3, generator=torch.Generator().manual_seed(3))
    mixing = mixing / math.sqrt(SHIRT_COMPONENTS)
    first, second, third = (components[:, :SHIRT_COMPONENTS].clamp(-2.5, 2.5) @ mixing).unbind(1)
    hues = (torch.atan2(first, second) / (2 * math.pi) % 1.0).tolist()
    values = (0.55 + 0.4 * torch.sigmoid(1.5 * third)).tolist()
    colors: list[tuple[float, float, float]] = []
    for hue, value in zip(hues, values, strict=True):
        colors.append(colorsys.hsv_to_rgb(hue, 0.72, value))
    return torch.tensor(colors)


LESSON = Lesson(
    make_loss,
    learns=("patch_proj.", "prompt_proj."),
    # net.py writes them.
    still=("patch_proj.proj_out.", "patch_proj.norm_out."),
    prepare=prepare,
)
