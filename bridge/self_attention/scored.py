"""Torch's fused attention that also returns its log-sum-exp: what it makes of a sink needs no mask."""

from __future__ import annotations

import math

import comfy.ldm.modules.attention
import torch
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor

from ...core.parts.attention import Scored
from ..unet import Options

FASTER = ("cuda",)
"""Types of devices where that is used. On CUDA a mask keeps torch from its flash kernel, which the host asks first of
all. On a CPU one kernel does both, and the mask costs nothing: without it a layer took 0.98 to 1.01 of the time."""

_KERNELS = {
    "cpu": "_scaled_dot_product_flash_attention_for_cpu",
    "cuda": "_scaled_dot_product_flash_attention",
}
"""By the type of a device, in torch.ops.aten."""


def without_mask(like: Tensor, head: int) -> Scored | None:
    """The kernel that serves instead of a mask for tensors as `like` and heads of this width."""
    return scored(like, head) if like.device.type in FASTER else None


def scored(like: Tensor, head: int) -> Scored | None:
    """Torch's own for these, or None.

    Which card, dtype and build has one, and that its logarithm is the natural one, it is asked itself: of 8 keys 0.
    """
    kernel = getattr(torch.ops.aten, _KERNELS.get(like.device.type, ""), None)
    if kernel is None or head % 8:
        return None
    zeros = like.new_zeros(1, 1, 8, head)
    try:
        lse = kernel(zeros, zeros, zeros)[1]
    except RuntimeError:
        return None
    known = lse.shape == zeros.shape[:3] and bool(((lse - math.log(8)).abs() < 1e-3).all())
    return kernel if known else None


def is_chosen(extra_options: Options) -> bool:
    """Whether torch's fused attention is what the user has chosen for this layer."""
    chosen = comfy.ldm.modules.attention.optimized_attention
    return chosen is attention_pytorch and extra_options.get("optimized_attention_override") is None
