"""How much of each person's LoRAs every token of a transformer has, by core.attention.spans.shares_of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...core.attention.spans import Span, TokenKind, Tokens, count_of, fitted, shares_of
from ...core.attention.token_groups import in_steps
from ..networks.model_family import regions_on_tokens, tokens_of
from ..networks.transformer_families import Stream
from ..sampling.forward import ForwardShape
from .layer_hooks import Forward
from .layer_loras import KeptWeights, NodeLoras
from .people_layers import Owners
from .refused import other_tokens


def with_shares_of_tokens(node: NodeLoras, forward_shape: ForwardShape) -> NodeLoras:
    """The same node with the shares of every token of the picture in the place of those of every pixel.

    A batch keeps them, and of every pixel they would take hundreds of times the memory.
    """
    if node.shares is None:
        return node
    shares = in_steps(regions_on_tokens(node.shares, forward_shape.model, forward_shape.latent))
    return replace(node, shares=None, token_shares=shares.to(forward_shape.device))


class TokenWeights(KeptWeights):
    """How much of every rank counts in the tokens of one transformer, in the forwards of a batch.

    picture: the number of tokens of the picture, without references. pictures_begun: how many references and pictures
    have come to a layer of Stream.ONE_PICTURE in this forward.
    """

    def __init__(self, forward_shape: ForwardShape) -> None:
        super().__init__(forward_shape.empty_like_network())
        self.picture = tokens_of(forward_shape.model, forward_shape.latent)
        self.pictures_begun = 0
        self._anybodys: dict[Any, bool] = {}

    def begin_picture(self, tokens: Tokens) -> None:
        """The next picture comes to a layer of Stream.ONE_PICTURE, in this forward and not in one of a text alone."""
        if tokens.pictures:
            self.pictures_begun += 1

    def count(self, tokens: Tokens, stream: Stream) -> int:
        """How many tokens the layers of a stream are given in the blocks."""
        if stream is Stream.TEXT:
            return tokens.text_count
        if stream is Stream.PICTURE:
            return tokens.picture_count
        return tokens.text_count + tokens.picture_count

    def by_region(self, forward: Forward, node: NodeLoras, owners: Owners, stream: Stream, token_count: int) -> Tensor:
        """How much of each rank every token of a layer has: (1, tokens, ranks), made once for all layers and steps.

        owners: of the ranks, or people as if each of them were one rank. stream: which tokens the layer is given.
        token_count: how many these are. Raises ConditioningLost where that is another number than expected.
        """
        weights_by_key = self.of(forward)
        key = owners, *self._key(node, stream, token_count)
        if not torch.compiler.is_compiling():  # then they are those of these tokens alone, and it guards a key's names
            key = *key, forward.tokens
        if key not in weights_by_key:
            weights = self._of_people(forward.tokens, node, stream, token_count)  # (people, tokens)
            numbers = torch.tensor(owners, device=weights.device)
            weights_by_key[key] = weights[numbers].T[None].to(self.like)  # (1, tokens, ranks)
        return weights_by_key[key]

    def is_anybodys(self, tokens: Tokens, node: NodeLoras, stream: Stream, token_count: int) -> bool:
        """Whether any token of a layer may be that of a person of a node: not where the layer is given the common text
        alone. stream, token_count: as in `by_region`."""
        if torch.compiler.is_compiling():  # see `of`
            return self._has_owner(tokens, node, stream, token_count)
        key = *self._key(node, stream, token_count), tokens
        if key not in self._anybodys:
            self._anybodys[key] = self._has_owner(tokens, node, stream, token_count)
        return self._anybodys[key]

    def _has_owner(self, tokens: Tokens, node: NodeLoras, stream: Stream, token_count: int) -> bool:
        spans = self._spans(tokens, stream, token_count)
        return any(span.kind is TokenKind.PICTURE or span.is_one_of(node.names) for span in spans)

    def _key(self, node: NodeLoras, stream: Stream, token_count: int) -> tuple[Any, ...]:
        """All that tells whose the tokens of a layer are, beside the tokens of the forward."""
        return node.number, stream, token_count

    def _of_people(self, tokens: Tokens, node: NodeLoras, stream: Stream, token_count: int) -> Tensor:
        """How much of each person's LoRAs every token has, in a layer of this stream: (people, tokens), 0..1. The
        arguments are as in `by_region`."""
        on_picture = node.token_shares
        assert on_picture is not None  # asked for people with regions alone
        spans = self._spans(tokens, stream, token_count)
        if any(span.kind is TokenKind.PICTURE and span.count != on_picture.shape[1] for span in spans):
            raise other_tokens(token_count, self.count(tokens, stream))
        return shares_of(spans, node.names, on_picture)

    def _spans(self, tokens: Tokens, stream: Stream, token_count: int) -> Sequence[Span]:
        """What the tokens of a layer are, one span after the other.

        stream: which tokens the layer is given. token_count: how many. A network may embed the picture without its
        references or without what fills it up: the picture stands first all the same. Raises ConditioningLost where
        text and picture together have another number.
        """
        if not tokens.pictures:  # one text alone
            return [replace(tokens.texts[0], count=token_count)]
        pictures = fitted(tokens.pictures, tokens.picture_count)
        if stream is Stream.PICTURE:
            return fitted(pictures, token_count)
        if stream is not Stream.BOTH:
            return tokens.in_blocks(token_count, tokens.picture_count).texts
        spans = *tokens.texts, *pictures
        if token_count != count_of(spans):
            raise other_tokens(token_count, count_of(spans))
        return spans
