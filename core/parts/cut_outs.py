"""Cut-outs of parts and of their places in a picture, on white, to be compared by how they look."""

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..pictures.geometry import bounds
from .parts import Part
from .resizing import resized, targets


def cut_out_of_part(part: Part) -> Tensor:
    """The part itself on white, as a square picture: (side, side, 3)."""
    return _square(piece_of_part(part))


def cut_out_of_target(part: Part, picture: Tensor) -> Tensor:
    """The piece of a picture (H, W, 3) in which the part may be looked at, on white, as a square: (side, side, 3).

    That is where the part's target is; for a part without a target, it is the whole picture.
    """
    height, width = picture.shape[:2]
    target = targets((part,), width, height)  # (1, height, width); None where everywhere is allowed
    mask = torch.ones(height, width, dtype=torch.float32) if target is None else target[0]
    return _square(_piece(picture, mask))


def piece_of_part(part: Part) -> Tensor:
    """The part itself on white: (h, w, 3)."""
    height, width = part.picture.shape[:2]
    resized_part = resized(part, width, height)
    return _piece(resized_part.picture, resized_part.mask)


def _square(on_white: Tensor) -> Tensor:
    """A piece (h, w, 3) in the middle of a white square that is no larger than it needs to be: (side, side, 3)."""
    height, width = on_white.shape[:2]
    side = max(height, width)
    above = (side - height) // 2
    beside = (side - width) // 2
    # Before and after, from the last dimension to the first: channels, columns, rows.
    padding = (0, 0, beside, side - width - beside, above, side - height - above)
    return functional.pad(on_white, padding, value=1.0)


def _piece(picture: Tensor, mask: Tensor) -> Tensor:
    """The masked piece of a picture (H, W, 3) on white, (h, w, 3).

    It is cut to where the mask is above 0.5, or above 0 where it is so faint everywhere. mask: (H, W).
    """
    # `resized` has rounded the mask to eight bits, which makes a very faint one 0: then the whole picture counts.
    if not (mask > 0).any():
        mask = torch.ones_like(mask)
    threshold = 0.5 if (mask > 0.5).any() else 0.0
    left, top, right, below = bounds(mask > threshold)
    piece = slice(top, below), slice(left, right)
    opacity = mask[piece][..., None]  # (h, w, 1)
    return picture[piece] * opacity + (1 - opacity)
