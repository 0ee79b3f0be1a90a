"""Cross-attention that hears more than the text: what injections and regional text have in common.

The attention is put around whatever stands in each layer when a forward starts. So other packs never meet ours, and
the order of the nodes does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..core.attention import Block
from .runs import Batch, Given, Run
from .unet import Grid, Options, Replacement, attention_layers, grids, replaced, standing

if TYPE_CHECKING:
    from comfy.samplers import CFGGuider


class Place(NamedTuple):
    """Where a batch is read. rows: of the pictures; grids: of the layers; device, dtype: of their queries."""

    rows: int
    grids: frozenset[Grid]
    device: torch.device
    dtype: torch.dtype

    def put(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)


class CrossAttentionBatch(Batch):
    """What every layer hears in one forward."""

    layers: Sequence[Block]

    def around(self, options: Options) -> Options:
        ours = {
            block: partial(self.attended, layer, standing(options, "attn2", block))
            for layer, block in enumerate(self.layers)
        }
        return replaced(options, "attn2", ours)

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """The attn2 of one layer. before: what stands there, of another node."""
        raise NotImplementedError


class CrossAttentionRun(Run):
    """One sampling run. What is made for a batch serves every step, and is gone with the run."""

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        self.layers = [(name, number, index) for name, number, index, _ in attention_layers(guider.model_patcher)]
        self._ready: dict[Hashable, CrossAttentionBatch] = {}
        pixels = (8 * latent.shape[-1], 8 * latent.shape[-2])
        canvases = {one.canvas: one.acts for one in self.everything(guider) if one.canvas}
        for canvas in canvases:
            canvas.check_rows(len(latent))
        for canvas, regions in canvases.items():
            if regions is not None:
                canvas.check((regions.shape[2], regions.shape[1]), pixels)

    def ready(self, what: Hashable, given: Given, make: Callable[[Place], CrossAttentionBatch]) -> CrossAttentionBatch:
        """The batch for `what`, one for all steps of the run that see it at the same place."""
        every, like = grids(given.model.diffusion_model, *given.x.shape[-2:]), given.like()
        found = frozenset(every[name, number] for name, number, _ in self.layers)
        place = Place(len(given.x), found, like.device, like.dtype)
        if (what, place) not in self._ready:
            self._ready[what, place] = make(place)
        return self._ready[what, place]


def as_many(x: Tensor, rows: int, dim: int) -> Tensor:
    """Every row of x repeated until there are so many: other packs make several of one."""
    return x if x.shape[dim] == rows else x.repeat_interleave(rows // x.shape[dim], dim=dim)
