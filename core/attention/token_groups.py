"""Attention over many tokens in which not everybody reads everything, split by queries instead of masked.

Queries that read the same keys are asked together, of these keys alone. No mask of all tokens by all tokens is made,
and what nobody reads is not computed. The result is that of the mask, to the last digits of the dtype. Kernels that
drop masks, or are slow with one, are asked without.

Tokens are gathered in orders in which those of a group stand together, so that a group is a slice and costs a kernel,
that of its attention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise, product
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor

from .key_orders import KeyOrder, key_orders
from .tracing import untraced


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

    def times(self, key_count: int) -> Tensor:
        """How often each key is read, (all keys,). key_count: how many keys the attention has."""
        if self.keys is None:
            return torch.ones(key_count, dtype=torch.long)
        return torch.bincount(self.keys, minlength=key_count)

    @property
    def share_of_each(self) -> Tensor:
        """(n,), the shares, of which each is 1 where all of it is this group's."""
        return torch.ones_like(self.queries, dtype=torch.float32) if self.shares is None else self.shares

    @property
    def bias_of_keys(self) -> Tensor | None:
        """(m,), what is added to the logits of each key that is read; None for nothing."""
        if self.bias is None or self.keys is None:
            return self.bias
        return self.bias.index_select(0, self.keys)


@dataclass(frozen=True, eq=False)
class Split:
    """All groups of one attention.

    groups: on the CPU; every query is in one at least. keys: how many keys there are. _on: the result of `on` for each
    device. _joined_with: the results of `joined`, by the other split.
    """

    groups: tuple[Group, ...]
    keys: int
    _on: dict[torch.device, Asking] = field(default_factory=dict[torch.device, Any], init=False)
    _joined_with: dict[Split, Split] = field(default_factory=dict[Any, Any], init=False)

    def on(self, device: torch.device) -> Asking:
        """How the groups are asked on a device. It is kept, so that it is made once and not at every step."""
        if device not in self._on:
            self._on[device] = _asking(self.groups, self.keys, device)
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

    rows: (n,), their numbers; a slice where they follow each other. split: how each of them reads.
    """

    rows: Tensor | slice
    split: Split


@dataclass(frozen=True, eq=False)
class RowsAsked:
    """How the rows of a batch are asked, on a device.

    parts: of the rows. places: (rows,), where each row stands in the parts, one after the other; None where that is
    their order already.
    """

    parts: tuple[RowsAlike, ...]
    places: Tensor | None


@dataclass(frozen=True, eq=False)
class RowSplit:
    """An attention in which the rows of the batch read differently.

    splits: one for each row; the same object for rows that read the same. _on: the result of `on` for each device.
    """

    splits: tuple[Split, ...]
    _on: dict[torch.device, RowsAsked] = field(default_factory=dict[torch.device, Any], init=False)

    def on(self, device: torch.device) -> RowsAsked:
        """How the rows are asked on a device, those that read the same together.

        The result is kept, and each split has its groups on that device from now on, as by `Split.on`.
        """
        if device not in self._on:
            self._on[device] = _rows_asked(self.splits, device)
        return self._on[device]


@untraced
def _rows_asked(splits: Sequence[Split], device: torch.device) -> RowsAsked:
    rows_of: dict[Split, list[int]] = {}
    for row, split in enumerate(splits):
        rows_of.setdefault(split, []).append(row)
    parts: list[RowsAlike] = []
    for split, rows in rows_of.items():
        split.on(device)  # makes and keeps how its groups are asked on this device
        follow_each_other = rows[-1] - rows[0] + 1 == len(rows)
        numbers = slice(rows[0], rows[-1] + 1) if follow_each_other else torch.tensor(rows, device=device)
        parts.append(RowsAlike(numbers, split))
    order = torch.tensor([row for rows in rows_of.values() for row in rows])
    return RowsAsked(tuple(parts), None if _stand(order, len(order)) else order.argsort().to(device))


AnySplit = Split | RowSplit


@untraced  # only a forward knows which splits meet
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


def split_of_rows(groups_of_rows: Sequence[tuple[Group, ...]], keys: int) -> AnySplit:
    """The split of an attention of so many keys whose rows have these groups: one for all where all read the same.

    Rows that read the same have the same Groups.
    """
    split_of_groups = {groups: Split(groups, keys) for groups in set(groups_of_rows)}
    splits = [split_of_groups[groups] for groups in groups_of_rows]
    return splits[0] if len(split_of_groups) == 1 else RowSplit(tuple(splits))


Ask = Callable[[Group, Tensor, Tensor, Tensor], Tensor]
"""(group, q, k, v of the group's tokens) -> the attention's output for the group's queries. The caller's function cuts
the mask, where there is one, to the group's tokens and runs the attention kernel."""


@dataclass(frozen=True, eq=False)
class AskedGroup:
    """A group that is a slice of gathered tokens.

    number: of the group, by which outputs are in order. group: its keys are in the order in which they are gathered.
    queries, keys: where they stand in Round.queries and in Asked.keys.
    """

    number: int
    group: Group
    queries: slice
    keys: slice


@dataclass(frozen=True, eq=False)
class Asked:
    """Groups whose keys are gathered at once. keys: (n,), their numbers; None for all keys as they stand."""

    groups: tuple[AskedGroup, ...]
    keys: Tensor | None


@dataclass(frozen=True, eq=False)
class Round:
    """Groups whose queries are gathered at once. queries: (m,), their numbers; None for all queries as they stand."""

    asked: tuple[Asked, ...]
    queries: Tensor | None


@dataclass(frozen=True, eq=False)
class FurtherOutputs:
    """Outputs of queries that have one of an earlier group already, to which these are added.

    queries: (n,), their numbers. places: (n,), where their outputs stand among those of all groups.
    """

    queries: Tensor
    places: Tensor


@dataclass(frozen=True, eq=False)
class Placing:
    """How the outputs of all groups, one group after the other, become those of the queries in their order.

    places: (queries,), where the first output of each query stands among those of all groups; None where they stand in
    the order of the queries. further: of the other outputs.
    """

    places: Tensor | None
    further: tuple[FurtherOutputs, ...]

    @classmethod
    def of(cls, queries: Tensor, device: torch.device) -> Placing:
        """queries: (outputs of all groups,), of which query each is, on the CPU. Every query has one at least."""
        first, *further = _outputs_by_times(queries)
        return cls(
            None if not further and _stand(first.places, len(first.queries)) else first.places.to(device),
            tuple(FurtherOutputs(outputs.queries.to(device), outputs.places.to(device)) for outputs in further),
        )

    def placed(self, out: Tensor, token_dim: int) -> Tensor:
        """out: of all groups, times their shares, with the tokens in the dimension token_dim."""
        if self.places is None:
            return out
        of_queries = out.index_select(token_dim, self.places)
        for further in self.further:
            of_queries.index_add_(token_dim, further.queries, out.index_select(token_dim, further.places))
        return of_queries


@dataclass(frozen=True, eq=False)
class Asking:
    """How the groups of an attention are asked, on a device.

    rounds: one after the other, so that what one has gathered is freed before the next. shares: (outputs of all
    groups,), how much of each counts; None for all of it. placing: of the outputs.
    """

    rounds: tuple[Round, ...]
    shares: Tensor | None
    placing: Placing


@untraced
def _asking(groups: Sequence[Group], key_count: int, device: torch.device) -> Asking:
    """groups: on the CPU, at least one; every query is in one at least. key_count: how many keys there are."""
    # Where groups are runs of queries, these often are all queries as they stand.
    groups = sorted(_joined_by_keys(groups, key_count), key=lambda group: int(group.queries[0]))
    orders = key_orders(torch.stack([group.times(key_count) for group in groups]))
    of_rounds = [[order] for order in orders]
    if len(orders) > 1 and _stand(orders[0].keys, key_count):
        of_rounds[:2] = [orders[:2]]  # keys as they stand take no memory that the next ones could have
    queries = torch.cat([group.queries for group in groups])
    query_count = int(queries.max()) + 1
    shares = None
    if any(group.shares is not None for group in groups):
        shares = torch.cat([group.share_of_each for group in groups]).to(device)
    return Asking(
        tuple(_round(of_round, groups, query_count, key_count, device) for of_round in of_rounds),
        shares,
        Placing.of(queries, device),
    )


def _joined_by_keys(groups: Sequence[Group], key_count: int) -> list[Group]:
    """The groups, with those as one that read the same keys with the same bias.

    A query that is in several of these has the sum of its shares.
    """
    alike: dict[tuple[int, bytes], list[Group]] = {}
    for group in groups:
        alike.setdefault((id(group.bias), group.times(key_count).numpy().tobytes()), []).append(group)
    joined_groups: list[Group] = []
    for same in alike.values():
        queries, places = cast("Any", torch.cat([group.queries for group in same])).unique(return_inverse=True)
        shares = torch.zeros_like(queries, dtype=torch.float32)
        shares.index_add_(0, places, torch.cat([group.share_of_each for group in same]))
        joined_groups.append(replace(same[0], queries=queries, shares=None if bool((shares == 1).all()) else shares))
    return joined_groups


def _stand(numbers: Tensor, count: int) -> bool:
    """Whether numbers, (n,), are those of `count` tokens in their order."""
    return torch.equal(numbers, torch.arange(count))


def _outputs_by_times(queries: Tensor) -> list[FurtherOutputs]:
    """The first output of each query, then the second of those that have two, and so on, each by ascending queries.

    queries: (outputs of all groups,), of which query each is. Every query has one at least.
    """
    places = queries.argsort(stable=True)
    counts = queries.bincount()
    starts = counts.cumsum(0) - counts  # of each query, in `places`
    of_outputs = queries[places]
    times = torch.arange(len(queries)) - starts[of_outputs]
    return [FurtherOutputs(of_outputs[times == time], places[times == time]) for time in range(int(counts.max()))]


def _round(
    orders: Sequence[KeyOrder], groups: Sequence[Group], query_count: int, key_count: int, device: torch.device
) -> Round:
    """The round of the groups that read slices of these orders. groups: all of them, on the CPU."""
    numbers = sorted(number for order in orders for number in order.slices)
    queries = torch.cat([groups[number].queries for number in numbers])
    stand = _stand(queries, query_count)
    queries = queries.to(device)
    ends = accumulate((len(groups[number].queries) for number in numbers), initial=0)
    slice_of = {number: slice(*ends_of_group) for number, ends_of_group in zip(numbers, pairwise(ends), strict=True)}
    asked: list[Asked] = []
    for order in orders:
        keys = order.keys.to(device)
        of_order: list[AskedGroup] = []
        for number, keys_of_group in order.slices.items():
            bias = groups[number].bias
            on_device = Group(  # views of what is there, which take no memory
                queries[slice_of[number]], keys[keys_of_group], bias=None if bias is None else bias.to(device)
            )
            of_order.append(AskedGroup(number, on_device, slice_of[number], keys_of_group))
        asked.append(Asked(tuple(of_order), None if _stand(order.keys, key_count) else keys))
    return Round(tuple(asked), None if stand else queries)


def split_attention(
    asking: Asking,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    ask: Ask,
    token_dim: int,
    output_token_dim: int,
) -> Tensor:
    """The output of an attention that is split into groups, for all queries in their order.

    ask: called for each group with its queries and their keys and values. token_dim: the dimension of q, k and v in
    which the tokens stand. output_token_dim: the same of what `ask` gives.
    """
    outputs: dict[int, Tensor] = {}  # by the number of the group
    for in_round in asking.rounds:
        outputs |= _outputs_of_round(in_round, q, k, v, ask, token_dim)
    if len(outputs) == 1:
        return outputs[0]
    out = torch.cat([outputs[number] for number in range(len(outputs))], output_token_dim)
    outputs.clear()
    if asking.shares is not None:
        shape = [1] * out.dim()
        shape[output_token_dim] = -1
        out = out * asking.shares.to(out).view(shape)
    return asking.placing.placed(out, output_token_dim)


def _outputs_of_round(in_round: Round, q: Tensor, k: Tensor, v: Tensor, ask: Ask, token_dim: int) -> dict[int, Tensor]:
    """The outputs of the groups of a round, by the numbers of the groups. Arguments as of split_attention."""
    outputs: dict[int, Tensor] = {}
    round_q = _gathered_queries(q, in_round.queries, token_dim)
    for asked in in_round.asked:
        asked_k, asked_v = k, v
        if asked.keys is not None:
            asked_k = k.index_select(token_dim, asked.keys)
            asked_v = v.index_select(token_dim, asked.keys)
        for of_group in asked.groups:
            outputs[of_group.number] = ask(
                of_group.group,
                _part(round_q, of_group.queries, token_dim),
                _part(asked_k, of_group.keys, token_dim),
                _part(asked_v, of_group.keys, token_dim),
            )
    return outputs


def _gathered_queries(q: Tensor, numbers: Tensor | None, token_dim: int) -> Tensor:
    """The queries with these numbers, or all of them, in the dimensions of q.

    Where heads stand in front of tokens, (B, heads, N, d), the heads of a token lie together in memory. Kernels lay
    out what they give as q is, and the host puts the heads of a token together: then it has nothing to copy for that.
    """
    tokens_first = q.transpose(1, token_dim)
    gathered = tokens_first.contiguous() if numbers is None else tokens_first.index_select(1, numbers)
    return gathered.transpose(1, token_dim)


def _part(x: Tensor, tokens: slice, token_dim: int) -> Tensor:
    return x.narrow(token_dim, tokens.start, tokens.stop - tokens.start)


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
