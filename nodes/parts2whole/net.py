"""Parts2Whole's own networks: the decoupled attention and the pose guider.

In the decoupled attention each garment has one image token, CLIP's embedding of its picture; of several pictures it is
the mean. The cross-attention layers of the denoiser read these tokens beside the text, with keys and values of their
own.

Source: Parts2Whole, parts2whole/models/custom_attention_processor.py and pose_guider.py (MIT), the latter after Animate
Anyone (arXiv 2311.17117): a pose picture becomes features that are added after the denoiser's first convolution.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ...core.attention.projections import AdapterLayers

SLOTS = 6
"""The number of image tokens that the network was trained with. Where fewer garments are read, the rest are zeros."""


class DecoupledAttn(AdapterLayers):
    """The key and the value projection of the image tokens for each cross-attention layer of the denoiser.

    state: the file's tensors. Those under "<diffusers layer>.attn2.processor.to_{k,v}_dc.weight" are read.
    """

    def __init__(self, state: Mapping[str, Tensor], *, ops: Any, **factory: Any) -> None:
        super().__init__(self.own_state(state), ops=ops, **factory)

    @staticmethod
    def own_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a file that belong to this module, under the keys of AdapterLayers: "<n>.to_{k,v}_ip.weight".

        n counts the cross-attention layers in diffusers' order, see _position.
        """
        layers = [key.removesuffix("to_k_dc.weight") for key in state if key.endswith("to_k_dc.weight")]
        own_tensors: dict[str, Tensor] = {}
        for number, layer in enumerate(sorted(layers, key=_position)):
            own_tensors[f"{number}.to_k_ip.weight"] = state[f"{layer}to_k_dc.weight"]
            own_tensors[f"{number}.to_v_ip.weight"] = state[f"{layer}to_v_dc.weight"]
        return own_tensors


def _position(layer: str) -> tuple[int, list[int]]:
    """The key by which layers are sorted into diffusers' order: down, up, then mid blocks, and by number in each.

    layer: what the layer's keys begin with, such as "up_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.".
    """
    words = layer.split(".")
    part = ("down_blocks", "up_blocks", "mid_block").index(words[0])
    numbers = [int(word) for word in words if word.isdigit()]
    return part, numbers


@dataclass(frozen=True, eq=False)
class TokenRegion:
    """A region of the picture, (H, W) 0..1, or None for all of it, and the numbers of the garments read there."""

    region: Tensor | None
    garments: tuple[int, ...]


def token_regions(targets: Sequence[Tensor | None]) -> list[TokenRegion]:
    """The regions in which image tokens are read, each with the garments that are read there.

    targets: of each garment, (H, W); None, or 1 in all pixels, for everywhere. Garments with equal targets share a
    region. A garment for everywhere is read in every region, and in the rest of the picture, which is one more region.
    """
    # Number of a garment that is read in a part of the picture alone -> where.
    limited: dict[int, Tensor] = {}
    for number, target in enumerate(targets):
        if target is not None and not (target == 1).all():
            limited[number] = target
    everywhere = [number for number in range(len(targets)) if number not in limited]
    regions: list[Tensor] = []  # all different
    for target in limited.values():
        if not any(torch.equal(region, target) for region in regions):
            regions.append(target)
    if not regions:
        return [TokenRegion(None, tuple(everywhere))]
    read_there: list[TokenRegion] = []
    for region in regions:
        own = [number for number, target in limited.items() if torch.equal(region, target)]
        read_there.append(TokenRegion(region, tuple(sorted([*everywhere, *own]))))
    if everywhere:
        rest = 1 - torch.stack(regions).sum(dim=0).clamp(max=1)
        read_there.append(TokenRegion(rest, tuple(everywhere)))
    return read_there


def padded(embeds: Sequence[Tensor]) -> Tensor:
    """Embeddings, (1, width) for each garment, as image tokens (1, SLOTS, width): zeros after the last."""
    tokens = torch.stack([embed.float() for embed in embeds], dim=1)  # (1, garments, width)
    lacking = SLOTS - tokens.shape[1]
    # Pairs of how much is added before and after, the last dimension first: nothing to the width, then the slots.
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
            halves = number % 2 == 1  # blocks 1, 3, 5 have a stride of 2: together they make an eighth of the picture
            self.blocks.append(convolution(f"blocks.{number}", stride=2 if halves else 1))
        self.conv_out = convolution("conv_out")

    def forward(self, pose: Tensor) -> Tensor:
        """The features of pose pictures, (B, 3, H, W), 0..1, in the shape that the class names."""
        features = functional.silu(self.conv_in(pose))
        for block in self.blocks:
            features = functional.silu(block(features))
        return self.conv_out(features)
