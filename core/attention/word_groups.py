"""Which tokens read which in one attention over a common text, words about single people, a picture and other tokens.

A token of the picture in a person's region reads the picture, the common text, and that person's words. A person's
words read themselves and the picture in the region, so that they are encoded as a prompt of their own would be. The
common text and all other tokens read nobody's words. The picture reads all of the picture. A reference picture that is
one person's reads that person's words, too: it stands beside them as beside a prompt of its own.

The attention is computed several times with different keys, and the results are mixed in shares that add up to 1. At
a soft edge a region has a weight w below 1: a token of the picture gets w of the result with the words and 1 - w of
the result without. With the weights a >= b of two people, it gets 1 - a of the result without words, a - b of that with
the words of the first person, and b of that with the words of both. At a weight of 2 the words are among the keys
twice. At 1.25 a token gets a quarter of the result with the words twice, and three quarters of that with them once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, cast

import torch
from torch import Tensor

from .token_groups import Group, Readers, Split, readers_of


@dataclass(frozen=True)
class OwnedTokens:
    """Tokens that belong to a person and are not of the picture, such as those of a reference picture of the person.

    person: the index of the person whose words they read, from 0. Tokens of somebody who has words in several places
    are there once for each.
    """

    person: int
    tokens: slice


@dataclass(frozen=True)
class Filler:
    """Tokens that fill up the place of a person's words, so that it is equally long in every row of a batch.

    No token reads them. front, behind: how many of them stand before the words and after the words.
    """

    front: int = 0
    behind: int = 0


@dataclass(frozen=True)
class TextLayout:
    """Where tokens stand in an attention.

    common_end: the number of tokens up to the end of the common text, those in front of it included.
    counts: for each person, the number of tokens of the place that holds the words. These places follow the common
    text, one after the other.
    picture_start: the index of the first token of the picture. How many there are stands in the weights of the regions.
    queries, keys: how many tokens the attention has as queries and as keys.
    owned: tokens that read a person's words although they are not of the picture, in ascending order.
    fillers: for each person, the tokens of the place that are no words; empty where no place has such tokens.
    """

    common_end: int
    counts: tuple[int, ...]
    picture_start: int
    queries: int
    keys: int
    owned: tuple[OwnedTokens, ...] = ()
    fillers: tuple[Filler, ...] = ()

    @property
    def places(self) -> list[slice]:
        """For each person, the tokens of the place that holds their words, with those that fill it up."""
        ends = list(accumulate(self.counts, initial=self.common_end))
        return [slice(start, end) for start, end in pairwise(ends)]

    @property
    def words(self) -> list[slice]:
        """For each person, the tokens of their words, without those that fill up the place."""
        if not self.fillers:
            return self.places
        pairs = zip(self.places, self.fillers, strict=True)
        return [slice(place.start + filler.front, place.stop - filler.behind) for place, filler in pairs]

    @property
    def without_words(self) -> Tensor:
        """Which keys are in no person's place, and so nobody's words: (keys,) bool, a new tensor each time."""
        without_words = torch.ones(self.keys, dtype=torch.bool)
        for place in self.places:
            without_words[place] = False
        return without_words


def split_by_words(layout: TextLayout, weights: Tensor) -> Split:
    """The groups of queries of an attention, with the keys that each reads, by the rules at the top of this file.

    weights: of the people's regions at each token of the picture, as token_groups.in_steps gives them: (people, picture
    tokens).
    """
    picture = slice(layout.picture_start, layout.picture_start + weights.shape[1])
    groups = [
        *_common_group(layout, picture),
        *_groups_of_words(layout, picture, weights),
        *_groups_of_owned_tokens(layout),
        *_groups_of_picture(layout, weights),
    ]
    return Split(tuple(groups), layout.keys)


def split_by_readers(layout: TextLayout, weights: Tensor) -> Split:
    """The groups of an attention in which the picture alone reads, and texts alone are read: by the same rules.

    layout: its queries are the tokens of the picture, and its keys those of all texts. weights: as in split_by_words.
    """
    return Split(tuple(_groups_of_picture(layout, weights)), layout.keys)


def _common_group(layout: TextLayout, picture: slice) -> list[Group]:
    """The tokens that are neither words, nor of the picture, nor a person's: they read all that is nobody's words.

    The fillers are among them, so that every query is in a group; their results are not used.
    """
    is_common = torch.ones(layout.queries, dtype=torch.bool)
    for tokens in (picture, *layout.words, *(owned.tokens for owned in layout.owned)):
        is_common[tokens] = False
    return [Group(_numbers(is_common), _numbers(layout.without_words))] if is_common.any() else []


def _groups_of_words(layout: TextLayout, picture: slice, weights: Tensor) -> list[Group]:
    """Each person's words: they read themselves, the picture in the person's region, and all that is neither words nor
    picture, but for the common text and what other packs have put in front of it.

    A person without words has no group. weights: (people, picture tokens).
    """
    groups: list[Group] = []
    for words, region in zip(layout.words, weights, strict=True):
        if words.start == words.stop:
            continue
        keys = layout.without_words
        keys[: layout.common_end] = False
        keys[picture] = region > 0
        keys[words] = True
        queries = torch.arange(words.start, words.stop)
        groups.append(Group(queries, _numbers(keys)))
    return groups


def _groups_of_owned_tokens(layout: TextLayout) -> list[Group]:
    """Other tokens that belong to people: they read these people's words, and all that is nobody's words.

    Tokens that the same people own are one group.
    """
    is_owned = torch.zeros(layout.queries, len(layout.counts), dtype=torch.bool)  # (queries, people)
    for owned in layout.owned:
        is_owned[owned.tokens, owned.person] = True
    groups: list[Group] = []
    # Each set of people who own a token, once: (people,) bool.
    for owners in cast("Any", is_owned).unique(dim=0):
        if not owners.any():  # the tokens that nobody owns
            continue
        keys = layout.without_words
        for person in _numbers(owners):
            keys[layout.words[int(person)]] = True
        has_these_owners = (is_owned == owners).all(dim=1)  # (queries,)
        groups.append(Group(_numbers(has_these_owners), _numbers(keys)))
    return groups


def _groups_of_picture(layout: TextLayout, weights: Tensor) -> list[Group]:
    """The tokens of the picture, which may be in several groups with a share in each. weights: (people, tokens)."""
    groups: list[Group] = []
    for readers in readers_of(weights):
        keys = _keys_of(readers, layout)
        groups.append(Group(readers.tokens + layout.picture_start, keys, readers.group_shares()))
    return groups


def _numbers(mask: Tensor) -> Tensor:
    """The indices at which a mask (n,) bool is True."""
    return mask.nonzero()[:, 0]


def _keys_of(readers: Readers, layout: TextLayout) -> Tensor:
    """The indices of the keys that readers read: all that is nobody's words, and words as often as they are read."""
    keys = layout.without_words
    repeated: list[Tensor] = []
    for words, times in zip(layout.words, readers.times, strict=True):
        if times:
            keys[words] = True
        for _ in range(times - 1):  # the first time is in `keys`
            repeated.append(torch.arange(words.start, words.stop))
    return torch.cat([_numbers(keys), *repeated])
