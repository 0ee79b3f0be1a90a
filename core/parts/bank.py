"""What the reference UNet saw of the parts, without the tokens that a mask takes away, and attention that looks at it.

The attention kernel is an argument: attend(q, k, v) with (B, N, heads * d) tensors, (B, N, heads * d) out.
Source: Parts2Whole (arXiv 2404.15267), section 3.3, and parts2whole/models/mutual_self_attention.py (MIT).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..attention import EXCLUDED, Attend, Block
from ..geometry import Rect, bounds


def token_mask(mask: Tensor, tokens: int) -> Tensor:
    """A part's mask (H, W), 0..1, at the grid of a layer with this many tokens: (tokens,), 0..1.

    Nearest to the size after as many halvings as fit, widened by one token on every side.
    """
    height, width = mask.shape
    scale = 1 << math.ceil(math.log2(height * width / tokens) / 2)
    grid = (math.ceil(height / scale), math.ceil(width / scale))
    small = functional.interpolate(mask[None, None].float(), size=grid)
    return functional.conv2d(small, torch.ones(1, 1, 3, 3), padding=1).clamp(0, 1).flatten()


def window(mask: Tensor, cell: int) -> Rect:
    """The piece of a part's latent around its mask (H, W), (left, top, right, below) in latent pixels.

    Of whole cells, so many latent pixels a side as a token of the coarsest layers covers: the smallest in which all
    that token_mask keeps lies, in these layers and in every finer one; that of the mask where it keeps nothing.
    """
    height, width = (side // 8 for side in mask.shape)
    found: list[Rect] = []
    for finer in (1 << n for n in range(cell.bit_length())):
        grid = math.ceil(height * finer / cell), math.ceil(width * finer / cell)
        tokens = token_mask(mask, math.prod(grid)).view(grid)
        if tokens.any():  # a mask may lie between the tokens of coarse layers
            left, top, right, below = bounds(tokens > 0)
            found.append((left // finer, top // finer, math.ceil(right / finer), math.ceil(below / finer)))
    if not found:
        left, top, right, below = (side / (8 * cell) for side in bounds(mask > 0))
        found.append((int(left), int(top), math.ceil(right), math.ceil(below)))
    lefts, tops, rights, belows = zip(*found, strict=True)
    return min(lefts) * cell, min(tops) * cell, min(max(rights) * cell, width), min(max(belows) * cell, height)


@dataclass(frozen=True, eq=False)
class PartTokens:
    """One part at one layer: the tokens that count, (kept, C), already times their mask, and how many were dropped.

    A dropped token is key 0 and value 0: it still takes its share of the softmax, so their number matters.
    """

    kept: Tensor
    dropped: int


@dataclass(frozen=True, eq=False)
class Inside:
    """Which tokens of a layer count of a part, and how much. numbers: (kept,); weights: (kept, 1)."""

    numbers: Tensor
    weights: Tensor
    dropped: int

    def of(self, states: Tensor) -> PartTokens:
        """states (tokens, C) of a layer after its first norm."""
        return PartTokens(states[self.numbers] * self.weights, self.dropped)


def inside(weights: Tensor, like: Tensor) -> Inside:
    """weights (tokens,) of token_mask, on the CPU, for states as `like`."""
    numbers = weights.nonzero()[:, 0]
    return Inside(numbers.to(like.device), weights[numbers, None].to(like), len(weights) - len(numbers))


Bank = Mapping[Block, Sequence[PartTokens]]
"""Per layer, the tokens of every part in order."""


@dataclass(frozen=True, eq=False)
class PartWeights:
    """How much a layer listens to each part. weights: one per part, 1 as published, 0 not at all.

    targets: (parts, H, W), 0..1, which regions of the picture may look at each part, or None: all may.
    """

    weights: Sequence[float]
    targets: Tensor | None = None


def key_bias(
    parts: Sequence[tuple[int, int]],
    own: int,
    share: PartWeights,
    grid: tuple[int, int],
    dtype: torch.dtype = torch.float32,
) -> Tensor | None:
    """What is added to the logits of [own tokens | kept tokens | sinks]: (1, 1 | queries, own + kept + sinks), float32.

    Sinks, one or in half precision two, stand for all dropped tokens: key 0, value 0, together as heavy in the softmax
    as these. None where nothing has to be added. parts: of each how many tokens are kept and how many dropped.
    dtype: in which the attention reads it.
    A weight w scales a part's share of the softmax, dropped tokens included, by adding log(w).
    """
    kept, dropped = torch.tensor([part[0] for part in parts]), torch.tensor([float(part[1]) for part in parts])
    weights = torch.tensor(share.weights)
    if share.targets is None:
        if not dropped.any() and bool((weights == 1).all()):
            return None
        weights = weights[:, None]  # parts queries
    else:
        regions = functional.interpolate(share.targets[:, None].float(), size=grid, mode="area").flatten(1)
        weights = weights[:, None] * regions
    logs = _log(weights).repeat_interleave(kept, dim=0)
    sinks = _sinks((weights * dropped[:, None]).sum(dim=0, keepdim=True), dtype) if dropped.any() else logs[:0]
    return torch.cat([torch.zeros(own, logs.shape[1]), logs, sinks]).T[None]


def _sinks(tokens: Tensor, dtype: torch.dtype) -> Tensor:
    """The logits of keys 0 that weigh as much as so many tokens, (1, queries): (sinks, queries).

    bfloat16 has steps of 1/16 above 8, so that one of 5000 tokens would be off by up to 3 % of them. There the first is
    a multiple of that below, and a second makes up for what is missing.
    """
    if torch.finfo(dtype).bits >= 32:
        return _log(tokens)
    first = (16 * tokens.log()).floor() / 16
    return torch.cat([first.clamp(min=EXCLUDED), _log((tokens - first.exp()).clamp(min=0))])


def _log(weights: Tensor) -> Tensor:
    return weights.log().clamp(min=EXCLUDED)


def shared(query: Tensor, own: tuple[Tensor, Tensor], parts: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
    """Self-attention over one's own tokens and those of the parts: (B, N, C).

    own: keys and values (B, N, C). parts: keys and values (1, kept, C) of every part; the last may be sinks, key 0 and
    value 0, whose logits the kernel's bias raises to stand for all dropped tokens: they are exact, see `key_bias`.
    """
    keys, values = (torch.cat([x, part.expand(len(x), -1, -1)], dim=1) for x, part in zip(own, parts, strict=True))
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
