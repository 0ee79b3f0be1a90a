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
    """The layers that make keys and values of the image tokens, one for each cross-attention layer.

    state: "<diffusers layer>.attn2.processor.to_{k,v}_dc.weight"; other keys are not looked at.
    """

    def __init__(self, state: Mapping[str, Tensor], *, ops: Any, **factory: Any) -> None:
        super().__init__(self.own_state(state), ops=ops, **factory)

    @staticmethod
    def own_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a file that are this module's, under its own keys: "<n>.to_{k,v}_ip.weight".

        n counts the cross-attention layers as diffusers does.
        """
        keys = [key for key in state if key.endswith("to_k_dc.weight")]
        layers = [key.removesuffix("to_k_dc.weight") for key in keys]
        layers.sort(key=_position)
        own_tensors: dict[str, Tensor] = {}
        for number, layer in enumerate(layers):
            own_tensors[f"{number}.to_k_ip.weight"] = state[f"{layer}to_k_dc.weight"]
            own_tensors[f"{number}.to_v_ip.weight"] = state[f"{layer}to_v_dc.weight"]
        return own_tensors


def _position(layer: str) -> tuple[int, list[int]]:
    """The key by which layers are sorted as diffusers walks a UNet: down before up before mid, then by number.

    layer: what its keys begin with, such as "up_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.".
    """
    words = layer.split(".")
    part = ("down_blocks", "up_blocks", "mid_block").index(words[0])
    numbers = [int(word) for word in words if word.isdigit()]
    return part, numbers


def padded(embeds: Sequence[Tensor]) -> Tensor:
    """One (1, width) CLIP image embedding per part -> (1, SLOTS, width), zeros where there is no part."""
    tokens = torch.stack([embed.float() for embed in embeds], dim=1)  # (1, parts, width)
    lacking = SLOTS - tokens.shape[1]
    return functional.pad(tokens, (0, 0, 0, lacking))


class PoseGuider(nn.Module):
    """The network that makes features of pose pictures: (B, 3, H, W), 0..1 -> (B, channels, ceil(H / 8), ceil(W / 8)).

    state: gives the sizes.
    """

    def __init__(self, state: Mapping[str, Tensor], *, ops: Any, **factory: Any) -> None:
        super().__init__()

        def convolution(name: str, stride: int = 1) -> Any:
            """The 3x3 convolution whose weights have this name in `state`."""
            weight = state[f"{name}.weight"]
            out_channels, in_channels = weight.shape[:2]
            return ops.Conv2d(in_channels, out_channels, 3, padding=1, stride=stride, **factory)

        numbers = [int(key.split(".")[1]) for key in state if key.startswith("blocks.")]
        count = 1 + max(numbers)
        self.conv_in = convolution("conv_in")
        self.blocks = nn.ModuleList()
        for number in range(count):
            halves = number % 2 == 1  # every second convolution halves the picture
            self.blocks.append(convolution(f"blocks.{number}", stride=2 if halves else 1))
        self.conv_out = convolution("conv_out")

    def forward(self, pose: Tensor) -> Tensor:
        features = functional.silu(self.conv_in(pose))
        for block in self.blocks:
            features = functional.silu(block(features))
        return self.conv_out(features)
