"""The second pass's way back: sampled crops into their pictures, in the colours of what lies around them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import BadPhoto, BadSize, counted
from ..pictures import as_rgb
from .crops import Crops, resized

MATCHES = ("around the face", "face", "none")
_FEW = 16.0
"""Pixels. Fewer say nothing about colours."""
_MOST = 2.0
"""How many times a colour's contrast may be raised or lowered."""


def check(images: Tensor, crops: Crops, sampled: Tensor) -> None:
    """Raise BadPhoto or BadSize unless `sampled` (N, s, s, C) are all crops of `images` (B, H, W, C)."""
    size = (images.shape[2], images.shape[1])
    if len(images) != crops.count:
        raise BadPhoto(
            f"Paste Faces got {counted(len(images), 'picture')}, and the crops were cut out of {crops.count}.",
            "Connect the pictures that Crop Faces was given.",
        )
    if size != (crops.width, crops.height):
        raise BadSize(
            "The image given to Paste Faces",
            size,
            f"the crops were cut out of {crops.width}x{crops.height} px",
            "Connect the picture that Crop Faces was given; resize it after Paste Faces.",
        )
    if len(sampled) != len(crops.crops):
        raise BadPhoto(
            f"Paste Faces got {counted(len(sampled), 'sampled crop')}, and Crop Faces cut out {len(crops.crops)}.",
            "Connect all rows of the batch, in their order, decoded from one sampler. With Qwen-Image, sample the "
            "latents of Crop Faces: its VAE takes a batch in VAE Encode for one film.",
        )
    if sampled.shape[1] != sampled.shape[2]:
        found = (sampled.shape[2], sampled.shape[1])
        advice = "Put no node between that crops or stretches them."
        raise BadSize("The sampled crop given to Paste Faces", found, "the crops are squares", advice)


def paste(images: Tensor, crops: Crops, sampled: Tensor, match: str) -> tuple[Tensor, Tensor]:
    """The pictures with the crops in them, of their own type; and where, (B, H, W) float32 0..1.

    The larger face lies on top. Where the mask is 0 the pictures stay bit for bit; so does their alpha.
    match: one of MATCHES. Raises what `check` does.
    """
    check(images, crops, sampled)
    pasted, masks = images.clone(), torch.zeros(images.shape[:3])
    for n in order(crops):
        crop, new = crops.crops[n], as_rgb(sampled[n])
        x0, y0, x1, y1 = crop.square
        new = resized(torch.rot90(new, -crop.turns), x1 - x0).clamp(0, 1)
        new = matched(new, as_rgb(images[crop.picture, y0:y1, x0:x1]), crop.mask, match)
        _blend(pasted[crop.picture, y0:y1, x0:x1], new, crop.mask[..., None])
        part = masks[crop.picture, y0:y1, x0:x1]
        part.copy_(torch.maximum(part, crop.mask))
    return pasted, masks


def order(crops: Crops) -> list[int]:
    """Rows from the smallest face to the largest."""
    return sorted(range(len(crops.crops)), key=lambda n: crops.crops[n].face)


def _blend(under: Tensor, new: Tensor, mask: Tensor) -> None:
    """Put `new` (s, s, 3) into `under` (s, s, C), a part of a picture; mask (s, s, 1)."""
    channels = min(under.shape[-1], 3)
    colors = under[..., :channels]
    new = new.mean(-1, keepdim=True) if channels == 1 else new
    mixed = torch.lerp(colors.float().cpu(), new, mask).to(colors)
    colors.copy_(torch.where(mask.to(under.device) > 0, mixed, colors))


def matched(new: Tensor, old: Tensor, mask: Tensor, match: str) -> Tensor:
    """`new` (s, s, 3) with the mean and the contrast of `old`, channel by channel (Reinhard et al. 2001, in RGB).

    Both are measured around the mask or on it; mask: (s, s).
    """
    weight = {"around the face": 1 - mask, "face": mask}.get(match)
    if weight is None or weight.sum() < _FEW:
        return new
    (mean, spread), (wanted, wide) = _statistics(new, weight), _statistics(old, weight)
    gain = torch.where(spread > 1e-3, wide / spread.clamp(min=1e-3), torch.ones(3)).clamp(1 / _MOST, _MOST)
    return ((new - mean) * gain + wanted).clamp(0, 1)


def _statistics(picture: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, (3,) each."""
    share = (weight / weight.sum())[..., None]
    mean = (picture * share).sum((0, 1))
    return mean, ((picture - mean) ** 2 * share).sum((0, 1)).sqrt()
