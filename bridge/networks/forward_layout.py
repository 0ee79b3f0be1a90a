"""Where the tokens of a forward stand.

Everything of ours in a forward asks here: who reads whom in attention, and whose LoRAs count for a token.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...core.attention.token_layout import TokenLayout
from ..sampling.forward import ForwardShape
from .model_family import network_of, tokens_of, transformer_family


def layout_of(forward_shape: ForwardShape) -> TokenLayout:
    """Where the tokens of forwards of this shape stand, without the words of people and tokens of other packs.

    The text has as many tokens as in the conditioning. Except in Z-Image, other packs may put more tokens in front of
    it: how many is known when an `InputPatch` is called, see `with_front`. In Z-Image (own_captions) each text and each
    picture is filled up to the network's multiple.
    """
    model = forward_shape.model
    family = transformer_family(model)
    common = forward_shape.text_length
    picture = tokens_of(model, forward_shape.latent)
    references = tuple(tokens_of(model, reference) for reference in forward_shape.references)
    if family is None:
        return TokenLayout(common, picture, references)
    if not family.own_captions:
        return TokenLayout(common, picture, references, text_last=family.text_last)
    padding = Padding(network_of(model))
    # The first of these texts stand beside a reference each, the others behind the prompt. Without a reference the
    # network reads none of them.
    text_lengths = [text[1] for text in forward_shape.reference_texts]
    later_lengths = text_lengths[len(references) :] if references else []
    return TokenLayout(
        common=padding.padded(common),
        picture=padding.padded(picture),
        references=tuple(padding.padded(count) for count in references),
        reference_texts=padding.padded_counts(text_lengths[: len(references)], len(references)),
        later=sum(padding.padded(length) for length in later_lengths),
        seen=_seen_token_counts(forward_shape, padding),
        picture_last=family.picture_last,
    )


def with_front(layout: TokenLayout, text: int) -> TokenLayout:
    """The layout with the tokens that other packs have put in front. text: how many tokens all texts have with these.

    What `text` has beyond the layout's own texts are the tokens in front.
    """
    return replace(layout, front=text - layout.text)


class Padding:
    """How a network with own_captions fills up texts and pictures with tokens of its own."""

    def __init__(self, network: Any) -> None:
        self._multiple: int = network.pad_tokens_multiple

    def padded(self, tokens: int) -> int:
        """The number of tokens of a piece, with those that fill it up: rounded up to the network's multiple."""
        return math.ceil(tokens / self._multiple) * self._multiple

    def padded_counts(self, counts: Sequence[int], length: int) -> tuple[int, ...]:
        """The number of tokens of each of `length` pieces, filled up.

        counts: the tokens of the first len(counts) pieces. The pieces behind these have no tokens of their own: each is
        one multiple of filling tokens.
        """
        of_pieces_without_tokens = [self._multiple] * (length - len(counts))
        return (*(self.padded(count) for count in counts), *of_pieces_without_tokens)


def reads_looks(forward_shape: ForwardShape) -> bool:
    """Whether the network reads what a vision encoder has seen, as Z-Image Omni does with references."""
    return (
        bool(forward_shape.references) and getattr(network_of(forward_shape.model), "siglip_embedder", None) is not None
    )


def _seen_token_counts(forward_shape: ForwardShape, padding: Padding) -> tuple[int, ...]:
    """How many tokens stand for what a vision encoder has seen: of each reference and, last, of the picture.

    The host gives no look at the picture, so the tokens of the picture are filling tokens alone. () where the network
    reads no looks.
    """
    if not reads_looks(forward_shape):
        return ()
    reference_count = len(forward_shape.references)
    # A look is (B, h, w, width).
    look_counts = [look[1] * look[2] for look in forward_shape.reference_looks[:reference_count]]
    return padding.padded_counts(look_counts, reference_count + 1)  # + 1: the picture
