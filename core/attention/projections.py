"""Modules that several published methods have: the Perceiver, projections of embeddings, layers of adapters.

Module and parameter names are those of the authors' files, so that a checkpoint loads strictly; every size is read from
the tensors. Source: IP-Adapter (arXiv 2308.06721, section 3.2.2; Apache-2.0): ip_adapter/resampler.py, after the
Flamingo paper, section 3.1; ip_adapter.py: ImageProjModel; ip_adapter_faceid.py: MLPProjModel and ProjPlusModel, of
which Unnorm is a Resampler here; the keys of its released files.
"""

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ..models.tensors import State, below

HEAD_DIM = 64
"""Fixed in every published file but PhotoMaker's; the number of heads follows from the width of to_q."""


class AttentionLayers(nn.Module):
    """The layers of a cross-attention.

    width: of what reads. input_width: of what is read. inner: of all heads together. head_dim: of one head.
    """

    def __init__(self, width: int, input_width: int, inner: int, head_dim: int, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.norm1 = ops.LayerNorm(input_width, **factory)
        self.norm2 = ops.LayerNorm(width, **factory)
        self.to_q = ops.Linear(width, inner, bias=False, **factory)
        self.to_kv = ops.Linear(input_width, inner * 2, bias=False, **factory)
        self.to_out = ops.Linear(inner, width, bias=False, **factory)

    def in_heads(self, tokens: Tensor) -> Tensor:
        """Tokens with a dimension for the heads: (B, T, heads * dim) -> (B, heads, T, dim)."""
        batch, count, inner = tokens.shape
        return tokens.reshape(batch, count, inner // self.head_dim, self.head_dim).transpose(1, 2)


class PerceiverAttention(AttentionLayers):
    """Cross-attention in which queries, which the papers call latents, attend to the inputs and to themselves."""

    def forward(self, inputs: Tensor, latents: Tensor) -> Tensor:
        """What the latents read of the inputs and of themselves, (B, queries, width).

        inputs: (B, n, width). latents: (B, queries, width).
        """
        latents = self.norm2(latents)
        attended = torch.cat([self.norm1(inputs), latents], dim=1)  # (B, n + queries, width)
        query = self.in_heads(self.to_q(latents))
        key, value = self.to_kv(attended).chunk(2, dim=-1)
        out = functional.scaled_dot_product_attention(query, self.in_heads(key), self.in_heads(value))
        return self.to_out(out.transpose(1, 2).flatten(2))


class ResamplerLayer(nn.ModuleList):
    """Attention, then feed-forward, each added to what goes in. A list, because the files call the two 0 and 1."""

    def __init__(self, *, width: int, inner: int, feed_forward: int, head_dim: int, ops: Any, **factory: Any) -> None:
        super().__init__(
            [
                PerceiverAttention(width, width, inner, head_dim, ops=ops, **factory),
                nn.Sequential(
                    ops.LayerNorm(width, **factory),
                    ops.Linear(width, feed_forward, bias=False, **factory),
                    nn.GELU(),
                    ops.Linear(feed_forward, width, bias=False, **factory),
                ),
            ]
        )

    def forward(self, inputs: Tensor, latents: Tensor) -> Tensor:
        """inputs (B, n, width), latents (B, queries, width) -> (B, queries, width)."""
        attention, feed_forward = self
        latents = attention(inputs, latents) + latents
        return feed_forward(latents) + latents


class Perceiver(nn.Module):
    """Queries (B, q, inside) attend to inputs (B, n, embedding) -> (B, q, width).

    state: the tensors of a file, of which only the sizes are read here; the caller loads the weights.
    Raises KeyError with the key that the file lacks.
    """

    def __init__(self, state: State, *, ops: Any, head_dim: int = HEAD_DIM, **factory: Any) -> None:
        super().__init__()
        inside, self.embedding = state["proj_in.weight"].shape
        self.width = len(state["proj_out.weight"])
        inner = state["layers.0.0.to_q.weight"].shape[0]
        feed_forward = state["layers.0.1.1.weight"].shape[0]  # of the first Linear of a ResamplerLayer's Sequential
        depth = len({key.split(".")[1] for key in state if key.startswith("layers.")})
        self.proj_in = ops.Linear(self.embedding, inside, **factory)
        self.proj_out = ops.Linear(inside, self.width, **factory)
        self.norm_out = ops.LayerNorm(self.width, **factory)
        self.layers = nn.ModuleList(
            ResamplerLayer(width=inside, inner=inner, feed_forward=feed_forward, head_dim=head_dim, ops=ops, **factory)
            for _ in range(depth)
        )

    def attended(self, inputs: Tensor, queries: Tensor) -> Tensor:
        """The queries after they have attended to the inputs, (B, q, width). inputs: (B, n, embedding). queries: (B, q,
        inside)."""
        inputs = self.proj_in(inputs)
        for layer in self.layers:
            queries = layer(inputs, queries)
        return self.norm_out(self.proj_out(queries))


class Resampler(Perceiver):
    """A Perceiver with queries of its own: (B, n, embedding) -> (B, tokens, width), in the sizes of `state`."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__(state, ops=ops, **factory)
        _, self.tokens, inside = state["latents"].shape
        self.latents = nn.Parameter(torch.empty(1, self.tokens, inside, **factory))

    def forward(self, embeddings: Tensor) -> Tensor:
        """embeddings (B, n, embedding) of n photos of each of B people -> tokens (B, tokens, width)."""
        # A bare parameter is outside the host's cast-on-use layers, hence the explicit cast.
        return self.attended(embeddings, self.latents.to(embeddings).expand(len(embeddings), -1, -1))


_KEYS = ("to_k_ip.weight", "to_v_ip.weight")


class AdapterLayer(nn.Module):
    """Keys and values of the image tokens for one cross-attention layer."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        out, width = state["to_k_ip.weight"].shape
        self.to_k_ip = ops.Linear(width, out, bias=False, **factory)
        self.to_v_ip = ops.Linear(width, out, bias=False, **factory)


class AdapterLayers(nn.ModuleDict):
    """Keys and values of image tokens for every cross-attention layer.

    state: "<odd n>.to_{k,v}_ip.weight", where n counts attention layers as diffusers does: even ones are self-attention
    and have no image tokens. Other keys are ignored.
    widths: of the queries each layer is made for, in diffusers' order. width: of one token, the text width of the
    models the file is made for.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        numbers = sorted({int(key.split(".")[0]) for key in state if key.endswith(_KEYS)})
        for number in numbers:
            self[str(number)] = AdapterLayer(below(f"{number}.", state), ops=ops, **factory)
        key_weights = [state[f"{number}.to_k_ip.weight"] for number in numbers]  # (width of queries, width of tokens)
        self.widths = [len(weight) for weight in key_weights]
        self.width = key_weights[0].shape[1]

    def keys_and_values(self, tokens: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Tokens (people, T, width) -> per layer ((people, T, C), (people, T, C)), in diffusers' order."""
        layers = [layer for layer in self.values() if isinstance(layer, AdapterLayer)]
        return [(layer.to_k_ip(tokens), layer.to_v_ip(tokens)) for layer in layers]


class EmbeddingProjection(nn.Module):
    """Embeddings (B, embedding) or (B, 1, embedding) -> (B, tokens, width). Unconditional: zeros as embeddings.

    state: "norm.*", and "proj.*" of one layer or "proj.{0,2}.*" of two. Only the sizes of its tensors are read here;
    the caller loads the weights. Raises KeyError with the key that the file lacks.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        if "proj.weight" in state:
            out, self.embedding = state["proj.weight"].shape
            self.proj = ops.Linear(self.embedding, out, **factory)
        else:
            inside, self.embedding = state["proj.0.weight"].shape
            out = len(state["proj.2.weight"])
            first = ops.Linear(self.embedding, inside, **factory)
            self.proj = nn.Sequential(first, nn.GELU(), ops.Linear(inside, out, **factory))
        self.width = len(state["norm.weight"])
        self.tokens = out // self.width
        self.norm = ops.LayerNorm(self.width, **factory)

    def forward(self, embeddings: Tensor) -> Tensor:
        """The tokens of embeddings: (B, embedding) or (B, 1, embedding) -> (B, tokens, width)."""
        return self.norm(self.proj(embeddings).reshape(len(embeddings), self.tokens, self.width))


class FacePlusProjection(EmbeddingProjection):
    """An EmbeddingProjection whose tokens also look at CLIP's hidden states of the face, (B, n, 1280).

    Unconditional: zeros as embeddings, and the states of a picture that is zero after normalisation.
    """

    def __init__(self, state: State, *, ops: Any, head_dim: int = HEAD_DIM, **factory: Any) -> None:
        super().__init__(state, ops=ops, **factory)
        perceiver = below("perceiver_resampler.", state)
        self.perceiver_resampler = Perceiver(perceiver, ops=ops, head_dim=head_dim, **factory)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, embeddings: Tensor, states: Tensor, shortcut: float | None = 1.0
    ) -> Tensor:
        """The tokens of embeddings and of hidden states of CLIP: (B, tokens, width).

        embeddings: (B, embedding) or (B, 1, embedding). states: (B, n, 1280). shortcut: how much of what is found in
        the states is added to the tokens, as in version 2; None where it replaces them, as in version 1.
        """
        tokens = super().forward(embeddings)
        # The tokens are the queries of the Perceiver.
        from_states = self.perceiver_resampler.attended(states, tokens)  # (B, tokens, width)
        if shortcut is None:
            return from_states
        return tokens + shortcut * from_states
