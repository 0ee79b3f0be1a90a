"""Who reads whom in one attention over a common text, words about single people, a picture, and what stands beside it.

A token of the picture in a person's region reads the picture, the common text, and that person's words. A person's
words read themselves and the picture in the region, so that they are encoded as a prompt of their own would be. The
common text and all other tokens read nobody's words. The picture reads all of the picture. A reference picture that is
one person's reads that person's words, too: it stands beside them as beside a prompt of its own.

At a soft edge a region weighs less than 1. There a token gets so much of what it would get with the words, and the rest
of what it would get without. Where several people weigh something, those who weigh more stand behind those who weigh
less: with weights a >= b it gets 1 - a without words, a - b with the words of the first, and b with both. A weight of
2 reads the words as if they stood there twice, and one of 1.25 does so for a quarter of what a token gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import cast

import torch
import torch.nn.functional as functional
from torch import Tensor

from .token_groups import Group, Split

STEPS = 256
"""Weights are multiples of 1 / STEPS: exact in every dtype, and no group for rounding errors of masks."""


@dataclass(frozen=True)
class OwnedTokens:
    """Tokens of a person beside the picture, such as those of a reference picture. person: the number of the words."""

    person: int
    tokens: slice


@dataclass(frozen=True)
class Filler:
    """Tokens that fill up the place of a person's words, so that it is equally long in every row of a batch. Nobody
    reads them. front, behind: how many stand in front of the words and behind them."""

    front: int = 0
    behind: int = 0


@dataclass(frozen=True)
class TextLayout:
    """Where tokens stand in an attention.

    common: tokens of the common text and of all in front of it. counts: tokens of the place of each person's words;
    these places follow the common text. picture: where the tokens of the picture begin; how many there are the weights
    of people say. queries, keys: how many the attention has. front: the first tokens, which words read as the
    common text does. owned: tokens that read a person's words as the picture in the person's region does,
    in ascending order. fillers: what of each place is no words; empty where all of it is.
    """

    common: int
    counts: tuple[int, ...]
    picture: int
    queries: int
    keys: int
    front: int = 0
    owned: tuple[OwnedTokens, ...] = ()
    fillers: tuple[Filler, ...] = ()

    @property
    def places(self) -> list[slice]:
        """For each person, the tokens of the place that holds their words, with those that fill it up."""
        ends = list(accumulate(self.counts, initial=self.common))
        return [slice(start, end) for start, end in pairwise(ends)]

    @property
    def words(self) -> list[slice]:
        """For each person, the tokens of their words, without those that fill up the place."""
        if not self.fillers:
            return self.places
        words: list[slice] = []
        for place, filler in zip(self.places, self.fillers, strict=True):
            words.append(slice(place.start + filler.front, place.stop - filler.behind))
        return words


def on_tokens(regions: Tensor, height: int, width: int, side: int) -> Tensor:
    """Regions (people, H, W), from 0, of a picture of this size in pixels on its tokens: (people, rows * columns).

    side: of a token, in pixels. A token that reaches beyond the edge has the weight of what is in the picture.
    """
    if regions.shape[1:] != (height, width):
        regions = functional.interpolate(regions[:, None].float(), size=(height, width), mode="area")[:, 0]
    beyond = (0, -width % side, 0, -height % side)
    padded = functional.pad(regions[:, None].float(), beyond, mode="replicate")  # (people, 1, H, W)
    weights = functional.avg_pool2d(padded, side).flatten(1)
    return (weights * STEPS).round() / STEPS


def split_by_words(layout: TextLayout, weights: Tensor) -> Split:
    """The groups of an attention. weights: (people, picture tokens), from 0, multiples of 1 / STEPS."""
    picture = slice(layout.picture, layout.picture + weights.shape[1])
    words_of_people = layout.words
    without_words = torch.ones(layout.keys, dtype=torch.bool)  # the keys that are no person's words
    for place in layout.places:
        without_words[place] = False
    # With what fills places up: what comes out for it is not read.
    neither_words_nor_picture = torch.ones(layout.queries, dtype=torch.bool)
    for words in words_of_people:
        neither_words_nor_picture[words] = False
    neither_words_nor_picture[picture] = False
    for owned in layout.owned:
        neither_words_nor_picture[owned.tokens] = False
    groups: list[Group] = []
    if neither_words_nor_picture.any():
        groups.append(Group(_numbers(neither_words_nor_picture), _numbers(without_words)))
    for words, region in zip(words_of_people, weights, strict=True):
        if words.start == words.stop:
            continue
        keys = without_words.clone()
        keys[layout.front : layout.common] = False
        keys[picture] = region > 0
        keys[words] = True
        groups.append(Group(torch.arange(words.start, words.stop), _numbers(keys)))
    for person, words in enumerate(words_of_people):
        queries = _owned_by(layout, person)
        if len(queries):
            keys = without_words.clone()
            keys[words] = True
            groups.append(Group(queries, _numbers(keys)))
    for readers in _readers_of(weights):
        keys = _keys_of(readers, words_of_people, without_words)
        shares = None if bool((readers.shares == 1).all()) else readers.shares
        groups.append(Group(readers.tokens + layout.picture, keys, shares))
    return Split(tuple(groups), layout.keys)


def _owned_by(layout: TextLayout, person: int) -> Tensor:
    """The numbers of the queries that are tokens of a person beside the picture."""
    is_owned = torch.zeros(layout.queries, dtype=torch.bool)
    for owned in layout.owned:
        if owned.person == person:
            is_owned[owned.tokens] = True
    return _numbers(is_owned)


def _numbers(mask: Tensor) -> Tensor:
    """The indices at which a mask (n,) is True."""
    return mask.nonzero()[:, 0]


@dataclass(frozen=True, eq=False)
class Readers:
    """Tokens of the picture that read the words of the same people, each equally often.

    times: how often they read the words of each person. tokens: (n,), ascending. shares: (n,), how much of what a token
    gets comes from this reading.
    """

    times: Sequence[int]
    tokens: Tensor
    shares: Tensor


def _keys_of(readers: Readers, words_of_people: Sequence[slice], without_words: Tensor) -> Tensor:
    """The numbers of what readers read. without_words: (keys,) bool, what they all read besides."""
    keys = without_words.clone()
    repeated: list[Tensor] = []
    for words, times in zip(words_of_people, readers.times, strict=True):
        if times:
            keys[words] = True
        for _ in range(times - 1):
            repeated.append(torch.arange(words.start, words.stop))
    return torch.cat([_numbers(keys), *repeated])


def _readers_of(weights: Tensor) -> Sequence[Readers]:
    """Tokens by how often they read whose words. weights: (people, tokens).

    With a weight of 1.25 a token reads somebody's words twice in a quarter of what it gets, and once in the rest. So
    the weights of all people cut what a token gets into parts, in each of which nobody's words are read more or less
    often.
    """
    people, tokens = weights.shape
    more_often = weights.ceil()  # (people, tokens)
    # How much of what a token gets reads somebody's words so often; in the rest they are read once less.
    extent = weights - more_often + 1  # (people, tokens), above 0, at most 1
    ends, order = extent.T.sort(dim=1, descending=True, stable=True)  # (tokens, people)
    times_of_parts: list[Tensor] = []
    shares_of_parts: list[Tensor] = []
    for count in range(people + 1):
        is_within = torch.zeros(tokens, people)
        is_within.scatter_(1, order[:, :count], 1.0)
        upper = torch.ones(tokens) if count == 0 else ends[:, count - 1]
        lower = torch.zeros(tokens) if count == people else ends[:, count]
        times_of_parts.append(more_often.T - 1 + is_within)
        shares_of_parts.append(upper - lower)
    times = torch.cat(times_of_parts)  # ((people + 1) * tokens, people)
    shares = torch.cat(shares_of_parts)
    numbers = torch.arange(tokens).repeat(people + 1)
    has_share = shares > 0
    times = times[has_share]
    shares = shares[has_share]
    numbers = numbers[has_share]
    unique = times.unique(dim=0, return_inverse=True)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    # (patterns, people), and of each part (parts,) the number of its pattern
    patterns, pattern_of = cast("tuple[Tensor, Tensor]", unique)
    readers: list[Readers] = []
    for index, pattern in enumerate(patterns):
        of_pattern = pattern_of == index
        own_tokens, order_of_tokens = numbers[of_pattern].sort()
        own_times = cast("list[int]", pattern.int().tolist())  # pyright: ignore[reportUnknownMemberType]
        readers.append(Readers(own_times, own_tokens, shares[of_pattern][order_of_tokens]))
    return readers
