"""ID tokens in the text of a prompt, which a UNet reads although another pack lets its attention read other texts."""

from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

import comfy.patcher_extension
from comfy.model_base import BaseModel
from torch import Tensor

from ....core.checks.errors import BadSetup
from ...host.unet import Options, Replacement, layers_of
from ...networks.file_attention import attend_whole_with
from ...networks.row_tracking import SOURCE_ROWS
from ...sampling.conditioning import IDTokens
from ...sampling.forward import ForwardShape, call_network
from .run import UnetWordsBatch
from .words import UnetWords, guessed_repeats, id_tokens_read_everywhere

_KEY = "likeness_id_tokens_read"
"""The key of our wrapper among the host's wrappers around the UNet's forward."""


class _EverywhereBatch(UnetWordsBatch):
    """A batch of ID tokens that the whole picture reads.

    The tokens stand in the text, so a layer that reads the text needs nothing more. The batch acts only where another
    pack's attention ignores the text, or another pack's attn2 patch makes rows with texts of their own.
    """

    def options_with_attention(self, options: Options) -> Options:
        """transformer_options as in UnetWordsBatch; as they are where no other pack is in the way of the text."""
        with_attention = super().options_with_attention(options)
        return with_attention if self._ignoring or options.get("patches", {}).get("attn2_patch") else options

    def attention_output(
        self,
        layer_index: int,
        before: Replacement | None,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        extra_options: Options,
    ) -> Tensor:
        """The output of an attention, see UnetWordsBatch. A layer that reads the text keeps its own attention.

        before: the attention of another pack in this layer, or None. q: (rows, N, C). k, v: (rows, T, C).
        """
        # SOURCE_ROWS is there where another pack's patch has made the rows of this layer.
        if SOURCE_ROWS in extra_options or self.layers[layer_index] in self._ignoring:
            return super().attention_output(layer_index, before, q, k, v, extra_options)
        if before is not None:
            return before(q, k, v, extra_options)
        return attend_whole_with(extra_options)(q, k, v)


class IDTokensReader:
    """It lets the UNet read ID tokens where another pack makes it read other texts than those of the conditioning.

    A node may put ID tokens into the text and leave the MODEL as it is. Then another pack's attention may read a text
    of its own instead, or its attn2 patch may make rows with such texts, and the tokens would go unread. The node's
    ControlNet is called before each forward and sees by then what other packs have put onto the MODEL. So it adds a
    wrapper that reads the tokens in that forward. There is one such object per sampling run.
    """

    def __init__(self, model: BaseModel) -> None:
        self._model = model
        self._batches: dict[Hashable, _EverywhereBatch] = {}

    def change_inputs(
        self, id_tokens: Sequence[IDTokens | None], x: Tensor, cond: dict[str, Any], options: Options
    ) -> None:
        """Add the reading of the ID tokens to a forward where another pack is in the way of their text.

        id_tokens: for each conditioning entry of the forward where ID tokens stand in its text, None for an entry
        without. All entries have equally many rows of x, (B, C, h, w), in this order. cond: what the UNet is given by
        name, among it the texts "c_crossattn" (B, T, width). options: the forward's transformer_options, to which a
        wrapper is added in place.
        """
        patch = options.get("patches", {}).get("attn2_patch")
        replacement = options.get("patches_replace", {}).get("attn2")
        if not patch and not replacement:  # no other pack is in the way
            return
        # With regional text on the MODEL that text's own run reads the tokens.
        if not any(id_tokens) or UnetWords.key in cond:
            return
        kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
        before: Sequence[Any] = options.get("wrappers", {}).get(kind, {}).get(_KEY, ())
        if any(wrapper.args[0] not in self._batches.values() for wrapper in before):  # of the net of another node
            raise BadSetup(
                "Two nodes have put ID tokens into one prompt, and another pack changes how the MODEL reads it.",
                "Put all people into one of the two nodes, or leave the other pack's node out.",
            )
        context: Tensor = cond["c_crossattn"]
        forward_shape = ForwardShape(self._model, x.device, x.shape, context.shape)
        # By the numbers of the texts: a batch has the ID tokens in it. One channel tells two texts apart.
        key = tuple(id_tokens), forward_shape, tuple(context[..., 0].flatten().tolist())
        if key not in self._batches:
            self._batches[key] = self._batch(id_tokens, context, forward_shape)
        batch = self._batches[key]
        # No check that the wrapper is called: a copy of the host's code that leaves it out leaves out the other packs'
        # functions too, and then the layers read the text.
        comfy.patcher_extension.add_wrapper_with_key(kind, _KEY, partial(call_network, batch), options)

    def _batch(
        self, id_tokens: Sequence[IDTokens | None], context: Tensor, forward_shape: ForwardShape
    ) -> _EverywhereBatch:
        """The batch for forwards of this shape. id_tokens: as in change_inputs. context: the texts, (B, T, width)."""
        words_by_chunk: list[tuple[UnetWords, ...]] = []
        for tokens, text in zip(id_tokens, context.chunk(len(id_tokens)), strict=True):  # (rows, T, width) each
            # The host repeats a text that is shorter than others of the forward. Only the first copy is handed on, so
            # that its ID tokens are read once.
            length = text.shape[1] // int(guessed_repeats(text[:1]))  # [:1]: all rows of a chunk repeat alike
            words_by_chunk.append((id_tokens_read_everywhere(tokens, text[:, :length]),))
        layers = layers_of(self._model.diffusion_model)
        return _EverywhereBatch.of_forwards(layers, tuple(words_by_chunk), forward_shape)
