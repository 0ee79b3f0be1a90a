"""Pictures of parts, for the eye."""

from __future__ import annotations

from torch import Tensor

from .. import previews
from .parts import Parts, caption, laid_over, resized

_SIDE = 320
"""The longer side of each, in pixels, at most."""


def sheet(shown: Parts) -> Tensor:
    """(1, H, W, 3): the parts in their own shape, with what does not count in magenta."""
    pictures = [laid_over(resized(part, *_small(part.picture))) for part in shown.parts]
    return previews.contact_sheet(pictures, [caption(n, part) for n, part in enumerate(shown.parts, 1)])


def _small(picture: Tensor) -> tuple[int, int]:
    height, width = picture.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))
