"""How pictures of a style are read: as squares, and in the cross-attention layers that draw it, that lay out, or all.

Source: InstantStyle (arXiv 2404.02733), for SDXL infer_style.py: style in up_blocks.0.attentions.1 of diffusers, layout
in down_blocks.2.attentions.1. For SD1.5 infer_style_sd15.py ("experimental, not obvious as SDXL"): style in
up_blocks.1, layout in down_blocks.2 and mid_block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...core.attention import Block
from ...core.errors import LikenessError, listed
from ...core.pictures import as_rgb

PAD, CROP = "pad", "crop"
MEAN = (0.48145466, 0.4578275, 0.40821073)
"""The colour that CLIP is given as zero."""
STYLE, LAYOUT, ALL = "style", "layout", "all"
BOTH = f"{STYLE} and {LAYOUT}"
CHOICES = (STYLE, LAYOUT, BOTH, ALL)

Address = tuple[str, int]
"""("input" | "middle" | "output", number): a block of the UNet, as the host counts."""


def _addresses(**numbers: Sequence[int]) -> frozenset[Address]:
    return frozenset((name, number) for name, each in numbers.items() for number in each)


_SDXL = _addresses(input=(4, 5, 7, 8), output=range(6), middle=(0,))
_SD15 = _addresses(input=(1, 2, 4, 5, 7, 8), output=range(3, 12), middle=(0,))
_HEARD: Mapping[frozenset[Address], Mapping[str, frozenset[Address]]] = {
    _SDXL: {STYLE: _addresses(output=(1,)), LAYOUT: _addresses(input=(8,))},
    _SD15: {STYLE: _addresses(output=(3, 4, 5)), LAYOUT: _addresses(input=(7, 8), middle=(0,))},
}
"""By which blocks of a UNet have cross-attention at all."""


class UnknownBlocks(LikenessError):
    """A MODEL whose cross-attention lies in other blocks than SDXL's and SD1.5's: nobody knows which draw the style."""

    def __init__(self, choice: str, found: Sequence[Address]) -> None:
        blocks = listed([f"{name} {number}" for name, number in found])
        super().__init__(
            f"layers is {choice!r}, but it is unknown which layers of this MODEL do that: its cross-attention lies in "
            f"the blocks {blocks}, as in neither SDXL nor SD1.5.",
            f"Set layers to {ALL!r}, or use a MODEL with the layout of SDXL itself or of SD1.5.",
        )


def heard_in(blocks: Sequence[Block], choice: str) -> list[bool]:
    """For each cross-attention layer of a UNet whether `choice`, one of CHOICES, is heard in it. Raises UnknownBlocks.

    SDXL has 70 layers in diffusers' order: style 34 to 43, layout 14 to 23. SD1.5 has 16: 6 to 8; 4, 5 and 15.
    """
    if choice == ALL:
        return [True] * len(blocks)
    addresses = [(name, number) for name, number, _ in blocks]
    known = _HEARD.get(frozenset(addresses))
    if known is None:
        raise UnknownBlocks(choice, list(dict.fromkeys(addresses)))
    meant = {address for kind in (STYLE, LAYOUT) if kind in choice for address in known[kind]}
    return [address in meant for address in addresses]


def fitted(images: Tensor, fit: str) -> Tensor:
    """Pictures (B, H, W, C) 0..1 -> (B, H, W, 3), square with `fit` PAD: bars of the mean colour, of which CLIP sees
    nothing. With CROP as they are: CLIP vision takes the square in the middle."""
    pictures = as_rgb(images)
    high, wide = pictures.shape[1:3]
    if fit == CROP or high == wide:
        return pictures
    side = max(high, wide)
    squares = torch.tensor(MEAN).expand(len(pictures), side, side, 3).clone()
    top, left = (side - high) // 2, (side - wide) // 2
    squares[:, top : top + high, left : left + wide] = pictures
    return squares
