"""One tiny SD1.5-shaped UNet with the same weights twice: in diffusers and in the host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.model_patcher
import comfy.supported_models
import comfy.utils
from safetensors import safe_open
from tiny import devices
from tiny.seeded import fill
from tiny.tiny_networks import NETWORKS

if TYPE_CHECKING:  # imported where it is used: it takes long, and many tests do without
    from diffusers import UNet2DConditionModel

GOLDEN = Path(__file__).parents[1] / "golden" / "parts2whole.safetensors"
HOST_CONFIG = NETWORKS["SD1.5"]


def diffusers_unet(seed: int, **changes: Any) -> UNet2DConditionModel:
    from diffusers import UNet2DConditionModel

    with safe_open(GOLDEN, "pt") as golden:
        config = json.loads(golden.metadata()["config"])
    return fill(UNet2DConditionModel(**{**config, **changes}), seed)


def host_model(unet: UNet2DConditionModel) -> comfy.model_patcher.ModelPatcher:
    shape = dict(HOST_CONFIG, context_dim=unet.config.cross_attention_dim)
    config = comfy.supported_models.SD15(dict(shape, dtype=unet.dtype))
    # The golden networks have 4 heads everywhere, where SD1.5 has 8.
    config.unet_config |= {"num_heads": 4, "num_head_channels": -1}
    model = config.get_model({})
    names = comfy.utils.unet_to_diffusers(HOST_CONFIG)
    model.diffusion_model.load_state_dict({names[k]: v for k, v in unet.state_dict().items()}, strict=True)
    return comfy.model_patcher.ModelPatcher(model, load_device=devices.DEVICE, offload_device=devices.CPU)


def diffusers_name(block: tuple[str, int, int]) -> str:
    """The diffusers module of one of the host's transformer blocks, for three blocks per level as in SD1.5."""
    name, number, index = block
    if name == "middle":
        return f"mid_block.attentions.0.transformer_blocks.{index}"
    level, position = divmod(number, 3)
    if name == "input":
        return f"down_blocks.{level}.attentions.{position - 1}.transformer_blocks.{index}"
    return f"up_blocks.{level}.attentions.{position}.transformer_blocks.{index}"
