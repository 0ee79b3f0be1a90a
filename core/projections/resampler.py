"""The Perceiver of IP-Adapter and of methods after it: queries look at n embeddings or states, and become tokens.

Module and parameter names are those of the authors' files, so that a checkpoint loads strictly; every size is read from
the tensors.
Source: IP-Adapter, ip_adapter/resampler.py (Apache-2.0), after the Flamingo paper, section 3.1.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ..models.tensors import State

HEAD_DIM = 64
"""Fixed in every published file but PhotoMaker's; the number of heads follows from the width of to_q."""


class PerceiverAttention(nn.Module):
    """Latents attend to the inputs and to themselves."""

    def __init__(self, width: int, inner: int, head_dim: int, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.norm1 = ops.LayerNorm(width, **factory)
        self.norm2 = ops.LayerNorm(width, **factory)
        self.to_q = ops.Linear(width, inner, bias=False, **factory)
        self.to_kv = ops.Linear(width, inner * 2, bias=False, **factory)
        self.to_out = ops.Linear(inner, width, bias=False, **factory)

    def forward(self, inputs: Tensor, latents: Tensor) -> Tensor:
        """inputs (B, n, width), latents (B, queries, width) -> (B, queries, width)."""
        latents = self.norm2(latents)
        attended = torch.cat([self.norm1(inputs), latents], dim=1)
        key, value = self.to_kv(attended).chunk(2, dim=-1)
        query, key, value = (_split_heads(x, self.head_dim) for x in (self.to_q(latents), key, value))
        out = functional.scaled_dot_product_attention(query, key, value)
        return self.to_out(out.transpose(1, 2).flatten(2))


def _split_heads(x: Tensor, dim: int) -> Tensor:
    return x.reshape(*x.shape[:2], -1, dim).transpose(1, 2)  # B T heads*dim -> B heads T dim


class ResamplerLayer(nn.ModuleList):
    """Attention, then feed-forward, each added to what goes in. A list, because the files call the two 0 and 1."""

    def __init__(self, *, width: int, inner: int, feed_forward: int, head_dim: int, ops: Any, **factory: Any) -> None:
        super().__init__(
            [
                PerceiverAttention(width, inner, head_dim, ops=ops, **factory),
                nn.Sequential(
                    ops.LayerNorm(width, **factory),
                    ops.Linear(width, feed_forward, bias=False, **factory),
                    nn.GELU(),
                    ops.Linear(feed_forward, width, bias=False, **factory),
                ),
            ]
        )

    def forward(self, inputs: Tensor, latents: Tensor) -> Tensor:
        attention, feed_forward = self
        latents = attention(inputs, latents) + latents
        return feed_forward(latents) + latents


class Perceiver(nn.Module):
    """Queries (B, q, inside) look at inputs (B, n, embedding) -> (B, q, width), with the sizes of `state`; its weights
    are not loaded.

    KeyError names the key that is missing.
    """

    def __init__(self, state: State, *, ops: Any, head_dim: int = HEAD_DIM, **factory: Any) -> None:
        super().__init__()
        inside, self.embedding = state["proj_in.weight"].shape
        self.width = len(state["proj_out.weight"])
        inner, feed_forward = state["layers.0.0.to_q.weight"].shape[0], state["layers.0.1.1.weight"].shape[0]
        depth = len({key.split(".")[1] for key in state if key.startswith("layers.")})
        self.proj_in = ops.Linear(self.embedding, inside, **factory)
        self.proj_out = ops.Linear(inside, self.width, **factory)
        self.norm_out = ops.LayerNorm(self.width, **factory)
        self.layers = nn.ModuleList(
            ResamplerLayer(width=inside, inner=inner, feed_forward=feed_forward, head_dim=head_dim, ops=ops, **factory)
            for _ in range(depth)
        )

    def found(self, inputs: Tensor, queries: Tensor) -> Tensor:
        """What the queries find in the inputs."""
        inputs = self.proj_in(inputs)
        for layer in self.layers:
            queries = layer(inputs, queries)
        return self.norm_out(self.proj_out(queries))


class Resampler(Perceiver):
    """(B, n, embedding) -> (B, tokens, width), with the sizes of `state` and queries of its own."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__(state, ops=ops, **factory)
        _, self.tokens, inside = state["latents"].shape
        self.latents = nn.Parameter(torch.empty(1, self.tokens, inside, **factory))

    def forward(self, embeddings: Tensor) -> Tensor:
        """embeddings (B, n, embedding) of n photos of each of B people -> tokens (B, tokens, width)."""
        # A bare parameter is outside the host's cast-on-use layers, hence the explicit cast.
        return self.found(embeddings, self.latents.to(embeddings).expand(len(embeddings), -1, -1))
