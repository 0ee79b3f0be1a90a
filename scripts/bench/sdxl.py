"""SDXL's UNet and ControlNet at real size in the host, and what they are given."""

from __future__ import annotations

from typing import Any

import comfy.supported_models
import torch
from tiny_sdxl import HOST_CONFIG

from bench import networks
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


def unet(device: Any, dtype: Any, shape: networks.Shape = SHAPE) -> Any:
    return networks.unet(comfy.supported_models.SDXL, shape, device, dtype)


def control_net(device: Any, dtype: Any, shape: networks.Shape = SHAPE) -> Any:
    return networks.control_net(shape, device, dtype, num_heads=-1, num_head_channels=64)


def inputs(dtype: Any, device: Any, rows: int = 2, side: int = SIDE) -> dict[str, Any]:
    """What the UNet and every ControlNet of one step with CFG are given: two rows of one picture."""
    return {
        "x": torch.randn(rows, 4, side // 8, side // 8, dtype=dtype, device=device),
        "timesteps": torch.full((rows,), 500.0, dtype=dtype, device=device),
        "y": torch.randn(rows, 2816, dtype=dtype, device=device),
    }
