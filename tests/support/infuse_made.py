"""A tiny InfuseNet, in diffusers and in the host, and its projection."""

from typing import Any

import comfy.controlnet
import comfy.latent_formats
import comfy.model_detection
import comfy.ops
import torch
from comfy.ldm.flux.controlnet import ControlNetFlux
from diffusers import FluxControlNetModel
from pack.nodes.infinite_you.net import BLOCKS
from seeded_files import resampler_shapes
from tiny import devices, tiny_dits
from tiny.seeded import fill, seeded
from torch import Tensor

MLP = {"mlp_ratio": 4.0}
"""As wide as diffusers makes it."""
DIFFUSERS = {
    "in_channels": 64, "attention_head_dim": 32, "num_attention_heads": 2, "joint_attention_dim": tiny_dits.TEXT,
    "pooled_projection_dim": tiny_dits.POOLED, "guidance_embeds": True, "axes_dims_rope": (8, 12, 12),
}  # fmt: skip


def peer() -> FluxControlNetModel:
    return fill(FluxControlNetModel(**DIFFUSERS, num_layers=BLOCKS[0], num_single_layers=BLOCKS[1]), 311)


def infuse_net(net: FluxControlNetModel | None = None, **changes: Any) -> comfy.controlnet.ControlNet:
    """As the host loads it. changes: of its network's configuration, which then has other random weights."""
    net = net or peer()
    shape = {**tiny_dits.CONFIGS[tiny_dits.FLUX][1], **MLP, "depth": len(net.transformer_blocks)}
    shape |= {"depth_single_blocks": len(net.single_transformer_blocks), **changes}
    network = ControlNetFlux(
        **{"latent_input": True, "control_latent_channels": 16, **shape}, dtype=torch.float32,
        operations=comfy.ops.disable_weight_init,
    )  # fmt: skip
    if changes:
        fill(network, 312)
    else:
        state = net.state_dict()
        converted = comfy.model_detection.convert_diffusers_mmdit(state, "")
        network.load_state_dict({**converted, **{key: state[key] for key in network.state_dict() if key in state}})
    return comfy.controlnet.ControlNet(
        network.eval().requires_grad_(False), compression_ratio=1, latent_format=comfy.latent_formats.Flux(),
        load_device=devices.DEVICE, extra_conds=["y", "guidance"],
    )  # fmt: skip


def projection_file() -> dict[str, dict[str, Tensor]]:
    """As its authors pickle it."""
    return {"image_proj": seeded(resampler_shapes(8, tiny_dits.TEXT), 313)}
