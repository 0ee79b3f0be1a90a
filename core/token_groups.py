"""Attention over many tokens in which not everybody reads everything, split by queries instead of masked.

Queries that read the same keys are asked together, of these keys alone. No mask of all tokens by all tokens is made,
and what nobody reads is not computed. The result is that of the mask, to the last digits of the dtype. Kernels that
drop masks, or are slow with one, are asked without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Group:
    """Queries that all read the same keys.

    queries: (n,), their numbers, ascending. keys: (m,), the numbers of what they read, or None for all keys. A number
    that stands there twice counts as two keys. shares: (n,), 0 to 1, how much of what these queries get comes from this
    group; None for all of it. The shares of a query in all groups add up to 1.
    """

    queries: Tensor
    keys: Tensor | None
    shares: Tensor | None = None

    def to(self, device: torch.device) -> Group:
        """The group on a device."""
        keys = None if self.keys is None else self.keys.to(device)
        shares = None if self.shares is None else self.shares.to(device)
        return Group(self.queries.to(device), keys, shares)


@dataclass(frozen=True, eq=False)
class Split:
    """All groups of one attention.

    groups: on the CPU. keys: how many keys there are. _on: the groups on each device that has asked for them. _joined:
    the results of `joined`, by the other split.
    """

    groups: tuple[Group, ...]
    keys: int
    _on: dict[torch.device, tuple[Group, ...]] = field(default_factory=lambda: {}, init=False)
    _joined: dict[Split, Split] = field(default_factory=lambda: {}, init=False)

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
        if other not in self._joined:
            groups = list[Group]()
            for own in self.groups:
                for their in other.groups:
                    group = _joined(own, their, self.keys)
                    if group is not None:
                        groups.append(group)
            self._joined[other] = Split(tuple(groups), self.keys)
        return self._joined[other]


def _joined(own: Group, their: Group, keys: int) -> Group | None:
    """The group of the queries that two groups share, which read the keys that both read; None where they share none.

    keys: how many keys the attention has. A key that is read n times in one and m times in the other is read n * m
    times.
    """
    in_their = torch.isin(own.queries, their.queries)
    if not in_their.any():
        return None
    queries = own.queries[in_their]  # (n,)
    shares = None
    if own.shares is not None:
        shares = own.shares[in_their]
    if their.shares is not None:
        # The queries of both groups ascend, so these shares stand in the order of `queries`.
        of_their = their.shares[torch.isin(their.queries, queries)]
        shares = of_their if shares is None else shares * of_their
    times = torch.ones(keys, dtype=torch.long)  # (keys,), how often each is read
    for group in (own, their):
        if group.keys is not None:
            times = times * torch.bincount(group.keys, minlength=keys)
    if bool((times == 1).all()):
        return Group(queries, None, shares)
    return Group(queries, torch.arange(keys).repeat_interleave(times), shares)


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
    _on: dict[torch.device, tuple[RowsAlike, ...]] = field(default_factory=lambda: {}, init=False)

    def on(self, device: torch.device) -> tuple[RowsAlike, ...]:
        """The rows of the batch, gathered by how they read, on a device. The result is kept, as in `Split.on`."""
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
    rows = max(_rows_of(split), _rows_of(other))
    splits: list[Split] = []
    for row in range(rows):
        splits.append(_of_row(split, row).joined(_of_row(other, row)))
    return RowSplit(tuple(splits))


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
    """What an attention gives that is split into groups, for all queries in their order.

    ask: called for each group with its queries and their keys and values. token_dim: the dimension of q, k and v in
    which the tokens stand. output_token_dim: the same of what `ask` gives.
    """
    if len(groups) == 1 and groups[0].keys is None and groups[0].shares is None:
        return ask(groups[0], q, k, v)
    out: Tensor | None = None
    for group in groups:
        group_q = q.index_select(token_dim, group.queries)
        group_k = k
        group_v = v
        if group.keys is not None:
            group_k = k.index_select(token_dim, group.keys)
            group_v = v.index_select(token_dim, group.keys)
        group_out = ask(group, group_q, group_k, group_v)
        if out is None:
            shape = list(group_out.shape)
            shape[output_token_dim] = q.shape[token_dim]
            out = group_out.new_zeros(shape)
        # Queries of a group without shares are in no other group; the others are sums over their groups.
        if group.shares is None:
            out.index_copy_(output_token_dim, group.queries, group_out)
        else:
            shape = [1] * group_out.dim()
            shape[output_token_dim] = -1
            out.index_add_(output_token_dim, group.queries, group_out * group.shares.to(group_out).view(shape))
    assert out is not None
    return out
