"""The tokens of one forward of a transformer, and whose each is: the one table for all that asks.

Who reads whom comes from it (reads.py), and how much of a person's LoRAs a token has (`shares_of`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .token_groups import AnySplit
from .tracing import untraced


class TokenKind(Enum):
    """What tokens are."""

    TEXT = "the common text, and what other packs put in front of it"
    SHOWN = "a reference picture in the common text, whose encoder was shown it: read as text is, by its weight"
    WORDS = "words about one person"
    FILLER = "what fills up the place of words, so that it is equally long in every row: nobody reads it"
    PICTURE = "the picture"
    REFERENCE = "a reference picture"
    OTHER = "what fills up the picture to a size that the network needs, or what other packs put behind it"


@dataclass(frozen=True)
class Span:
    """Tokens of one kind that stand one after the other.

    count: how many. owner: the name of the person whose they are, which is no other person's; None for nobody's, and
    where each row of the batch has another person's. number: of the words or of the reference that they are or show,
    counted from 0.
    """

    kind: TokenKind
    count: int
    owner: str | None = None
    number: int = 0

    def is_one_of(self, people: Collection[str]) -> bool:
        """Whether it is wholly one of these people's: words or a reference picture, but not what a text shows."""
        return self.kind in (TokenKind.WORDS, TokenKind.REFERENCE) and self.owner in people


@dataclass(frozen=True)
class PlacedSpan:
    """A span, and which tokens of an attention it is."""

    tokens: slice
    span: Span

    def numbers(self) -> Tensor:
        """The numbers of its tokens, (n,)."""
        return torch.arange(self.tokens.start, self.tokens.stop)


def placed_spans(spans: Iterable[Span]) -> Iterator[PlacedSpan]:
    """Every span with the slice of tokens that it is, when the spans stand one after the other from token 0 on."""
    start = 0
    for span in spans:
        end = start + span.count
        yield PlacedSpan(slice(start, end), span)
        start = end


def count_of(spans: Iterable[Span]) -> int:
    """The number of tokens of all spans."""
    return sum(span.count for span in spans)


def fitted(spans: Sequence[Span], count: int) -> tuple[Span, ...]:
    """The spans of the first `count` tokens; what is more than all of them is OTHER."""
    cut: list[Span] = []
    for span in spans:
        length = min(span.count, count - count_of(cut))
        if length > 0:
            cut.append(replace(span, count=length))
    missing = count - count_of(cut)
    return (*cut, Span(TokenKind.OTHER, missing)) if missing else tuple(cut)


@dataclass(frozen=True)
class Tokens:
    """The tokens of a forward, in the order in which the blocks are given them:

        in front | common text | words of each person | picture | references

    texts: up to the words. pictures: the others. rows: the numbers of the rows of the batch that are given them; None
    for all rows. given: how many tokens of `pictures` the blocks are given, from which a pack may take references out
    whose keys it has kept; None for all.
    """

    texts: tuple[Span, ...]
    pictures: tuple[Span, ...]
    rows: tuple[int, ...] | None = None
    given: int | None = None

    @classmethod
    def of_one(cls, count: int, owner: str | None, rows: Sequence[int] | None = None) -> Tokens:
        """One text, or one prefix, by itself. owner: None for nobody's."""
        kind = TokenKind.TEXT if owner is None else TokenKind.WORDS
        return cls((Span(kind, count, owner),), (), None if rows is None else tuple(rows))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.texts, self.pictures, self.rows, self.given))

    @cached_property
    def splits(self) -> dict[tuple[Any, ...], AnySplit]:
        """How attentions over these tokens are split, which those keep here who split them. torch.compile, which guards
        what a key is made of, so sees no name: other people do not make it compile anew."""
        return {}

    @cached_property
    def _in_blocks(self) -> dict[tuple[int, int], Tokens]:
        """By the numbers of `in_blocks`."""
        return {}

    @property
    def text_count(self) -> int:
        return count_of(self.texts)

    @property
    def picture_count(self) -> int:
        """Of the picture and its references, as the blocks are given them."""
        return count_of(self.pictures) if self.given is None else self.given

    @property
    def drawn_count(self) -> int:
        """Of the picture without references."""
        return count_of(span for span in self.pictures if span.kind is not TokenKind.REFERENCE)

    @property
    def count(self) -> int:
        """Of all, with those that are taken out."""
        return count_of(self.spans)

    @property
    def spans(self) -> tuple[Span, ...]:
        return *self.texts, *self.pictures

    def with_words(self, words: Sequence[Span]) -> Tokens:
        """With these words behind all texts."""
        return replace(self, texts=(*self.texts, *words))

    def with_owners(self, owners: Sequence[str | None]) -> Tokens:
        """With these owners of the references, and of what the text shows of them."""
        of_references = TokenKind.REFERENCE, TokenKind.SHOWN

        def owned(spans: Iterable[Span]) -> tuple[Span, ...]:
            return tuple(
                replace(span, owner=owners[span.number]) if span.kind in of_references else span for span in spans
            )

        return replace(self, texts=owned(self.texts), pictures=owned(self.pictures))

    def with_shown(self, counts: Sequence[int]) -> Tokens:
        """Where the common text begins with tokens that show references. counts: of each reference."""
        common, *words = self.texts
        shown = [Span(TokenKind.SHOWN, count, number=number) for number, count in enumerate(counts)]
        return replace(self, texts=(*shown, replace(common, count=common.count - sum(counts)), *words))

    def with_text_alone(self, count: int) -> Tokens:
        """With the common text as the only one. count: of its tokens."""
        return replace(self, texts=(Span(TokenKind.TEXT, count),))

    def in_blocks(self, text: int, pictures: int) -> Tokens:
        """As blocks have them that are given so many tokens of all texts, and of the picture with its references.

        Where these are more texts, other packs have put the others in front. They are made once, and kept.
        """
        key = text, pictures
        if key == (self.text_count, self.picture_count):
            return self
        if key not in self._in_blocks:
            self._in_blocks[key] = self._as_counted(text, pictures)
        return self._in_blocks[key]

    @untraced  # other numbers than those of the forward itself are known in a forward only
    def _as_counted(self, text: int, pictures: int) -> Tokens:
        more = text - self.text_count
        texts = (Span(TokenKind.TEXT, more), *self.texts) if more > 0 else self.texts
        if more < 0:
            number = next(number for number, span in enumerate(texts) if span.kind is TokenKind.TEXT)
            shorter = replace(texts[number], count=texts[number].count + more)
            texts = *texts[:number], shorter, *texts[number + 1 :]
        return replace(self, texts=texts, given=pictures)


NO_TOKENS = Tokens((), ())
"""Of a UNet, whose layers have no text and picture in one sequence."""


def shares_of(spans: Iterable[Span], people: Sequence[str], on_picture: Tensor) -> Tensor:
    """How much of each person every token has: (people, tokens), 0..1.

    Tokens of the picture have what `on_picture` says, (people, picture tokens). A person's words and reference pictures
    are wholly theirs. All others are nobody's.
    """
    placed_all = list(placed_spans(spans))
    count = placed_all[-1].tokens.stop if placed_all else 0
    shares = torch.zeros(len(people), count, device=on_picture.device, dtype=torch.float32)
    for placed in placed_all:
        span = placed.span
        if span.kind is TokenKind.PICTURE:
            shares[:, placed.tokens] = on_picture
        elif span.is_one_of(people):
            shares[[name == span.owner for name in people], placed.tokens] = 1
    return shares
