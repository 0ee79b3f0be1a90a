"""How much of each person's LoRAs every token of a transformer has.

A token of the picture belongs to people by their regions. A token of somebody's own words, or of a reference picture
that is read in that person's region alone, is wholly theirs. The common text and all other references are nobody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...core.token_layout import Kind, Span, TokenLayout, placed
from ..carried import ConditioningLost
from ..runs import Given
from .families import Stream, TransformerFamily
from .layouts import current_references, layout_of, reference_embedded
from .networks import tokens_of
from .person_texts import CurrentTexts, current_texts


@dataclass(frozen=True, eq=False)
class PeopleOnPicture:
    """Where the people of one node are. names: of the people. weights: (people, tokens of the picture), at most 1 in
    all."""

    names: tuple[str, ...]
    weights: Tensor


class TokenWeights:
    """Of all tokens in the forwards of one batch.

    A network tells in the middle of its forward how many tokens it has, see `counted`. Layers in front of that are told
    by what the network is given.
    """

    def __init__(self, family: TransformerFamily, given: Given) -> None:
        self._family = family
        self._layout = layout_of(given)
        self._picture = tokens_of(given.model, given.x)
        self._counted_text: int | None = None
        self._counted_picture: int | None = None

    @property
    def picture(self) -> int:
        """Tokens of the picture, without references."""
        return self._picture

    def begin(self, references_read: bool) -> None:
        """At the begin of each forward. references_read: whether the network reads the references at all."""
        self._counted_text = None
        self._counted_picture = None
        if not references_read:
            self._layout = replace(self._layout, references=())

    def counted(self, text: int, picture: int) -> None:
        """What the blocks of this forward are given: tokens of all texts, and of the picture with its references."""
        self._counted_text = text
        self._counted_picture = picture

    def text_tokens(self) -> int:
        """Of all texts in the blocks."""
        if self._counted_text is not None:
            return self._counted_text
        return self._with_words().text

    def tokens(self, stream: Stream) -> int:
        """How many tokens a stream has in the blocks."""
        text = self.text_tokens()
        if stream is Stream.TEXT:
            return text
        pictures = self._layout.pictures if self._counted_picture is None else self._counted_picture
        if stream is Stream.PICTURE:
            return pictures
        return text + sum(self._layout.seen) + pictures

    def _with_words(self) -> TokenLayout:
        texts = current_texts()
        return self._layout if texts is None else replace(self._layout, words=texts.lengths)

    def _with_text(self, text: int) -> TokenLayout:
        """text: tokens of all texts; what is more than is known stands in front."""
        layout = self._with_words()
        return replace(layout, front=text - layout.text)

    def of_people(self, people: PeopleOnPicture, stream: Stream, tokens: int) -> Tensor:
        """(people, tokens). tokens: how many a layer of this stream is given."""
        texts = current_texts()
        reference = reference_embedded()
        weights = torch.zeros(len(people.names), tokens)
        if reference is not None:
            _give(weights, people.names, _owner_of(reference), slice(0, tokens))
            return weights
        if texts is not None and texts.alone is not None and stream is not Stream.PICTURE:
            return _of_text_alone(people, texts, texts.alone, tokens)
        for place in placed(self._spans(stream, tokens)):
            if place.span.kind is Kind.PICTURE:
                # Behind it stand tokens that fill it up.
                start = place.tokens.start
                weights[:, start : start + self._picture] = people.weights
            elif place.span.kind is Kind.WORDS and texts is not None:
                _give(weights, people.names, texts.names[place.span.number], place.tokens)
            elif place.span.kind is Kind.REFERENCE:
                _give(weights, people.names, _owner_of(place.span.number), place.tokens)
        return weights

    def _spans(self, stream: Stream, tokens: int) -> Sequence[Span]:
        """What stands in a stream, of which a layer is given so many tokens.

        Raises ConditioningLost where there are other tokens than expected.
        """
        if stream is Stream.BOTH:
            expected = self.tokens(stream)
            if tokens != expected:
                raise ConditioningLost("unknown", f"makes {tokens} tokens of the {expected} of a layer")
            return self._with_text(self.text_tokens()).spans()
        own_captions = self._family.own_captions
        if stream is Stream.PICTURE:
            # Z-Image embeds the picture alone.
            is_alone = own_captions and tokens != self._layout.pictures
            spans = [Span(Kind.PICTURE, tokens)] if is_alone else self._layout.picture_spans()
            if tokens < self._picture:
                raise ConditioningLost("unknown", f"makes {tokens} tokens of the {self._picture} of a layer")
            return spans
        if own_captions and tokens != self.text_tokens():
            return [Span(Kind.TEXT, tokens)]  # a text behind the prompt, embedded alone
        return self._with_text(tokens).text_spans()


def _of_text_alone(people: PeopleOnPicture, texts: CurrentTexts, alone: int, tokens: int) -> Tensor:
    """Of a layer that is given the tokens of one text: (people, tokens). alone: its number, 0 for the common one."""
    weights = torch.zeros(len(people.names), tokens)
    if alone > 0 and texts.names[alone - 1] in people.names:
        weights[people.names.index(texts.names[alone - 1])] = 1
    return weights


def _give(weights: Tensor, names: Sequence[str], name: str | None, tokens: slice) -> None:
    """Give these tokens to a person, if the person is one of these. weights: (people, tokens)."""
    if name in names:
        weights[names.index(name), tokens] = 1


def _owner_of(reference: int) -> str | None:
    """The person whose a reference of this forward is, by its number."""
    references = current_references()
    return None if references is None else references.names[reference]
