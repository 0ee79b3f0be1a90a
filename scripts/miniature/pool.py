"""Drawn photos, as the recogniser sees them."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from . import portraits, recogniser

AT_ONCE = 500
HELD_OUT = 1_000_003
"""Seed of drawn people that the miniature has never seen."""


@dataclass(frozen=True)
class Pool:
    """embeddings: (n, 512). truth: (n, 8), how the photos are drawn: hair, skin, hair length, beard."""

    embeddings: Tensor
    truth: Tensor


def pool(seed: int, photos: int) -> Pool:
    """So many drawn photos. It takes some milliseconds for each."""
    rng = random.Random(seed)
    embeddings: list[Tensor] = []
    truth: list[Tensor] = []
    for start in range(0, photos, AT_ONCE):
        crops, looks = portraits.draw(rng, min(AT_ONCE, photos - start))
        embeddings.append(recogniser.embed(crops))
        truth.append(looks)
    return Pool(torch.cat(embeddings), torch.cat(truth))
