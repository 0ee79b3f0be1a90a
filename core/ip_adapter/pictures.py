"""IP-Adapter plain and full-face: what CLIP vision sees of a picture becomes tokens. Plus is core.resampler.

Module and parameter names are those of the authors' files, so that a checkpoint loads strictly; every size is read
from the tensors.
Source: IP-Adapter (arXiv 2308.06721), ip_adapter/ip_adapter.py (Apache-2.0): ImageProjModel and MLPProjModel.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..models.tensors import State


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
