"""What CLIP and VAE make of a part, held to the model that is to read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import comfy.model_management
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ..core.errors import WrongBaseModel
from ..core.families import latent_name, text_name
from ..core.inputs import unusable_latent, unusable_text
from ..core.parts.parts import Part, Prepared, region, worn
from ..core.text import plain
from .notes import stepwise
from .unet import text_width

if TYPE_CHECKING:
    from comfy.clip_vision import ClipVisionModel
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP, VAE

_NAMED = {"text width": text_name, "latent channels": latent_name}


def text_of(clip: CLIP, label: str, model: ModelPatcher, advice: str) -> tuple[Tensor, Tensor]:
    """A label as this MODEL reads it, (1, T, width), and pooled, (1, width); float32 on the CPU.

    Raises WrongBaseModel with `advice` for the CLIP of another family, BadPicture for weights that no text can have.
    """
    context, pooled = clip.encode_from_tokens(clip.tokenize(label), return_pooled=True)
    check_family("The clip input", "text width", context.shape[-1], text_width(model), advice)
    context, pooled = context.float().cpu(), pooled.float().cpu()
    if not (context.isfinite().all() and pooled.isfinite().all()):
        raise unusable_text(f"The text {plain(label, 60)!r}")
    return context, pooled


def latent_of(vae: VAE, part: Prepared, model: ModelPatcher, advice: str) -> Tensor:
    """A part as this MODEL is given it, (1, channels, h, w) float32 on the CPU, scaled.

    Raises WrongBaseModel with `advice` for the VAE of another family.
    """
    comfy.model_management.throw_exception_if_processing_interrupted()
    latent = vae.encode(part.picture[None])
    check_family("The vae input", "latent channels", latent.shape[1], model.model.latent_format.latent_channels, advice)
    return model.model.process_latent_in(latent.float().cpu())


def latents_by_row(vae: VAE, pictures: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """A LATENT of one row per picture (B, H, W, 3), each denoised where its mask (B, H, W) is.

    One by one: a VAE of films takes a batch of pictures for one film, and a mask per row for one per frame.
    Raises BadPicture for NaN.
    """
    samples = torch.cat([vae.encode(picture[None]) for picture in stepwise(pictures.unbind())])
    if not samples.isfinite().all():
        raise unusable_latent("A crop")
    return {"samples": samples, "noise_mask": masks.reshape(len(masks), *[1] * (samples.ndim - 3), *masks.shape[1:])}


def similarities(clip_vision: ClipVisionModel, parts: Sequence[Part], images: Tensor) -> list[list[float]]:
    """How alike each part and its region of each picture (B, H, W, 3) are to a vision model: the cosine of what CLIP
    projects of both, or of DINOv2's class tokens."""

    def seen(picture: Tensor) -> Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        return clip_vision.encode_image(picture[None], crop=True)["image_embeds"].float().cpu()

    each = [(part, seen(worn(part))) for part in parts]
    return [[float(cosine_similarity(own, seen(region(part, image)))) for part, own in each] for image in images]


def check_family(what: str, measure: str, found: int, wanted: int, advice: str) -> None:
    """Raise WrongBaseModel unless `what` has the measure of the family that is needed."""
    if found != wanted:
        name = _NAMED[measure](found) if measure in _NAMED else "another family"
        raise WrongBaseModel(what, f"{name} ({measure} {found})", f"one with {measure} {wanted}", advice)
