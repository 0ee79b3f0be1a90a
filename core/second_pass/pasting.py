"""Sampled crops back into their pictures, in the colours of what lies around them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks.errors import BadPhoto, BadSize, counted
from ..pictures.tensors import as_rgb
from .cutting import Crop, Crops, turned_upright

AROUND_THE_FACE = "around the face"
FACE = "face"
MATCHES = (AROUND_THE_FACE, FACE, "none")
"""Where the colours of a crop are measured and matched."""
_FEWEST_PIXELS = 16.0
"""Fewer say nothing about colours."""
_MOST_GAIN = 2.0
"""How many times the contrast of a channel may be raised or lowered."""
_FLAT = 1e-3
"""A channel whose standard deviation is at most this has no contrast that could be matched."""


def check(images: Tensor, crops: Crops, sampled: Tensor) -> None:
    """Raise BadPhoto or BadSize unless `images` are those that `crops` were cut out of, and `sampled` has all crops.

    images: (B, H, W, C). sampled: (N, s, s, C), one for each of the crops, square.
    """
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
            "Connect all rows of the batch, decoded from one sampler. With Qwen-Image, sample the latents of Crop "
            "Faces: its VAE takes a batch in VAE Encode for one film.",
        )
    if sampled.shape[1] != sampled.shape[2]:
        raise BadSize(
            "The sampled crop given to Paste Faces",
            (sampled.shape[2], sampled.shape[1]),
            "the crops are squares",
            "Put no node between that crops or stretches them.",
        )


@dataclass(frozen=True)
class Pasted:
    """Pictures with crops in them.

    images: (B, H, W, C) of their own type. mask: (B, H, W) float32 0..1, where crops were pasted.
    """

    images: Tensor
    mask: Tensor


def paste(images: Tensor, crops: Crops, sampled: Tensor, match: str) -> Pasted:
    """The pictures with the crops in them. Where two crops overlap, the one of the larger face lies on top.

    Where the mask of a crop is 0, the picture keeps its own pixels bit for bit, and everywhere it keeps its alpha.
    images: (B, H, W, C) with 1, 3 or 4 channels. sampled: (N, s, s, C), one per crop. match: one of MATCHES. Raises
    what `check` does.
    """
    check(images, crops, sampled)
    pasted = Pasted(images.clone(), torch.zeros(images.shape[:3], dtype=torch.float32))
    # The smallest face first, so that larger faces are pasted over smaller ones.
    pairs = sorted(zip(crops.crops, sampled, strict=True), key=lambda pair: pair[0].face_side)
    for crop, picture in pairs:
        _paste_crop(pasted, images, crop, picture, match)
    return pasted


def _paste_crop(pasted: Pasted, images: Tensor, crop: Crop, picture: Tensor, match: str) -> None:
    """Put one sampled crop into `pasted`, whose tensors are changed in place.

    images: the pictures before anything was pasted, by which colours are matched. picture: the sampled crop, (s, s, C).
    """
    x0, y0, x1, y1 = crop.square
    square = (crop.picture_index, slice(y0, y1), slice(x0, x1))
    # Turned back, and made small again, to lie as the square does: (side, side, 3).
    turned_back = turned_upright(as_rgb(picture), -crop.turns, x1 - x0)
    new_colors = match_colors(turned_back, as_rgb(images[square]), crop.mask, match)
    # Both are views: what is copied into them changes the whole.
    colors = pasted.images[square][..., :3]  # (side, side, 1|3), without alpha
    pasted_mask = pasted.mask[square]
    if colors.shape[-1] == 1:  # a picture of one channel gets the mean of the three
        new_colors = new_colors.mean(-1, keepdim=True)
    mask = crop.mask[..., None]  # (side, side, 1)
    mixed = torch.lerp(colors.float().cpu(), new_colors, mask).to(colors)
    # Not lerp alone: float16 and float64 would lose digits on the way where nothing is pasted.
    colors.copy_(torch.where(mask.to(colors.device) > 0, mixed, colors))
    # Towards 1 by the mask, as white would be pasted: where crops overlap, both count.
    pasted_mask.lerp_(pasted_mask.new_ones(()), crop.mask)


@dataclass(frozen=True)
class _ColorStatistics:
    """Mean and standard deviation per channel, (3,) each."""

    mean: Tensor
    deviation: Tensor


def match_colors(picture: Tensor, original: Tensor, mask: Tensor, match: str) -> Tensor:
    """A picture with the mean and the contrast of another, channel by channel (Reinhard et al. 2001, in RGB).

    picture: gets mean and contrast of original. (s, s, 3) each. mask: (s, s), of the face.
    match: one of MATCHES. Both pictures are measured around the mask or on it.
    Returns (s, s, 3) 0..1. That is the picture itself for "none", and where there is too little to measure.
    """
    if match == AROUND_THE_FACE:
        weight = 1 - mask
    elif match == FACE:
        weight = mask
    else:
        return picture
    if weight.sum() < _FEWEST_PIXELS:
        return picture
    current = _color_statistics(picture, weight)
    wanted = _color_statistics(original, weight)
    gain = (wanted.deviation / current.deviation).clamp(1 / _MOST_GAIN, _MOST_GAIN)  # (3,)
    gain[current.deviation <= _FLAT] = 1  # a flat channel has no contrast to match
    return ((picture - current.mean) * gain + wanted.mean).clamp(0, 1)


def _color_statistics(picture: Tensor, weight: Tensor) -> _ColorStatistics:
    """Mean and standard deviation of each channel of a picture.

    picture: (s, s, 3). weight: (s, s), how much each pixel counts.
    """
    share = (weight / weight.sum())[..., None]  # (s, s, 1)
    mean = (picture * share).sum((0, 1))
    variance = ((picture - mean) ** 2 * share).sum((0, 1))
    return _ColorStatistics(mean, variance.sqrt())
