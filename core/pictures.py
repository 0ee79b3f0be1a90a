"""IMAGE and MASK tensors as the host hands them over.

IMAGE: (B, H, W, C), 0..1, any float type, grey, colour or with alpha. MASK: (B, H, W), or (H, W) from older nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from .errors import BadSize
from .geometry import Rect, patch_rect
from .people import Point

SHORTER_SIDE, LONGER_SIDE, MULTIPLE_OF = 1024, 1280, 64
"""Of a photo, in pixels: what the authors' infer.py makes of it before it looks for the face."""


def as_rgb(image: Tensor) -> Tensor:
    """(..., H, W, 1|3|4) of any float type -> (..., H, W, 3) float32 on the CPU; transparency is dropped."""
    image = image.float().cpu()
    return image.expand(*image.shape[:-1], 3) if image.shape[-1] == 1 else image[..., :3]


def as_masks(masks: Tensor) -> Tensor:
    """A MASK of any type -> (B, H, W) float32 0..1 on the CPU; NaN counts as nothing."""
    batch = masks[None] if masks.ndim == 2 else masks.flatten(0, -3)
    return batch.float().nan_to_num().clamp(0, 1).cpu()


def resized_photo(image: Tensor, longer_side: int, multiple_of: int) -> Tensor:
    """(B, H, W, C) 0..1 -> (B, h, w, 3) as resize_img of the authors' infer.py: its longer side, floored to multiples.

    Bilinear with Pillow's filter, twice as there: to the side, then to the multiples. Raises BadSize for a strip.
    """
    size = (image.shape[2], image.shape[1])
    scaled = _scaled(size, longer_side)
    fitted = tuple(side // multiple_of * multiple_of for side in scaled)
    if not all(fitted):
        raise BadSize(
            "The photo", size,
            f"{scaled[0]}x{scaled[1]} px is what its sides become, and both must reach {multiple_of} px",
            "Cut the photo to a shape nearer to a square.",
        )  # fmt: skip
    pixels = as_rgb(image).movedim(-1, 1)
    for wide, high in (scaled, fitted):
        pixels = functional.interpolate(pixels, (high, wide), mode="bilinear", antialias=True)
    return pixels.movedim(1, -1)


def _scaled(size: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """Rounded twice, as there: the shorter side is brought to SHORTER_SIDE first, and the longer has the last word."""
    rounded = [round(SHORTER_SIDE / min(size) * side) for side in size]
    width, height = (round(longer_side / max(rounded) * side) for side in rounded)
    return width, height


def on_canvas(rect: Rect, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a rectangle that are on the canvas."""
    x0, y0, x1, y1 = rect
    return slice(max(y0, 0), min(y1, height)), slice(max(x0, 0), min(x1, width))


def with_patches(control: Tensor, patches: Sequence[Tensor], centers: Sequence[Point]) -> Tensor:
    """Add each (3, PATCH, PATCH) patch to a picture, `control`, around its centre; never clamped.

    control: (B, H, W, 3) float32, 0..1. centers: (x, y) px, float32 precision.
    Patches that cross the border are cut, patches that overlap add up. Returns (B, H, W, 3) float32, signed.
    """
    control = control.float()
    canvas = torch.zeros(control.shape[1:])  # H W 3
    height, width = canvas.shape[:2]
    touched: list[tuple[slice, slice]] = []
    for patch, center in zip(patches, centers, strict=True):
        x0, y0, _, _ = rect = patch_rect(center)
        rows, columns = on_canvas(rect, height, width)
        touched.append((rows, columns))
        seen = patch[:, rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
        canvas[rows, columns] += seen.permute(1, 2, 0)
    image = control.clone()
    # Only where a patch lies, from the untouched control: the same sum as control + canvas, in a fraction of the time.
    for rows, columns in touched:
        image[:, rows, columns] = control[:, rows, columns] + canvas[rows, columns]
    return image
