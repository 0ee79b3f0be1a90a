"""Who reads whom among texts, words about people, a picture and references, in plain torch: a mask of all tokens by all
tokens, for the attentions of every family."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Tokens that stand one after the other. kind: "text", "behind" (a text behind the prompt), "words", "picture" or
    "reference". person: whose they are, or None: of words always somebody's, of a reference perhaps."""

    kind: str
    count: int
    person: int | None = None


def allowed(attention: Sequence[Tokens], regions: Tensor) -> Tensor:
    """(all tokens, all tokens) bool, who reads whom. regions: (people, tokens of the picture) bool."""
    ends = list(accumulate([tokens.count for tokens in attention], initial=0))
    reads = torch.zeros(ends[-1], ends[-1], dtype=torch.bool)
    slices = [slice(*pair) for pair in pairwise(ends)]
    for asks, rows in zip(attention, slices, strict=True):
        for read, columns in zip(attention, slices, strict=True):
            reads[rows, columns] = _block(asks, read, regions)
    return reads


def _block(asks: Tokens, read: Tokens, regions: Tensor) -> Tensor:
    """(tokens that ask, tokens that are read) bool."""
    block = torch.ones(asks.count, read.count, dtype=torch.bool)
    filled = torch.zeros(max(0, max(asks.count, read.count) - regions.shape[1]), dtype=torch.bool)
    if asks.kind == "words" and read.kind == "picture":
        return block & torch.cat([regions[asks.person], filled])[: read.count]
    if asks.kind == "words" and read.kind == "text":
        return block & False
    if read.kind == "words" or (read.kind == "reference" and read.person is not None):
        if asks.kind == "picture":
            return block & torch.cat([regions[read.person], filled])[: asks.count, None]
        if asks.kind == "words" and read.kind == "reference":
            return block & False
        return block & (asks.person == read.person)
    return block
