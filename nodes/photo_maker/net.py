"""PhotoMaker: a person's photos become tokens that are fused with the class word (man, woman) in the text.

Source: "PhotoMaker: Customizing Realistic Human Photos via Stacked ID Embedding" (arXiv 2312.04461) and its released
photomaker/model.py and model_v2.py (Apache-2.0). Module and parameter names are those of the authors' files, so that
one loads strictly; every size is read from the tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...core.models.tensors import State, below
from ...core.people import EMBEDDING
from ...core.projections.resampler import Perceiver

SIDE = 224
"""Of a photo in pixels, as CLIP sees it."""
HEAD_DIM = 128
"""Of v2's perceiver, fixed in the published file."""


class Mlp(nn.Module):
    """Norm, then two linear layers."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        (inside, width), out = state["fc1.weight"].shape, state["fc2.weight"].shape[0]
        self.layernorm = ops.LayerNorm(width, **factory)
        self.fc1 = ops.Linear(width, inside, **factory)
        self.act_fn = nn.GELU()
        self.fc2 = ops.Linear(inside, out, **factory)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act_fn(self.fc1(self.layernorm(x))))


class Fuse(nn.Module):
    """A class word and what the photos say of the person, in one token."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.mlp1 = Mlp(below("mlp1.", state), ops=ops, **factory)
        self.mlp2 = Mlp(below("mlp2.", state), ops=ops, **factory)
        self.layer_norm = ops.LayerNorm(len(state["layer_norm.weight"]), **factory)

    def forward(self, words: Tensor, tokens: Tensor) -> Tensor:
        """Twice (n, width), as the text encoders and `PhotoMakerNet.tokens` give them -> (n, width)."""
        fused = self.mlp1(torch.cat([words, tokens], dim=-1)) + words
        return self.layer_norm(self.mlp2(fused) + fused)


class FaceTokens(nn.Module):
    """v2's: the face's embedding as tokens, to which what they find in the photo is added."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        (inside, self.embedding), out = state["token_proj.0.weight"].shape, state["token_proj.2.weight"].shape[0]
        self.width = len(state["token_norm.weight"])
        self.token_proj = nn.Sequential(
            ops.Linear(self.embedding, inside, **factory), nn.GELU(), ops.Linear(inside, out, **factory)
        )
        self.token_norm = ops.LayerNorm(self.width, **factory)
        self.perceiver_resampler = Perceiver(
            below("perceiver_resampler.", state), ops=ops, head_dim=HEAD_DIM, **factory
        )

    def forward(self, faces: Tensor, seen: Tensor) -> Tensor:
        """Embeddings (n, 512) and CLIP's last states (n, 257, 1024) of as many photos -> (n, tokens, width)."""
        tokens = self.token_norm(self.token_proj(faces).unflatten(1, (-1, self.width)))
        return tokens + self.perceiver_resampler.found(seen, tokens)


class PhotoMakerNet(nn.Module):
    """The ID encoder of v1, or of v2 where the file has its perceiver.

    vision: makes the CLIP vision transformer, which returns (last states, ..., pooled).
    """

    def __init__(self, state: State, vision: Any, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.vision_model = vision(below("vision_model.", state), ops=ops, **factory)
        first, second = state["visual_projection.weight"].shape, state["visual_projection_2.weight"].shape
        self.visual_projection = ops.Linear(first[1], first[0], bias=False, **factory)
        self.visual_projection_2 = ops.Linear(second[1], second[0], bias=False, **factory)
        self.fuse_module = Fuse(below("fuse_module.", state), ops=ops, **factory)
        perceiver = below("qformer_perceiver.", state)
        self.qformer_perceiver = FaceTokens(perceiver, ops=ops, **factory) if perceiver else None
        self.width = first[0] + second[0]

    def tokens(self, pixels: Tensor, faces: Tensor | None) -> Tensor:
        """Photos (n, 3, 224, 224) as CLIP normalises them -> (n, 1, width), or of v2 (n, 2, width).

        faces: (n, 512), the embeddings in the same photos, which v2 alone reads.
        """
        seen, *_, pooled = self.vision_model(pixels)
        if self.qformer_perceiver is not None:
            return self.qformer_perceiver(faces, seen)
        return torch.cat([self.visual_projection(pooled), self.visual_projection_2(pooled)], dim=-1)[:, None]

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Raises RuntimeError where sizes do not fit each other."""
        faces = zeros(1, EMBEDDING) if self.qformer_perceiver is not None else None
        tokens = self.tokens(zeros(1, 3, SIDE, SIDE), faces).flatten(0, 1)
        self.fuse_module(zeros(tokens.shape), tokens)
