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

    queries: (n,), their numbers, ascending. keys: (m,), the numbers of what they read, or None for all keys.
    shares: (n,), 0 to 1, how much of a query's result comes from this group; None for all of it. The shares of a query
    in all groups are 1 together.
    """

    queries: Tensor
    keys: Tensor | None
    shares: Tensor | None = None

    def to(self, device: torch.device) -> Group:
        """The group with its tensors on a device."""
        keys = None if self.keys is None else self.keys.to(device)
        shares = None if self.shares is None else self.shares.to(device)
        return Group(self.queries.to(device), keys, shares)


@dataclass(frozen=True, eq=False)
class Split:
    """All groups of one attention. groups: on the CPU. keys: how many keys there are."""

    groups: tuple[Group, ...]
    keys: int
    _groups_on: dict[torch.device, tuple[Group, ...]] = field(default_factory=lambda: {}, init=False)
    _joined: dict[Split, Split] = field(default_factory=lambda: {}, init=False)

    def on(self, device: torch.device) -> tuple[Group, ...]:
        """The groups on a device, remembered: nothing waits for a copy at the next step."""
        if device not in self._groups_on:
            self._groups_on[device] = tuple(group.to(device) for group in self.groups)
        return self._groups_on[device]

    def joined(self, other: Split) -> Split:
        """A split in which every query reads what it reads in both splits, by the product of its shares. Remembered."""
        if other not in self._joined:
            groups: list[Group] = []
            for first in self.groups:
                for second in other.groups:
                    group = _joined(first, second, self.keys)
                    if group is not None:
                        groups.append(group)
            self._joined[other] = Split(tuple(groups), self.keys)
        return self._joined[other]


def _joined(first: Group, second: Group, keys: int) -> Group | None:
    """The queries that two groups have in common, with the keys that they read in both; None where there are none.

    keys: of the attention.
    """
    in_second = torch.isin(first.queries, second.queries)
    if not in_second.any():
        return None
    queries = first.queries[in_second]  # (n,)
    shares = None
    if first.shares is not None:
        shares = first.shares[in_second]
    if second.shares is not None:
        second_shares = second.shares[torch.isin(second.queries, queries)]
        shares = second_shares if shares is None else shares * second_shares
    common_keys = torch.ones(keys, dtype=torch.bool)
    for group in (first, second):
        if group.keys is not None:
            group_keys = torch.zeros(keys, dtype=torch.bool)
            group_keys[group.keys] = True
            common_keys &= group_keys
    return Group(queries, None if common_keys.all() else common_keys.nonzero()[:, 0], shares)


Ask = Callable[[Group, Tensor, Tensor, Tensor], Tensor]
"""(group, q, k, v) -> what comes out for its queries: the attention kernel, with the mask for these tokens."""


def split_attention(
    groups: Sequence[Group],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    ask: Ask,
    token_dim: int,
    output_token_dim: int,
) -> Tensor:
    """The result of an attention that is split into groups, for all queries in their order.

    ask: the attention kernel for one group. token_dim: the dimension of q, k and v in which the tokens stand.
    output_token_dim: the same of what `ask` gives.
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
        if group.shares is None:
            out.index_copy_(output_token_dim, group.queries, group_out)
        else:
            shape = [1] * group_out.dim()
            shape[output_token_dim] = -1
            out.index_add_(output_token_dim, group.queries, group_out * group.shares.to(group_out).view(shape))
    assert out is not None
    return out
