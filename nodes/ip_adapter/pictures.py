"""IP-Adapter plain and full-face: what CLIP vision sees of a picture becomes tokens. Plus is core.resampler.

Module and parameter names are those of the authors' files, so that a checkpoint loads strictly; every size is read
from the tensors.
Source: IP-Adapter (arXiv 2308.06721), ip_adapter/ip_adapter.py (Apache-2.0): ImageProjModel and MLPProjModel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...core.models.tensors import State
from ...core.pictures import as_rgb

PAD, CROP = "pad", "crop"
MEAN = (0.48145466, 0.4578275, 0.40821073)
"""The colour that CLIP is given as zero."""


def fitted(images: Tensor, fit: str) -> Tensor:
    """Pictures (B, H, W, C) 0..1 -> (B, H, W, 3), square with `fit` PAD: bars of the mean colour, of which CLIP sees
    nothing. With CROP as they are: CLIP vision takes the square in the middle."""
    pictures = as_rgb(images)
    high, wide = pictures.shape[1:3]
    if fit == CROP or high == wide:
        return pictures
    side = max(high, wide)
    squares = torch.tensor(MEAN).expand(len(pictures), side, side, 3).clone()
    top, left = (side - high) // 2, (side - wide) // 2
    squares[:, top : top + high, left : left + wide] = pictures
    return squares


class ImageProjection(nn.Module):
    """CLIP's embeddings (B, embedding) -> (B, tokens, width), with the sizes of `state`; its weights are not loaded.

    KeyError names the key that is missing. Unconditional: zeros as embeddings.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        out, self.embedding = state["proj.weight"].shape
        self.width = len(state["norm.weight"])
        self.tokens = out // self.width
        self.proj = ops.Linear(self.embedding, out, **factory)
        self.norm = ops.LayerNorm(self.width, **factory)

    def forward(self, embeds: Tensor) -> Tensor:
        return self.norm(self.proj(embeds).unflatten(-1, (self.tokens, self.width)))


class FullProjection(nn.Module):
    """CLIP's hidden states (B, n, embedding) -> (B, n, width): as many tokens as states; else as ImageProjection.

    Unconditional: the states of a picture that is zero after normalisation.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        inside, self.embedding = state["proj.0.weight"].shape
        self.width = len(state["proj.2.weight"])
        self.proj = nn.Sequential(
            ops.Linear(self.embedding, inside, **factory),
            nn.GELU(),
            ops.Linear(inside, self.width, **factory),
            ops.LayerNorm(self.width, **factory),
        )

    def forward(self, states: Tensor) -> Tensor:
        return self.proj(states)
