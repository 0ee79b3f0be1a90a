"""Decoupled cross-attention (image tokens beside the text, by region), and self-attention shared with parts.

The attention kernel is an argument: attend(q, k, v) with (B, N, heads * d) tensors, (B, N, heads * d) out.
Source: IP-Adapter (arXiv 2308.06721), section 3.2.2, the regions are ours; Parts2Whole (arXiv 2404.15267), 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def decoupled(query: Tensor, keys: Tensor, values: Tensor, weights: Tensor | None, attend: Attend) -> Tensor:
    """What the image tokens add to cross-attention, before the output projection: (B, N, C).

    query: (B, N, C). keys, values: (groups, B, T, C); a group is one person, whose adapter scale is in the values.
    weights: (groups, B, N, 1), how much each pixel listens to each group; None where one group is heard everywhere.
    A pixel in a single region of weight 1 gets exactly what that person alone would give it.
    """
    if weights is None:
        return attend(query, keys[0], values[0])
    out = attend(query, keys[0], values[0]) * weights[0]
    for key, value, weight in zip(keys[1:], values[1:], weights[1:], strict=True):
        out.addcmul_(weight, attend(query, key, value))
    return out


def region_weights(regions: Tensor) -> Tensor:
    """Regions (groups, H, W), 0..1, as weights that add up to at most 1 per pixel.

    Where regions overlap their people share the pixel; outside all of them nobody is heard.
    """
    return regions / regions.sum(dim=0, keepdim=True).clamp(min=1.0)


def on_grid(weights: Tensor, height: int, width: int) -> Tensor:
    """Weights (groups, H, W) at a layer's token grid, (groups, height * width, 1): nearest, as InstantID's own mask."""
    grid = functional.interpolate(weights[:, None], size=(height, width), mode="nearest")
    return grid.flatten(1)[..., None]


def shared(query: Tensor, own: tuple[Tensor, Tensor], parts: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
    """Self-attention over one's own tokens and those of the parts: (B, N, C).

    own: keys and values (B, N, C). parts: keys and values (1, kept, C) of every part; the last may be the sink, key 0
    and value 0, whose logit the kernel's bias raises to stand for all dropped tokens.
    Source: Parts2Whole (arXiv 2404.15267), section 3.3; the sink is exact, see core.parts.bank.key_bias.
    """
    keys, values = (
        torch.cat([mine, theirs.expand(len(mine), -1, -1)], dim=1) for mine, theirs in zip(own, parts, strict=True)
    )
    return attend(query, keys, values)


def part_shares(
    query: Tensor, own_keys: Tensor, part_keys: Tensor, counts: Sequence[int], bias: Tensor | None, heads: int
) -> Tensor:
    """How much of each pixel's attention goes to each part: (parts, N) float32, 0..1, the mean over heads.

    query, own_keys: (1, N, C). part_keys: (1, sum of counts, C), and the sink where there is one.
    """
    keys = torch.cat([own_keys, part_keys], dim=1)
    first = own_keys.shape[1]
    total = query.new_zeros(len(counts), query.shape[1], dtype=torch.float32)
    for q, k in zip(query[0].float().chunk(heads, dim=-1), keys[0].float().chunk(heads, dim=-1), strict=True):
        logits = q @ k.T / q.shape[-1] ** 0.5 + (0 if bias is None else bias[0].float())
        parts = logits.softmax(dim=-1)[:, first : first + sum(counts)]
        total += torch.stack([part.sum(dim=-1) for part in parts.split(list(counts), dim=-1)])
    return total / heads
