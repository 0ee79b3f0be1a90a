"""Whether what another pack has put in place of cross-attention reads what we have put into the text.

Packs may put a function in the place of a layer's attention (attn2_replace). Most of them read the text that comes.
Some, made for prompts by region, hold texts of their own and read these instead, or put them or masks of them beside
the text that comes, which has to be of their length. What we have put into the text (the ID tokens of people) would
then be read by no pixel, or fail. So attention of ours reads it, and is added to what such a function gives without it,
see UnetWordsBatch.attention_output.
"""

from collections.abc import Mapping

import torch

from ...core.attention.cross_attention import Block, block_of_unet
from ...core.checks.memory import is_out_of_memory
from ..host.unet import Options, Replacement, grids, replacement_in, transformers
from ..sampling.calls import modules_of
from ..sampling.forward import ForwardShape
from .attention import untraced
from .layers import of_other_pack

NEEDS_MORE = (LookupError, TypeError, ValueError, AttributeError, RuntimeError)
"""Errors of a function that is called on trial and needs more than a layer gives it, such as the memory of another
layer, or another text. Whether it reads the text is then unknown."""


class Trial:
    """Calls other packs' attention on trial, for the forwards of one shape."""

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
        without them. This is asked in each forward, as a pack may have another function there at each step. options:
        the transformer_options with which the network is called.
        """
        functions: dict[Block, Replacement] = {}
        for block in self._transformers:
            function = of_other_pack(replacement_in(options, "attn2", block))
            if function is not None:
                functions[block] = function
        return self._ask(functions, options) if functions else frozenset()

    @untraced
    def _ask(self, functions: Mapping[Block, Replacement], options: Options) -> frozenset[Block]:
        """Those of these layers in which functions of other packs do not read what we have put into the text.

        Each kind of function is called on trial in one layer, and the answer counts for all layers with that kind, as a
        pack puts one kind into all layers.
        """
        ignores_ours: dict[str, bool] = {}  # by kind of function
        ignoring: list[Block] = []
        for block, function in functions.items():
            kind = _kind_of(function)
            if kind not in ignores_ours:
                ignores_ours[kind] = self._ignores_ours(function, self._extra_options(block, options))
            if ignores_ours[kind]:
                ignoring.append(block)
        return frozenset(ignoring)

    def _ignores_ours(self, function: Replacement, extra_options: Options) -> bool:
        """Whether another pack's attention does not read our tokens. extra_options: of the layer."""
        reads_whole_text = self._reads_text(function, extra_options, self._forward_shape.text_length)
        if reads_whole_text is not None:
            return not reads_whole_text
        # It fails with our tokens in the text. If it works without them, it does not read ours. If it fails without
        # them too, what it does is unknown, and it counts as one that reads the text.
        return self._reads_text(function, extra_options, self._length_without_ours) is not None

    def _reads_text(self, function: Replacement, extra_options: Options, tokens: int) -> bool | None:
        """Whether another pack's attention reads a text of so many tokens; None where it fails with such a text.

        It is called on trial, with two texts of made-up numbers: the second is the first with its sign changed. It
        reads the text if the two results differ. Raises errors of memory.
        """
        rows, channels, height, width = extra_options["activations_shape"]
        numbers = (
            torch.linspace(-1, 1, tokens * channels, dtype=torch.float32)
            .to(self._forward_shape.empty_like_network())
            .view(1, tokens, channels)
        )
        text = numbers.expand(rows, -1, -1)  # (rows, tokens, channels), as keys and values
        query = text[:, :1].expand(-1, height * width, -1)  # (rows, pixels, channels)
        try:
            out = function(query, text, text, extra_options)
            out_of_other_text = function(query, -text, -text, extra_options)
            return not torch.equal(out, out_of_other_text)
        except NEEDS_MORE as error:
            if is_out_of_memory(error):
                raise
            return None

    def _extra_options(self, layer: Block, options: Options) -> Options:
        """The extra_options with which the host calls the attention of a layer, made for a trial.

        As in comfy/ldm/modules/attention.py, BasicTransformerBlock.
        """
        # Without "patches" and "patches_replace", which the host takes out too.
        extra_options = {key: value for key, value in options.items() if not key.startswith("patches")}
        transformer = self._transformers[layer]
        extra_options["n_heads"] = transformer.n_heads
        extra_options["dim_head"] = transformer.d_head
        extra_options["attn_precision"] = transformer.attn_precision
        *block, index = layer
        extra_options["block"] = tuple(block)
        extra_options["block_index"] = index
        extra_options["transformer_index"] = 0  # a stand-in: the host counts the transformers of the UNet here
        extra_options["original_shape"] = list(self._forward_shape.latent)
        channels = transformer.attn2.to_q.out_features
        grid = self._grids[block_of_unet(layer)]
        extra_options["activations_shape"] = [self._forward_shape.row_count, channels, *grid]
        return extra_options


def _kind_of(replacement: Replacement) -> str:
    """The kind of a function: its module and name, which the functions of one pack for all layers have in common."""
    name = getattr(replacement, "__qualname__", type(replacement).__qualname__)
    return f"{modules_of([replacement])} {name}"
