"""How much of each person's LoRAs every token of a transformer has.

A token of the picture belongs to people by their regions; a token of somebody's own words, or of a reference picture
that is read in their region alone, is wholly theirs; the common text and all other reference pictures are nobody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...core.attention.token_groups import in_steps
from ...core.attention.token_layout import PlacedSpan, Span, TokenKind, TokenLayout, placed_spans
from ..networks.forward_layout import layout_of, with_front
from ..networks.model_family import regions_on_tokens, tokens_of
from ..networks.transformer_families import Stream
from ..sampling.current_forward import current
from ..sampling.forward import ForwardShape
from .layer_hooks import Forward
from .layer_loras import KeptWeights, NodeLoras
from .people_layers import Owners
from .refused import other_tokens


def with_shares_of_tokens(node: NodeLoras, forward_shape: ForwardShape) -> NodeLoras:
    """The same node with the shares that every token of the picture has, (people, tokens), in the place of pixels.

    A batch keeps them, and of every pixel they would take hundreds of times the memory.
    """
    if node.shares is None:
        return node
    shares = in_steps(regions_on_tokens(node.shares, forward_shape.model, forward_shape.latent))
    return replace(node, shares=shares.to(forward_shape.device))


class TokenWeights(KeptWeights):
    """How much of every rank counts in the tokens of one transformer, in the forwards of a batch.

    How many tokens the blocks are given is known in the middle of a forward, see `set_counts`. For layers that run
    before, and for Z-Image, which has no patch to count them, the tokens are those of the layout.
    picture: the number of tokens of the picture, without references. pictures_begun: how many references and pictures
    have come to a layer of Stream.ONE_PICTURE in this forward.
    """

    def __init__(self, forward_shape: ForwardShape) -> None:
        super().__init__(forward_shape.empty_like_network())
        self._layout_with_references = layout_of(forward_shape)
        self._layout = self._layout_with_references
        self.picture = tokens_of(forward_shape.model, forward_shape.latent)
        self.pictures_begun = 0
        self._counted_text: int | None = None
        self._counted_picture: int | None = None
        self._anybodys: dict[Any, bool] = {}

    def begin(self, references_read: bool) -> None:
        """Called when a forward begins: it forgets the counts of the last forward, and sets the layout of this one.

        references_read: whether the network reads the references at all; if not, the layout has none.
        """
        self.pictures_begun = 0
        self._counted_text = None
        self._counted_picture = None
        self._layout = self._layout_with_references
        if not references_read:
            self._layout = replace(self._layout, references=())

    def set_counts(self, text: int, picture: int) -> None:
        """Keep how many tokens the blocks of this forward are given: of all texts, and of the picture with its
        references."""
        self._counted_text = text
        self._counted_picture = picture

    def text_count(self) -> int:
        """The number of tokens of all texts in the blocks."""
        if self._counted_text is not None:
            return self._counted_text
        return self._with_words().text

    def begin_picture(self) -> None:
        """The next picture comes to a layer of Stream.ONE_PICTURE, in this forward and not in one of a text alone."""
        if current.texts is None:
            self.pictures_begun += 1

    def count(self, stream: Stream) -> int:
        """How many tokens the layers of a stream are given in the blocks: as `set_counts` says, else by the layout."""
        text = self.text_count()
        if stream is Stream.TEXT:
            return text
        picture = self._layout.pictures if self._counted_picture is None else self._counted_picture
        if stream is Stream.PICTURE:
            return picture
        return text + picture

    def by_region(self, forward: Forward, node: NodeLoras, owners: Owners, stream: Stream, token_count: int) -> Tensor:
        """How much of each rank every token of a layer has: (1, tokens, ranks), made once for all layers and steps.

        owners: of the ranks, or people as if each of them were one rank. stream: which tokens the layer is given.
        token_count: how many these are. Raises ConditioningLost where that is another number than expected.
        """
        key = owners, *self._key(node, stream, token_count)
        weights_by_key = self.of(forward)
        if key not in weights_by_key:
            weights = self._of_people(node, stream, token_count)  # (people, tokens)
            numbers = torch.tensor(owners, device=weights.device)
            weights_by_key[key] = weights[numbers].T[None].to(self.like)  # (1, tokens, ranks)
        return weights_by_key[key]

    def is_anybodys(self, node: NodeLoras, stream: Stream, token_count: int) -> bool:
        """Whether any token of a layer may be that of a person of a node: not where the layer is given the common text
        alone. stream, token_count: as in `by_region`."""
        if torch.compiler.is_compiling():  # see `of`
            return self._has_owner(node, stream, token_count)
        key = self._key(node, stream, token_count)
        if key not in self._anybodys:
            self._anybodys[key] = self._has_owner(node, stream, token_count)
        return self._anybodys[key]

    def _has_owner(self, node: NodeLoras, stream: Stream, token_count: int) -> bool:
        for placed in placed_spans(self._spans(stream, token_count)):
            if placed.span.kind is TokenKind.PICTURE or _owner_of(placed) in node.names:
                return True
        return False

    def _key(self, node: NodeLoras, stream: Stream, token_count: int) -> tuple[Any, ...]:
        """All that tells whose the tokens of a layer are, in this forward."""
        return node.number, stream, token_count, self.text_count(), current.texts, current.references

    def _of_people(self, node: NodeLoras, stream: Stream, token_count: int) -> Tensor:
        """How much of each person's LoRAs every token has, in a layer of this stream: (people, tokens), 0..1.

        Tokens of the picture have the weights of the node's regions, those of a person's own words or reference 1 for
        that person and all others 0. The arguments are as in `by_region`.
        """
        on_picture = node.shares
        assert on_picture is not None  # asked for people with regions alone
        weights = torch.zeros(len(node.names), token_count, device=on_picture.device, dtype=torch.float32)
        for placed in placed_spans(self._spans(stream, token_count)):
            if placed.span.kind is TokenKind.PICTURE:
                # The span may be longer than the picture: Z-Image fills it up with more tokens, which stand behind.
                start = placed.tokens.start
                end = start + on_picture.shape[1]
                if end > token_count:
                    raise other_tokens(token_count, self.count(stream))
                weights[:, start:end] = on_picture
                continue
            name = _owner_of(placed)
            if name in node.names:
                weights[node.names.index(name), placed.tokens] = 1
        return weights

    def _spans(self, stream: Stream, token_count: int) -> Sequence[Span]:
        """What the tokens of a layer are, one span after the other.

        stream: which tokens the layer is given. token_count: how many. A network may embed the picture without its
        references or without what fills it up: the picture stands first all the same. Raises ConditioningLost where
        text and picture together have another number.
        """
        if stream is Stream.PICTURE:
            return self._layout.picture_spans()
        if stream is not Stream.BOTH:
            return self._text_spans(token_count)
        if token_count != self.count(stream):
            raise other_tokens(token_count, self.count(stream))
        return with_front(self._with_words(), self.text_count()).spans()

    def _text_spans(self, token_count: int) -> Sequence[Span]:
        """What so many tokens of the text's stream are: one text alone, or the common text with people's words."""
        texts = current.texts
        if texts is None:
            return [Span(TokenKind.TEXT, token_count)]
        if texts.alone is not None:
            return [_text_alone(texts.alone, token_count)]
        return with_front(self._with_words(), token_count).text_spans()

    def _with_words(self) -> TokenLayout:
        """The layout with the words about single people that this forward has beside the common text."""
        texts = current.texts
        return replace(self._layout, words=() if texts is None else texts.lengths)


def _text_alone(number: int, token_count: int) -> Span:
    """All tokens of a layer that is given one text. number: 0 for the common text, n + 1 for the words of person n."""
    if number == 0:
        return Span(TokenKind.TEXT, token_count)
    return Span(TokenKind.WORDS, token_count, number - 1)


def _owner_of(placed: PlacedSpan) -> str | None:
    """The name of the person whose words or reference picture are in this span, in this forward; None for others."""
    span = placed.span
    texts = current.texts
    if span.kind is TokenKind.WORDS and texts is not None:
        return texts.names[span.number]
    references = current.references
    if span.kind is TokenKind.REFERENCE and references is not None:
        return references.names[span.number]
    return None
