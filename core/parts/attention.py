"""Self-attention that also looks at parts, and how much of it goes to each.

The attention kernel is an argument: attend(q, k, v) with (B, N, heads * d) tensors, (B, N, heads * d) out.
Source: Parts2Whole (arXiv 2404.15267), section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..attention import Attend


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
