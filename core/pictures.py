"""IMAGE tensors as the host hands them over: (B, H, W, C), 0..1, any float type, grey, colour or with alpha."""

from __future__ import annotations

from torch import Tensor


def as_rgb(image: Tensor) -> Tensor:
    """(..., H, W, 1|3|4) of any float type -> (..., H, W, 3) float32 on the CPU; transparency is dropped."""
    image = image.float().cpu()
    return image.expand(*image.shape[:-1], 3) if image.shape[-1] == 1 else image[..., :3]
