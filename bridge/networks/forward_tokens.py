"""Which tokens a forward of a transformer has.

Everything of ours in a forward is handed the same table of them (core/attention/spans.py): who reads whom in attention,
and whose LoRAs count for a token.
"""

import math
from typing import Any

from torch import nn

from ...core.attention.spans import Span, TokenKind, Tokens
from ...core.checks.errors import BadSetup
from ..host.unet import Options
from ..sampling.current_forward import layers_are_given
from ..sampling.forward import ForwardShape
from .model_family import network_of, taken_family, tokens_of
from .patched_methods import PatchedMethod, patched_inputs, with_input_patch
from .transformer_families import TransformerFamily

TOKENS = "likeness_tokens"
"""The key of the Tokens among the transformer_options inside of a forward: in the blocks, as these are given them."""


def tokens_of_shape(forward_shape: ForwardShape) -> Tokens:
    """The tokens of forwards of this shape, without the words of people and tokens of other packs.

    The text has as many tokens as in the conditioning. Except in Z-Image, other packs may put more tokens in front of
    it: how many is known when an `InputPatch` is called. In Z-Image (own_captions) the text and the
    picture are each filled up to the network's multiple. Raises BadSetup for references there, which have texts of
    their own among all others.
    """
    model = forward_shape.model
    family = taken_family(model)
    network = network_of(model)
    picture = Span(TokenKind.PICTURE, tokens_of(model, forward_shape.latent))
    references = [
        Span(TokenKind.REFERENCE, tokens_of(model, reference), number=number)
        for number, reference in enumerate(forward_shape.references)
    ]
    common = forward_shape.text_length
    if family.prefix:  # its references stand in the text
        return Tokens((Span(TokenKind.TEXT, common + sum(span.count for span in references)),), (picture,))
    if not family.own_captions:
        return Tokens((Span(TokenKind.TEXT, common),), (picture, *references))
    if references:
        raise BadSetup(
            f"{family.name} with reference pictures is not known to the nodes of Likeness.",
            "Take the reference pictures out of the conditioning.",
        )
    fills_up = Span(TokenKind.OTHER, filled_up(picture.count, family, network) - picture.count)
    return Tokens((Span(TokenKind.TEXT, filled_up(common, family, network)),), (picture, fills_up))


def with_tokens(options: Options, family: TransformerFamily, tokens: Tokens) -> Options:
    """A copy of transformer_options with these tokens, which are counted where the network calls patches of input."""
    return with_input_patch({**options, TOKENS: tokens}, family, _count)


def patched_count(network: nn.Module, family: TransformerFamily) -> list[PatchedMethod]:
    """What counts the tokens where the network calls no such patches; [] elsewhere."""
    return patched_inputs(network, family, _count)


def _count(block_inputs: Options) -> Options:
    """An InputPatch: it changes nothing, and keeps the tokens as blocks and layers are given them from now on."""
    options: Options = block_inputs.get("transformer_options", {})
    before: Tokens | None = options.get(TOKENS)
    if before is None:  # of a pack whose copy of the forward hands on no options
        return block_inputs
    tokens = before.in_blocks(block_inputs["txt"].shape[1], block_inputs["img"].shape[1])
    options[TOKENS] = tokens
    layers_are_given(tokens)
    return block_inputs


def filled_up(tokens: int, family: TransformerFamily, network: Any) -> int:
    """How many tokens the blocks are given for a text or picture of so many tokens.

    They are more where the network fills up each of them with tokens of its own (own_captions), to a multiple.
    """
    if not family.own_captions:
        return tokens
    return math.ceil(tokens / network.pad_tokens_multiple) * network.pad_tokens_multiple
