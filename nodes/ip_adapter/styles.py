"""In which cross-attention layers a picture is heard: those that draw the style, those that lay out, or all.

Source: InstantStyle (arXiv 2404.02733), for SDXL infer_style.py: style in up_blocks.0.attentions.1 of diffusers, layout
in down_blocks.2.attentions.1. For SD1.5 infer_style_sd15.py ("experimental, not obvious as SDXL"): style in
up_blocks.1, layout in down_blocks.2 and mid_block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core.attention import Block
from ...core.errors import LikenessError, listed

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
            f"layers is {choice!r}, but nobody knows which layers of this MODEL do that: its cross-attention lies in "
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
