"""People behind the blocks of a transformer: what all rows of the picture read of them, made once per person."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from .projections import AttentionLayers


class BlockTokens(NamedTuple):
    """The tokens of people as the picture reads them after one block. The first dimension of each field is the people.

    With the layers of a file, a row of the picture (one of its tokens) is normed (norm2) and projected to a query
    (to_q). The query is multiplied with the keys of the people's tokens (to_kv), and what it reads of their values is
    projected back (to_out). r is the square root of a head's width. In each head:

        logits = to_q(gain * normed + bias) . key / r
               = normed . (gain * to_q^T key / r)  +  bias . (to_q^T key / r)
               = normed . keys                     +  offset
        added  = to_out(softmax(logits) value)  =  softmax(logits) to_out(value)  =  softmax(logits) values

    So both projections, which are linear, can be made part of the tokens, and no weight of the file is needed per step.
    With 8 tokens in each of 24 heads `keys` has 192 rows for a person, an eighth of the 1536 rows of to_q; likewise
    values and to_out.

    keys: (people, heads, T, width), with gain, to_q and 1/r in them. offset: (people, heads, T), what the bias of norm2
    adds to the logits. values: (people, heads, T, width), with to_out in them.
    """

    keys: Tensor
    offset: Tensor
    values: Tensor

    def weighted(self, weights: Tensor, dtype: torch.dtype) -> BlockTokens:
        """The same tokens on the CPU and in this dtype, with the values times the weights of the people, (people,)."""
        values = self.values * weights.to(self.values)[:, None, None, None]  # (people, heads, T, width)
        return BlockTokens(self.keys.to("cpu", dtype), self.offset.to("cpu", dtype), values.to("cpu", dtype))


class BlockAttention(AttentionLayers):
    """The attention after one block of a transformer, in which rows of the picture read the tokens of people.

    Unlike the latents of a Perceiver, which has the same layers, the rows do not read each other.
    """

    def read_by_picture(self, tokens: Tensor) -> BlockTokens:
        """The keys and values of people's tokens for one block, with both projections in them, see BlockTokens.

        tokens: (people, T, input_width).
        """
        keys, values = self.to_kv(self.norm1(tokens)).chunk(2, dim=-1)  # (people, T, inner) each
        # The host casts weights where it calls their layer. These are used without a call, hence the explicit casts.
        to_query = self.to_q.weight.to(tokens).unflatten(0, (-1, self.head_dim))  # (heads, head_dim, width)
        to_picture = self.to_out.weight.T.to(tokens).unflatten(0, (-1, self.head_dim))  # (heads, head_dim, width)
        projected = self.in_heads(keys) @ to_query / self.head_dim**0.5  # (people, heads, T, width): to_q^T key / r
        return BlockTokens(
            keys=projected * self.norm2.weight.to(tokens),
            offset=projected @ self.norm2.bias.to(tokens),
            values=self.in_heads(values) @ to_picture,
        )


def read_tokens(rows: Tensor, keys: Tensor, offset: Tensor, values: Tensor) -> Tensor:
    """What rows of the picture read of one person after one block, which is added to the rows: (..., width).

    rows: (..., width). keys, offset, values: the fields of a BlockTokens for this person, (heads, T, width), (heads, T)
    and (heads, T, width).
    """
    normed = functional.layer_norm(rows, rows.shape[-1:])  # norm2 without its gain and bias, which the tokens have
    logits = normed @ keys.flatten(0, 1).T  # (..., heads * T)
    logits = logits.reshape(*rows.shape[:-1], *offset.shape)  # (..., heads, T)
    logits = logits + offset
    weights = logits.softmax(dim=-1).flatten(-2)  # (..., heads * T)
    return weights @ values.flatten(0, 1)
