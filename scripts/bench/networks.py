"""The host's networks at any size, without weights worth the name."""

from __future__ import annotations

from typing import Any

import comfy.cldm.cldm
import comfy.ops
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL

from bench.measure import TINY

Shape = dict[str, Any]
"""What the host is told of a UNet, as `unet_config` of its families."""


def unet(family: Any, shape: Shape, device: Any, dtype: Any) -> Any:
    """The host's model of one of its families; on a real device with random weights."""
    with torch.device(device):
        return _with_weights(family({**shape, "dtype": dtype}).get_model({}, device=device), device)


def control_net(shape: Shape, device: Any, dtype: Any, **heads: int) -> Any:
    """The network of a ControlNet for a UNet of this shape; on a real device with random weights."""
    of_both = {key: value for key, value in shape.items() if key not in ("out_channels", "transformer_depth_output")}
    with torch.device(device):
        net = comfy.cldm.cldm.ControlNet(
            **of_both, **heads, hint_channels=3, dtype=dtype, device=device, operations=comfy.ops.disable_weight_init
        )
    return _with_weights(net, device)


def autoencoder() -> Any:
    """Of SD1.5 and SDXL, on torch's device as it is set, its weights as torch leaves them."""
    sizes = {
        "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 32 if TINY else 128,
        "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0,
    }  # fmt: skip
    return AutoencoderKL(ddconfig=sizes, embed_dim=4)


def _with_weights(module: Any, device: Any) -> Any:
    if str(device) != "meta":
        spread(module)
    return module


def spread(module: Any) -> None:
    """Weights random, always the same, with the spread that keeps activations at their size."""
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, parameter[0].numel() ** -0.5)
        elif parameter.dim() == 1:
            parameter.data.fill_(float(name.endswith("weight")))  # of a norm
    module.eval().requires_grad_(False)
