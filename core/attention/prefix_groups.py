"""Attention of a picture whose text and references stand in front of it and do not read it: a causal prefix.

Each person has a prefix of their own: the text, the references of no person and this person's references, as if there
were no others. The positions are those of the prefix with everybody. There is one with nobody's references, too. The
picture's tokens, the target, read those prefixes whose people they show:

    a token of                      reads the target, and the prefix of
    one person's region             this person
    two people's regions            both: what stands in both prefixes counts by half in each
    no region                       nobody, or everybody

Weight, boost and what is kept of a reference are as in core.attention.reference_groups.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .reference_groups import LEAST_BOOST, ReadReference, groups
from .token_groups import Group, Readers, in_steps, readers_of
from .token_layout import Span, TokenKind, placed_spans

NOBODY, EVERYBODY = -1, -2
"""In the place of the index of a person: the prefix with nobody's references, and that with all of them, in which all
tokens read all references, each by its weight."""


@dataclass(frozen=True, eq=False)
class PrefixKeys:
    """Tokens of one prefix among the keys of the target. start: the number of the first key."""

    spans: Sequence[Span]
    start: int


@dataclass(frozen=True, eq=False)
class TargetReading:
    """How the target reads references.

    references: all of them. regions: (regions, target tokens) bool, whether a token lies in a region; None at a
    strength of 0. tokens: how many the target has. everybody_outside, strength: as in reference_groups.groups.
    """

    references: Sequence[ReadReference]
    regions: Tensor | None
    tokens: int
    everybody_outside: bool
    strength: float

    def prefixes(self) -> list[int]:
        """Whose prefixes are read: indices of people, NOBODY and EVERYBODY, ascending."""
        read: set[int] = set()
        for attention in self._attentions():
            for readers in attention.readers():
                read.update(attention.prefixes_of(readers))
        return sorted(read)

    def groups(self, others: Tensor, prefixes: Mapping[int, PrefixKeys], keys: int) -> tuple[Group, ...]:
        """The target's tokens, divided into groups that read the same keys.

        others: the numbers of keys that are in none of these prefixes, such as the target's own: all read them, (n,).
        prefixes: the keys of those that `prefixes` names. keys: how many keys there are.
        """
        return tuple(
            _group(attention, readers, others, prefixes, keys)
            for attention in self._attentions()
            for readers in attention.readers()
        )

    def _attentions(self) -> Iterator["_Attention"]:
        if self.strength > 0 and self.regions is not None:
            outside = ~self.regions.any(dim=0)  # (target tokens,) bool
            regions = self.regions | outside if self.everybody_outside else self.regions
            yield _Attention(self.strength, self.references, regions, self.tokens)
        if self.strength < 1:
            yield _Attention(1 - self.strength, self.references, None, self.tokens)


@dataclass(frozen=True, eq=False)
class _Attention:
    """One of the attentions that are mixed, as in reference_groups. share: how much of the output comes from it.
    regions: to which references are limited; None where the prefix of everybody is read."""

    share: float
    references: Sequence[ReadReference]
    regions: Tensor | None
    tokens: int

    def readers(self) -> list[Readers]:
        weights = torch.empty(len(self.references), self.tokens, dtype=torch.float32)
        for weights_of_one, reference in zip(weights, self.references, strict=True):
            weights_of_one[:] = reference.weight
            if self.regions is not None and reference.owner is not None:
                weights_of_one *= self.regions[reference.region]
        return readers_of(in_steps(weights))

    def prefixes_of(self, readers: Readers) -> list[int]:
        """Whose prefixes these tokens read."""
        if self.regions is None:
            return [EVERYBODY]
        people: set[int] = set()
        for reference, times in zip(self.references, readers.times, strict=True):
            if times and reference.owner is not None:
                people.add(reference.owner)
        return sorted(people) or [NOBODY]


def _group(
    attention: _Attention, readers: Readers, others: Tensor, prefixes: Mapping[int, PrefixKeys], keys: int
) -> Group:
    """The group of some readers. The other arguments are those of TargetReading.groups."""
    read_keys = [others]
    bias = torch.zeros(keys, dtype=torch.float32)
    names = attention.prefixes_of(readers)
    for name in names:
        prefix = prefixes[name]
        for placed in placed_spans(prefix.spans):
            numbers = placed.numbers() + prefix.start
            times, factor = 1, 1 / len(names)
            if placed.span.kind is TokenKind.REFERENCE:
                reference = attention.references[placed.span.number]
                times = readers.times[placed.span.number]
                # What is one person's stands in this prefix alone.
                factor = max(reference.boost, LEAST_BOOST) * (factor if reference.owner is None else 1)
                numbers = numbers if reference.kept is None else numbers[reference.kept]
            bias[numbers] = math.log(factor)
            read_keys += [numbers] * times
    has_bias = bool(bias.any())
    shares = readers.group_shares(attention.share)
    return Group(readers.tokens, torch.cat(read_keys), shares, bias if has_bias else None)


def segment_groups(
    spans: Sequence[Span], references: Sequence[ReadReference]
) -> dict[tuple[int, int], tuple[Group, ...]]:
    """How the attentions of a prefix are split, each of which is over one span and all tokens up to its end.

    By the number of queries and of keys. The text reads all references of the prefix by their weight. {} where all
    tokens read all before them. The network's own mask of the text, by which it reads what stands before, is not in it.
    """
    numbers = {span.number for span in spans if span.kind is TokenKind.REFERENCE}
    if all(references[number].weight == 1 and references[number].kept is None for number in numbers):
        return {}
    of_all = groups(spans, None, references, strength=0)
    by_size: dict[tuple[int, int], tuple[Group, ...]] = {}
    for placed in placed_spans(spans):
        tokens = placed.tokens
        by_size[placed.span.count, tokens.stop] = tuple(
            cut for cut in (_of_segment(group, tokens) for group in of_all) if len(cut.queries)
        )
    return by_size


def _of_segment(group: Group, tokens: slice) -> Group:
    """The part of a group that asks from these tokens, and reads no token behind them."""
    is_asked = (group.queries >= tokens.start) & (group.queries < tokens.stop)
    keys = None if group.keys is None else group.keys[group.keys < tokens.stop]
    shares = None if group.shares is None else group.shares[is_asked]
    return Group(group.queries[is_asked] - tokens.start, keys, shares)
