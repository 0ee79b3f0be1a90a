"""IMAGE and MASK tensors as the host hands them over.

IMAGE: (B, H, W, C), 0..1, any float type, grey, colour or with alpha. MASK: (B, H, W), or (H, W) from older nodes.
"""

from __future__ import annotations

from torch import Tensor


def as_rgb(image: Tensor) -> Tensor:
    """(..., H, W, 1|3|4) of any float type -> (..., H, W, 3) float32 on the CPU; transparency is dropped."""
    image = image.float().cpu()
    return image.expand(*image.shape[:-1], 3) if image.shape[-1] == 1 else image[..., :3]


def as_masks(masks: Tensor) -> Tensor:
    """A MASK of any type -> (B, H, W) float32 0..1 on the CPU; NaN counts as nothing."""
    batch = masks[None] if masks.ndim == 2 else masks.flatten(0, -3)
    return batch.float().nan_to_num().clamp(0, 1).cpu()
