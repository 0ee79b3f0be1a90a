"""Attention of a picture whose text and references stand in front of it and do not read it: a causal prefix.

Each person has a prefix of their own: the text, the references of no person and this person's references, as if there
were no others. The positions are those of the prefix with everybody. There is one with nobody's references, too. The
picture's tokens, the target, read those prefixes whose people they show:

    a token of                      reads the target, and the prefix of
    one person's region             this person
    two people's regions            both: what stands in both prefixes counts by half in each
    no region                       nobody, or everybody

Weight, boost and what is kept of a reference are as in core.attention.reads.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from .reads import LEAST_BOOST, Mixed, ReadReference, ReferencesRule, groups_of, mixed
from .spans import Span, TokenKind, placed_spans
from .token_groups import Group, Readers, in_steps, readers_of


class Whose(Enum):
    """In the place of the name of a person: whose the references of a prefix are."""

    NOBODY = "of no person"
    EVERYBODY = "all of them, and all tokens read all references, each by its weight"


Owner = str | Whose
"""Whose prefix it is: the name of a person, or neither."""


@dataclass(frozen=True, eq=False)
class PrefixKeys:
    """Tokens of one prefix among the keys of the target. start: the number of the first key."""

    spans: Sequence[Span]
    start: int


@dataclass(frozen=True, eq=False)
class TargetReading:
    """How the target reads references.

    references: all of them. owners: the names of their people. regions: (regions, target tokens) bool, whether a token
    lies in a region; None at a strength of 0. tokens: how many the target has. everybody_outside, strength: as in
    reads.mixed.
    """

    references: Sequence[ReadReference]
    owners: Sequence[str | None]
    regions: Tensor | None
    tokens: int
    everybody_outside: bool
    strength: float

    def prefixes(self) -> list[Owner]:
        """Whose prefixes are read."""
        read: dict[Owner, None] = {}
        for attention in self._attentions():
            for readers in self._readers(attention):
                read.update(dict.fromkeys(self._prefixes_of(attention, readers)))
        return list(read)

    def groups(self, others: Tensor, prefixes: Mapping[Owner, PrefixKeys], keys: int) -> tuple[Group, ...]:
        """The target's tokens, divided into groups that read the same keys.

        others: the numbers of keys that are in none of these prefixes, such as the target's own: all read them, (n,).
        prefixes: the keys of those that `prefixes` names. keys: how many keys there are.
        """
        return tuple(
            self._group(attention, readers, others, prefixes, keys)
            for attention in self._attentions()
            for readers in self._readers(attention)
        )

    def _attentions(self) -> list[Mixed]:
        return mixed(self.regions, self.strength, self.everybody_outside)

    def _readers(self, attention: Mixed) -> list[Readers]:
        """Tokens of the target that read the same references equally often."""
        weights = torch.empty(len(self.references), self.tokens, dtype=torch.float32)
        for weights_of_one, reference, owner in zip(weights, self.references, self.owners, strict=True):
            weights_of_one[:] = reference.weight
            if attention.regions is not None and owner is not None:
                weights_of_one *= attention.regions[reference.region]
        return readers_of(in_steps(weights))

    def _prefixes_of(self, attention: Mixed, readers: Readers) -> list[Owner]:
        """Whose prefixes these tokens read."""
        if attention.regions is None:
            return [Whose.EVERYBODY]
        read = zip(self.owners, readers.times, strict=True)
        people = dict.fromkeys(owner for owner, times in read if times and owner is not None)
        return [*people] or [Whose.NOBODY]

    def _group(
        self, attention: Mixed, readers: Readers, others: Tensor, prefixes: Mapping[Owner, PrefixKeys], keys: int
    ) -> Group:
        """The group of some readers. The other arguments are those of `groups`."""
        read_keys = [others]
        bias = torch.zeros(keys, dtype=torch.float32)
        owners = self._prefixes_of(attention, readers)
        for owner in owners:
            prefix = prefixes[owner]
            for placed in placed_spans(prefix.spans):
                numbers = placed.numbers() + prefix.start
                times, factor = 1, 1 / len(owners)
                if placed.span.kind is TokenKind.REFERENCE:
                    reference = self.references[placed.span.number]
                    times = readers.times[placed.span.number]
                    # What is one person's stands in this prefix alone.
                    is_nobodys = self.owners[placed.span.number] is None
                    factor = max(reference.boost, LEAST_BOOST) * (factor if is_nobodys else 1)
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
    of_all = groups_of(spans, spans, ReferencesRule(references, regions=None))
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
