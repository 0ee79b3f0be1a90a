"""Attention over many tokens in which not everybody reads everything, split by queries instead of masked.

Queries that read the same keys are asked together, of these keys alone. No mask of all tokens by all tokens is made,
and what nobody reads is not computed. The result is that of the mask, to the last digits of the dtype. Kernels that
drop masks, or are slow with one, are asked without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Group:
    """Queries that all read the same keys.

    queries: (n,), their numbers, ascending. keys: (m,), the numbers of what they read, or None for all keys. A number
    that stands there twice counts as two keys. shares: (n,), 0 to 1, how much of what these queries get comes from this
    group; None for all of it. The shares of a query in all groups add up to 1. bias: (all keys,), what is added to the
    logits of each key, whether the group reads it or not; None for nothing.
    """

    queries: Tensor
    keys: Tensor | None
    shares: Tensor | None = None
    bias: Tensor | None = None

    def to(self, device: torch.device) -> Group:
        others = [None if tensor is None else tensor.to(device) for tensor in (self.keys, self.shares, self.bias)]
        return Group(self.queries.to(device), *others)

    def times(self, key_count: int) -> Tensor:
        """How often each key is read, (all keys,). key_count: how many keys the attention has."""
        if self.keys is None:
            return torch.ones(key_count, dtype=torch.long)
        return torch.bincount(self.keys, minlength=key_count)

    @property
    def bias_of_keys(self) -> Tensor | None:
        """(m,), what is added to the logits of each key that is read; None for nothing."""
        if self.bias is None or self.keys is None:
            return self.bias
        return self.bias.index_select(0, self.keys)


@dataclass(frozen=True, eq=False)
class Split:
    """All groups of one attention.

    groups: on the CPU. keys: how many keys there are. _on: the groups on each device that has asked for them.
    _joined_with: the results of `joined`, by the other split.
    """

    groups: tuple[Group, ...]
    keys: int
    _on: dict[torch.device, tuple[Group, ...]] = field(default_factory=dict[torch.device, Any], init=False)
    _joined_with: dict[Split, Split] = field(default_factory=dict[Any, Any], init=False)

    def on(self, device: torch.device) -> tuple[Group, ...]:
        """The groups on a device. They are kept, so that they are copied once and not at every step."""
        if device not in self._on:
            self._on[device] = tuple(group.to(device) for group in self.groups)
        return self._on[device]

    def joined(self, other: Split) -> Split:
        """The split in which every query reads only the keys that it reads in both splits. It is made once and kept.

        Each group of this split meets each group of the other one. A query that is in both has the product of its two
        shares in the joined group.
        """
        if other not in self._joined_with:
            shared_groups = (_shared_group(own, their, self.keys) for own, their in product(self.groups, other.groups))
            self._joined_with[other] = Split(tuple(group for group in shared_groups if group is not None), self.keys)
        return self._joined_with[other]


def _shared_group(own: Group, their: Group, keys: int) -> Group | None:
    """The group of the queries that two groups share, which read the keys that both read; None where they share none.

    keys: how many keys the attention has. A key that is read n times in one and m times in the other is read n * m
    times; what both add to its logits is added up.
    """
    queries = own.queries[torch.isin(own.queries, their.queries)]  # (n,)
    if not len(queries):
        return None
    # The queries of a group ascend, so the shares of those in `queries` stand in the same order in both groups.
    shares = [group.shares[torch.isin(group.queries, queries)] for group in (own, their) if group.shares is not None]
    biases = [group.bias for group in (own, their) if group.bias is not None]
    times = own.times(keys) * their.times(keys)
    reads_all_once = bool((times == 1).all())
    return Group(
        queries,
        keys=None if reads_all_once else torch.arange(keys).repeat_interleave(times),
        shares=torch.stack(shares).prod(dim=0) if shares else None,
        bias=torch.stack(biases).sum(dim=0) if biases else None,
    )


@dataclass(frozen=True, eq=False)
class RowsAlike:
    """Rows of a batch that read the same.

    rows: (n,), their numbers. split: how each of them reads.
    """

    rows: Tensor
    split: Split


@dataclass(frozen=True, eq=False)
class RowSplit:
    """An attention in which the rows of the batch read differently.

    splits: one for each row; the same object for rows that read the same. _on: the result of `on` for each device.
    """

    splits: tuple[Split, ...]
    _on: dict[torch.device, tuple[RowsAlike, ...]] = field(default_factory=dict[torch.device, Any], init=False)

    def on(self, device: torch.device) -> tuple[RowsAlike, ...]:
        """The rows of the batch, gathered by how they read, on a device.

        The result is kept, and each split has its groups on that device from now on, as by `Split.on`.
        """
        if device not in self._on:
            rows_of: dict[Split, list[int]] = {}
            for row, split in enumerate(self.splits):
                rows_of.setdefault(split, []).append(row)
            parts: list[RowsAlike] = []
            for split, rows in rows_of.items():
                split.on(device)  # makes and keeps the copy of its groups on this device
                parts.append(RowsAlike(torch.tensor(rows, device=device), split))
            self._on[device] = tuple(parts)
        return self._on[device]


AnySplit = Split | RowSplit


def joined(split: AnySplit, other: AnySplit) -> AnySplit:
    """The split in which every query reads only the keys that it reads in both splits, row by row where rows differ."""
    if isinstance(split, Split) and isinstance(other, Split):
        return split.joined(other)
    rows = max(_rows_of(split), _rows_of(other))  # a Split counts as 1 row and serves all of them, see _of_row
    return RowSplit(tuple(_of_row(split, row).joined(_of_row(other, row)) for row in range(rows)))


def _rows_of(split: AnySplit) -> int:
    """For how many rows a split says what each reads; 1 where all rows read the same."""
    return len(split.splits) if isinstance(split, RowSplit) else 1


def _of_row(split: AnySplit, row: int) -> Split:
    """How one row of the batch reads."""
    return split.splits[row] if isinstance(split, RowSplit) else split


Ask = Callable[[Group, Tensor, Tensor, Tensor], Tensor]
"""(group, q, k, v of the group's tokens) -> the attention's output for the group's queries. The caller's function cuts
the mask, where there is one, to the group's tokens and runs the attention kernel."""


def split_attention(
    groups: Sequence[Group],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    ask: Ask,
    token_dim: int,
    output_token_dim: int,
) -> Tensor:
    """The output of an attention that is split into groups, for all queries in their order.

    groups: at least one. ask: called for each group with its queries and their keys and values. token_dim: the
    dimension of q, k and v in which the tokens stand. output_token_dim: the same of what `ask` gives.
    """
    if len(groups) == 1 and groups[0].keys is None and groups[0].shares is None:  # all queries read all keys
        return ask(groups[0], q, k, v)
    out: Tensor | None = None
    for group in groups:
        group_q = q.index_select(token_dim, group.queries)
        group_k, group_v = k, v
        if group.keys is not None:
            group_k = k.index_select(token_dim, group.keys)
            group_v = v.index_select(token_dim, group.keys)
        group_out = ask(group, group_q, group_k, group_v)
        if out is None:  # now its other dimensions are known
            shape = list(group_out.shape)
            shape[output_token_dim] = q.shape[token_dim]
            out = group_out.new_zeros(shape)
        if group.shares is None:  # these queries are in no other group
            out.index_copy_(output_token_dim, group.queries, group_out)
        else:
            tokens_last = group_out.movedim(output_token_dim, -1)
            weighted = (tokens_last * group.shares.to(group_out)).movedim(-1, output_token_dim)
            out.index_add_(output_token_dim, group.queries, weighted)
    assert out is not None
    return out


STEPS = 256
"""Weights are multiples of 1 / STEPS: exact in every dtype, and no group for rounding errors of masks."""


def in_steps(weights: Tensor) -> Tensor:
    """Weights as multiples of 1 / STEPS. weights: of any shape, from 0."""
    return (weights * STEPS).round() / STEPS


@dataclass(frozen=True, eq=False)
class Readers:
    """Tokens that read the same things, each of them equally often. A thing is the words of a person, or a reference.

    times: for each thing, how often its tokens are among the keys. tokens: (n,), the indices of the tokens that read,
    ascending. shares: (n,), how much of what a token gets comes from an attention with these keys.
    """

    times: Sequence[int]
    tokens: Tensor
    shares: Tensor

    def group_shares(self, strength: float = 1) -> Tensor | None:
        """Group.shares where `strength` of what the tokens get is divided so: None where that is all of it."""
        shares = self.shares * strength
        return None if bool((shares == 1).all()) else shares


def readers_of(weights: Tensor) -> list[Readers]:
    """Group the tokens by how often they read each thing. weights: (things, tokens), as `in_steps` gives them.

    A weight of 1.25 means: a quarter of a token's output comes from an attention in which it reads the thing twice, the
    rest from one in which it reads the thing once. Draw the output as a line from 0 to 1. Each thing divides the line
    at the fraction of its weight: before that point it is read once more than after it. For a token with a weight of
    1.25 for A and 0.5 for B:

        0 ------- 0.25 ------- 0.5 ------- 1
          A twice       A once      A once
          B once        B once      no B

    A token is in one Readers for each of its parts that has a length.
    """
    of_tokens = weights.T  # (tokens, things)
    points = (of_tokens % 1).sort(dim=1).values  # where things divide the line; 0, its start, for whole weights
    starts = functional.pad(points, (1, 0), value=0.0)  # (tokens, parts): where each part of the line begins
    ends = functional.pad(points, (0, 1), value=1.0)
    lengths = ends - starts
    # At a point of the line a thing is read as often as what is left of its weight there, rounded up.
    times = (of_tokens[:, None] - starts[..., None]).ceil().int()  # (tokens, parts, things)
    has_length = lengths > 0
    token_numbers = has_length.nonzero()[:, 0]  # of these parts, (n,), ascending
    shares = lengths[has_length]  # (n,)
    # The different rows of `times`, and for each of these parts the number of its row.
    patterns, pattern_of = cast("Any", times[has_length]).unique(dim=0, return_inverse=True)
    readers: list[Readers] = []
    for number, pattern in enumerate(patterns):
        of_pattern = pattern_of == number  # (n,) bool
        readers.append(Readers(pattern.tolist(), token_numbers[of_pattern], shares[of_pattern]))
    return readers
