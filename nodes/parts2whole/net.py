"""Parts2Whole: decoupled attention, one token per part from the whole picture of the part; and the pose guider.

Source: Parts2Whole, parts2whole/models/custom_attention_processor.py and pose_guider.py (MIT), the latter after Animate
Anyone (arXiv 2311.17117): a pose picture becomes features that are added after the denoiser's first convolution.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ...core.projections import AdapterLayers

SLOTS = 6
"""The trained number of image tokens; fewer parts are filled up with zeros."""


class DecoupledAttn(AdapterLayers):
    """Keys and values of the image tokens for every cross-attention layer.

    state: "<diffusers layer>.attn2.processor.to_{k,v}_dc.weight"; other keys are not looked at.
    """

    def __init__(self, state: Mapping[str, Tensor], *, ops: Any, **factory: Any) -> None:
        super().__init__(self.own_state(state), ops=ops, **factory)

    @staticmethod
    def own_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`state` under this module's keys."""
        layers = {key.removesuffix("k_dc.weight") for key in state if key.endswith("to_k_dc.weight")}
        return {
            f"{n}.to_{side}_ip.weight": state[f"{layer}{side}_dc.weight"]
            for n, layer in enumerate(sorted(layers, key=_position))
            for side in "kv"
        }


def _position(name: str) -> tuple[int, list[int]]:
    """Down before up before mid, then by number, as diffusers walks a UNet."""
    place = ("down_blocks", "up_blocks", "mid_block").index(name.split(".")[0])
    return place, [int(part) for part in name.split(".") if part.isdigit()]


def padded(embeds: Sequence[Tensor]) -> Tensor:
    """One (1, width) CLIP image embedding per part -> (1, SLOTS, width), zeros where there is no part."""
    tokens = torch.stack([embed.float() for embed in embeds], dim=1)
    return nn.functional.pad(tokens, (0, 0, 0, SLOTS - tokens.shape[1]))


class PoseGuider(nn.Module):
    """(B, 3, H, W), 0..1 -> (B, channels, ceil(H / 8), ceil(W / 8)). Sizes are read from the tensors of `state`."""

    def __init__(self, state: Mapping[str, Tensor], *, ops: Any, **factory: Any) -> None:
        super().__init__()

        def conv(name: str, stride: int = 1) -> Any:
            out, channels = state[f"{name}.weight"].shape[:2]
            return ops.Conv2d(channels, out, 3, padding=1, stride=stride, **factory)

        count = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
        self.conv_in = conv("conv_in")
        # Every second convolution halves the picture.
        self.blocks = nn.ModuleList(conv(f"blocks.{n}", 1 + n % 2) for n in range(count))
        self.conv_out = conv("conv_out")

    def forward(self, pose: Tensor) -> Tensor:
        features = functional.silu(self.conv_in(pose))
        for block in self.blocks:
            features = functional.silu(block(features))
        return self.conv_out(features)
