"""The preview of parts: each in its own shape, with what does not count in dim magenta."""

import torch
from torch import Tensor

from ..pictures.previews import contact_sheet
from .parts import Part, Parts, share_of
from .resizing import resized

_SIDE = 320  # the longer side of each, in pixels, at most
_DIM, _TINT = 0.25, 0.35  # how much is seen of what does not count, and of the magenta over it
_MAGENTA = (1.0, 0.0, 1.0)


def sheet(parts: Parts) -> Tensor:
    """The preview of all parts with their captions: (1, H, W, 3) float32 0..1."""
    magenta = torch.tensor(_MAGENTA, dtype=torch.float32)
    pictures: list[Tensor] = []
    for part in parts.parts:
        scale = min(1.0, _SIDE / max(part.picture.shape[:2]))
        height, width = (max(1, round(side * scale)) for side in part.picture.shape[:2])
        resized_part = resized(part, width, height)
        tinted = _DIM * resized_part.picture + _TINT * magenta  # (height, width, 3), shown where the mask is 0
        pictures.append(torch.lerp(tinted, resized_part.picture, resized_part.mask[..., None]))
    captions = [caption(number, part) for number, part in enumerate(parts.parts, 1)]
    return contact_sheet(pictures, captions)


def caption(number: int, part: Part) -> str:
    """The caption of a part in the sheet, such as "2 shoes 1.5, 2 masks 12%"."""
    text = f"{number} {part.label}"
    if part.weight != 1:
        text += f" {part.weight:g}"
    if part.mask is not None and part.pieces > 1:
        text += f", {part.pieces} masks {share_of(part.mask):.0%}"
    return text
