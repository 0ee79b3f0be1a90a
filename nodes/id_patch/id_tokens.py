"""ID tokens in the text beside packs whose attention reads texts of its own, or makes rows with such texts.

Apply ID-Patch leaves the MODEL alone: its tokens stand in the text, and where another pack reads another text in their
place, nobody would read them. Its ControlNet sees what stands on the MODEL before each forward, and joins in there.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import comfy.patcher_extension
from comfy.model_base import BaseModel
from comfy.patcher_extension import WrapperExecutor
from torch import Tensor

from ...bridge.conditioning import IDTokens
from ...bridge.cross_attention import WHOSE, deaf_layers, place_of
from ...bridge.regional_text import RegionalText, RegionalTextBatch, everywhere, repeats
from ...bridge.runs import Given
from ...bridge.unet import Options, Replacement, attend_with, transformers
from ...core.attention import Block

_KEY = "likeness_id_tokens_read"


class _EverywhereBatch(RegionalTextBatch):
    """ID tokens that everybody reads. Where a layer reads them in the text, it is left as it is."""

    def needed(self, options: Options) -> bool:
        return bool(self._deaf or options.get("patches", {}).get("attn2_patch"))

    def forward(
        self,
        executor: WrapperExecutor,
        x: Tensor,
        timesteps: Tensor | None,
        context: Tensor | None,
        y: Tensor | None,
        control: Any,
        transformer_options: Options,
        **kwargs: Any,
    ) -> Tensor:
        """DIFFUSION_MODEL."""
        return executor(x, timesteps, context, y, control, self.around(transformer_options), **kwargs)

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        if WHOSE in extra_options or self.layers[layer] in self._deaf:
            return super().attended(layer, before, q, k, v, extra_options)
        return before(q, k, v, extra_options) if before else attend_with(extra_options)(q, k, v)


class IDTokensReader:
    """What the ControlNet of Apply ID-Patch does in one sampling run."""

    def __init__(self, model: BaseModel) -> None:
        self._model = model
        self._ready: dict[Hashable, _EverywhereBatch] = {}

    def join(self, inside: Sequence[IDTokens | None], x: Tensor, cond: dict[str, Any], options: Options) -> None:
        """Where rows or texts of others are in the way, the UNet is run with the tokens behind these."""
        others = options.get("patches", {}).get("attn2_patch") or options.get("patches_replace", {}).get("attn2")
        if not others or not any(inside) or RegionalText.key in cond:  # else its own run reads them
            return
        context: Tensor = cond["c_crossattn"]
        key = tuple(options["uuids"]), x.shape, context.shape
        if key not in self._ready:
            self._ready[key] = self._batch(inside, Given(self._model, x, options["sigmas"], context, options))
        batch = self._ready[key]
        if batch.needed(options):
            kinds = comfy.patcher_extension.WrappersMP
            comfy.patcher_extension.add_wrapper_with_key(kinds.DIFFUSION_MODEL, _KEY, batch.forward, options)

    def _batch(self, inside: Sequence[IDTokens | None], given: Given) -> _EverywhereBatch:
        texts = [self._text(one, rows) for one, rows in zip(inside, given.context.chunk(len(inside)), strict=True)]
        chunks = tuple((text,) for text in texts)
        layers: list[Block] = [(name, n, index) for name, n, index, _ in transformers(self._model.diffusion_model)]
        place = place_of(layers, given)
        return _EverywhereBatch(layers, chunks, given.context.shape[1], place, deaf_layers(given))

    def _text(self, inside: IDTokens | None, context: Tensor) -> RegionalText:
        once = context.shape[1] // int(repeats(context[:1]))
        return everywhere(inside, context[:, :once])
