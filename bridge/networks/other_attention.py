"""Whether what another pack has put in place of cross-attention reads what we have put into the text.

Packs may put a function in the place of a layer's attention (attn2_replace). Most of them read the text that comes.
Some, made for prompts by region, hold texts of their own and read these instead, or put them or masks of them beside
the text that comes, which has to be of their length. What we have put into the text (the ID tokens of people) would
then be read by no pixel, or fail. So attention of ours reads it, and is added to what such a function gives without it,
see UnetWordsBatch.attention_output.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ...core.attention.cross_attention import Block, block_of_unet
from ...core.checks.memory import is_out_of_memory
from ..host.unet import Grid, Options, Replacement, grids, replacement_in, transformers
from ..sampling.calls import modules_of
from ..sampling.current_forward import outside_of_forwards
from ..sampling.forward import ForwardShape
from .attention import untraced
from .layers import of_other_pack

NEEDS_MORE = (LookupError, TypeError, ValueError, AttributeError, RuntimeError)
"""Errors of a function that is called on trial and needs more than a layer gives it, such as the memory of another
layer, or another text. Whether it reads the text is then unknown."""


class Trial:
    """Trial calls of other packs' attention, in forwards of one shape."""

    def __init__(self, forward_shape: ForwardShape, length_without_ours: int) -> None:
        """length_without_ours: how many tokens the text of these forwards has without ours."""
        unet = forward_shape.model.diffusion_model
        self._forward_shape = forward_shape
        self._length_without_ours = length_without_ours
        self._transformers = {(name, number, index): module for name, number, index, module in transformers(unet)}
        self._grids = grids(unet, *forward_shape.latent[-2:])

    def layers_ignoring_text(self, options: Options) -> frozenset[Block]:
        """The layers in which another pack's attention does not read what we have put into the text.

        Such an attention ignores the text that it is called with; or it fails with our tokens in the text, and works
        without them. It is asked in every forward, because a pack may put another one there at each step. options: the
        transformer_options with which the network is called.
        """
        functions: dict[Block, Replacement] = {}
        for block in self._transformers:
            function = of_other_pack(replacement_in(options, "attn2", block))
            if function is not None:
                functions[block] = function
        return self._ask(functions, options) if functions else frozenset()

    @untraced
    def _ask(self, functions: dict[Block, Replacement], options: Options) -> frozenset[Block]:
        """Those of these layers in which `functions`, of other packs, do not read our tokens.

        Each kind of function is called on trial in one layer, and the answer counts for all layers with that kind, as a
        pack puts one kind into all layers.
        """
        ignores_ours: dict[str, bool] = {}  # by kind of function
        ignoring: list[Block] = []
        with outside_of_forwards():  # such a function may call layers, in which hooks of ours stand
            for block, function in functions.items():
                kind = _kind_of(function)
                if kind not in ignores_ours:
                    ignores_ours[kind] = self._ignores_ours(_OtherAttention(function, block, options))
                if ignores_ours[kind]:
                    ignoring.append(block)
        return frozenset(ignoring)

    def _ignores_ours(self, other: _OtherAttention) -> bool:
        """Whether another pack's attention does not read what we have put into the text."""
        reads_whole_text = self._reads_text(other, self._forward_shape.text_length)
        if reads_whole_text is not None:
            return not reads_whole_text
        # It fails with our tokens in the text. If it works without them, it does not read ours. If it fails without
        # them too, what it does is unknown, and it counts as one that reads the text.
        return self._reads_text(other, self._length_without_ours) is not None

    def _reads_text(self, other: _OtherAttention, tokens: int) -> bool | None:
        """Whether another pack's attention reads a text of so many tokens; None where it fails with such a text.

        It is called on trial, with two texts of made-up numbers: the second is the first with its sign changed. It
        reads the text if the two results differ. Raises errors of memory.
        """
        rows = self._forward_shape.row_count
        width = self._transformers[other.block].attn2.to_q.out_features
        height_in_tokens, width_in_tokens = self._grid_of(other.block)
        extra_options = self._extra_options(other)
        numbers = (
            torch.linspace(-1, 1, tokens * width, dtype=torch.float32)
            .to(self._forward_shape.empty_like_network())
            .view(1, tokens, width)
        )
        text = numbers.expand(rows, -1, -1)  # (rows, tokens, width), as keys and values
        query = text[:, :1].expand(-1, height_in_tokens * width_in_tokens, -1)  # (rows, pixels, width)
        try:
            out = other.function(query, text, text, extra_options)
            out_of_other_text = other.function(query, -text, -text, extra_options)
            return not torch.equal(out, out_of_other_text)
        except NEEDS_MORE as error:
            if is_out_of_memory(error):
                raise
            return None

    def _extra_options(self, other: _OtherAttention) -> Options:
        """The extra_options with which the host calls the attention of a layer, made for a trial.

        As in comfy/ldm/modules/attention.py, BasicTransformerBlock.
        """
        # Without "patches" and "patches_replace", which the host takes out too.
        extra_options = {key: value for key, value in other.options.items() if not key.startswith("patches")}
        transformer = self._transformers[other.block]
        extra_options["n_heads"] = transformer.n_heads
        extra_options["dim_head"] = transformer.d_head
        extra_options["attn_precision"] = transformer.attn_precision
        *block, index = other.block
        extra_options["block"] = tuple(block)
        extra_options["block_index"] = index
        extra_options["transformer_index"] = 0  # a stand-in: the host counts the transformers of the UNet here
        shape = self._forward_shape
        extra_options["original_shape"] = list(shape.latent)
        width = transformer.attn2.to_q.out_features
        extra_options["activations_shape"] = [shape.row_count, width, *self._grid_of(other.block)]
        return extra_options

    def _grid_of(self, layer: Block) -> Grid:
        return self._grids[block_of_unet(layer)]


class _OtherAttention(NamedTuple):
    """What another pack has put in place of the cross-attention of a layer.

    function: of that pack. options: the transformer_options of the forward.
    """

    function: Replacement
    block: Block
    options: Options


def _kind_of(replacement: Replacement) -> str:
    """The kind of a function: its module and name, which the functions of one pack for all layers have in common."""
    name = getattr(replacement, "__qualname__", type(replacement).__qualname__)
    return f"{modules_of([replacement])} {name}"
