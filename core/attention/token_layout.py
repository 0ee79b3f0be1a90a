"""Where tokens stand in one forward of a transformer: texts, the picture, references, and what belongs to each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor


class TokenKind(Enum):
    """What tokens are."""

    TEXT = "the common text, and whatever else is read as it is"
    WORDS = "words about one person"
    PICTURE = "the picture"
    REFERENCE = "a reference picture"
    SHOWN = "a reference picture in the common text, whose encoder was shown it: read as text is, by its weight"


@dataclass(frozen=True)
class Span:
    """Tokens of one kind that stand one after the other.

    count: how many. number: of the words or of the reference that they are or show, counted from 0.
    """

    kind: TokenKind
    count: int
    number: int = 0


@dataclass(frozen=True)
class PlacedSpan:
    """A span, and which tokens of an attention it is."""

    tokens: slice
    span: Span

    def numbers(self) -> Tensor:
        """The numbers of its tokens, (n,)."""
        return torch.arange(self.tokens.start, self.tokens.stop)


@dataclass(frozen=True)
class TokenLayout:
    """Tokens of a forward, in the order in which the blocks are given them:

        front | common | words | picture | references

    All numbers are counts of tokens.

    front: of what other packs have put in front of the common text.
    common: of the common text.
    words: of each text about one person.
    picture: of the picture, with the tokens that fill it up to a size that the network needs.
    references: of each reference picture.
    shown: of each reference picture in the common text, which begins with them; empty where the text shows none.
    """

    common: int
    picture: int
    references: tuple[int, ...] = ()
    words: tuple[int, ...] = ()
    front: int = 0
    shown: tuple[int, ...] = ()

    @property
    def text(self) -> int:
        """The number of tokens of all texts."""
        return self.front + self.common + sum(self.words)

    @property
    def pictures(self) -> int:
        """The number of tokens of the picture and of all references."""
        return self.picture + sum(self.references)

    @property
    def total(self) -> int:
        return self.text + self.pictures

    def text_spans(self) -> list[Span]:
        """All texts in their order, which the refiners of texts are given."""
        return [
            Span(TokenKind.TEXT, self.front),
            *[Span(TokenKind.SHOWN, count, number) for number, count in enumerate(self.shown)],
            Span(TokenKind.TEXT, self.common - sum(self.shown)),
            *[Span(TokenKind.WORDS, count, number) for number, count in enumerate(self.words)],
        ]

    def picture_spans(self) -> list[Span]:
        """The picture and its references."""
        references = [Span(TokenKind.REFERENCE, count, number) for number, count in enumerate(self.references)]
        return [Span(TokenKind.PICTURE, self.picture), *references]

    def spans(self) -> list[Span]:
        """All tokens: what the blocks are given."""
        return [*self.text_spans(), *self.picture_spans()]


def placed_spans(spans: Sequence[Span]) -> Iterator[PlacedSpan]:
    """Every span with the slice of tokens that it is, when the spans stand one after the other from token 0 on."""
    start = 0
    for span in spans:
        end = start + span.count
        yield PlacedSpan(slice(start, end), span)
        start = end
