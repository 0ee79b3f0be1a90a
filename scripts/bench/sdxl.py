"""SDXL's UNet and ControlNet at real size in the host, without weights worth the name."""

from __future__ import annotations

from typing import Any

import comfy.cldm.cldm
import comfy.ops
import comfy.supported_models
import torch
from tiny_sdxl import HOST_CONFIG

from bench.measure import TINY

SIDE = 128 if TINY else 1024
SHAPE = HOST_CONFIG | (
    {
        "model_channels": 32,
        "channel_mult": [1, 2],
        "num_res_blocks": [1, 1],
        "transformer_depth": [0, 1],
        "transformer_depth_output": [0, 0, 0, 1],
        "transformer_depth_middle": 1,
    }
    if TINY
    else {
        "model_channels": 320,
        "channel_mult": [1, 2, 4],
        "transformer_depth": [0, 0, 2, 2, 10, 10],
        "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
        "transformer_depth_middle": 10,
    }
)


def networks(device: Any, dtype: Any) -> tuple[Any, Any]:
    """The host's UNet model and ControlNet network; on a real device with random weights."""
    with torch.device(device):
        unet = comfy.supported_models.SDXL({**SHAPE, "dtype": dtype}).get_model({}, device=device)
        shape = {key: value for key, value in SHAPE.items() if key not in ("out_channels", "transformer_depth_output")}
        net = comfy.cldm.cldm.ControlNet(
            **shape, num_heads=-1, num_head_channels=64, hint_channels=3, dtype=dtype, device=device,
            operations=comfy.ops.disable_weight_init,
        )  # fmt: skip
    for module in (unet, net) if str(device) != "meta" else ():
        spread(module)
    return unet, net


def spread(module: Any) -> None:
    """Weights random, always the same, with the spread that keeps activations at their size."""
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, parameter[0].numel() ** -0.5)
        else:
            parameter.data.fill_(float(name.endswith("weight")))  # of a norm
    module.eval().requires_grad_(False)


def inputs(dtype: Any, device: Any, rows: int = 2, side: int = SIDE) -> dict[str, Any]:
    """What the UNet and every ControlNet of one step with CFG are given: two rows of one picture."""
    return {
        "x": torch.randn(rows, 4, side // 8, side // 8, dtype=dtype, device=device),
        "timesteps": torch.full((rows,), 500.0, dtype=dtype, device=device),
        "y": torch.randn(rows, 2816, dtype=dtype, device=device),
    }
