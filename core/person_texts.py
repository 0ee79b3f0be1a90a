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
    """The positions of tokens in an attention.

    common: tokens of the common text and of all in front of it. counts: tokens of each person's words, which follow it.
    picture: where the tokens of the picture begin; how many there are the weights of people say. queries, keys: how
    many the attention has. front: tokens in front of the common text, which words read as the common text does. owned:
    tokens that read a person's words as the picture in the person's region does, in ascending order.
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
        """The positions of each person's words."""
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
    without_words = torch.ones(layout.keys, dtype=torch.bool)  # the keys that are no person's words
    for words in layout.words:
        without_words[words] = False
    neither_words_nor_picture = torch.ones(layout.queries, dtype=torch.bool)
    neither_words_nor_picture[layout.common : layout.common + sum(layout.counts)] = False
    neither_words_nor_picture[picture] = False
    for owned in layout.owned:
        neither_words_nor_picture[owned.tokens] = False
    groups: list[Group] = []
    if neither_words_nor_picture.any():
        groups.append(Group(_numbers(neither_words_nor_picture), _numbers(without_words)))
    for words, region in zip(layout.words, weights, strict=True):
        keys = without_words.clone()
        keys[layout.front : layout.common] = False
        keys[picture] = region > 0
        keys[words] = True
        groups.append(Group(torch.arange(words.start, words.stop), _numbers(keys)))
    for person, words in enumerate(layout.words):
        asking = _owned_by(layout, person)
        if len(asking):
            keys = without_words.clone()
            keys[words] = True
            groups.append(Group(asking, _numbers(keys)))
    for readers in _by_readers(weights):
        keys = without_words.clone()
        for person in readers.people:
            keys[layout.words[person]] = True
        shares = None if bool((readers.shares == 1).all()) else readers.shares
        groups.append(Group(readers.tokens + layout.picture, _numbers(keys), shares))
    return Split(tuple(groups), layout.keys)


def _owned_by(layout: TextLayout, person: int) -> Tensor:
    """Which queries are tokens of a person beside the picture."""
    asks = torch.zeros(layout.queries, dtype=torch.bool)
    for owned in layout.owned:
        if owned.person == person:
            asks[owned.tokens] = True
    return _numbers(asks)


def _numbers(mask: Tensor) -> Tensor:
    """The indices at which a mask (n,) is True."""
    return mask.nonzero()[:, 0]


@dataclass(frozen=True, eq=False)
class Readers:
    """Tokens of the picture that read the words of the same people.

    people: their numbers. tokens: (n,), ascending. shares: (n,), how much of what a token gets comes from this reading.
    """

    people: Sequence[int]
    tokens: Tensor
    shares: Tensor


def _by_readers(weights: Tensor) -> Sequence[Readers]:
    """Readers for every set of people whose words are read together. weights: (people, tokens), see this module.

    A token reads one set of each size from nobody to all people: those who weigh most in it. The share of a set is what
    its last member weighs more than the next person; sets of share 0 are left out.
    """
    people, tokens = weights.shape
    sorted_weights, order = weights.T.sort(dim=1, descending=True, stable=True)  # (tokens, people)
    member_tables: list[Tensor] = []
    shares: list[Tensor] = []
    for size in range(people + 1):
        members = torch.zeros(tokens, people, dtype=torch.bool)
        members.scatter_(1, order[:, :size], True)
        last_member = torch.ones(tokens) if size == 0 else sorted_weights[:, size - 1]
        next_person = torch.zeros(tokens) if size == people else sorted_weights[:, size]
        member_tables.append(members)
        shares.append(last_member - next_person)
    all_members = torch.cat(member_tables)  # ((people + 1) * tokens, people)
    all_shares = torch.cat(shares)  # ((people + 1) * tokens,)
    all_tokens = torch.arange(tokens).repeat(people + 1)
    # As lists: to look at each entry of a tensor takes many times longer.
    member_rows: list[list[bool]] = all_members.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    share_of_row: list[float] = all_shares.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    rows_of_set: dict[tuple[bool, ...], list[int]] = {}
    for row, share in enumerate(share_of_row):
        if share > 0:
            rows_of_set.setdefault(tuple(member_rows[row]), []).append(row)
    readers: list[Readers] = []
    for set_members, rows in rows_of_set.items():
        tokens_of_set = all_tokens[rows]
        ascending = tokens_of_set.argsort()
        members_of_set = [person for person, is_member in enumerate(set_members) if is_member]
        readers.append(Readers(members_of_set, tokens_of_set[ascending], all_shares[rows][ascending]))
    return readers
