"""How much of each person's LoRAs every token of a transformer has.

A token of the picture belongs to people by their regions; a token of somebody's own words is wholly theirs; the common
text and reference pictures are nobody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..carried import ConditioningLost
from ..runs import ForwardInput
from .families import Stream, TransformerFamily
from .networks import network_of, tokens_of
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

    def __init__(self, family: TransformerFamily, forward_input: ForwardInput) -> None:
        self._family = family
        self._network = network_of(forward_input.model)
        self._common = forward_input.context.shape[1]
        self._picture = tokens_of(forward_input.model, forward_input.x)
        self._references = sum(tokens_of(forward_input.model, reference) for reference in forward_input.references)
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
            self._references = 0

    def counted(self, text: int, picture: int) -> None:
        """What the blocks of this forward are given: tokens of all texts, and of the picture with its references."""
        self._counted_text = text
        self._counted_picture = picture

    def text_tokens(self) -> int:
        """Of all texts in the blocks."""
        if self._counted_text is not None:
            return self._counted_text
        texts = current_texts()
        words = 0 if texts is None else sum(texts.lengths)
        return self._padded(self._common) + words

    def tokens(self, stream: Stream) -> int:
        """How many tokens a stream has in the blocks."""
        text = self.text_tokens()
        if stream is Stream.TEXT:
            return text
        picture = self._counted_picture
        if picture is None:
            picture = self._padded(self._picture) + self._references
        return picture if stream is Stream.PICTURE else text + picture

    def _padded(self, tokens: int) -> int:
        """With the tokens that a network with own captions fills up a text or picture with."""
        if not self._family.own_captions:
            return tokens
        multiple: int = self._network.pad_tokens_multiple
        return -(-tokens // multiple) * multiple

    def of_people(self, people: PeopleOnPicture, stream: Stream, tokens: int) -> Tensor:
        """(people, tokens). tokens: how many a layer of this stream is given."""
        texts = current_texts()
        if texts is not None and texts.alone is not None:
            return _of_text_alone(people, texts, texts.alone, tokens)
        weights = torch.zeros(len(people.names), tokens)
        if stream is not Stream.PICTURE:
            text = self.text_tokens() if stream is Stream.BOTH else tokens
            _give_words(weights, people.names, texts, text)
        if stream in (Stream.PICTURE, Stream.BOTH):
            start = self._start_of_picture(stream, tokens)
            weights[:, start : start + self._picture] = people.weights
        return weights

    def _start_of_picture(self, stream: Stream, tokens: int) -> int:
        """Where the tokens of the picture begin. Raises ConditioningLost where there are other tokens than expected."""
        expected = self.tokens(stream)
        if self._family.picture_last:
            # The embedder is given the picture before it is filled up.
            length = self._picture if tokens == self._picture else self._padded(self._picture)
            start = tokens - length
        else:
            start = 0 if stream is Stream.PICTURE else self.text_tokens()
        # References of Z-Image bring texts of their own, whose tokens nobody counts.
        is_known = stream is Stream.BOTH and not (self._family.picture_last and self._references)
        if start < 0 or tokens < start + self._picture or (is_known and tokens != expected):
            raise ConditioningLost("unknown", f"makes {tokens} tokens of the {expected} of a layer")
        return start


def _of_text_alone(people: PeopleOnPicture, texts: CurrentTexts, alone: int, tokens: int) -> Tensor:
    """Of a layer that is given the tokens of one text: (people, tokens). alone: its number, 0 for the common one."""
    weights = torch.zeros(len(people.names), tokens)
    if alone > 0 and texts.names[alone - 1] in people.names:
        weights[people.names.index(texts.names[alone - 1])] = 1
    return weights


def _give_words(weights: Tensor, names: Sequence[str], texts: CurrentTexts | None, text: int) -> None:
    """Give everybody their own words, which are the last of the `text` tokens in front. weights: (people, tokens)."""
    if texts is None:
        return
    start = text - sum(texts.lengths)
    for name, length in zip(texts.names, texts.lengths, strict=True):
        if name in names:
            weights[names.index(name), start : start + length] = 1
        start += length
