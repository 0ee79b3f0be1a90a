"""Training, part 2: both projections, from embeddings of drawn photos to looks. Minutes, and no pictures.

Afterwards the patch projection is fixed: what it says of a photo is the truth that the cartoons are drawn from.
"""

from __future__ import annotations

import colorsys
import math
import random
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from .. import recogniser
from ..looks import BEARD, HAIR, LENGTH, SHIRT, SIZE, SKIN
from ..net import Miniature
from ..unet import WIDTH
from . import portraits

PHOTOS = 14000
_CHUNK, _BATCH, _RATE = 500, 256, 2e-3
_JITTER = 0.004


@dataclass(frozen=True)
class Pool:
    """Drawn photos, as the recogniser sees them and as they are."""

    embeddings: Tensor
    """(n, 512)."""
    truth: Tensor
    """(n, 8): hair, skin, hair length, beard."""


def pool(seed: int, photos: int = PHOTOS) -> Pool:
    """Some milliseconds per photo."""
    rng = random.Random(seed)
    drawn = [portraits.draw(rng, min(_CHUNK, photos - start)) for start in range(0, photos, _CHUNK)]
    return Pool(torch.cat([recogniser.embed(crops) for crops, _ in drawn]), torch.cat([truth for _, truth in drawn]))


def fit(net: Miniature, known: Pool, steps: int = 4000) -> float:
    """Train patch_proj up to its bands, and prompt_proj so that looks can be read linearly; returns the last loss."""
    mean, whitening = _whitening(known.embeddings)
    with torch.no_grad():
        for projection in (net.patch_proj, net.prompt_proj):
            projection.proj_in.weight.copy_(whitening)
            projection.proj_in.bias.copy_(-whitening @ mean)
    shirts = _shirts((known.embeddings - mean) @ whitening.T)
    looks = torch.cat([known.truth[:, :6], shirts, known.truth[:, 6:]], dim=1)
    read = nn.Linear(WIDTH, SIZE)
    written = ("proj_out", "norm_out")
    weights = [weight for name, weight in net.patch_proj.named_parameters() if not name.startswith(written)]
    weights += [*net.prompt_proj.parameters(), *read.parameters()]
    optimiser = torch.optim.AdamW(weights, _RATE, betas=(0.9, 0.99), weight_decay=1e-2)
    cost = _cost()
    loss = torch.zeros(())
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = _RATE * min(1, (step + 1) / 50) * (1 - step / steps) + 1e-5
        rows = torch.randint(len(looks), (_BATCH,))
        seen = functional.normalize(known.embeddings[rows] + _JITTER * torch.randn(_BATCH, 512), dim=-1)
        told = read(net.tokens(seen).mean(1))
        loss = ((net.looks(seen) - looks[rows]).square() * cost).mean()
        loss = loss + 0.3 * ((told - looks[rows]).square() * cost).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item()


def _cost() -> Tensor:
    """What an error costs: colours of a photo most, what only some photos show least."""
    cost = torch.ones(SIZE)
    cost[HAIR] = cost[SKIN] = 2.0
    cost[SHIRT] = 1.0
    cost[LENGTH] = cost[BEARD] = 0.3
    return cost


def _whitening(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """(512,) mean and (64, 512): principal components of unit variance, largest first."""
    mean = embeddings.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((embeddings - mean).T.double()))
    kept = vectors[:, -WIDTH:].flip(1) / (values[-WIDTH:].flip(0) + 1e-5).sqrt()
    return mean, kept.T.float().contiguous()


def _shirts(whitened: Tensor) -> Tensor:
    """(n, 64) -> (n, 3): a vivid colour that is a function of the embedding, so that two photos of a person agree."""
    mixing = torch.randn(7, 3, generator=torch.Generator().manual_seed(3)) / math.sqrt(7)
    first, second, third = (whitened[:, :7].clamp(-2.5, 2.5) @ mixing).unbind(1)
    hues = (torch.atan2(first, second) / (2 * math.pi) % 1.0).tolist()
    values = (0.55 + 0.4 * torch.sigmoid(1.5 * third)).tolist()
    return torch.tensor([colorsys.hsv_to_rgb(hue, 0.72, value) for hue, value in zip(hues, values, strict=True)])
