"""What a UNet's self-attention sees of a picture, layer by layer."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...core.attention import Block
from ..unet import Options, dtype_of, layers_of

Recorded = dict[Block, Tensor]
"""What each layer has seen."""


class _AllSeen(Exception):
    """What is recorded has been seen: the rest of the UNet would be computed for nothing."""


def record(
    unet: nn.Module,
    x: Tensor,
    timesteps: Tensor,
    context: Tensor,
    y: Tensor | None = None,
    blocks: Collection[Block] | None = None,
) -> Recorded:
    """Run a UNet and keep what its layers' self-attention sees after its norm: block -> (B, tokens, C).

    x: (B, 4, h, w) scaled as the UNet takes it; timesteps (B,); context (B, T, width); y: (B, adm) for SDXL; blocks:
    which layers, or None: all. Nothing behind the last of them is computed, except by a compiled UNet, whose graph an
    exception would break. Other packs' patches take no part.
    """
    wanted = frozenset(layers_of(unet) if blocks is None else blocks)
    seen: Recorded = {}

    def recorder(n: Tensor, keys: Tensor, values: Tensor, extra: Options) -> tuple[Tensor, Tensor, Tensor]:
        block = (*extra["block"], extra["block_index"])
        if block in wanted:
            seen[block] = n
        if not torch.compiler.is_compiling() and len(seen) == len(wanted):
            raise _AllSeen
        return n, keys, values

    options = {"patches": {"attn1_patch": [recorder]}}
    with suppress(_AllSeen):
        unet(x, timesteps, context=context, y=y, control=None, transformer_options=options)
    return seen


def record_at_zero(model: ModelPatcher, latent: Tensor, context: Tensor) -> Recorded:
    """`record_one` with a loaded ModelPatcher."""
    place = model.load_device, dtype_of(model.model)
    return record_one(model.model.diffusion_model, latent.to(*place), context.to(*place))


def record_one(
    unet: nn.Module, x: Tensor, context: Tensor, y: Tensor | None = None, blocks: Collection[Block] | None = None
) -> Recorded:
    """`record` of one part, (1, ...), once at t = 0, kept on the CPU: block -> (tokens, C)."""
    seen = record(unet, x, torch.zeros(1, device=x.device), context, y, blocks)
    return {block: states[0].cpu() for block, states in seen.items()}
