"""SD1.5's UNet and ControlNet at real size in the host."""

from __future__ import annotations

from typing import Any

import comfy.supported_models
from tiny_sd15 import HOST_CONFIG

from bench import networks
from bench.measure import TINY

SHAPE = HOST_CONFIG | {"model_channels": 32 if TINY else 320, "channel_mult": [1, 2, 4, 4], "context_dim": 768}


def unet(device: Any, dtype: Any, shape: networks.Shape = SHAPE) -> Any:
    return networks.unet(comfy.supported_models.SD15, shape, device, dtype)


def control_net(device: Any, dtype: Any, shape: networks.Shape = SHAPE) -> Any:
    return networks.control_net(shape, device, dtype, num_heads=8)
