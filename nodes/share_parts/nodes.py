"""Parts on any SD1.5 or SDXL model, without training: the model is its own reference.

At every step the parts are noised to the step's sigma and run through the same UNet with their own text; the picture
then attends to what the layers saw, under the same masks as in Parts2Whole. Source of the idea: reference-only
control (Mikubill/sd-webui-controlnet, discussion 1236) and Parts2Whole (arXiv 2404.15267), section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import comfy.conds
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io
from torch import Tensor, nn

from ...bridge.conditioning import Conditioning, check_conditioning, sigmas_of
from ...bridge.encode import latent_of, text_of
from ...bridge.runs import patched
from ...bridge.schema import IN_METHODS, advanced, applied_inputs, applied_outputs, range_inputs, seed_input
from ...bridge.self_attention.recording import Recorded, record, record_one
from ...bridge.self_attention.run import SharingRun
from ...bridge.self_attention.shared_parts import SharedParts, share_with
from ...bridge.unet import coarsest, grids, layers_of, text_width
from ...core import geometry
from ...core.attention import Block
from ...core.errors import WrongBaseModel
from ...core.geometry import Rect
from ...core.parts.bank import Bank, Inside, PartWeights, inside, token_mask, window
from ...core.parts.parts import Parts, prepared, targets
from ..sockets import PartsSocket


@dataclass(frozen=True, eq=False)
class SelfReference:
    """Parts as a model reads them. latents: (parts, 4, h, w), scaled for the model; contexts: (parts, T, width);

    extra: (parts, channels, h, w), what the model is given beside a noisy latent, no channels for most;
    adm: (parts, adm) or None; masks: (H, W) per part; noise: like latents, the same at every step.
    windows: the piece of its latent that each part is recorded from, (left, top, right, below).
    steps: for how many one recording is used, or None: once per run, without noise, at t = 0.
    """

    model_sampling: Any
    latents: Tensor
    extra: Tensor
    contexts: Tensor
    adm: Tensor | None
    masks: Sequence[Tensor]
    noise: Tensor
    layers: str
    windows: Sequence[Rect]
    steps: int | None = 1
    _counted: dict[Hashable, Inside] = field(default_factory=dict, init=False)

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
        pixels, at = math.prod(self.latents.shape[-2:]), grids(unet, *self.latents.shape[-2:])
        shares = LAYERS[self.layers]
        layers = [b for b in layers_of(unet) if shares(b, math.sqrt(pixels / math.prod(at[b[:2]])))]
        parts = self._at_zero(unet, layers) if self.steps is None else self._at(unet, timesteps, sigmas, layers)
        return {
            block: [self._inside(unet, n, block, parts[n][block]).of(parts[n][block]) for n in range(len(parts))]
            for block in layers
        }

    def _at(self, unet: nn.Module, timesteps: Tensor, sigmas: Tensor, layers: list[Block]) -> dict[int, Recorded]:
        """All parts of one size in one batch, at the noise level of this step."""
        noisy = self.model_sampling.noise_scaling(sigmas, self.noise.clone(), self.latents)
        x = torch.cat([self.model_sampling.calculate_input(sigmas, noisy), self.extra], dim=1).to(self.contexts)
        parts: dict[int, Recorded] = {}
        for rows in self._alike():
            given, context, adm = self._rows(x, rows)
            seen = record(unet, given, timesteps.expand(len(rows)), context, adm, layers)
            parts |= {n: {block: seen[block][row] for block in layers} for row, n in enumerate(rows)}
        return parts

    def _at_zero(self, unet: nn.Module, layers: list[Block]) -> dict[int, Recorded]:
        """One part after another, kept on the CPU."""
        x = torch.cat([self.latents, self.extra], dim=1).to(self.contexts)
        return {n: record_one(unet, *self._rows(x, [n]), layers) for n in range(len(x))}

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
        key = part, block[:2], states.device
        if key not in self._counted:
            self._counted[key] = self._count(unet, part, block, states)
        return self._counted[key]

    def _count(self, unet: nn.Module, part: int, block: Block, states: Tensor) -> Inside:
        """What lies outside of its window counts among the dropped, so that a part weighs as much with one."""
        left, top, right, below = self.windows[part]
        corners = (top, left), (below, right), self.latents.shape[-2:]
        (y, x), (y_end, x_end), grid = (grids(unet, *corner)[block[:2]] for corner in corners)
        tokens = token_mask(self.masks[part], math.prod(grid)).unflatten(0, grid)
        found = inside(tokens[y:y_end, x:x_end].flatten(), states)
        return replace(found, dropped=found.dropped + tokens.numel() - len(states))


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
    steps: int | None,
    seed: int,
    crop: bool = False,
) -> SelfReference:
    """The parts with a weight as `model` itself will read them, at size (width, height), with noise from `seed`.

    crop: by what is around their masks alone.
    Raises BadPart, WrongBaseModel where clip or vae belong to another model or the model is given more than a latent.
    """
    present = parts.present
    ready = [prepared(part, *size) for part in present]
    latents = torch.cat([latent_of(vae, part, model, _SAME) for part in ready])
    texts = [text_of(clip, part.label, model, _SAME) for part in present]
    masks = [part.mask for part in ready]
    cell = coarsest(model.get_model_object("diffusion_model"))
    windows = [window(mask, cell) if crop else (0, 0, size[0] // 8, size[1] // 8) for mask in masks]
    adm = [_adm(model, pooled, size, shown) for (_, pooled), shown in zip(texts, windows, strict=True)]
    first, *others = [comfy.conds.CONDCrossAttn(context) for context, _ in texts]
    return SelfReference(
        model_sampling=model.get_model_object("model_sampling"),
        latents=latents,
        extra=_extra(model, latents),
        contexts=first.concat(others),
        adm=None if adm[0] is None else torch.cat(adm),
        masks=masks,
        noise=torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed)),
        layers=layers,
        windows=windows,
        steps=steps,
    )


def _adm(model: ModelPatcher, pooled: Tensor, size: tuple[int, int], shown: Rect) -> Any:
    """What else the model is told, None for most. SDXL: where of its picture a window lies, as of crops in training."""
    left, top, right, below = (8 * side for side in shown)
    crop = {"crop_w": left, "crop_h": top, "target_width": right - left, "target_height": below - top}
    return model.model.encode_adm(pooled_output=pooled, width=size[0], height=size[1], **crop)


def _extra(model: ModelPatcher, latents: Tensor) -> Tensor:
    """Inpainting models are told that nothing of a part is to be painted: a mask of zeros, and the part itself."""
    channels = model.get_model_object("diffusion_model").input_blocks[0][0].in_channels - latents.shape[1]
    if channels not in (0, 1 + latents.shape[1]):
        found = f"a model that is given {channels} more channels than a latent has"
        raise WrongBaseModel(
            "The MODEL", found, "an ordinary or an inpainting model", "Use another SD1.5 or SDXL model."
        )
    return torch.cat([torch.zeros_like(latents[:, :1]), latents], dim=1) if channels else latents[:, :0]


_SAME = "Connect the CLIP and the VAE of the checkpoint that the MODEL comes from."


EVERY_STEP, ONCE = "at every step", "once"


class SharePartsAttention(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        side = {"min": 64, "max": geometry.LARGEST, "step": 8}
        return io.Schema(
            node_id="LikenessSharePartsAttention",
            category=IN_METHODS,
            inputs=[
                *applied_inputs(),
                PartsSocket.Input("parts"),
                io.Clip.Input("clip"),
                io.Vae.Input("vae"),
                io.Int.Input("width", default=1024, **side),
                io.Int.Input("height", default=1024, **side),
                io.Float.Input("strength", default=1.0, min=0.0, max=4.0, step=0.01),
                *range_inputs(),
                io.Combo.Input("layers", options=list(LAYERS)),
                io.Combo.Input("reference", options=[EVERY_STEP, ONCE]),
                advanced(seed_input("seed")),
                io.Int.Input("renew_every", default=1, min=1, max=1000, optional=True),
                io.Boolean.Input("crop_to_mask", default=False, optional=True),
            ],
            outputs=applied_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        parts: Parts,
        clip: CLIP,
        vae: VAE,
        width: int,
        height: int,
        strength: float,
        start_percent: float,
        end_percent: float,
        layers: str,
        reference: str,
        seed: int,
        renew_every: int = 1,
        crop_to_mask: bool = False,
    ) -> io.NodeOutput:
        if strength == 0 or not parts.present:
            return io.NodeOutput(model, positive, negative)
        check_conditioning([*positive, *negative], text_width(model), "Share Parts Attention")
        geometry.check_size("The picture", width, height)
        window = sigmas_of(model, "The range of the parts", start_percent, end_percent)
        steps = renew_every if reference == EVERY_STEP else None
        size, present, source = (width, height), parts.present, object()
        seen = reference_of(model, parts, clip, vae, size, layers, steps, seed, crop_to_mask)
        # strength scales the parts' share of the attention; only the positive looks at them.
        weights = PartWeights([part.weight * strength for part in present], targets(present, *size))
        sides = (
            share_with(side, SharedParts(source, window, None, weights, live=live, size=size))
            for side, live in ((positive, seen), (negative, None))
        )
        return io.NodeOutput(patched(model, SharingRun), *sides)


NODES = [SharePartsAttention]
