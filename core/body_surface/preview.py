"""What is seen in the nodes: surfaces over their photos, masks in colour."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from ..errors import BadSize, counted
from ..geometry import Fit
from ..pictures import as_rgb
from ..previews import as_picture, color_of


def over(surfaces: Tensor, photos: Tensor, fit: str) -> Tensor:
    """Surfaces (B, H, W, 3) over the photos (B, h, w, C) they were found in, on the same canvas, (B, H, W, 3)."""
    size = surfaces.shape[2], surfaces.shape[1]
    below = torch.stack([_placed(photo, size, fit) for photo in photos])
    body = (surfaces[..., 2:] > 0).float()
    return below * (1 - 0.7 * body) + surfaces * (0.7 * body)


def masked(masks: Tensor, images: Tensor) -> Tensor:
    """Masks (N, H, W) in the colours of people over pictures (B, h, w, C), row n over picture n or the only one; all
    of one picture together. Returns (B, H, W, 3). Raises BadSize for several pictures that are not as many as masks."""
    size = masks.shape[2], masks.shape[1]
    if len(images) not in (1, len(masks)):
        raise BadSize(
            "image", (images.shape[2], images.shape[1]),
            f"it has {counted(len(images), 'picture')} and there {'is' if len(masks) == 1 else 'are'} "
            f"{counted(len(masks), 'mask')}",
            "Connect the photo that surface was made from, or none.",
        )  # fmt: skip
    shown = torch.stack([_placed(image, size, "stretch") for image in images]) * 0.6
    for number, mask in enumerate(masks):
        row, color = number if len(shown) > 1 else 0, torch.tensor(color_of(number)) / 255
        share = 0.65 * mask[..., None]
        shown[row] = shown[row] * (1 - share) + color * share
    return shown


def _placed(photo: Tensor, size: tuple[int, int], fit: str) -> Tensor:
    """A photo (h, w, C) on a canvas (width, height), black beside it."""
    picture = as_picture(photo)
    onto = Fit.into(picture.size, size, fit)
    # The canvas is cut out of the photo, so that nothing larger than it is made.
    box = (-onto.shift_x / onto.scale_x, -onto.shift_y / onto.scale_y)
    data = (1 / onto.scale_x, 0, box[0], 0, 1 / onto.scale_y, box[1])
    placed = picture.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return as_rgb(torch.frombuffer(bytearray(placed.tobytes()), dtype=torch.uint8).reshape(size[1], size[0], 3) / 255)
