"""What counts of a part, and the region of a picture that is to show it, cut out alike to be compared."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..geometry import bounds
from .parts import Part, resized, targets


def worn(part: Part) -> Tensor:
    """The part itself, as `cut` leaves it."""
    high, wide = part.picture.shape[:2]
    ready = resized(part, wide, high)
    return cut(ready.picture, ready.mask)


def region(part: Part, picture: Tensor) -> Tensor:
    """The part's place in a picture (H, W, 3) by its target, the whole of it without one, as `cut` leaves it."""
    high, wide = picture.shape[:2]
    target = targets((part,), wide, high)
    return cut(picture, torch.ones(high, wide) if target is None else target[0])


def cut(picture: Tensor, mask: Tensor) -> Tensor:
    """What a mask (H, W) keeps of a picture (H, W, 3): no larger than it needs to be, square, everything else white."""
    if not (mask > 0).any():  # so faint that eight bits have lost it
        mask = torch.ones_like(mask)
    inside = mask > 0.5 if (mask > 0.5).any() else mask > 0
    left, top, right, below = bounds(inside)
    window = slice(top, below), slice(left, right)
    kept, share = picture[window], mask[window][..., None]
    kept = kept * share + (1 - share)
    high, wide = kept.shape[:2]
    side = max(high, wide)
    top, left = (side - high) // 2, (side - wide) // 2
    return functional.pad(kept, (0, 0, left, side - wide - left, top, side - high - top), value=1.0)
