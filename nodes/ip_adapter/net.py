"""One IP-Adapter file as a network: what it reads becomes tokens, and these keys and values of every layer.

Source: IP-Adapter (arXiv 2308.06721) and its released files (Apache-2.0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import LikenessError, listed
from ...core.models.tensors import State, below
from ...core.people import EMBEDDING
from ...core.projections.embeddings import EmbeddingProjection, FacePlusProjection
from ...core.projections.layers import AdapterLayers
from ...core.projections.resampler import Resampler
from .variants import variant

_MOST = 4096
"""Tokens per person: for SDXL their keys and values already take gigabytes."""


class UnevenPhotos(LikenessError):
    """People whose numbers of photos have so large a common multiple that the memory would not do."""

    def __init__(self, counts: Sequence[int], tokens: int) -> None:
        super().__init__(
            f"With every photo as tokens of its own, people of {listed(counts)} tokens need {tokens} each to count "
            f"equally; {_MOST} are the most.",
            "Give each person the same number of photos, or set photos to mean.",
        )


class FullProjection(nn.Module):
    """CLIP's hidden states (B, n, embedding) -> (B, n, width): as many tokens as states, with the sizes of `state`.

    Unconditional: the states of a picture that is zero after normalisation. Source: ip_adapter.py: MLPProjModel.
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


def _projection(state: State) -> type[nn.Module]:
    """Of the part of a file that makes tokens, told by its keys."""
    if "latents" in state:
        return Resampler
    if "proj.3.weight" in state:
        return FullProjection
    return FacePlusProjection if "perceiver_resampler.proj_in.weight" in state else EmbeddingProjection


class IPAdapterNet(nn.Module):
    """state: "image_proj.*" and "ip_adapter.<odd n>.to_{k,v}_ip.weight", n counting as diffusers counts attentions."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        projection = below("image_proj.", state)
        # One of the files has its projection in twice as many bits as its layers.
        own = {**factory, "dtype": next(iter(projection.values())).dtype}
        self.image_proj = _projection(projection)(projection, ops=ops, **own)
        self.ip_adapter = AdapterLayers(below("ip_adapter.", state), ops=ops, **factory)
        self.variant = variant(state)

    @property
    def width(self) -> int:
        """Of one token: the text width of the models this file is made for."""
        return self.ip_adapter.width

    @property
    def seen(self) -> int:
        """Width of what it reads of CLIP."""
        projection: Any = self.image_proj
        return getattr(projection, "perceiver_resampler", projection).embedding

    def tokens(self, embeddings: Tensor | None, seen: Tensor | None, shortcut: float | None) -> Tensor:
        """Of n photos of one person, (1, tokens, width).

        embeddings: (n, 512), seen: (n, ...) by CLIP; None for what the file does not read. shortcut: as in
        FacePlusProjection. Unnorm makes one set of tokens of all photos, others a set of each, one after the other.
        """
        if embeddings is None:
            each = self.image_proj(seen)
        elif seen is not None:
            each = self.image_proj(embeddings, seen, shortcut)
        else:
            each = self.image_proj(embeddings[None] if isinstance(self.image_proj, Resampler) else embeddings)
        return each.flatten(0, 1)[None]

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Raises RuntimeError where sizes do not fit each other."""
        face = zeros(1, EMBEDDING) if self.variant.embedding else None
        shape = (1, 1, self.seen) if self.variant.clip == "states" else (1, self.seen)
        seen = zeros(shape) if self.variant.clip else None
        self.ip_adapter.keys_and_values(self.tokens(face, seen, 1.0))


def alike(each: Sequence[Tensor]) -> Tensor:
    """Tokens (1, n, width) of people with different n as (people, tokens, width).

    Attention weighs tokens against each other: all of one person repeated alike give exactly the same. Raises
    UnevenPhotos.
    """
    counts = [tokens.shape[1] for tokens in each]
    length = math.lcm(*counts)
    if length > max(_MOST, *counts):
        raise UnevenPhotos(counts, length)
    return torch.cat([tokens.repeat(1, length // count, 1) for tokens, count in zip(each, counts, strict=True)])
