"""Masked shared self-attention without training: the model is its own reference UNet.

At every step the parts are noised to the step's sigma and run through the same UNet with their own text; the picture
then attends to what the layers saw, under the same masks as in Parts2Whole. Source of the idea: reference-only
control (Mikubill/sd-webui-controlnet, discussion 1236) and Parts2Whole (arXiv 2404.15267), section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import comfy.conds
import torch
from torch import Tensor, nn

from ..core.attention import Block
from ..core.errors import WrongBaseModel
from ..core.parts.bank import Bank, Inside, PartWeights, inside, token_mask
from ..core.parts.parts import Parts, prepared, targets
from .conditioning import Conditioning
from .encode import latent_of, text_of
from .self_attention.recording import record, record_one
from .self_attention.shared_parts import SharedParts, share_with

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP, VAE


@dataclass(frozen=True, eq=False)
class SelfReference:
    """Parts as a model reads them. latents: (parts, 4, h, w), scaled for the model; contexts: (parts, T, width);

    extra: (parts, channels, h, w), what the model is given beside a noisy latent, no channels for most;
    adm: (parts, adm) or None; masks: (H, W) per part; noise: like latents, the same at every step.
    every_step: or once per run, without noise, at t = 0.
    """

    model_sampling: Any
    latents: Tensor
    extra: Tensor
    contexts: Tensor
    adm: Tensor | None
    masks: Sequence[Tensor]
    noise: Tensor
    layers: str
    every_step: bool = True
    _counted: dict[tuple[int, int, torch.device], Inside] = field(default_factory=dict, init=False)

    def __deepcopy__(self, memo: object) -> SelfReference:
        return self

    def placed(self, like: Tensor) -> SelfReference:
        """In the place of `like`, what the UNet is given as it is in its dtype: for one run."""
        place = like.device
        return replace(
            self,
            latents=self.latents.to(place),
            extra=self.extra.to(place),
            contexts=self.contexts.to(like),
            adm=None if self.adm is None else self.adm.to(like),
            noise=self.noise.to(place),
        )

    def __call__(self, unet: nn.Module, timesteps: Tensor, sigmas: Tensor) -> Bank:
        return self._at(unet, timesteps, sigmas) if self.every_step else self._at_zero(unet)

    def _at(self, unet: nn.Module, timesteps: Tensor, sigmas: Tensor) -> Bank:
        """All parts in one batch, at the noise level of this step."""
        noisy = self.model_sampling.noise_scaling(sigmas, self.noise.clone(), self.latents)
        x = torch.cat([self.model_sampling.calculate_input(sigmas, noisy), self.extra], dim=1).to(self.contexts)
        seen = record(unet, x, timesteps.expand(len(x)), self.contexts, self.adm)
        return self._bank({block: list(states) for block, states in seen.items()})

    def _at_zero(self, unet: nn.Module) -> Bank:
        """One part after another, kept on the CPU."""
        given, adm = torch.cat([self.latents, self.extra], dim=1).to(self.contexts), self.adm
        rows = [slice(n, n + 1) for n in range(len(given))]
        parts = [record_one(unet, given[n], self.contexts[n], None if adm is None else adm[n]) for n in rows]
        return self._bank({block: [part[block] for part in parts] for block in parts[0]})

    def _bank(self, seen: dict[Block, list[Tensor]]) -> Bank:
        latent_tokens = self.latents.shape[-1] * self.latents.shape[-2]
        return {
            block: [self._inside(n, part).of(part) for n, part in enumerate(states)]
            for block, states in seen.items()
            if LAYERS[self.layers](block, math.sqrt(latent_tokens / len(states[0])))
        }

    def _inside(self, part: int, states: Tensor) -> Inside:
        key = part, len(states), states.device
        if key not in self._counted:
            self._counted[key] = inside(token_mask(self.masks[part], len(states)), states)
        return self._counted[key]


LAYERS: dict[str, Callable[[Block, float], bool]] = {
    "all": lambda block, shrunk: True,
    "up blocks": lambda block, shrunk: block[0] == "output",
    "fine": lambda block, shrunk: shrunk < 3,
    "coarse": lambda block, shrunk: shrunk >= 3,
}
"""Which layers share: all; those on the way up; those at half the latent's resolution and finer; the coarser rest.
(block, how much smaller the layer's side is than the latent's) -> whether it shares."""


@torch.no_grad()
def reference_of(
    model: ModelPatcher,
    parts: Parts,
    clip: CLIP,
    vae: VAE,
    size: tuple[int, int],
    layers: str,
    every_step: bool,
    seed: int,
) -> SelfReference:
    """The parts with a weight as `model` itself will read them, at size (width, height), with noise from `seed`.

    Raises BadPart, WrongBaseModel where clip or vae belong to another model or the model is given more than a latent.
    """
    present = parts.present
    ready = [prepared(part, *size) for part in present]
    latents = torch.cat([latent_of(vae, part, model, _SAME) for part in ready])
    texts = [text_of(clip, part.label, model, _SAME) for part in present]
    adm = [model.model.encode_adm(pooled_output=pooled, width=size[0], height=size[1]) for _, pooled in texts]
    first, *others = [comfy.conds.CONDCrossAttn(context) for context, _ in texts]
    return SelfReference(
        model_sampling=model.get_model_object("model_sampling"),
        latents=latents,
        extra=_extra(model, latents),
        contexts=first.concat(others),
        adm=None if adm[0] is None else torch.cat(adm),
        masks=[part.mask for part in ready],
        noise=torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed)),
        layers=layers,
        every_step=every_step,
    )


def _extra(model: ModelPatcher, latents: Tensor) -> Tensor:
    """Inpainting models are told that nothing of a part is to be painted: a mask of zeros, and the part itself."""
    channels = model.get_model_object("diffusion_model").input_blocks[0][0].in_channels - latents.shape[1]
    if channels not in (0, 1 + latents.shape[1]):
        found = f"a model that is given {channels} more channels than a latent has"
        raise WrongBaseModel(
            "The MODEL", found, "an ordinary or an inpainting model", "Use another SD1.5 or SDXL model."
        )
    return torch.cat([torch.zeros_like(latents[:, :1]), latents], dim=1) if channels else latents[:, :0]


@torch.no_grad()
def put_in(
    sides: tuple[Conditioning, Conditioning],
    reference: SelfReference,
    parts: Parts,
    size: tuple[int, int],
    strength: float,
    sigmas: tuple[float, float],
) -> tuple[Conditioning, Conditioning]:
    """Positive and negative with the parts, which the positive looks at. size: (width, height) of the picture.

    strength scales the parts' share of the attention. Raises BadParts.
    """
    source = object()
    weights = PartWeights([part.weight * strength for part in parts.present], targets(parts.present, *size))
    positive, negative = (
        share_with(side, SharedParts(source, sigmas, None, weights, live=live, size=size))
        for side, live in zip(sides, (reference, None), strict=True)
    )
    return positive, negative


_SAME = "Connect the CLIP and the VAE of the checkpoint that the MODEL comes from."
