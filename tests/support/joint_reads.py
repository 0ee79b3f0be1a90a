"""Who reads whom among texts, words about people, a picture and references, in plain torch: a mask of all tokens by all
tokens, for the attentions of every family."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Tokens that stand one after the other. kind: "text", "words", "picture" or "reference". person: whose they are,
    or None: of words always somebody's, of a reference perhaps."""

    kind: str
    count: int
    person: int | None = None


def allowed(attention: Sequence[Tokens], regions: Tensor) -> Tensor:
    """(all tokens, all tokens) bool, who reads whom. regions: (people, tokens of the picture) bool."""
    ends = list(accumulate([tokens.count for tokens in attention], initial=0))
    reads = torch.zeros(ends[-1], ends[-1], dtype=torch.bool)
    slices = [slice(*pair) for pair in pairwise(ends)]
    for query_tokens, query_rows in zip(attention, slices, strict=True):
        for key_tokens, key_columns in zip(attention, slices, strict=True):
            reads[query_rows, key_columns] = _block(query_tokens, key_tokens, regions)
    return reads


def _block(query_tokens: Tokens, key_tokens: Tokens, regions: Tensor) -> Tensor:
    """(tokens that ask, tokens that are read) bool."""
    block = torch.ones(query_tokens.count, key_tokens.count, dtype=torch.bool)
    if query_tokens.kind == "words" and key_tokens.kind == "picture":
        return block & regions[query_tokens.person]
    if query_tokens.kind == "words" and key_tokens.kind == "text":
        return block & False
    if key_tokens.kind == "words" or (key_tokens.kind == "reference" and key_tokens.person is not None):
        if query_tokens.kind == "picture":
            return block & regions[key_tokens.person][:, None]
        if query_tokens.kind == "words" and key_tokens.kind == "reference":
            return block & False
        return block & (query_tokens.person == key_tokens.person)
    return block
