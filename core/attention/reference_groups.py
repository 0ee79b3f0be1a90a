"""One attention over text, picture and reference pictures, in which each token reads some references, by their weight.

The attention is not masked. Its queries are divided into groups that read the same keys, and each group is an attention
of its own, see core.attention.token_groups. Of a reference of the weight w, between 0 and 1, a token gets w of an
attention that reads it and 1 - w of one that does not. That is what a bias of log(w') on the reference's keys gives,
with w' = w (1 - p) / (1 - w p), where p is the part of the token's attention that falls on the reference at a weight of
1.
No token but those of the person's own references reads what weighs 0, so the picture is the one without it.

A boost of a reference is another thing: log(boost) on its own keys, for queries of the picture alone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from .token_groups import AnySplit, Group, in_steps, readers_of, split_of_rows
from .token_layout import PlacedSpan, Span, TokenKind, placed_spans

_OF_REFERENCES = TokenKind.REFERENCE, TokenKind.SHOWN
"""The kinds of tokens that belong to a reference. A reference may have a piece of each."""


def belongs(shares: Tensor) -> Tensor:
    """Whether a token of a picture belongs to a person, in the shape of `shares`: where at least half of it is theirs.

    shares: how much of each token lies in each person's region, as core.attention.cross_attention.on_tokens gives it.
    """
    return shares >= 0.5


@dataclass(frozen=True, eq=False)
class ReadReference:
    """How one reference picture is read.

    owner: the index of its person, or None for one of no person. region: the row of `regions` in which picture tokens
    read it. weight: from 0; references of one person read each other at 1. boost: from 0, the picture reads its tokens
    as if each were there so many times; what shows it in the text is not boosted. kept: which of its
    tokens are read at all, (tokens,) bool, or None for all.
    """

    owner: int | None
    region: int | None
    weight: float
    boost: float
    kept: Tensor | None


def groups(
    spans: Sequence[Span],
    regions: Tensor | None,
    references: Sequence[ReadReference],
    everybody_outside: bool = False,
    strength: float = 1,
    isolated: bool = False,
) -> tuple[Group, ...]:
    """The tokens divided into groups of queries that read the same keys.

    All tokens read text and picture. Of the references,
    - the text reads those of no person,
    - a picture token reads those of no person, and those in whose region it lies,
    - a token of a person's reference reads those of no person, and the same person's,
    - a token of a reference of no person reads those of no person.
    What the common text shows of a reference is read by all tokens.

    spans: all tokens in their order, with the number of their reference. regions: (regions, picture tokens) bool,
    whether a token lies in a region; None at a strength of 0.
    everybody_outside: whether a picture token outside of all regions reads all people's references, or none.
    strength: 0..1, how far references are limited to regions. Below 1 the output is a mix: `strength` of what is said
    above, and the rest of an attention in which all tokens read all references.
    isolated: whether tokens of references read no text and no picture.
    """
    tokens = _Tokens(spans, references, isolated)
    attentions: list[_Attention] = []
    if strength > 0 and regions is not None:
        outside = ~regions.any(dim=0)  # (picture tokens,) bool
        attentions.append(_Attention(strength, regions | outside if everybody_outside else regions))
    if strength < 1:
        attentions.append(_Attention(1 - strength, regions=None))
    return tuple(group for attention in attentions for group in _groups_of(attention, tokens))


@dataclass(frozen=True, eq=False)
class _Attention:
    """One of the attentions that are mixed. share: how much of the output comes from it. regions: (regions, picture
    tokens) bool, to which references are limited; None where all tokens read all references."""

    share: float
    regions: Tensor | None


@dataclass(frozen=True, eq=False)
class _Tokens:
    """All tokens in their order, and how the references among them are read. The fields are arguments of `groups`.

    A piece is a span of a reference, or of what the text shows of one.
    """

    spans: Sequence[Span]
    references: Sequence[ReadReference]
    isolated: bool

    def read_others(self, span: Span) -> bool:
        """Whether the tokens of a span read text and picture."""
        return not self.isolated or span.kind is not TokenKind.REFERENCE

    def weights(self, reader: Span, regions: Tensor | None) -> Tensor:
        """How strongly the tokens of a span read each piece: (pieces, tokens). regions: of an _Attention."""
        weights: list[Tensor] = []
        for piece in self.spans:
            if piece.kind in _OF_REFERENCES:
                weight = 1.0 if self._has_same_owner(reader, piece) else self.references[piece.number].weight
                reads = self._reads(reader, piece, regions)
                weights.append(torch.full((reader.count,), weight, dtype=torch.float32) * reads)
        return torch.stack(weights)

    def _has_same_owner(self, reader: Span, piece: Span) -> bool:
        """Whether a span is a piece as well, and both are one person's or nobody's."""
        if reader.kind not in _OF_REFERENCES:
            return False
        return self.references[reader.number].owner == self.references[piece.number].owner

    def _reads(self, reader: Span, piece: Span, regions: Tensor | None) -> bool | Tensor:
        """Whether the tokens of a span read a piece: all alike, or each for itself, (tokens,) bool."""
        reference = self.references[piece.number]
        if piece.kind is TokenKind.SHOWN:  # a part of the text
            return self.read_others(reader)
        if regions is None or reference.owner is None:
            return True
        if reader.kind is TokenKind.PICTURE:
            return regions[reference.region]
        return reader.kind is TokenKind.REFERENCE and self._has_same_owner(reader, piece)

    def bias(self) -> Tensor | None:
        """What the picture's queries add to the logits of each token, (all tokens,): the logarithm of its boost.

        It is 0 for tokens that are not a reference's own. None where no reference is boosted.
        """
        if all(reference.boost == 1 for reference in self.references):
            return None
        biases: list[Tensor] = []
        for span, reference in zip(self.spans, self._own_references(), strict=True):
            boost = reference.boost if reference else 1.0
            biases.append(torch.full((span.count,), math.log(max(boost, LEAST_BOOST)), dtype=torch.float32))
        return torch.cat(biases)

    def keys_read(self, times_of_pieces: Sequence[int], reads_others: bool) -> Tensor | None:
        """The indices of all tokens that are read, each as often as it is read: (keys,). None for all, each once.

        times_of_pieces: for each piece, in the order of the spans. reads_others: whether all other spans are read.
        """
        left_out = self._left_out
        if reads_others and left_out is None and all(times == 1 for times in times_of_pieces):
            return None
        times_left = iter(times_of_pieces)
        keys_of_spans: list[Tensor] = []
        for placed in placed_spans(self.spans):
            times = next(times_left) if placed.span.kind in _OF_REFERENCES else int(reads_others)
            keys_of_spans += [placed.numbers()] * times
        keys = torch.cat(keys_of_spans)
        return keys if left_out is None else keys[~left_out[keys]]

    @cached_property
    def _left_out(self) -> Tensor | None:
        """Which tokens nobody reads, (all tokens,) bool; None where all are read."""
        if all(reference.kept is None for reference in self.references):
            return None
        left_out: list[Tensor] = []
        for span, reference in zip(self.spans, self._own_references(), strict=True):
            if reference and reference.kept is not None:
                left_out.append(~reference.kept)
            else:
                left_out.append(torch.zeros(span.count, dtype=torch.bool))
        return torch.cat(left_out)

    def _own_references(self) -> list[ReadReference | None]:
        """For each span the reference picture whose own tokens it is; None for any other span."""
        return [self.references[span.number] if span.kind is TokenKind.REFERENCE else None for span in self.spans]


LEAST_BOOST = 1e-4
"""As in Identity Edit's node, whose logarithm is finite."""


def _groups_of(attention: _Attention, tokens: _Tokens) -> Iterator[Group]:
    """The groups of one of the attentions that are mixed."""
    bias = tokens.bias()
    # Spans that all read text and picture or all do not, and whose logits all get the bias or do not.
    spans_alike: dict[tuple[bool, bool], list[PlacedSpan]] = {}
    for placed in placed_spans(tokens.spans):
        has_bias = bias is not None and placed.span.kind is TokenKind.PICTURE
        spans_alike.setdefault((tokens.read_others(placed.span), has_bias), []).append(placed)
    for (reads_others, has_bias), alike in spans_alike.items():
        queries = torch.cat([placed.numbers() for placed in alike])
        weights = torch.cat([tokens.weights(placed.span, attention.regions) for placed in alike], dim=1)
        for readers in readers_of(in_steps(weights)):
            keys = tokens.keys_read(readers.times, reads_others)
            shares = readers.group_shares(attention.share)
            yield Group(queries[readers.tokens], keys, shares, bias if has_bias else None)


class Plan:
    """How the attention over these tokens is split, ready on a device.

    spans: all tokens in their order. groups_of_rows: what `groups` gives, on the CPU, for each row of the batch, or
    once for all rows. Rows that read the same have the same Groups.
    """

    def __init__(
        self, spans: Sequence[Span], groups_of_rows: Sequence[tuple[Group, ...]], device: torch.device
    ) -> None:
        self.total = sum(span.count for span in spans)
        self.without_references = sum(span.count for span in spans if span.kind is not TokenKind.REFERENCE)
        self._splits: dict[int, AnySplit] = {}
        # In most attentions all tokens are queries. FluxKVCache keeps the references' keys after the first step, so
        # that text and picture alone are queries, and the references behind them are only read.
        for queries in {self.total, self.without_references}:
            split = self._split(groups_of_rows, queries)
            # Indices are copied to the device here, because torch.compile must not see the copy in a forward.
            split.on(device)
            self._splits[queries] = split

    def _split(self, groups_of_rows: Sequence[tuple[Group, ...]], queries: int) -> AnySplit:
        """The split of an attention whose queries are the first `queries` tokens: one for all rows where all read the
        same, else one for each row."""
        asked = {groups_of_row: _asked_groups(groups_of_row, queries) for groups_of_row in set(groups_of_rows)}
        return split_of_rows([asked[groups_of_row] for groups_of_row in groups_of_rows], self.total)

    def of(self, queries: int, keys: int) -> AnySplit | None:
        """The split of an attention with these numbers of queries and keys; None for an attention over other tokens.

        It is one of those that were made at the beginning: nothing is made here.
        """
        if keys != self.total:
            return None
        return self._splits.get(queries)


def _asked_groups(groups_of_row: Sequence[Group], queries: int) -> tuple[Group, ...]:
    """The groups of an attention in which only the first `queries` tokens are queries.

    All other tokens are taken out of the queries of each group. A group without queries is left out.
    """
    asked: list[Group] = []
    for group in groups_of_row:
        are_asked = group.queries < queries
        if are_asked.any():
            shares = None if group.shares is None else group.shares[are_asked]
            asked.append(replace(group, queries=group.queries[are_asked], shares=shares))
    return tuple(asked)
