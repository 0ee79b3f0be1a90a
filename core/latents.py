"""Rows of a LATENT, chosen as the host's own Latent From Batch does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


def rows(latent: Mapping[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    """These rows, in this order, with their masks and their places in the noise; whatever else it holds stays."""
    samples, which = latent["samples"], list(numbers)
    count = len(samples)
    chosen = {**latent, "samples": samples[which]}
    mask = latent.get("noise_mask")
    if mask is not None and len(mask) > 1:
        repeated = mask.repeat(math.ceil(count / len(mask)), *[1] * (mask.ndim - 1))
        chosen["noise_mask"] = repeated[which]
    of_noise: Any = latent.get("batch_index")
    of_noise = (list(map(int, of_noise)) if isinstance(of_noise, Tensor) else of_noise) or range(count)
    chosen["batch_index"] = [of_noise[number] for number in which]
    return chosen
