"""The noise levels at which a MODEL is sampled, by timesteps of its own schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.errors import LikenessError, WrongBaseModel
from ..core.timesteps import timesteps

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


class TooManySteps(LikenessError):
    """More steps than a MODEL has noise levels for."""

    def __init__(self, steps: int, spacing: str, levels: int) -> None:
        super().__init__(
            f"{steps} steps by {spacing} are too many for this MODEL's {levels} noise levels: two would be the same.",
            "Set fewer steps.",
        )


def sigmas(model: ModelPatcher, steps: int, spacing: str) -> Tensor:
    """(steps + 1,) float32, falling, the last one 0. spacing: one of core.timesteps.SPACINGS.

    Raises WrongBaseModel for a MODEL without numbered timesteps, TooManySteps.
    """
    sampling = model.get_model_object("model_sampling")
    of = _trained_with(sampling)
    levels = sampling.sigma(torch.tensor(timesteps(steps, spacing, of))).float().cpu()
    if (levels.diff() >= 0).any():
        raise TooManySteps(steps, spacing, len(sampling.sigmas))
    return torch.cat([levels, levels.new_zeros(1)])


def _trained_with(sampling: Any) -> int:
    """How many timesteps a model was trained with; other nodes may have put another sampling into it."""
    count = getattr(sampling, "num_timesteps", 0)
    # The others number theirs by fractions or by the noise itself, though some have that attribute as well.
    if int(sampling.timestep(sampling.sigma_max)) + 1 != count:
        kinds = " and ".join(kind.__name__ for kind in type(sampling).__bases__)
        raise WrongBaseModel(
            "The MODEL",
            f"sampling without numbered timesteps ({kinds})",
            "a model that has a list of them, SD1.5 or SDXL,",
            "Use BasicScheduler for this MODEL, with the scheduler that its makers name.",
        )
    return count
