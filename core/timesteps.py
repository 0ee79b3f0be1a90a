"""The timesteps that a diffusion model is sampled at, as diffusers' schedulers take them.

Source: diffusers, set_timesteps of its schedulers (Apache-2.0); the names are those of table 2 in "Common Diffusion
Noise Schedules and Sample Steps are Flawed" (2024).
"""

from __future__ import annotations

import torch
from torch import Tensor

SPACINGS = ("leading", "trailing", "linspace")
_OFFSET = 1
"""steps_offset of SD1.5 and SDXL as published: leading ends at timestep 1, not 0."""


def timesteps(steps: int, spacing: str, of: int) -> Tensor:
    """(steps,) float64 whole numbers, falling; of: how many the model was trained with, numbered from 0.

    leading counts up from the last one, trailing down from the first, linspace has both ends. `of` steps of leading
    begin at timestep `of`, one more than there is; more steps than `of` repeat timesteps.
    """
    if spacing == "leading":
        return torch.arange(steps, dtype=torch.float64).flip(0) * (of // steps) + _OFFSET
    if spacing == "trailing":
        return (of - torch.arange(steps, dtype=torch.float64) * (of / steps)).round() - 1
    return torch.linspace(0, of - 1, steps, dtype=torch.float64).round().flip(0)
