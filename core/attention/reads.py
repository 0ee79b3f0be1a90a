"""Who reads whom in one attention over text, words about single people, a picture and reference pictures.

Attention is not masked. Its queries are divided into groups that read the same keys, and each group is an attention of
its own (token_groups.py). Every span of tokens reads every other as often as a rule says:

    a token of                     reads of the words                    reads of the references
    the picture                    those of people in whose region it    those of nobody, and those in whose region it
                                   is, as often as their weight there    lies, by their weight
    words                          themselves                            as the text
    a person's reference           this person's                         those of nobody, and the same person's
    text, a reference of nobody    none                                  those of nobody

All tokens read text and picture, with two exceptions: words read no text, and of the picture their region alone, so
that they are encoded as a prompt of their own would be; isolated references read neither. What the text shows of a
reference is read as text is, by its weight.

Not every number of times is whole. Of a token at a soft edge, with words of the weight w below 1, w of the result comes
from an attention with the words and 1 - w from one without. With the weights a >= b of two people it gets 1 - a of the
result without words, a - b of that with the words of the first person, and b of that with the words of both. At a
weight of 2 the words are among the keys twice. At 1.25 a token gets a quarter of the result with the words twice, and
three quarters of that with them once. So it is with a reference of the weight w: that is what a bias of log(w') on the
reference's keys gives, with w' = w (1 - p) / (1 - w p), where p is the part of the token's attention that falls on the
reference at a weight of 1. What weighs 0 is not there for those who are not its owner's.

A boost of a reference is another thing: log(boost) on its own keys, for queries of the picture alone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .spans import PlacedSpan, Span, TokenKind, placed_spans
from .token_groups import AnySplit, Group, Readers, in_steps, readers_of, split_of_rows

_OF_REFERENCES = TokenKind.REFERENCE, TokenKind.SHOWN
"""The kinds of tokens that belong to a reference. A reference may have a piece of each."""
LEAST_BOOST = 1e-4
"""As in Identity Edit's node, whose logarithm is finite."""


def belongs(shares: Tensor) -> Tensor:
    """Whether a token of a picture belongs to a person, in the shape of `shares`: where at least half of it is theirs.

    shares: how much of each token lies in each person's region, as core.attention.cross_attention.on_tokens gives it.
    """
    return shares >= 0.5


class Rule(Protocol):
    """Who reads whom. A reader is a span of queries, a piece a span of keys."""

    def times(self, reader: Span, piece: Span) -> float | Tensor:
        """How often the tokens of a reader read a piece, from 0: all alike, or each for itself, (tokens of it,)."""
        ...

    def part(self, reader: Span, piece: Span) -> Tensor | None:
        """Which tokens of a piece are read where it is read, (tokens of it,) bool; None for all."""
        ...

    def bias(self, reader: Span, pieces: Sequence[Span]) -> Tensor | None:
        """What is added to the logits of each key, (keys,); None for nothing."""
        ...

    def apart(self, reader: Span) -> Hashable:
        """By what the readers are told apart that have another `part` or `bias`."""
        ...


def groups_of(readers: Sequence[Span], pieces: Sequence[Span], rule: Rule, share: float = 1) -> tuple[Group, ...]:
    """The queries of an attention, divided into groups that read the same keys.

    readers: all queries in their order. pieces: all keys. share: how much of the output comes from this attention.
    """
    alike: dict[Hashable, list[PlacedSpan]] = {}
    for placed in placed_spans(readers):
        if placed.span.count:
            alike.setdefault(rule.apart(placed.span), []).append(placed)
    return tuple(group for placed in alike.values() for group in _groups_of_alike(placed, pieces, rule, share))


def _groups_of_alike(alike: Sequence[PlacedSpan], pieces: Sequence[Span], rule: Rule, share: float) -> Iterator[Group]:
    """The groups of readers that a rule does not tell apart."""
    reader = alike[0].span
    queries = torch.cat([placed.numbers() for placed in alike])
    bias = rule.bias(reader, pieces)
    weights = [torch.cat([_weights(rule, placed.span, piece) for placed in alike]) for piece in pieces]
    # What all of them read equally often divides nobody.
    dividing = [number for number, of_piece in enumerate(weights) if bool((of_piece != of_piece[0].round()).any())]
    for of_some in _readers(torch.stack([weights[number] for number in dividing]) if dividing else None, len(queries)):
        times = [int(of_piece[0]) for of_piece in weights]
        for number, of_piece in zip(dividing, of_some.times, strict=True):
            times[number] = of_piece
        parts = [rule.part(reader, piece) for piece in pieces]
        yield Group(queries[of_some.tokens], _keys(pieces, times, parts), of_some.group_shares(share), bias)


def _weights(rule: Rule, reader: Span, piece: Span) -> Tensor:
    """How often each token of a reader reads a piece, in steps: (tokens,)."""
    return in_steps(torch.ones(reader.count, dtype=torch.float32) * rule.times(reader, piece))


def _readers(weights: Tensor | None, count: int) -> list[Readers]:
    """weights: (pieces, tokens); None where all tokens read the same. count: of the tokens."""
    if weights is None:
        return [Readers((), torch.arange(count), torch.ones(count, dtype=torch.float32))]
    return readers_of(weights)


def _keys(pieces: Sequence[Span], times: Sequence[int], parts: Sequence[Tensor | None]) -> Tensor | None:
    """The numbers of the keys, each as often as it is read: (n,). None for all keys, each once.

    times, parts: of each piece.
    """
    if all(of_piece == 1 for of_piece in times) and all(part is None for part in parts):
        return None
    keys = [torch.empty(0, dtype=torch.long)]
    for placed, of_piece, part in zip(placed_spans(pieces), times, parts, strict=True):
        numbers = placed.numbers()
        keys += [numbers if part is None else numbers[part]] * of_piece
    return torch.cat(keys)


@dataclass(frozen=True, eq=False)
class WordsRule:
    """Who reads people's words. weights: how often every token of the picture reads each, (words, picture tokens)."""

    weights: Tensor

    def times(self, reader: Span, piece: Span) -> float | Tensor:
        if piece.kind is TokenKind.FILLER:
            return 0
        if piece.kind is not TokenKind.WORDS:
            return float(reader.kind is not TokenKind.WORDS or piece.kind not in (TokenKind.TEXT, TokenKind.SHOWN))
        if reader.kind is TokenKind.PICTURE:
            return self.weights[piece.number]
        if reader.kind is TokenKind.WORDS:
            return float(reader.number == piece.number)
        return float(reader.kind is TokenKind.REFERENCE and reader.owner is not None and reader.owner == piece.owner)

    def part(self, reader: Span, piece: Span) -> Tensor | None:
        is_of_words = reader.kind is TokenKind.WORDS and piece.kind is TokenKind.PICTURE
        return self.weights[reader.number] > 0 if is_of_words else None

    def bias(self, reader: Span, pieces: Sequence[Span]) -> Tensor | None:
        return None

    def apart(self, reader: Span) -> Hashable:
        return reader.number if reader.kind is TokenKind.WORDS else None


@dataclass(frozen=True, eq=False)
class ReadReference:
    """How one reference picture is read.

    region: the row of `regions` in which picture tokens read it, where it is somebody's. weight: from 0; references of
    one person read each other at 1. boost: from 0, the picture reads its tokens as if each were there so many times;
    what shows it in the text is not boosted. kept: which of its tokens are read at all, (tokens,) bool, or None for
    all.
    """

    region: int | None
    weight: float
    boost: float
    kept: Tensor | None


class Mixed(NamedTuple):
    """One of the attentions that are mixed. share: how much of the output comes from it. regions: (regions, picture
    tokens) bool, to which references are limited; None where all tokens read all references."""

    share: float
    regions: Tensor | None


def mixed(regions: Tensor | None, strength: float, everybody_outside: bool) -> list[Mixed]:
    """The attentions with references limited to regions as far as `strength` says, 0..1, and the rest without.

    regions: (regions, picture tokens) bool; None at a strength of 0. everybody_outside: whether a picture token outside
    of all regions reads all people's references, or none.
    """
    attentions: list[Mixed] = []
    if strength > 0 and regions is not None:
        outside = ~regions.any(dim=0)  # (picture tokens,) bool
        attentions.append(Mixed(strength, regions | outside if everybody_outside else regions))
    if strength < 1:
        attentions.append(Mixed(1 - strength, None))
    return attentions


@dataclass(frozen=True, eq=False)
class ReferencesRule:
    """Who reads references, by their numbers. regions: of a Mixed. isolated: whether references read neither text nor
    picture."""

    references: Sequence[ReadReference]
    regions: Tensor | None
    isolated: bool = False

    def times(self, reader: Span, piece: Span) -> float | Tensor:
        reads_others = not self.isolated or reader.kind is not TokenKind.REFERENCE
        if piece.kind not in _OF_REFERENCES:
            return float(reads_others)
        has_same_owner = reader.kind in _OF_REFERENCES and reader.owner == piece.owner
        weight = 1.0 if has_same_owner else self.references[piece.number].weight
        if piece.kind is TokenKind.SHOWN:  # a part of the text
            return weight * reads_others
        if self.regions is None or piece.owner is None:
            return weight
        if reader.kind is TokenKind.PICTURE:
            return weight * self.regions[self.references[piece.number].region]
        return weight * (reader.kind is TokenKind.REFERENCE and has_same_owner)

    def part(self, reader: Span, piece: Span) -> Tensor | None:
        return self.references[piece.number].kept if piece.kind is TokenKind.REFERENCE else None

    def bias(self, reader: Span, pieces: Sequence[Span]) -> Tensor | None:
        if not self.apart(reader):
            return None
        biases: list[Tensor] = []
        for piece in pieces:
            boost = self.references[piece.number].boost if piece.kind is TokenKind.REFERENCE else 1.0
            biases.append(torch.full((piece.count,), math.log(max(boost, LEAST_BOOST)), dtype=torch.float32))
        return torch.cat(biases)

    def apart(self, reader: Span) -> Hashable:
        is_boosted = any(reference.boost != 1 for reference in self.references)
        return is_boosted and reader.kind is TokenKind.PICTURE


def split_for(groups_of_rows: Sequence[tuple[Group, ...]], queries: int, keys: int) -> AnySplit:
    """The split of an attention of which the first `queries` tokens ask: one for all rows where all read the same.

    groups_of_rows: of each row of the batch, or once for all rows. Rows that read the same have the same Groups. keys:
    how many there are.
    """
    asked = {groups: _asked(groups, queries) for groups in set(groups_of_rows)}
    return split_of_rows([asked[groups] for groups in groups_of_rows], keys)


def _asked(groups: Sequence[Group], queries: int) -> tuple[Group, ...]:
    """The groups without queries from this number on. A group without queries is left out."""
    asked: list[Group] = []
    for group in groups:
        are_asked = group.queries < queries
        if are_asked.any():
            shares = None if group.shares is None else group.shares[are_asked]
            asked.append(replace(group, queries=group.queries[are_asked], shares=shares))
    return tuple(asked)
