"""LoRAs of single people in a transformer whose text and references are a causal prefix in front of the picture.

The network's own prefix is nobody's. What is a person's of text and references stands in a prefix of the person, which
is computed by a call of its own (networks/prefixes.py), and in all of which the person's LoRAs act.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.attention.spans import Span, TokenKind, Tokens, count_of
from ..host.unet import Options
from ..networks.prefixes import given_to_network, spans_of, without_kept_prefix
from ..networks.transformer_families import Stream
from ..sampling.forward import ForwardShape
from .layer_hooks import LayerHooks
from .layer_loras import NodeLoras
from .refused import other_tokens
from .token_weights import TokenWeights
from .transformer_loras import TransformerLorasBatch


class PrefixTokenWeights(TokenWeights):
    """How much of every rank counts in the tokens of such a transformer, in the forwards of a batch.

    references: how many latents the network's own prefix has in the forward that is on.
    """

    def __init__(self, forward_shape: ForwardShape) -> None:
        super().__init__(forward_shape)
        self.references = 0

    def _key(self, node: NodeLoras, stream: Stream, token_count: int) -> tuple[Any, ...]:
        is_reference = stream is Stream.ONE_PICTURE and self._is_reference
        return *super()._key(node, stream, token_count), is_reference

    @property
    def _is_reference(self) -> bool:
        """Whether a layer to which pictures come one by one is given a reference now."""
        return self.pictures_begun <= self.references

    def _spans(self, tokens: Tokens, stream: Stream, token_count: int) -> Sequence[Span]:
        if not tokens.pictures:  # one prefix alone is computed
            return super()._spans(tokens, stream, token_count)
        if stream is Stream.TEXT or (stream is Stream.ONE_PICTURE and self._is_reference):
            return [Span(TokenKind.TEXT, token_count)]
        if stream is not Stream.BOTH:
            return tokens.pictures
        # Where the host keeps the prefix it gives the blocks this alone, and the picture alone, of which no one has as
        # many tokens as the other: see PrefixLorasBatch.options_for_network.
        for given in (tokens.spans, tokens.pictures, tokens.texts):
            if token_count == count_of(given):
                return given
        raise other_tokens(token_count, tokens.count)


class PrefixLorasBatch(TransformerLorasBatch):
    """What is added to the layers of such a transformer in the forwards that carry the same."""

    def __init__(self, hooks: LayerHooks, nodes: Sequence[NodeLoras], forward_shape: ForwardShape) -> None:
        """hooks: of the transformer. nodes: what each node adds."""
        self._of_prefix = PrefixTokenWeights(forward_shape)
        self._own_count = 0  # of the tokens of the network's own prefix in this forward
        super().__init__(hooks, nodes, forward_shape, self._of_prefix)
        self._acts_on_everybody = any(not node.has_regions for node in nodes)

    def network_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = super().network_arguments(args, kwargs)
        given = given_to_network(args, kwargs)
        self._own_count = count_of(spans_of(given))
        self._of_prefix.references = len(given.references)
        return args, kwargs

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options for a forward with this batch.

        The host keeps the network's own prefix from step to step, and gives the blocks the picture alone from then on.
        Two cases forbid it: LoRAs that act everywhere or by row act in this prefix, and the host does not tell it from
        one without them; and a prefix with as many tokens as the picture, as the blocks' LoRAs tell these two apart by
        their number (PrefixTokenWeights).
        """
        options = super().options_for_network(options, tokens.in_blocks(self._own_count, tokens.picture_count))
        is_as_long = self._own_count == tokens.picture_count
        return without_kept_prefix(options) if self._acts_on_everybody or is_as_long else options
