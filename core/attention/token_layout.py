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
    REFERENCE = "a reference picture, the text beside it, or what a vision encoder has seen of it"
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

        reference_texts | front | common | words | later | seen | picture | references

    With picture_last the references stand in front of the picture, and with text_last all texts behind the references.
    All numbers are counts of tokens.

    reference_texts: of the text beside each reference.
    front: of what other packs have put in front of the common text.
    common: of the common text.
    words: of each text about one person.
    later: of texts after the prompt.
    seen: of a vision encoder's output for each reference and, last, for the picture; empty where the network reads no
    such output.
    picture: of the picture, with the tokens that fill it up to a size that the network needs.
    references: of each reference picture, filled up in the same way.
    shown: of each reference picture in the common text; empty where the text shows none.
    before_shown: of the common text in front of these.
    """

    common: int
    picture: int
    references: tuple[int, ...]
    words: tuple[int, ...] = ()
    front: int = 0
    reference_texts: tuple[int, ...] = ()
    later: int = 0
    seen: tuple[int, ...] = ()
    picture_last: bool = False
    text_last: bool = False
    shown: tuple[int, ...] = ()
    before_shown: int = 0

    @property
    def text(self) -> int:
        """The number of tokens of all texts."""
        return sum(self.reference_texts) + self.front + self.common + sum(self.words) + self.later

    @property
    def text_start(self) -> int:
        """Where the texts begin among all tokens."""
        return self.pictures if self.text_last else 0

    @property
    def before_common(self) -> int:
        """The number of tokens in front of the common text."""
        return self.text_start + sum(self.reference_texts) + self.front

    @property
    def pictures(self) -> int:
        """The number of tokens of the picture and of all references."""
        return self.picture + sum(self.references)

    @property
    def total(self) -> int:
        return self.text + sum(self.seen) + self.pictures

    @property
    def picture_start(self) -> int:
        """Where the picture begins among all tokens."""
        start = 0 if self.text_last else self.text + sum(self.seen)
        return start + sum(self.references) if self.picture_last else start

    def text_spans(self) -> list[Span]:
        """All texts in their order, which the refiners of texts are given."""
        return [
            *_of_references(self.reference_texts),
            Span(TokenKind.TEXT, self.front),
            *([Span(TokenKind.TEXT, self.before_shown)] if self.before_shown else []),
            *[Span(TokenKind.SHOWN, count, number) for number, count in enumerate(self.shown)],
            Span(TokenKind.TEXT, self.common - self.before_shown - sum(self.shown)),
            *[Span(TokenKind.WORDS, count, number) for number, count in enumerate(self.words)],
            Span(TokenKind.TEXT, self.later),
        ]

    def seen_spans(self) -> list[Span]:
        """The tokens of a vision encoder: of each reference, and last of the picture, which is read as text is."""
        if not self.seen:
            return []
        return [*_of_references(self.seen[:-1]), Span(TokenKind.TEXT, self.seen[-1])]

    def picture_spans(self) -> list[Span]:
        """The picture and its references."""
        picture = Span(TokenKind.PICTURE, self.picture)
        references = _of_references(self.references)
        return [*references, picture] if self.picture_last else [picture, *references]

    def spans(self) -> list[Span]:
        """All tokens: what the blocks are given."""
        if self.text_last:
            return [*self.picture_spans(), *self.text_spans()]
        return [*self.text_spans(), *self.seen_spans(), *self.picture_spans()]


def _of_references(counts: Sequence[int]) -> list[Span]:
    return [Span(TokenKind.REFERENCE, count, number) for number, count in enumerate(counts)]


def placed_spans(spans: Sequence[Span]) -> Iterator[PlacedSpan]:
    """Every span with the slice of tokens that it is, when the spans stand one after the other from token 0 on."""
    start = 0
    for span in spans:
        end = start + span.count
        yield PlacedSpan(slice(start, end), span)
        start = end
