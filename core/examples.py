"""The drawn people and clothes in pictures/, known again as Load Image gives them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .errors import gathered

_MARK = torch.tensor([byte >> bit & 1 for byte in b"Likeness" for bit in range(8)])[:, None].expand(-1, 3)
"""The lowest bits of the first pixels of the first row, alike in all three colours: not seen, and gone once the picture
is changed."""


def marked(pixels: Tensor) -> Tensor:
    """The picture, (H, W, 3 or 4) uint8, with the mark of an example."""
    made = pixels.clone()
    made[0, : len(_MARK), :3] = made[0, : len(_MARK), :3] // 2 * 2 + _MARK
    return made


def is_example(picture: Tensor) -> bool:
    """Whether a picture of an IMAGE, (H, W, C) float 0..1, is one of the pack's, as it was."""
    return torch.equal((picture[0, : len(_MARK), :3].float().cpu() * 255).round().long() % 2, _MARK)


def reminder(shown: Iterable[tuple[str, Tensor]]) -> list[str]:
    """What to say of those, by name, whose picture, (H, W, C), is an example; nothing where none is."""
    names = [name for name, picture in shown if is_example(picture)]
    return gathered("Still drawn examples", names, ": choose pictures of your own in Load Image")
