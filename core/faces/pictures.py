"""IMAGE tensors to what the face networks read, and back."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..pictures import as_rgb

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) BGR, as OpenCV and insightface read pictures."""

_PLACEHOLDER = 0x34580348


def to_picture(image: Tensor) -> Picture:
    """One picture of an IMAGE, (H, W, 1, 3 or 4) float of any precision, 0..1, to 8-bit BGR.

    Transparent pixels become white, as viewers show them: their hidden colour is anything.
    """
    pixels = image.detach().float().cpu()
    if pixels.shape[-1] == 4:
        alpha = pixels[..., 3:]
        pixels = pixels[..., :3] * alpha + (1 - alpha)
    return np.ascontiguousarray((as_rgb(pixels) * 255).round().clamp(0, 255).to(torch.uint8).numpy()[..., ::-1])


def is_placeholder(picture: Picture) -> bool:
    """Whether this is example.png, the drawing that comes with ComfyUI: a new Load Image shows it."""
    return zlib.crc32(picture.tobytes()) == _PLACEHOLDER


def to_image(picture: Picture) -> Tensor:
    """8-bit BGR to (H, W, 3) float32 RGB 0..1."""
    # In numpy: for so few pixels waking torch's threads costs more than the recogniser does.
    return torch.from_numpy(picture[..., ::-1].astype(np.float32) / np.float32(255))  # pyright: ignore[reportUnknownMemberType]
