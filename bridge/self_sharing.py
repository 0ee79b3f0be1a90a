"""Masked shared self-attention without training: the model is its own reference UNet.

At every step the parts are noised to the step's sigma and run through the same UNet with their own text; the picture
then attends to what the layers saw, under the same masks as in Parts2Whole. Source of the idea: reference-only
control (Mikubill/sd-webui-controlnet, discussion 1236) and Parts2Whole (arXiv 2404.15267), section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..core.parts2whole.features import Bank, Block, keep, token_mask
from .sharing import record, record_at_zero


@dataclass(frozen=True, eq=False)
class SelfReference:
    """Parts as a model reads them. latents: (parts, 4, h, w), scaled for the model; contexts: (parts, T, width);

    adm: (parts, adm) or None; masks: (H, W) per part; noise: like latents, the same at every step.
    """

    model_sampling: Any
    latents: Tensor
    contexts: Tensor
    adm: Tensor | None
    masks: Sequence[Tensor]
    noise: Tensor
    layers: str
    _weights: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def __deepcopy__(self, memo: Any) -> SelfReference:
        return self

    def __call__(self, unet: Any, timesteps: Tensor, sigma: float) -> Bank:
        """Record at the noise level of this step; `timesteps` (1,) is what the UNet is given for it."""
        at = torch.tensor([sigma])
        noisy = self.model_sampling.noise_scaling(at, self.noise.clone(), self.latents)
        x = self.model_sampling.calculate_input(at, noisy)
        place = {"device": timesteps.device, "dtype": unet.dtype}
        adm = None if self.adm is None else self.adm.to(**place)
        count = len(self.latents)
        seen = record(unet, x.to(**place), timesteps.expand(count), self.contexts.to(**place), adm)
        return self._bank({block: list(states) for block, states in seen.items()})

    def at_zero(self, model: Any) -> Bank:
        """The cheap form: recorded once, without noise, at t = 0. `model` is a loaded ModelPatcher."""
        adm = self.adm if self.adm is not None else [None] * len(self.latents)
        parts = [
            record_at_zero(model, latent[None], context[None], None if y is None else y[None])
            for latent, context, y in zip(self.latents, self.contexts, adm, strict=True)
        ]
        return self._bank({block: [part[block] for part in parts] for block in parts[0]})

    def _bank(self, seen: dict[Block, list[Tensor]]) -> Bank:
        latent_tokens = self.latents.shape[-1] * self.latents.shape[-2]
        return {
            block: [keep(part, self._weights_at(n, len(part))) for n, part in enumerate(states)]
            for block, states in seen.items()
            if LAYERS[self.layers](block, math.sqrt(latent_tokens / len(states[0])))
        }

    def _weights_at(self, part: int, tokens: int) -> Tensor:
        if (part, tokens) not in self._weights:
            self._weights[part, tokens] = token_mask(self.masks[part], tokens)
        return self._weights[part, tokens]


LAYERS: dict[str, Callable[[Block, float], bool]] = {
    "all": lambda block, shrunk: True,
    "up blocks": lambda block, shrunk: block[0] == "output",
    "fine": lambda block, shrunk: shrunk < 3,
    "coarse": lambda block, shrunk: shrunk >= 3,
}
"""Which layers share: all; those on the way up; those at half the latent's resolution and finer; the coarser rest.
(block, how much smaller the layer's side is than the latent's) -> whether it shares."""
