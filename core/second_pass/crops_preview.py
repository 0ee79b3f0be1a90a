"""A picture with the squares, masks and names of the people who are cut out of it."""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from ..checks.errors import counted
from ..pictures.previews import Sheet, as_picture, color_of
from .cutting import Decision

_VEIL = 90
"""How much of a mask's colour lies on the picture, of 255."""


def draw_crops(image: Tensor, decisions: Sequence[Decision]) -> Tensor:
    """Each square and mask in the colour of its person, with number and name; faces that are not cut out in thin lines.

    image: (H, W, 1|3|4) float 0..1. Returns (H, W, 3) float32 0..1.
    """
    sheet = Sheet(as_picture(image))
    for decision in decisions:
        _draw_frames(sheet, decision)
    # All labels after all frames, so that they lie on top: no frame crosses a name.
    for decision in decisions:
        _draw_label(sheet, decision)
    cut_out = sum(decision.crop is not None for decision in decisions)
    sheet.footer([f"{counted(cut_out, 'face')} cut out, {len(decisions) - cut_out} left as they are"])
    return sheet.tensor()


def _draw_frames(sheet: Sheet, decision: Decision) -> None:
    """Draw a frame around the square of a crop, its mask, and a frame around the face."""
    color = color_of(decision.candidate.number - 1)
    crop = decision.crop
    if crop:
        veil = Image.fromarray((crop.mask * _VEIL).byte().numpy())
        sheet.picture.paste(color, crop.square[:2], veil)
        sheet.frame(crop.square, color)
    if decision.candidate.box:
        sheet.frame(decision.candidate.box, color, line=None if crop else 1)


def _draw_label(sheet: Sheet, decision: Decision) -> None:
    """Number and name at the square, the number alone at a face that is not cut out."""
    candidate = decision.candidate
    box = decision.crop.square if decision.crop else candidate.box
    if not box:
        return
    left, top, right, _ = box
    name = candidate.name if decision.crop else ""
    sheet.label(str(candidate.number), name, (left, top), color_of(candidate.number - 1), width=right - left)
