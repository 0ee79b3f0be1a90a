"""What a UNet's self-attention sees of a picture, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...core.attention import Block
from ..unet import Options, dtype_of

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


def record(
    unet: nn.Module, x: Tensor, timesteps: Tensor, context: Tensor, y: Tensor | None = None
) -> dict[Block, Tensor]:
    """Run a UNet and keep what every layer's self-attention sees after its norm: block -> (B, tokens, C).

    x: (B, 4, h, w) scaled as the UNet takes it; timesteps (B,); context (B, T, width); y: (B, adm) for SDXL.
    Other packs' patches take no part.
    """
    seen: dict[Block, Tensor] = {}

    def recorder(n: Tensor, keys: Tensor, values: Tensor, extra: Options) -> tuple[Tensor, Tensor, Tensor]:
        seen[(*extra["block"], extra["block_index"])] = n
        return n, keys, values

    unet(x, timesteps, context=context, y=y, control=None, transformer_options={"patches": {"attn1_patch": [recorder]}})
    return seen


def record_at_zero(model: ModelPatcher, latent: Tensor, context: Tensor) -> dict[Block, Tensor]:
    """`record_one` with a loaded ModelPatcher."""
    place = model.load_device, dtype_of(model.model)
    return record_one(model.model.diffusion_model, latent.to(*place), context.to(*place))


def record_one(unet: nn.Module, x: Tensor, context: Tensor, y: Tensor | None = None) -> dict[Block, Tensor]:
    """`record` of one part, (1, ...), once at t = 0, kept on the CPU: block -> (tokens, C)."""
    seen = record(unet, x, torch.zeros(1, device=x.device), context, y)
    return {block: states[0].cpu() for block, states in seen.items()}
