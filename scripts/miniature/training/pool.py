"""Drawn photos that the miniature learns from, as the recogniser sees them."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import recogniser
from . import portraits

PHOTOS = 14000
AT_ONCE = 500
TRAINED_ON = 1
"""Seed of the drawn people that the miniature learns from."""
HELD_OUT = 1_000_003
"""Seed of those that it has never seen."""


@dataclass(frozen=True)
class Pool:
    """embeddings: (n, 512). truth: (n, 8), how the photos are drawn: hair, skin, hair length, beard."""

    embeddings: Tensor
    truth: Tensor


def pool(seed: int, photos: int = PHOTOS) -> Pool:
    """So many drawn photos. It takes some milliseconds for each."""
    rng = random.Random(seed)
    embeddings: list[Tensor] = []
    truth: list[Tensor] = []
    for start in range(0, photos, AT_ONCE):
        crops, looks = portraits.draw(rng, min(AT_ONCE, photos - start))
        embeddings.append(recogniser.embed(crops))
        truth.append(looks)
    return Pool(torch.cat(embeddings), torch.cat(truth))
