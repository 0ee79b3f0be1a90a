"""What a UNet's self-attention sees of a picture, layer by layer; and of parts, while it denoises another."""

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...core.attention import Block
from ...core.geometry import Rect
from ...core.parts.bank import Bank, Inside, inside, token_mask
from ..unet import Options, dtype_of, grids, layers_of

Recorded = dict[Block, Tensor]
"""What each layer has seen."""


class _AllSeen(Exception):
    """What is recorded has been seen: the rest of the UNet would be computed for nothing."""


def record(
    unet: nn.Module, x: Tensor, timesteps: Tensor, context: Tensor, y: Tensor | None, blocks: Collection[Block] | None
) -> Recorded:
    """Run a UNet and keep what its layers' self-attention sees after its norm: block -> (B, tokens, C).

    x: (B, 4, h, w) scaled as the UNet takes it; timesteps (B,); context (B, T, width); y: (B, adm) for SDXL; blocks:
    which layers, or None: all. Nothing behind the last of them is computed, except by a compiled UNet, whose graph an
    exception would break. Other packs' patches take no part.
    """
    wanted = frozenset(layers_of(unet) if blocks is None else blocks)
    seen: Recorded = {}

    def recorder(n: Tensor, keys: Tensor, values: Tensor, extra: Options) -> tuple[Tensor, Tensor, Tensor]:
        block = (*extra["block"], extra["block_index"])
        if block in wanted:
            seen[block] = n
        if not torch.compiler.is_compiling() and len(seen) == len(wanted):
            raise _AllSeen
        return n, keys, values

    options = {"patches": {"attn1_patch": [recorder]}}
    with suppress(_AllSeen):
        unet(x, timesteps, context=context, y=y, control=None, transformer_options=options)
    return seen


def record_at_zero(model: ModelPatcher, latent: Tensor, context: Tensor) -> Recorded:
    """`record_one` with a loaded ModelPatcher."""
    place = model.load_device, dtype_of(model.model)
    return record_one(model.model.diffusion_model, latent.to(*place), context.to(*place))


def record_one(
    unet: nn.Module, x: Tensor, context: Tensor, y: Tensor | None = None, blocks: Collection[Block] | None = None
) -> Recorded:
    """`record` of one part, (1, ...), once at t = 0, kept on the CPU: block -> (tokens, C)."""
    seen = record(unet, x, torch.zeros(1, device=x.device), context, y, blocks)
    return {block: states[0].cpu() for block, states in seen.items()}


@dataclass(frozen=True, eq=False)
class SelfReference:
    """Parts that the denoiser itself sees while it samples: with its LoRAs, cast and offloaded as in this run.

    How noise, sigmas and latents are scaled is asked of the MODEL that samples: a node behind ours may have changed it.

    latents: (parts, 4, h, w), as the VAE gives them; contexts: (parts, T, width);
    inpainting: whether the model is given a mask and a picture beside the noisy latent;
    adm: (parts, adm) or None; masks: (H, W) per part; noise: like latents, the same at every step.
    windows: the piece of its latent that each part is recorded from, (left, top, right, below).
    steps: for how many one recording is used, or None: once per run, without noise, at t = 0.
    """

    latents: Tensor
    contexts: Tensor
    adm: Tensor | None
    masks: Sequence[Tensor]
    noise: Tensor
    layers: str
    windows: Sequence[Rect]
    steps: int | None = 1
    inpainting: bool = False
    _counted: dict[Hashable, Inside] = field(default_factory=dict, init=False)

    def placed(self, like: Tensor) -> "SelfReference":
        """In the place of `like`, what the UNet is given as it is in its dtype: for one run."""
        place = like.device
        return replace(
            self,
            latents=self.latents.to(place),
            contexts=self.contexts.to(like),
            adm=None if self.adm is None else self.adm.to(like),
            noise=self.noise.to(place),
        )

    def __call__(self, model: BaseModel, sigmas: Tensor) -> Bank:
        """What the layers of the model's UNet see of the parts. sigmas: (1,), the level of noise of this step."""
        unet = model.diffusion_model
        pixels, at = math.prod(self.latents.shape[-2:]), grids(unet, *self.latents.shape[-2:])
        shares = LAYERS[self.layers]
        layers = [b for b in layers_of(unet) if shares(b, math.sqrt(pixels / math.prod(at[b[:2]])))]
        parts = self._at_zero(model, layers) if self.steps is None else self._at(model, sigmas, layers)
        return {
            block: [self._inside(unet, n, block, parts[n][block]).of(parts[n][block]) for n in range(len(parts))]
            for block in layers
        }

    def _at(self, model: BaseModel, sigmas: Tensor, layers: list[Block]) -> dict[int, Recorded]:
        """All parts of one size in one batch, at the noise level of this step."""
        unet = model.diffusion_model
        model_sampling = model.model_sampling
        timesteps = model_sampling.timestep(sigmas).float()
        clean = model.process_latent_in(self.latents)
        # The host's noise_scaling changes the noise that it is given.
        noisy = model_sampling.noise_scaling(sigmas, self.noise.clone(), clean)
        x = self._with_picture(model_sampling.calculate_input(sigmas, noisy), clean)
        parts: dict[int, Recorded] = {}
        for rows in self._alike():
            given, context, adm = self._rows(x, rows)
            seen = record(unet, given, timesteps.expand(len(rows)), context, adm, layers)
            parts |= {n: {block: seen[block][row] for block in layers} for row, n in enumerate(rows)}
        return parts

    def _at_zero(self, model: BaseModel, layers: list[Block]) -> dict[int, Recorded]:
        """One part after another, kept on the CPU."""
        clean = model.process_latent_in(self.latents)
        x = self._with_picture(clean, clean)
        return {n: record_one(model.diffusion_model, *self._rows(x, [n]), layers) for n in range(len(x))}

    def _with_picture(self, latents: Tensor, clean: Tensor) -> Tensor:
        """What the UNet is given of latents (parts, 4, h, w), in its dtype: (parts, 4 or 9, h, w).

        An inpainting model is told that nothing of a part is to be painted: a mask of zeros, and the part itself.
        """
        if not self.inpainting:
            return latents.to(self.contexts)
        return torch.cat([latents, torch.zeros_like(clean[:, :1]), clean], dim=1).to(self.contexts)

    def _alike(self) -> Iterable[list[int]]:
        """The numbers of the parts, those that are recorded at one size together."""
        found: dict[tuple[int, int], list[int]] = {}
        for n in range(len(self.latents)):
            left, top, right, below = self.windows[n]
            found.setdefault((right - left, below - top), []).append(n)
        return found.values()

    def _rows(self, x: Tensor, parts: list[int]) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the UNet is given of these parts: their windows of x, contexts, adm."""
        windows = [(x[n], *self.windows[n]) for n in parts]
        given = torch.stack([one[:, top:below, left:right] for one, left, top, right, below in windows])
        context = torch.stack([self.contexts[n] for n in parts])
        return given, context, None if self.adm is None else torch.stack([self.adm[n] for n in parts])

    def _inside(self, unet: nn.Module, part: int, block: Block, states: Tensor) -> Inside:
        """What lies outside of its window counts among the dropped, so that a part weighs as much with one."""
        key = part, block[:2], states.device
        if key in self._counted:
            return self._counted[key]
        left, top, right, below = self.windows[part]
        corners = (top, left), (below, right), self.latents.shape[-2:]
        (y, x), (y_end, x_end), grid = (grids(unet, *corner)[block[:2]] for corner in corners)
        tokens = token_mask(self.masks[part], math.prod(grid)).unflatten(0, grid)
        found = inside(tokens[y:y_end, x:x_end].flatten(), states)
        self._counted[key] = replace(found, dropped=found.dropped + tokens.numel() - len(states))
        return self._counted[key]


LAYERS: dict[str, Callable[[Block, float], bool]] = {
    "all": lambda block, shrunk: True,
    "up blocks": lambda block, shrunk: block[0] == "output",
    "fine": lambda block, shrunk: shrunk < 3,
    "coarse": lambda block, shrunk: shrunk >= 3,
}
"""Which layers share: all; those on the way up; those at half the latent's resolution and finer; the coarser rest.
(block, how much smaller the layer's side is than the latent's) -> whether it shares."""
