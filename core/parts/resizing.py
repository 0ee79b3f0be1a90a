"""Parts and pose pictures at the size of the new picture, as the networks want to see them.

Source: Parts2Whole, parts2whole/pipelines/pipeline_refs2image.py (MIT): preprocess_image, load_mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor

from ..pictures.previews import as_tensor
from ..pictures.tensors import as_drawing
from .bank import token_mask
from .parts import BadPart, Part


@dataclass(frozen=True, eq=False)
class Prepared:
    """A part at the size of the new picture. picture: (height, width, 3), on white. mask: (height, width), 0..1."""

    picture: Tensor
    mask: Tensor


def prepare(part: Part, width: int, height: int) -> Prepared:
    """The part as Parts2Whole reads it. Raises BadPart where too little of the mask is left at this size."""
    resized_part = resized(part, width, height)
    latent_pixels = (height // 8) * (width // 8)  # the number of tokens of the finest layers
    if not token_mask(resized_part.mask, latent_pixels).any():
        why = f"its mask is empty at {width}x{height} px"
        raise BadPart(part.label, why, "Mask a larger area, or crop the picture closer to the part.")
    return resized_part


def resized(part: Part, width: int, height: int) -> Prepared:
    """A part in another size, by Pillow's bicubic, its picture on white.

    The mask is that of the part; of a part without one, it is the alpha channel, and 1 where there is none either.
    width, height: px.
    """
    original_alpha = part.alpha  # (H, W)
    if original_alpha is None:
        original_alpha = torch.ones(part.picture.shape[:2], dtype=torch.float32)
    original_rgba = torch.cat([part.picture, original_alpha[..., None]], dim=-1)  # (H, W, 4)
    rgba = _by_pillow(original_rgba, width, height)  # (height, width, 4)
    picture = rgba[..., :3]
    alpha = rgba[..., 3]
    mask = alpha if part.mask is None else _by_pillow(part.mask, width, height)
    return Prepared(picture * alpha[..., None] + (1 - alpha[..., None]), mask)


def _by_pillow(picture: Tensor, width: int, height: int, by: Image.Resampling = Image.Resampling.BICUBIC) -> Tensor:
    """A picture (H, W) or (H, W, 3|4), 0..1, in another size, as Pillow resizes it in eight bits."""
    eight_bits = Image.fromarray((picture.clamp(0, 1) * 255).round().byte().numpy())
    return as_tensor(eight_bits.resize((width, height), by))


def pose_picture(image: Tensor, width: int, height: int) -> Tensor:
    """Pose pictures (B, H, W, 1|3|4) as the pose guider reads them, (B, 3, height, width), with Pillow's Lanczos."""
    rgb = as_drawing(image)
    if rgb.shape[1:3] != (height, width):
        rgb = torch.stack([_by_pillow(picture, width, height, Image.Resampling.LANCZOS) for picture in rgb])
    return rgb.movedim(-1, 1)


def targets(parts: Sequence[Part], width: int, height: int) -> Tensor | None:
    """Where in the new picture each part may be looked at, (parts, height, width), 0..1.

    None where all parts may be looked at everywhere. width, height: of the picture, px.
    """
    if not parts:
        return None
    everywhere = torch.ones(1, 1, dtype=torch.float32)
    resized_masks: list[Tensor] = []
    for part in parts:
        mask = everywhere if part.target is None else part.target  # (h, w)
        resized_masks.append(functional.interpolate(mask[None, None], (height, width), mode="area")[0, 0])
    on_picture = torch.stack(resized_masks)  # (parts, height, width)
    return None if bool((on_picture == 1).all()) else on_picture
