"""Where people stand in the cases, and what garments cover of their pictures."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional


def side_by_side(people: int, height: int, width: int) -> Any:
    """Regions (people, height, width) with a hard edge between them."""
    found = torch.zeros(people, height, width)
    for who, columns in enumerate(torch.arange(width).chunk(people)):
        found[who, :, columns] = 1
    return found


def garments(count: int, height: int, width: int) -> list[Any]:
    """(height, width) each: they cover a fifth of their pictures, in boxes around them that are a quarter."""
    high, wide = height // 2, width // 2
    y, x = torch.meshgrid(torch.linspace(-1, 1, high), torch.linspace(-1, 1, wide), indexing="ij")
    mask = functional.pad((y**2 + x**2 < 1).float(), (0, width - wide, 0, height - high))
    return [mask.roll((height // 4, width // 4), (0, 1))] * count
