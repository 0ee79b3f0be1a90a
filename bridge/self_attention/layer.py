"""One layer's self-attention: rows with parts look at these too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor

from ...core.parts.attention import Scored, beside_sink, part_shares, shared
from ..runs import rows_made
from ..unet import Grid, Options, Replacement, attend_with, check_tokens, grid_of
from .scored import is_chosen

_WATCHED_TOKENS = 2048
"""Finer layers are left out of the heat maps: every logit of a layer is held at once."""


@dataclass(frozen=True, eq=False)
class Sink:
    """All dropped tokens of a layer where no mask is needed. logit: of core.parts.bank.sink, (), float32. keys, values:
    those of the parts, (1, kept, C). kernel: which can do that."""

    logit: Tensor
    keys: Tensor
    values: Tensor
    kernel: Scored


@dataclass(frozen=True, eq=False)
class Beside:
    """The parts as one layer reads them beside the picture's own tokens.

    keys, values: (1, kept + sinks, C). counts: kept tokens per part. regional: whether parts are meant for regions.
    bias: bank.key_bias where the picture has a token for each of its grid; elsewhere: (own tokens, grid) -> what it is
    else. sink: what serves instead of a bias, if something does. maps: where the parts' shares of the attention,
    (parts, h, w), are put while somebody watches.
    """

    keys: Tensor
    values: Tensor
    counts: Sequence[int]
    regional: bool
    grid: Grid
    bias: Tensor | None
    elsewhere: Callable[[int, Grid], Tensor | None]
    sink: Sink | None = None
    maps: list[Tensor] | None = None

    def attended(self, q: Tensor, k: Tensor, v: Tensor, extra_options: Options) -> Tensor:
        """q, k, v: of the picture, (B, N, C) each."""
        grid = height, width = grid_of(extra_options)
        if self.regional:
            check_tokens(q, grid)
        here = grid == self.grid and k.shape[1] == height * width
        bias = self.bias if here else self.elsewhere(k.shape[1], grid)
        if self.maps is not None and q.shape[1] == height * width <= _WATCHED_TOKENS:
            shares = part_shares(q[:1], k[:1], self.keys, self.counts, bias, extra_options["n_heads"])
            self.maps.append(shares.unflatten(1, grid))
        if (sink := self.sink) and is_chosen(extra_options):
            attend = beside_sink(sink.kernel, extra_options["n_heads"], sink.logit)
            return shared(q, (k, v), (sink.keys, sink.values), attend)
        # On a CPU the host's choices write out all logits, which takes three times as long.
        kernel = attention_pytorch if q.device.type == "cpu" else None
        return shared(q, (k, v), (self.keys, self.values), attend_with(extra_options, kernel, bias))


def attended(
    beside: Sequence[Beside | None],
    before: Replacement | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    extra_options: Options,
) -> Tensor:
    """The attn1 of one layer in one forward. Rows of a chunk without parts are left as they were. Raises
    ConditioningLost.

    beside: per chunk. before: another node's replacement, which goes on serving the rows without parts.
    """
    alone = attend_with(extra_options)
    if len(q) % len(beside):
        raise rows_made(len(q), len(beside), before)
    rows = len(q) // len(beside)
    # Others count on all rows of the batch, so theirs is called with all of them.
    theirs = before(q, k, v, extra_options).split(rows) if before else None
    # HyperTile makes several rows of one query and leaves keys and values to be cut alike by the kernel.
    k, v = (x.reshape(len(q), -1, x.shape[-1]) for x in (k, v))
    out: list[Tensor] = []
    for n, (parts, *own) in enumerate(zip(beside, *(x.split(rows) for x in (q, k, v)), strict=True)):
        q, k, v = own
        if parts:
            out.append(parts.attended(q, k, v, extra_options))
        else:
            out.append(theirs[n] if theirs else alone(q, k, v))
    return torch.cat(out)
