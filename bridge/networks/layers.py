"""The base class of all batches that change cross-attention.

When a forward starts, a batch puts its own attention around whatever stands in each layer. So other packs never meet
ours, and the order of the nodes does not matter. `before`, everywhere in this folder, is the function that stands there
already: of another pack, of another batch of ours, or None where the host's own attention is called.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...core.attention.cross_attention import Block
from ...core.attention.spans import Tokens
from ..host.unet import (
    Grid,
    Options,
    Replacement,
    dtype_of,
    grids,
    layers_of,
    replacement_in,
    transformers,
    with_patches,
    with_replacements,
)
from ..sampling.carried import ConditioningLost
from ..sampling.code_of_others import is_ours
from ..sampling.forward import Batch, ForwardShape
from ..sampling.rows_of_others import copied, made_rows_error
from ..sampling.watch import DueCalls
from .file_attention import Attention, attention_of_file_in_layers, with_attention_of_file
from .row_tracking import SOURCE_ROWS, LayerInput, TextPatch, call_patches

PIXELS = "likeness_pixels"
"""A key in the extra_options of a layer that is called for some of its pixels alone: their numbers in the grid, (n,).
The queries are then (B, n, C), those of these pixels. Only a batch with `reads_some_pixels` is called so."""


class QueryShape(NamedTuple):
    """What a batch has to know of the queries that will read it, before any layer has made them.

    layers: all cross-attention layers of the UNet, see unet.layers_of. row_count: of the forward's batch. grids: those
    of the layers, one query for each cell. device, dtype: of the layers' queries. attention_of_file: in layers for
    which the model's file asks for one.
    """

    layers: Sequence[Block]
    row_count: int
    grids: frozenset[Grid]
    device: torch.device
    dtype: torch.dtype
    attention_of_file: Mapping[Block, Attention]

    def like_queries(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)


def query_shape_of(forward_shape: ForwardShape) -> QueryShape:
    """The QueryShape of forwards of this shape."""
    unet = forward_shape.model.diffusion_model
    layers = layers_of(unet)
    block_grids = grids(unet, *forward_shape.latent[-2:])
    grids_of_layers = frozenset(block_grids[name, number] for name, number, _transformer in layers)
    attention_of_file = attention_of_file_in_layers(unet, "attn2")
    dtype = dtype_of(forward_shape.model)
    return QueryShape(layers, forward_shape.row_count, grids_of_layers, forward_shape.device, dtype, attention_of_file)


class CrossAttentionBatch(Batch):
    """What the cross-attention layers read in the forwards that carry the same people."""

    reads_some_pixels = False
    """Whether `attention_output` of this class reads PIXELS, and so can be called for some pixels."""

    def __init__(self, query_shape: QueryShape) -> None:
        super().__init__()
        self.layers = query_shape.layers
        self.row_count = query_shape.row_count
        self._query_shape = query_shape

    def due_calls(self, modules: Mapping[str, nn.Module]) -> DueCalls:
        """The cross-attention (attn2) of each layer that this batch changes. modules: by name, "" is the UNet."""
        due_calls: dict[Hashable, nn.Module] = {}
        for layer_index, transformer in enumerate(transformers(modules[""])):
            if self.changes_layer(layer_index):
                due_calls[self.layers[layer_index]] = transformer.module.attn2
        return due_calls

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options with this batch's attention in the layers that it changes.

        Where other packs have attn2 patches, `call_patches` takes their place: it calls them and tracks their rows.
        """
        attentions: dict[Block, Replacement] = {}
        for layer_index, block in enumerate(self.layers):
            if self.changes_layer(layer_index):
                replacement = replacement_in(options, "attn2", block)  # of another pack, or None
                # around_other_pack and can_read_some_pixels take these two arguments out again.
                attentions[block] = partial(self.called_in_layer, layer_index, replacement)
        patches_of_others = tuple(options.get("patches", {}).get("attn2_patch", ()))
        options = with_replacements(options, "attn2", attentions)
        if not patches_of_others:
            return options
        return with_patches(options, "attn2_patch", [partial(self.call_patches, patches_of_others)])

    def changes_layer(self, layer_index: int) -> bool:
        """Whether the batch changes this layer, by its index in `layers`; else whatever stands there is left alone."""
        return True

    def call_patches(
        self, patches: Sequence[TextPatch], n: Tensor, context: Tensor, value: Tensor, extra_options: Options
    ) -> LayerInput:
        """The attn2 patches of others, one after the other, as one attn2 patch that keeps track of their rows.

        n, context, value: the host's names of what LayerInput holds.
        """
        return call_patches(patches, LayerInput(n, context, value), extra_options)

    def source_rows(self, before: Replacement | None, q: Tensor, extra_options: Options) -> Tensor | None:
        """The row of the batch from which each row of a layer was made, see SOURCE_ROWS; None where rows are the same.

        before: the function of another pack in this layer, which the error names. Raises ConditioningLost where the
        layer has another number of rows than SOURCE_ROWS says; without SOURCE_ROWS, than the batch has.
        """
        source_rows: Tensor | None = extra_options.get(SOURCE_ROWS)
        row_count = self.row_count if source_rows is None else len(source_rows)
        if len(q) != row_count:
            raise made_rows_error(len(q), self.row_count, before)
        return source_rows

    def called_in_layer(
        self, layer_index: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """What the host calls in place of a layer's attention. It gives `attention_output`, and takes its arguments.

        The call is counted, and the attention that the model's file asks for is put into the extra_options before.
        """
        block = self.layers[layer_index]
        self.calls.count(block)
        extra_options = with_attention_of_file(extra_options, self._query_shape.attention_of_file.get(block))
        return self.attention_output(layer_index, before, q, k, v, extra_options)

    def attention_output(
        self, layer_index: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """What the cross-attention of one layer gives, (B, N, C), before its output projection.

        layer_index: an index into `layers`. before: what another node has put in place of this attention, or None.
        q: (B, N, C). k, v: (B, T, C).
        """
        raise NotImplementedError


def patches_dropped() -> ConditioningLost:
    """The error where a layer has called our attention and none of our patches in front of it."""
    return ConditioningLost("", "hands on no attn2 patches to a layer")


def _batch_in_layer(replacement: Any) -> CrossAttentionBatch | None:
    """The batch of ours that stands in a layer or among patches, as a partial of its method, see
    `options_for_network`.

    None where a function of another pack stands there, or nothing (None).
    """
    # No getattr with a default: torch.compile answers it by the default.
    if not isinstance(replacement, partial) or not isinstance(replacement.func, MethodType):
        return None
    batch = replacement.func.__self__
    return batch if isinstance(batch, CrossAttentionBatch) else None


def as_given(replacement: Replacement, *tensors: Tensor) -> Sequence[Tensor]:
    """These tensors as what stands in a layer is given them: copies where it is another pack's, see `copied`. A batch
    of ours makes them where it calls another pack's."""
    return tensors if _batch_in_layer(replacement) is not None else copied(*tensors)


def attention_of_other_pack(
    replacement: Replacement, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
) -> Tensor:
    """What another pack's function in place of attention gives: (B, N, C), a row for each row of the queries.

    q: (B, N, C). k, v: (B, T, C) each. The result is added to or put beside attention of ours, row by row, so row n of
    both must be one picture. Raises ConditioningLost, which names the pack, where the result has another number of
    rows. Two kinds of packs make other rows: one gives two results for each row and takes their mean in a patch after
    the layer, the other doubles the rows in a patch before attention and takes the mean in this function.
    """
    q, k, v = as_given(replacement, q, k, v)
    out = replacement(q, k, v, extra_options)
    if len(out) != len(q):
        raise made_rows_error(len(out), len(q), replacement)
    return out


def of_other_pack(replacement: Any) -> Replacement | None:
    """What another pack has put in place of an attention, also where batches of ours stand around it; None for nothing.

    replacement: what stands in the layer.
    """
    while _batch_in_layer(replacement) is not None:
        _layer_index, replacement = replacement.args  # of the partial of a batch: the layer, what stood there
    return replacement


def around_other_pack(replacement: Any, put: Callable[[Replacement], Replacement]) -> Replacement:
    """What stands in a layer, with `put` around another pack's attention, within the batches of ours.

    replacement: what stands there now, which has an attention of another pack.
    """
    if _batch_in_layer(replacement) is None:
        return put(replacement)
    layer_index, before = replacement.args
    return partial(replacement.func, layer_index, around_other_pack(before, put))


def patches_of_others(patches: Sequence[Any]) -> bool:
    """Whether any of these attn2 patches is another pack's, also where a batch of ours calls it.

    patches: those of a layer.
    """
    for patch in patches:
        if _batch_in_layer(patch) is None:
            if not is_ours(patch):
                return True
        elif patches_of_others(patch.args[0]):  # those that its `call_patches` calls
            return True
    return False


def can_read_some_pixels(before: Any) -> bool:
    """Whether an attention can be asked for some pixels alone, see PIXELS.

    before: None for the host's own attention, which can. A batch of ours with `reads_some_pixels` can, unless it calls
    another function in the layer than the host's own. A function of another pack cannot: it may count the queries, or
    look where in the picture they lie.
    """
    if before is None:
        return True
    batch = _batch_in_layer(before)
    return batch is not None and batch.reads_some_pixels and before.args[1] is None
