"""Where the tokens of a forward stand.

Everything of ours in a forward asks here: who reads whom in attention, and whose LoRAs count for a token.
"""

import math
from dataclasses import replace
from typing import Any

from ...core.attention.token_layout import TokenLayout
from ...core.checks.errors import BadSetup
from ..sampling.forward import ForwardShape
from .model_family import network_of, tokens_of, transformer_family
from .transformer_families import TransformerFamily


def layout_of(forward_shape: ForwardShape) -> TokenLayout:
    """Where the tokens of forwards of this shape stand, without the words of people and tokens of other packs.

    The text has as many tokens as in the conditioning. Except in Z-Image, other packs may put more tokens in front of
    it: how many is known when an `InputPatch` is called, see `with_front`. In Z-Image (own_captions) the text and the
    picture are each filled up to the network's multiple. Raises BadSetup for references there, which have texts of
    their own among all others.
    """
    model = forward_shape.model
    family = transformer_family(model)
    common = forward_shape.text_length
    picture = tokens_of(model, forward_shape.latent)
    if family is not None and family.own_captions:
        if forward_shape.references:
            raise BadSetup(
                f"{family.name} with reference pictures is not known to the nodes of Likeness.",
                "Take the reference pictures out of the conditioning.",
            )
        network = network_of(model)
        return TokenLayout(filled_up(common, family, network), filled_up(picture, family, network))
    references = tuple(tokens_of(model, reference) for reference in forward_shape.references)
    return TokenLayout(common, picture, references)


def with_front(layout: TokenLayout, text: int) -> TokenLayout:
    """The layout with the tokens that other packs have put in front. text: how many tokens all texts have with these.

    What `text` has beyond the layout's own texts are the tokens in front.
    """
    return replace(layout, front=text - layout.text)


def filled_up(tokens: int, family: TransformerFamily, network: Any) -> int:
    """How many tokens the blocks are given for a text or picture of so many tokens.

    They are more where the network fills up each of them with tokens of its own (own_captions), to a multiple.
    """
    if not family.own_captions:
        return tokens
    return math.ceil(tokens / network.pad_tokens_multiple) * network.pad_tokens_multiple
