"""The timesteps that a diffusion model is sampled at, as diffusers' schedulers take them.

Source: diffusers, set_timesteps of its schedulers (Apache-2.0); the names are those of table 2 in "Common Diffusion
Noise Schedules and Sample Steps are Flawed" (2024). Of linspace those that take whole timesteps, as the host does.
"""

from __future__ import annotations

SPACINGS = ("leading", "trailing", "linspace")
_OFFSET = 1
"""steps_offset of SD1.5 and SDXL as published: leading ends at timestep 1, not 0."""


def timesteps(steps: int, spacing: str, of: int) -> list[int]:
    """As many as `steps`, falling; of: how many the model was trained with, numbered from 0.

    leading counts up from the last one, trailing down from the first, linspace has both ends. `of` steps of leading
    begin at timestep `of`, one more than there is; more steps than `of` repeat timesteps.
    """
    if spacing == "leading":
        return [step * (of // steps) + _OFFSET for step in reversed(range(steps))]
    if spacing == "trailing":
        return [round(of - step * (of / steps)) - 1 for step in range(steps)]
    return [round(step * ((of - 1) / max(steps - 1, 1))) for step in reversed(range(steps))]
