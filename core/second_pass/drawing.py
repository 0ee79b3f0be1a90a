"""Who of a picture is cut out."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from ..errors import counted
from ..previews import Sheet, as_picture, color_of
from .crops import Decision


def who_is_cut_out(image: Tensor, decisions: Sequence[Decision]) -> Tensor:
    """Who of a picture is cut out: their squares and masks in their colours, with number and name; others' faces in
    thin lines.

    image: (H, W, 1|3|4) float 0..1. Returns (H, W, 3) float32 0..1.
    """
    sheet = Sheet(as_picture(image))
    for one in decisions:
        color, crop = color_of(one.candidate.number - 1), one.crop
        if crop:
            sheet.picture.paste(color, crop.square[:2], Image.fromarray((crop.mask * 90).byte().numpy()))
            sheet.frame(crop.square, color)
        if one.candidate.box:
            sheet.frame(one.candidate.box, color, None if crop else 1)
    for one in decisions:
        box = one.crop.square if one.crop else one.candidate.box
        if box:
            name = one.candidate.name if one.crop else ""
            corner = (float(box[0]), float(box[1]))
            sheet.label(str(one.candidate.number), name, corner, color_of(one.candidate.number - 1), box[2] - box[0])
    left = sum(one.crop is None for one in decisions)
    sheet.footer([f"{counted(len(decisions) - left, 'face')} cut out, {left} left as they are"])
    return sheet.tensor()
