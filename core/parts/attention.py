"""Self-attention that also looks at parts, and how much of it goes to each.

The attention kernel is an argument: attend(q, k, v) with (B, N, heads * d) tensors, (B, N, heads * d) out.
Source: Parts2Whole (arXiv 2404.15267), section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..attention import Attend

Scored = Callable[[Tensor, Tensor, Tensor], Sequence[Tensor]]
"""kernel(q, k, v), each (B, heads, N, d): the same, then per query the logarithm of the sum of its exponentials,
(B, heads, N)."""


def shared(query: Tensor, own: tuple[Tensor, Tensor], parts: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
    """Self-attention over one's own tokens and those of the parts: (B, N, C).

    own: keys and values (B, N, C). parts: keys and values (1, kept, C) of every part; the last may be sinks, key 0
    and value 0, whose logits the kernel's bias raises to stand for all dropped tokens.
    They are exact, see bank.key_bias.
    """
    keys, values = (
        torch.cat([mine, theirs.expand(len(mine), -1, -1)], dim=1) for mine, theirs in zip(own, parts, strict=True)
    )
    return attend(query, keys, values)


def beside_sink(kernel: Scored, heads: int, sink: Tensor) -> Attend:
    """Attention beside one more key 0 with value 0, whose logit is `sink`: (), float32.

    It adds nothing and takes its share of the softmax, so what comes out is only scaled.
    """

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v))
        out, lse, *_ = kernel(q, k, v)
        return out.mul_((lse - sink).sigmoid()[..., None]).transpose(1, 2).flatten(2)

    return attend


def part_shares(
    query: Tensor, own_keys: Tensor, part_keys: Tensor, counts: Sequence[int], bias: Tensor | None, heads: int
) -> Tensor:
    """How much of each pixel's attention goes to each part: (parts, N) float32, 0..1, the mean over heads.

    query, own_keys: (1, N, C). part_keys: (1, sum of counts, C), and the sinks where there are any.
    """
    keys = torch.cat([own_keys, part_keys], dim=1)
    first = own_keys.shape[1]
    total = query.new_zeros(len(counts), query.shape[1], dtype=torch.float32)
    for q, k in zip(query[0].float().chunk(heads, dim=-1), keys[0].float().chunk(heads, dim=-1), strict=True):
        logits = q @ k.T / q.shape[-1] ** 0.5 + (0 if bias is None else bias[0].float())
        parts = logits.softmax(dim=-1)[:, first : first + sum(counts)]
        total += torch.stack([part.sum(dim=-1) for part in parts.split(list(counts), dim=-1)])
    return total / heads
