"""Who reads whom in one attention over a common text, words about single people, a picture, and what stands beside it.

A token of the picture in a person's region reads the picture, the common text, and that person's words. A person's
words read themselves and the picture in the region, so that they are encoded as a prompt of their own would be. The
common text and all other tokens read nobody's words. The picture reads all of the picture. A reference picture that is
one person's reads that person's words, too: it stands beside them as beside a prompt of its own.

At a soft edge a region weighs less than 1. There a token gets so much of what it would get with the words, and the rest
of what it would get without. Where several people weigh something, those who weigh more stand behind those who weigh
less: with weights a >= b it gets 1 - a without words, a - b with the words of the first, and b with both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

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
class TextLayout:
    """Where tokens stand in an attention.

    common: tokens of the common text and of all in front of it. counts: tokens of each person's words, which follow it.
    picture: where the tokens of the picture begin; how many there are the weights of people say. queries, keys: of the
    attention. front: tokens in front of the common text, which words read as the common text does. owned: tokens that
    read a person's words as the picture in the person's region does, in ascending order.
    """

    common: int
    counts: tuple[int, ...]
    picture: int
    queries: int
    keys: int
    front: int = 0
    owned: tuple[OwnedTokens, ...] = ()

    @property
    def words(self) -> list[slice]:
        """Where each person's words stand."""
        ends = list(accumulate(self.counts, initial=self.common))
        return [slice(start, end) for start, end in pairwise(ends)]


def on_tokens(regions: Tensor, height: int, width: int, side: int) -> Tensor:
    """Regions (people, H, W), 0..1, of a picture of this size in pixels on its tokens: (people, rows * columns).

    side: of a token, in pixels. A token that reaches beyond the edge has the weight of what is in the picture.
    """
    if regions.shape[1:] != (height, width):
        regions = functional.interpolate(regions[:, None].float(), size=(height, width), mode="area")[:, 0]
    beyond = (0, -width % side, 0, -height % side)
    padded = functional.pad(regions[:, None].float(), beyond, mode="replicate")  # (people, 1, H, W)
    weights = functional.avg_pool2d(padded, side).flatten(1)
    return (weights * STEPS).round() / STEPS


def split_by_words(layout: TextLayout, weights: Tensor) -> Split:
    """The groups of an attention. weights: (people, picture tokens), 0..1, multiples of 1 / STEPS."""
    picture = slice(layout.picture, layout.picture + weights.shape[1])
    without_words = torch.ones(layout.keys, dtype=torch.bool)
    for words in layout.words:
        without_words[words] = False
    others = torch.ones(layout.queries, dtype=torch.bool)
    others[layout.common : layout.common + sum(layout.counts)] = False
    others[picture] = False
    for owned in layout.owned:
        others[owned.tokens] = False
    groups = list[Group]()
    if others.any():
        groups.append(Group(_numbers(others), _numbers(without_words)))
    for words, region in zip(layout.words, weights, strict=True):
        read = without_words.clone()
        read[layout.front : layout.common] = False
        read[picture] = region > 0
        read[words] = True
        groups.append(Group(torch.arange(words.start, words.stop), _numbers(read)))
    for person, words in enumerate(layout.words):
        asking = _owned_by(layout, person)
        if len(asking):
            read = without_words.clone()
            read[words] = True
            groups.append(Group(asking, _numbers(read)))
    for readers in _by_readers(weights):
        read = without_words.clone()
        for person in readers.people:
            read[layout.words[person]] = True
        shares = None if bool((readers.shares == 1).all()) else readers.shares
        groups.append(Group(readers.tokens + layout.picture, _numbers(read), shares))
    return Split(tuple(groups), layout.keys)


def _owned_by(layout: TextLayout, person: int) -> Tensor:
    """Which queries are tokens of a person beside the picture."""
    asks = torch.zeros(layout.queries, dtype=torch.bool)
    for owned in layout.owned:
        if owned.person == person:
            asks[owned.tokens] = True
    return _numbers(asks)


def _numbers(chosen: Tensor) -> Tensor:
    return chosen.nonzero()[:, 0]


@dataclass(frozen=True, eq=False)
class Readers:
    """Tokens of the picture that read the words of the same people.

    people: their numbers. tokens: (n,), ascending. shares: (n,), how much of what a token gets comes from this reading.
    """

    people: Sequence[int]
    tokens: Tensor
    shares: Tensor


def _by_readers(weights: Tensor) -> Sequence[Readers]:
    """One for every set of people whose words are read together. weights: (people, tokens)."""
    people, tokens = weights.shape
    sorted_weights, order = weights.T.sort(dim=1, descending=True, stable=True)  # (tokens, people)
    sets = list[Tensor]()
    shares = list[Tensor]()
    for size in range(people + 1):
        members = torch.zeros(tokens, people, dtype=torch.bool)
        members.scatter_(1, order[:, :size], True)
        more = torch.ones(tokens) if size == 0 else sorted_weights[:, size - 1]
        less = torch.zeros(tokens) if size == people else sorted_weights[:, size]
        sets.append(members)
        shares.append(more - less)
    all_sets = torch.cat(sets)  # ((people + 1) * tokens, people)
    all_shares = torch.cat(shares)
    all_tokens = torch.arange(tokens).repeat(people + 1)
    every_set: list[list[bool]] = all_sets.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    every_share: list[float] = all_shares.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    found: dict[tuple[bool, ...], list[int]] = {}
    for number, share in enumerate(every_share):
        if share > 0:
            found.setdefault(tuple(every_set[number]), []).append(number)
    readers = list[Readers]()
    for members, numbers in found.items():
        own_tokens = all_tokens[numbers]
        ascending = own_tokens.argsort()
        people = [person for person, is_member in enumerate(members) if is_member]
        readers.append(Readers(people, own_tokens[ascending], all_shares[numbers][ascending]))
    return readers
