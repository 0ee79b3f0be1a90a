"""One tiny SDXL-shaped UNet and ControlNet with the same weights twice: in diffusers and in the host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sample
import comfy.samplers
import comfy.supported_models
import comfy.utils
import torch
from safetensors import safe_open
from tiny import devices, tiny_networks
from tiny.seeded import fill
from tiny.tiny_networks import NETWORKS
from torch import Tensor

if TYPE_CHECKING:  # imported where it is used: it takes long, and many tests do without
    from diffusers import ControlNetModel, UNet2DConditionModel

GOLDEN = Path(__file__).parents[1] / "golden" / "id_patch_sampling.safetensors"

GOLDEN_CONFIG = NETWORKS["SDXL"]
GOLDEN_CHANGES = {
    "block_out_channels": [64, 128, 128], "attention_head_dim": [1, 2, 2], "transformer_layers_per_block": [1, 1, 2]
}  # fmt: skip
# Narrower, and with one transformer in every block: a step takes half as long.
HOST_CONFIG = {
    **GOLDEN_CONFIG, "model_channels": 32, "channel_mult": [1, 2, 4], "transformer_depth": [0, 0, 1, 1, 1, 1],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1], "transformer_depth_middle": 1,
}  # fmt: skip
CHANGES = {
    "block_out_channels": [32, 64, 128], "attention_head_dim": [1, 1, 2], "transformer_layers_per_block": [1, 1, 1]
}  # fmt: skip
# As SSD-1B differs from SDXL: other depths in every up block, no attention in the middle.
SSD_CONFIG = {**HOST_CONFIG, "transformer_depth_output": [0, 0, 0, 1, 1, 2, 3, 2, 2], "transformer_depth_middle": -1}
SSD_CHANGES = {"reverse_transformer_layers_per_block": [[2, 2, 3], [2, 1, 1], 1], "mid_block_type": "UNetMidBlock2D"}


def seeded_model(dtype: torch.dtype = torch.float32) -> comfy.model_patcher.ModelPatcher:
    """The host's alone: what tests do without diffusers, which takes seconds to import."""
    return tiny_networks.seeded_model("SDXL", HOST_CONFIG, 151, dtype)


def diffusers_unet(seed: int = 151, **changes: Any) -> UNet2DConditionModel:
    """changes: to the configuration of CHANGES; GOLDEN_CHANGES give that of the golden files."""
    from diffusers import UNet2DConditionModel

    with safe_open(GOLDEN, "pt") as golden:
        config = json.loads(golden.metadata()["unet"])
    return fill(UNet2DConditionModel(**{**config, **CHANGES, **changes}), seed)


def diffusers_control_net(unet: UNet2DConditionModel, seed: int = 152) -> ControlNetModel:
    from diffusers import ControlNetModel

    return fill(ControlNetModel.from_unet(unet, load_weights_from_unet=False), seed)


def host_model(unet: UNet2DConditionModel, shape: dict[str, Any] = HOST_CONFIG) -> comfy.model_patcher.ModelPatcher:
    """In the dtype of `unet`."""
    config = comfy.supported_models.SDXL(dict(shape, dtype=unet.dtype))
    model = config.get_model({})
    names = comfy.utils.unet_to_diffusers(shape)
    state = {names[key]: value for key, value in unet.state_dict().items()}
    model.diffusion_model.load_state_dict(state, strict=True)
    return comfy.model_patcher.ModelPatcher(model, load_device=devices.DEVICE, offload_device=devices.CPU)


def host_control_net(net: ControlNetModel, shape: dict[str, Any] = HOST_CONFIG) -> comfy.controlnet.ControlNet:
    config = {key: value for key, value in shape.items() if key not in ("out_channels", "transformer_depth_output")}
    model = comfy.cldm.cldm.ControlNet(
        **config, num_heads=-1, num_head_channels=64, hint_channels=3, dtype=net.dtype,
        operations=comfy.ops.disable_weight_init,
    )  # fmt: skip
    names = comfy.utils.unet_to_diffusers(shape)
    state = {_control_name(key, names): value for key, value in net.state_dict().items()}
    model.load_state_dict(state, strict=True)
    return comfy.controlnet.ControlNet(model.eval(), load_device=devices.DEVICE)


def _control_name(key: str, names: dict[str, str]) -> str:
    """A diffusers ControlNet key in the host's (cldm) naming."""
    part, _, name_in_part = key.partition(".")
    if part == "controlnet_mid_block":
        return f"middle_block_out.0.{name_in_part}"
    if part == "controlnet_down_blocks":
        number, suffix = name_in_part.split(".")
        return f"zero_convs.{number}.0.{suffix}"
    if part == "controlnet_cond_embedding":
        *path, suffix = name_in_part.split(".")
        position = {"conv_in": 0, "conv_out": 14}.get(path[0]) if len(path) == 1 else 2 * (int(path[1]) + 1)
        return f"input_hint_block.{position}.{suffix}"
    return names[key]


def conditioning(text: Tensor, pooled: Tensor):
    """Row 0 is the negative."""
    return [[text[1:2], {"pooled_output": pooled[1:2]}]], [[text[:1], {"pooled_output": pooled[:1]}]]


def diffusers_sample(unet, x, sigmas, timesteps, contexts, pooled, time_ids, cfg, control=None, masks=None, **more):
    """Plain Euler in diffusers' own modules.

    contexts(i) -> (2, tokens, 2048), row 0 unconditional. pooled: (2, 1280), or the same of a step. control(i) -> None
    or (net, hint BCHW, strength, context or None for the UNet's). masks: of its IP-Adapters. more: further
    added_cond_kwargs, such as image_embeds. x may be a batch. Networks may compute in half precision; x stays in
    float32.
    """
    batch = len(x)
    dtype = unet.dtype

    def rows(two):
        return two.repeat_interleave(batch, dim=0).to(dtype)

    for i, timestep in enumerate(timesteps):
        vector = pooled(i) if callable(pooled) else pooled
        added = {"text_embeds": rows(vector), "time_ids": time_ids.expand(2 * batch, -1), **more}
        scaled = (x / (sigmas[i] ** 2 + 1).sqrt()).repeat(2, 1, 1, 1).to(dtype)
        text = rows(contexts(i))
        residuals = {}
        if control is not None and (net_and_inputs := control(i)) is not None:
            net, hint, strength, context = net_and_inputs
            down, mid = net(
                scaled, timestep, controlnet_cond=hint.to(dtype).expand(2 * batch, -1, -1, -1), return_dict=False,
                conditioning_scale=strength, encoder_hidden_states=text if context is None else rows(context),
                added_cond_kwargs={key: added[key] for key in ("text_embeds", "time_ids")},
            )  # fmt: skip
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
        (out,) = unet(
            scaled, timestep, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False, **residuals,
            cross_attention_kwargs=None if masks is None else {"ip_adapter_masks": masks},
        )  # fmt: skip
        uncond, cond = out.float().chunk(2)
        x = x + (uncond + cfg * (cond - uncond)) * (sigmas[i + 1] - sigmas[i])
    return x
