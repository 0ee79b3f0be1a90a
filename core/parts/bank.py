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

from ..attention.cross_attention import EXCLUDED, Attend, Block
from ..pictures.geometry import Rect, bounds


def token_mask(mask: Tensor, token_count: int) -> Tensor:
    """A part's mask (H, W), 0..1, at the grid of a layer with `token_count` tokens: (token_count,), 0..1.

    The mask is brought to the grid by taking the nearest pixel, and is widened by one token on every side.
    """
    height, width = mask.shape
    grid = (height, width)
    side = 1  # of a token, in pixels: a power of two, because every level of the UNet halves its grid, rounded up
    while math.prod(grid) > token_count:
        side *= 2
        grid = (math.ceil(height / side), math.ceil(width / side))
    small = functional.interpolate(mask[None, None].float(), size=grid)  # (1, 1, *grid)
    # The sum over a window of 3x3 is above 0 where the token or one of its eight neighbours is in the mask.
    widened = functional.conv2d(small, torch.ones(1, 1, 3, 3, dtype=torch.float32), padding=1).clamp(0, 1)
    return widened.flatten()


def window(mask: Tensor, cell: int) -> Rect:
    """The piece of a part's latent around its mask (H, W), (left, top, right, below) in latent pixels.

    It consists of whole cells. A cell is a square of `cell` x `cell` latent pixels, a power of two: the area of one
    token of the coarsest layers. The piece is the smallest one that holds every token that `token_mask` keeps, in the
    coarsest layers and in every finer one. Where `token_mask` keeps nothing in any of them, it is the piece around the
    mask.
    """
    height = mask.shape[0] // 8  # pixels -> latent pixels
    width = mask.shape[1] // 8
    pieces: list[Rect] = []  # in cells
    # How many tokens of a layer a side of a cell has: 1 in the coarsest layers, whose token is a cell, then 2, 4, ...
    # to those whose token is one latent pixel.
    for tokens_per_cell in (2**doublings for doublings in range(cell.bit_length())):
        grid = (math.ceil(height * tokens_per_cell / cell), math.ceil(width * tokens_per_cell / cell))
        tokens = token_mask(mask, math.prod(grid)).view(grid)
        if tokens.any():  # a mask may lie between the tokens of coarse layers
            pieces.append(_in_cells(bounds(tokens > 0), tokens_per_cell))
    if not pieces:
        pieces.append(_in_cells(bounds(mask > 0), 8 * cell))  # in pixels, 8 of which are a latent pixel
    lefts, tops, rights, belows = zip(*pieces, strict=True)
    # Cells -> latent pixels, cut at the edges of the latent, beyond which the last cells may reach.
    return min(lefts) * cell, min(tops) * cell, min(max(rights) * cell, width), min(max(belows) * cell, height)


def _in_cells(rect: Rect, units: int) -> Rect:
    """The whole cells that a rectangle touches, in cells. units: the side of a cell in the rectangle's units."""
    left, top, right, below = rect
    return (left // units, top // units, math.ceil(right / units), math.ceil(below / units))


@dataclass(frozen=True, eq=False)
class PartTokens:
    """The tokens of one part at one layer.

    kept: (kept, C), the tokens inside of the part's mask, multiplied by the mask. dropped: how many tokens lie outside
    of the mask. A dropped token has the key 0 and the value 0. It still takes its share of the softmax, which is why
    the number of dropped tokens matters.
    """

    kept: Tensor
    dropped: int


@dataclass(frozen=True, eq=False)
class TokensInside:
    """The tokens of a layer that lie inside of the masks of parts.

    numbers: (all kept,), their indices where the tokens of one part follow those of the part before. weights: (all
    kept, 1), the mask at each. kept, dropped: for each part, how many tokens lie inside of its mask, and outside.
    """

    numbers: Tensor
    weights: Tensor
    kept: Sequence[int]
    dropped: Sequence[int]

    def of(self, states: Tensor) -> list[PartTokens]:
        """The tokens of each part among the states of a layer.

        states: (parts, tokens, C), after the layer's first norm.
        """
        kept = states.flatten(0, 1)[self.numbers] * self.weights  # of all parts at once: two kernels for any number
        kept_of_parts = kept.split_with_sizes(self.kept)
        return [PartTokens(tokens, dropped) for tokens, dropped in zip(kept_of_parts, self.dropped, strict=True)]


def tokens_inside(weights: Tensor, like: Tensor) -> TokensInside:
    """The tokens of a layer that lie inside of the masks of parts.

    weights: the masks at each token, (parts, tokens), see token_mask, on the CPU. like: states of the layer, whose
    device and dtype the result gets.
    """
    numbers = weights.flatten().nonzero()[:, 0]  # (all kept,)
    kept_weights = weights.flatten()[numbers, None]  # (all kept, 1)
    kept = [int(mask.count_nonzero()) for mask in weights]
    dropped = [weights.shape[1] - count for count in kept]
    return TokensInside(numbers.to(like.device), kept_weights.to(like), kept, dropped)


Bank = Mapping[Block, Sequence[PartTokens]]
"""Layer -> the tokens of every part in order."""


@dataclass(frozen=True, eq=False)
class PartWeights:
    """How much a layer attends to each part.

    weights: one per part, 1 as published, 0 not at all. targets: (parts, H, W), 0..1, the regions of the picture that
    may attend to each part; None where all may.
    """

    weights: Sequence[float]
    targets: Tensor | None

    def of_queries(self, grid: tuple[int, int]) -> Tensor:
        """The weight of each part for each query of a layer, (parts, queries); (parts, 1) where all queries have one.

        It is less by the share of the query's cell that lies outside of the part's target. grid: of the layer, (height,
        width), a query for each of its cells.
        """
        weights = torch.tensor(self.weights, dtype=torch.float32)[:, None]  # (parts, 1)
        if self.targets is None:
            return weights
        targets = functional.interpolate(self.targets[:, None].float(), size=grid, mode="area")  # (parts, 1, *grid)
        return weights * targets.flatten(1)


def key_bias(
    parts: Sequence[tuple[int, int]],
    picture_tokens: int,
    part_weights: PartWeights,
    grid: tuple[int, int],
    dtype: torch.dtype,
) -> Tensor | None:
    """A bias for the logits of a layer's self-attention, whose keys are [picture's tokens | kept tokens | sinks].

    A weight w multiplies a part's share before the softmax is normalised: log(w) is added to the logits of its tokens,
    kept and dropped. One sink, or two in half precision, stands for the dropped tokens of all parts. A sink has the key
    0 and the value 0 like these, and its bias makes it as heavy in the softmax as all of them together.
    parts: for each part, how many of its tokens are kept and how many are dropped. picture_tokens: how many tokens the
    picture has. part_weights: the weights and targets of the parts. grid: of the layer, (height, width), a query for
    each of its cells. dtype: in which the attention reads the bias.
    Returns (1, 1 or queries, keys) float32; None where nothing has to be added: no token dropped, no targets, and all
    weights 1.
    """
    kept_counts, dropped_counts = torch.tensor(parts).T  # (parts,) each
    weights = part_weights.of_queries(grid)
    sinks = sink_count(parts, dtype)
    if part_weights.targets is None and not sinks and bool((weights == 1).all()):
        return None
    # The bias of the kinds of keys, each (tokens, 1 | queries).
    of_picture = torch.zeros(picture_tokens, weights.shape[1], dtype=torch.float32)
    of_kept = _log(weights).repeat_interleave(kept_counts, dim=0)
    biases = [of_picture, of_kept]
    if sinks:
        dropped_weights = (weights * dropped_counts[:, None]).sum(dim=0, keepdim=True)  # (1, 1 | queries)
        biases.append(_sinks(dropped_weights, sinks))
    return torch.cat(biases).T[None]  # (1, 1 | queries, tokens)


def sink_count(parts: Sequence[tuple[int, int]], dtype: torch.dtype) -> int:
    """How many sinks stand for the dropped tokens of all parts, see key_bias: 0 where none are dropped."""
    if not any(dropped for _kept, dropped in parts):
        return 0
    return 1 if torch.finfo(dtype).bits >= 32 else 2


def _sinks(token_count: Tensor, sinks: int) -> Tensor:
    """The logits of the sinks, which together weigh as much in the softmax as all dropped tokens: (sinks, queries).

    token_count: (1, queries), how many tokens are dropped, those of each part times its weight. A dropped token has the
    key 0, so its logit is 0, and it weighs exp(0) = 1. sinks: how many, see sink_count.
    A single sink has the logit log(token_count). In half precision that is too coarse: bfloat16 has steps of 1/16 above
    8, so that a sink for 5000 tokens would weigh up to 3 % too much or too little. There the first sink has this
    logarithm rounded down to a multiple of 1/16, and a second one has the logarithm of the tokens that are then
    missing.
    """
    if sinks == 1:
        return _log(token_count)
    first = (16 * token_count.log()).floor() / 16
    missing = (token_count - first.exp()).clamp(min=0)
    return torch.cat([first.clamp(min=EXCLUDED), _log(missing)])


def _log(weights: Tensor) -> Tensor:
    """The logarithms of weights, EXCLUDED for 0."""
    return weights.log().clamp(min=EXCLUDED)


def shared_attention(query: Tensor, own: tuple[Tensor, Tensor], parts: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
    """Self-attention over the picture's own tokens and those of the parts: (B, N, C).

    query: (B, N, C) of the picture. own: its keys and values, (B, N, C) each. parts: keys and values of all parts one
    after the other, (1, kept tokens and sinks, C) each, with the sinks of `key_bias` last where there are any. attend:
    the kernel, which adds that bias.
    """
    own_keys, own_values = own
    part_keys, part_values = parts
    batch = len(own_keys)
    keys = torch.cat([own_keys, part_keys.expand(batch, -1, -1)], dim=1)
    values = torch.cat([own_values, part_values.expand(batch, -1, -1)], dim=1)
    return attend(query, keys, values)
