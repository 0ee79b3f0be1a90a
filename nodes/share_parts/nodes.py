"""Parts on any SD1.5 or SDXL model, without training: the model is its own reference.

At every step the parts are noised to the step's sigma and run through the same UNet with their own text; the picture
then attends to what the layers saw, under the same masks as in Parts2Whole. Source of the idea: reference-only
control (Mikubill/sd-webui-controlnet, discussion 1236) and Parts2Whole (arXiv 2404.15267), section 3.3.
"""

from typing import Any

import comfy.conds
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io
from torch import Tensor

from ...bridge import notes
from ...bridge.conditioning import Conditioning, check_conditioning
from ...bridge.encode import latent_of, text_of
from ...bridge.presence import NamedRange, Presence, announced
from ...bridge.runs import patched
from ...bridge.schedule import schedule_range
from ...bridge.schema import advanced, applied_inputs, applied_outputs, range_inputs, seed_input
from ...bridge.self_attention.recording import LAYERS, SelfReference
from ...bridge.self_attention.run import SharingRun
from ...bridge.self_attention.shared_parts import SharedParts, share_with
from ...bridge.unet import coarsest, text_width
from ...core import geometry
from ...core.errors import WrongBaseModel
from ...core.geometry import Rect
from ...core.parts.bank import PartWeights, window
from ...core.parts.parts import Parts
from ...core.parts.resizing import prepare, targets
from ..categories import IN_PARTS
from ..sockets import PartsSocket


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
    ready = [prepare(part, *size) for part in present]
    latents = torch.cat([latent_of(vae, part, model, _SAME) for part in ready])
    texts = [text_of(clip, part.label, model, _SAME) for part in present]
    masks = [part.mask for part in ready]
    cell = coarsest(model.get_model_object("diffusion_model"))
    windows = [window(mask, cell) if crop else (0, 0, size[0] // 8, size[1] // 8) for mask in masks]
    adm = [_adm(model, pooled, size, shown) for (_, pooled), shown in zip(texts, windows, strict=True)]
    first, *others = [comfy.conds.CONDCrossAttn(context) for context, _ in texts]
    return SelfReference(
        latents=latents,
        inpainting=_is_inpainting(model, latents.shape[1]),
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


def _is_inpainting(model: ModelPatcher, latent_channels: int) -> bool:
    """Whether the MODEL is given a mask and a picture beside a latent of so many channels.

    Raises WrongBaseModel for a MODEL that is given something else.
    """
    channels = model.get_model_object("diffusion_model").input_blocks[0][0].in_channels - latent_channels
    if channels == 0:
        return False
    if channels == 1 + latent_channels:
        return True
    raise WrongBaseModel(
        "The MODEL",
        f"a model that is given {channels} more channels than a latent has",
        "an ordinary or an inpainting model",
        "Use another SD1.5 or SDXL model.",
    )


_SAME = "Connect the CLIP and the VAE of the checkpoint that the MODEL comes from."
EVERY_STEP, ONCE = "at every step", "once"


class SharePartsAttention(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        side = {"min": 64, "max": geometry.LARGEST, "step": 8}
        return io.Schema(
            node_id="LikenessSharePartsAttention",
            category=IN_PARTS,
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
        window = schedule_range("The range of the parts", start_percent, end_percent)
        steps = renew_every if reference == EVERY_STEP else None
        size, present, source = (width, height), parts.present, object()
        seen = reference_of(model, parts, clip, vae, size, layers, steps, seed, crop_to_mask)
        # strength scales the parts' share of the attention; only the positive looks at them.
        weights = PartWeights([part.weight * strength for part in present], targets(present, *size))
        sides = (
            share_with(side, SharedParts(source, window, None, weights, live=live, size=size))
            for side, live in ((positive, seen), (negative, None))
        )
        ranges = (NamedRange("the parts", window),)
        presence = Presence("Share Parts Attention", notes.node_of(cls), "The parts", True, ranges)
        return io.NodeOutput(*announced(presence, patched(model, SharingRun), *sides))


NODES = [SharePartsAttention]
