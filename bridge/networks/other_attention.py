"""Whether what another pack has put in place of cross-attention reads what we have put into the text.

Packs may put a function in the place of a layer's attention (attn2_replace). Most of them read the text that comes.
Some, made for prompts by region, hold texts of their own and read these instead, or put them or masks of them beside
the text that comes, which has to be of their length. What we have put into the text (the ID tokens of people) would
then be read by no pixel, or fail. So attention of ours reads it, and is added to what such a function gives without it,
see UnetWordsBatch.attention_output.
"""

from typing import Any, NamedTuple

import torch

from ...core.attention.cross_attention import Block
from ...core.checks.memory import is_out_of_memory
from ..host.unet import Grid, Options, Replacement, grids, replacement_in, transformers
from ..sampling.calls import modules_of
from ..sampling.forward import ForwardInput

NEEDS_MORE = (LookupError, TypeError, ValueError, AttributeError, RuntimeError)
"""Errors of a function that is called on trial and needs more than a layer gives it, such as the memory of another
layer, or another text. Whether it reads the text is then unknown."""


def layers_ignoring_text(forward_input: ForwardInput, length_without_ours: int) -> frozenset[Block]:
    """The layers in which another pack's attention does not read what we have put into the text.

    Such an attention ignores the text that it is called with; or it fails with our tokens in the text, and works
    without them. Each kind of function is called on trial in one layer, and the answer counts for all layers with that
    kind, as a pack puts one kind into all layers. length_without_ours: how many tokens the text has without ours.
    """
    unet = forward_input.model.diffusion_model
    block_grids = grids(unet, *forward_input.x.shape[-2:])
    ignores_ours: dict[str, bool] = {}  # by kind of function
    ignoring: list[Block] = []
    for name, number, index, transformer in transformers(unet):
        block = name, number, index
        function = replacement_in(forward_input.options, "attn2", block)
        if function is None:
            continue
        kind = _kind_of(function)
        if kind not in ignores_ours:
            other = _OtherAttention(function, transformer, block, block_grids[name, number])
            ignores_ours[kind] = _ignores_ours(other, forward_input, length_without_ours)
        if ignores_ours[kind]:
            ignoring.append(block)
    return frozenset(ignoring)


class _OtherAttention(NamedTuple):
    """What another pack has put in place of the cross-attention of a layer.

    function: of that pack. transformer: the host's BasicTransformerBlock of the layer. grid: of the layer.
    """

    function: Replacement
    transformer: Any
    block: Block
    grid: Grid


def _ignores_ours(other: _OtherAttention, forward_input: ForwardInput, length_without_ours: int) -> bool:
    """Whether another pack's attention does not read what we have put into the text, see `layers_ignoring_text`."""
    reads_whole_text = _reads_text(other, forward_input, forward_input.context.shape[1])
    if reads_whole_text is not None:
        return not reads_whole_text
    # It fails with our tokens in the text. If it works without them, it does not read ours. If it fails without them
    # too, what it does is unknown, and it counts as one that reads the text.
    return _reads_text(other, forward_input, length_without_ours) is not None


def _kind_of(replacement: Replacement) -> str:
    """The kind of a function: its module and name, which the functions of one pack for all layers have in common."""
    name = getattr(replacement, "__qualname__", type(replacement).__qualname__)
    return f"{modules_of([replacement])} {name}"


def _reads_text(other: _OtherAttention, forward_input: ForwardInput, tokens: int) -> bool | None:
    """Whether another pack's attention reads a text of so many tokens; None where it fails with such a text.

    It is called on trial, with two texts of made-up numbers: the second is the first with its sign changed. It reads
    the text if the two results differ. Raises errors of memory.
    """
    rows = len(forward_input.x)
    width = other.transformer.attn2.to_q.out_features
    pixels = other.grid[0] * other.grid[1]
    extra_options = _extra_options(other, forward_input)
    numbers = (
        torch.linspace(-1, 1, tokens * width, dtype=torch.float32)
        .to(forward_input.empty_like_network())
        .view(1, tokens, width)
    )
    text = numbers.expand(rows, -1, -1)  # (rows, tokens, width), as keys and values
    query = text[:, :1].expand(-1, pixels, -1)  # (rows, pixels, width)
    try:
        out = other.function(query, text, text, extra_options)
        out_of_other_text = other.function(query, -text, -text, extra_options)
        return not torch.equal(out, out_of_other_text)
    except NEEDS_MORE as error:
        if is_out_of_memory(error):
            raise
        return None


def _extra_options(other: _OtherAttention, forward_input: ForwardInput) -> Options:
    """The extra_options with which the host calls the attention of a layer, made for a trial.

    As in comfy/ldm/modules/attention.py, BasicTransformerBlock.
    """
    # Without "patches" and "patches_replace", which the host takes out too.
    extra_options = {key: value for key, value in forward_input.options.items() if not key.startswith("patches")}
    transformer = other.transformer
    extra_options["n_heads"] = transformer.n_heads
    extra_options["dim_head"] = transformer.d_head
    extra_options["attn_precision"] = transformer.attn_precision
    *block, index = other.block
    extra_options["block"] = tuple(block)
    extra_options["block_index"] = index
    extra_options["transformer_index"] = 0  # a stand-in: the host counts the transformers of the UNet here
    extra_options["original_shape"] = list(forward_input.x.shape)
    extra_options["activations_shape"] = [len(forward_input.x), transformer.attn2.to_q.out_features, *other.grid]
    return extra_options
