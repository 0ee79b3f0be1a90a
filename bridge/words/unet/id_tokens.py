"""ID tokens in the text of a prompt, which a UNet reads although another pack has put its attention into the layers.

Such attention may read the text that comes, or texts of its own instead, and no host and no pack says which. So it is
never given ID tokens: what the text with them has more than the text without them is added to what it gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import comfy.conds
import comfy.patcher_extension
import torch
from comfy.model_base import BaseModel
from torch import Tensor

from ....core.attention.cross_attention import Block
from ....core.attention.spans import NO_TOKENS, Tokens
from ....core.checks.errors import BadSetup
from ...host.unet import Options, Replacement, layers_of, replacement_in, with_patches, with_replacements
from ...networks.file_attention import (
    Attention,
    attend_with,
    attention_of_file_in_layers,
    with_attention_of_file,
)
from ...networks.layers import around_other_pack, attention_of_other_pack, of_other_pack, patches_of_others
from ...networks.row_tracking import SOURCE_ROWS, LayerInput, TextPatch, call_patches, check_texts
from ...sampling.conditioning import IDTokens
from ...sampling.forward import Batch, argument, call_network
from ...sampling.rows_of_others import made_rows_error
from .words import guessed_repeats

_KIND = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
_KEY = "likeness_id_tokens_read"
"""The key of our wrapper among the host's wrappers around the UNet's forward."""


def read_beside_others(
    model: BaseModel, id_tokens: Sequence[IDTokens | None], context: Tensor, options: Options
) -> None:
    """Let the UNet read ID tokens in a forward, whatever attention another pack puts into it.

    A node may put ID tokens into the text and leave the MODEL as it is. The node's ControlNet is called before each
    forward, and adds a wrapper to it: the last one, so that it sees what other packs have put in up to then.

    id_tokens: for each conditioning entry of the forward where ID tokens stand in its text, None for an entry without.
    All entries have equally many rows, in this order. context: their texts, (B, T, width). options: the forward's
    transformer_options, to which the wrapper is added in place.
    """
    if any(id_tokens):
        # No check that the wrapper is called: a copy of the host's code that leaves it out leaves out the other packs'
        # functions too, and then the layers read the text.
        batch = _BesideOthers(model, id_tokens, context)
        comfy.patcher_extension.add_wrapper_with_key(_KIND, _KEY, partial(call_network, [batch], NO_TOKENS), options)


class _Place(NamedTuple):
    """Where ID tokens stand in the text of a row: from `start` to `end`, in each copy of its `length` tokens.

    copies: how often the host repeats the text of the entry.
    """

    start: int
    end: int
    length: int
    copies: int

    def taken_out(self, text: Tensor) -> Tensor:
        """The text, or its keys or values, (B, T, C), once, without ID tokens, with what other packs put behind it."""
        behind = text[:, self.length * self.copies :]
        return torch.cat([text[:, : self.start], text[:, self.end : self.length], behind], dim=1)


class _BesideOthers(Batch):
    """What lets one forward read ID tokens beside other packs' attention. The arguments are as above."""

    def __init__(self, model: BaseModel, id_tokens: Sequence[IDTokens | None], context: Tensor) -> None:
        super().__init__()
        self.row_count = len(context)
        self._network = model.diffusion_model
        self._layers = layers_of(self._network)
        self._id_tokens = id_tokens
        self._context = context

    def network_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self._arriving: Tensor = argument(args, 1, kwargs, "context")  # args: timestep, text
        return args, kwargs

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options in which ours stands around other packs' attention; as they are where there is none.

        Raises BadSetup where two nodes have put ID tokens into one prompt.
        """
        replacements = self._replacements(options) if options.get("patches_replace", {}).get("attn2") else {}
        patches: Sequence[TextPatch] = options.get("patches", {}).get("attn2_patch", ())
        has_patches = patches_of_others(patches)
        if not replacements and not has_patches:
            return options
        if len(options["wrappers"][_KIND][_KEY]) > 1:  # of the net of another node
            raise BadSetup(
                "Two nodes have put ID tokens into one prompt, and another pack changes how the MODEL reads it.",
                "Put all people into one of the two nodes, or leave the other pack's node out.",
            )
        options = with_replacements(options, "attn2", replacements)
        return with_patches(options, "attn2_patch", [partial(_call_patches, patches)]) if has_patches else options

    def _replacements(self, options: Options) -> dict[Block, Replacement]:
        """By layer with another pack's attention, what stands there with ours around it."""
        others: dict[Block, Replacement] = {}
        for block in self._layers:
            replacement = replacement_in(options, "attn2", block)
            if replacement is not None and of_other_pack(replacement) is not None:
                others[block] = replacement
        if not others:
            return {}
        places = self._places()
        of_file = attention_of_file_in_layers(self._network, "attn2")
        replacements: dict[Block, Replacement] = {}
        for block, replacement in others.items():
            put = partial(partial, _attention, places, of_file.get(block))
            replacements[block] = around_other_pack(replacement, put)
        return replacements

    def _places(self) -> list[_Place]:
        """Where ID tokens stand in the text of each row.

        Raises ConditioningLost where they do not stand in one place in all texts, and another pack has moved rows.
        """
        places: list[_Place] = []
        for tokens, text in zip(self._id_tokens, self._context.chunk(len(self._id_tokens)), strict=True):
            copies = int(guessed_repeats(text[:1]))  # [:1]: all rows of a chunk repeat alike
            start = 0 if tokens is None else tokens.start
            count = 0 if tokens is None else tokens.people_count * tokens.tokens_per_person
            places += [_Place(start, start + count, text.shape[1] // copies, copies)] * len(text)
        if len(set(places)) > 1 and not torch.equal(self._arriving, self._context.to(self._arriving)):
            raise made_rows_error(len(self._arriving), self.row_count, None)
        return places


def _call_patches(
    patches: Sequence[TextPatch], n: Tensor, context: Tensor, value: Tensor, extra_options: Options
) -> LayerInput:
    """The host's attn2 patch: what those of other packs make of a layer's input.

    Raises ConditioningLost where they let a row read a text of their own.
    """
    output = call_patches(patches, LayerInput(n, context, value), extra_options)
    check_texts(patches, context, output, extra_options)
    return output


def _attention(
    places: Sequence[_Place],
    of_file: Attention | None,
    other: Replacement,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    extra_options: Options,
) -> Tensor:
    """What another pack's attention gives, (B, N, C), as if it read the ID tokens in the text beside all else it reads.

    places: of each row of the forward. of_file: the attention that the model's file asks for in this layer, or None.
    other: of that pack. q: (B, N, C). k, v: (B, T, C).
    """
    rows: Tensor | None = extra_options.get(SOURCE_ROWS)
    text_keys = _without_id_tokens(k, places, rows)
    text_values = _without_id_tokens(v, places, rows)
    out_of_other_pack = attention_of_other_pack(other, q, text_keys, text_values, extra_options)
    attend = attend_with(with_attention_of_file(extra_options, of_file))
    return out_of_other_pack + attend(q, k, v) - attend(q, text_keys, text_values)


def _without_id_tokens(text: Tensor, places: Sequence[_Place], source_rows: Tensor | None) -> Tensor:
    """Keys or values of a text, (B, T, C), once and without ID tokens.

    places: of each row of the forward. source_rows: see SOURCE_ROWS.
    """
    if len(set(places)) == 1:
        return places[0].taken_out(text)
    numbers = range(len(text)) if source_rows is None else source_rows.tolist()
    rows = [places[number].taken_out(text[row : row + 1]) for row, number in enumerate(numbers)]
    # Texts of several lengths are joined as the host does it, by repeating them.
    first, *others = map(comfy.conds.CONDCrossAttn, rows)
    return first.concat(others)
