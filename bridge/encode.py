"""What CLIP, CLIP vision and VAE make of pictures and words, held to the width of what is to read it.

CLIP vision: embeddings, or the hidden states before the last layer. Source: IP-Adapter, ip_adapter/ip_adapter.py
(Apache-2.0).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import comfy.clip_model
import comfy.model_management
import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ..core.errors import BadSetup, LikenessError, WrongBaseModel
from ..core.families import latent_name, text_name
from ..core.inputs import BadPicture, unusable_latent, unusable_text
from ..core.models import manifest
from ..core.models.manifest import Model
from ..core.models.tensors import State
from ..core.parts import cut_outs
from ..core.parts.parts import Part
from ..core.parts.resizing import Prepared
from ..core.projections import HEAD_DIM
from ..core.prompts import check_text
from ..core.text import plain
from .notes import stepwise
from .unet import advice_between, text_width

TEXT_WIDTH = "text width"
_NAMED = {TEXT_WIDTH: text_name, "latent channels": latent_name}


def text_of(clip: CLIP, label: str, model: ModelPatcher, advice: str) -> tuple[Tensor, Tensor]:
    """A label as this MODEL reads it, (1, T, width), and pooled, (1, width); float32 on the CPU.

    Raises WrongBaseModel with `advice` for the CLIP of another family, BadPicture for weights that no text can have,
    and BadText for what is too much for an encoder.
    """
    check_text(f"The text {plain(label, 60)!r}", label)
    context, pooled = clip.encode_from_tokens(clip.tokenize(label), return_pooled=True)
    check_family("The clip input", TEXT_WIDTH, context.shape[-1], text_width(model), advice)
    context, pooled = context.float().cpu(), pooled.float().cpu()
    if not (context.isfinite().all() and pooled.isfinite().all()):
        raise unusable_text(f"The text {plain(label, 60)!r}")
    return context, pooled


def latent_of(vae: VAE, part: Prepared, model: ModelPatcher, advice: str) -> Tensor:
    """A part as the VAE gives it, (1, channels, h, w) float32 on the CPU. The MODEL that reads it scales it.

    Raises WrongBaseModel with `advice` for the VAE of another family.
    """
    comfy.model_management.throw_exception_if_processing_interrupted()
    latent = vae.encode(part.picture[None])
    check_family("The vae input", "latent channels", latent.shape[1], model.model.latent_format.latent_channels, advice)
    return latent.float().cpu()


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
    """How alike each part and its region of each picture (B, H, W, 3) are to a vision model: per picture, per part.

    They are cosines of what CLIP projects of both, or of DINOv2's class tokens. Raises BadPicture for NaN.
    """
    embeddings_of_parts: list[Tensor] = []
    for part in parts:
        embeddings_of_parts.append(_embedding(clip_vision, cut_outs.of_part(part)))
    by_picture: list[list[float]] = []
    for image in images:
        cosines: list[float] = []
        for part, embedding in zip(parts, embeddings_of_parts, strict=True):
            of_region = _embedding(clip_vision, cut_outs.of_target(part, image))
            cosines.append(float(cosine_similarity(embedding, of_region)))
        by_picture.append(cosines)
    return by_picture


def _embedding(clip_vision: ClipVisionModel, picture: Tensor) -> Tensor:
    """(1, width) of one picture (H, W, 3), float32 on the CPU. Raises BadPicture, and the host's error on Cancel."""
    comfy.model_management.throw_exception_if_processing_interrupted()
    output = clip_vision.encode_image(picture[None], crop=True)
    return _finite(output["image_embeds"].float().cpu())


@torch.no_grad()
def text_alignment(clip: CLIP, clip_vision: ClipVisionModel, prompt: str, images: Tensor) -> list[float]:
    """CLIP-T: the cosine of what CLIP projects of a prompt, of its first 75 tokens, and of each picture (B, H, W, 3).

    Raises BadSetup unless both sides project, and to one width. Of SD1.5 and FLUX.1 the host gives CLIP-L's text
    unprojected, whatever is in the file: it is then the same when asked for as such. Raises BadText.
    """
    check_text(f"The text {plain(prompt, 60)!r}", prompt)
    tokens = clip.tokenize(prompt)
    both = [clip.encode_from_tokens(tokens, return_pooled=way) for way in (True, "unprojected")]
    text, bare = (None if pooled is None else pooled.float().cpu() for _, pooled in both)
    if text is None or bare is None or torch.equal(text, bare) or not text.any():
        raise _no_pair("the CLIP gives texts without their projection, or none")
    wide = getattr(getattr(getattr(clip_vision, "model", None), "visual_projection", None), "out_features", None)
    if text.shape[-1] != wide:
        raise _no_pair(f"texts are projected to a width of {text.shape[-1]}, pictures to {wide or 'none (no CLIP)'}")
    if not torch.isfinite(text).all():
        raise unusable_text(f"The text {plain(prompt, 60)!r}")
    return cosine_similarity(text, seen(clip_vision, images, EMBEDS, text.shape[-1])).tolist()


def _no_pair(why: str) -> BadSetup:
    return BadSetup(
        f"Pictures cannot be compared with the prompt: {why}.",
        "Connect both sides of one CLIP: that of an SDXL checkpoint and CLIP ViT-bigG/14, or that of SD2.1 and CLIP "
        "ViT-H/14. ViT-L/14 has no such text encoder in ComfyUI.",
    )


def check_family(what: str, measure: str, found: int, wanted: int, advice: str) -> None:
    """Raise WrongBaseModel unless `what` has the measure of the family that is needed."""
    if found != wanted:
        name = _NAMED[measure](found) if measure in _NAMED else "another family"
        if measure == TEXT_WIDTH:
            advice = advice_between(found, wanted, advice)
        raise WrongBaseModel(what, f"{name} ({measure} {found})", f"one with {measure} {wanted}", advice)


BATCH = 8
"""Pictures at once; between batches the user can cancel."""
STATES, EMBEDS = "penultimate_hidden_states", "image_embeds"
_WORDS = {STATES: "hidden states", EMBEDS: "embeddings"}


class Encoder(NamedTuple):
    """A CLIP vision model that files are made for. widths: of what it gives."""

    name: str
    widths: dict[str, int]
    model: Model


ENCODERS = (
    Encoder("CLIP ViT-H/14 (laion2B)", {STATES: 1280, EMBEDS: 1024}, manifest.model("clip-vit-h")),
    Encoder("CLIP ViT-bigG/14 (laion2B)", {STATES: 1664, EMBEDS: 1280}, manifest.model("clip-vit-bigg")),
    Encoder("CLIP ViT-L/14 (OpenAI)", {STATES: 1024, EMBEDS: 768}, manifest.model("clip-vit-large-patch14")),
)


class WrongEncoder(LikenessError):
    """Another CLIP vision model, or none, than the one whose hidden states or embeddings the file was trained on."""

    def __init__(self, came: str, kind: str, width: int) -> None:
        right = _wanted(kind, width)
        name = "the encoder that the file's page names"
        if right:
            name = f"{right.name}, {right.model.name} ({right.model.url}, {right.model.size_text})"
        super().__init__(
            f"The clip_vision input is {came}, but this file reads {_WORDS[kind]} of width {width}.",
            f"Connect {name}, with Load CLIP Vision: it belongs in models/clip_vision.",
        )


@torch.no_grad()
def seen(clip_vision: ClipVisionModel, pictures: Tensor, kind: str, width: int) -> Tensor:
    """Pictures (B, H, W, 3) 0..1 -> float32 on the CPU.

    kind: STATES, hidden states before the last layer, (B, tokens, width), or EMBEDS, what CLIP projects, (B, width).
    The host takes the square in the middle and brings it to the encoder's size. Raises WrongEncoder, BadPicture.
    """
    _clip(clip_vision, kind, width)
    batches = pictures.split(BATCH)
    return torch.cat([_checked(clip_vision.encode_image(batch), kind, width) for batch in stepwise(batches)])


@torch.no_grad()
def nothing(clip_vision: ClipVisionModel, width: int) -> Tensor:
    """The states (1, tokens, width) of a picture that is zero after normalisation, a mean grey; raises as `seen`."""
    # Not by way of encode_image, which normalises, and rounds to steps of 1/255 before.
    net, size = _clip(clip_vision, STATES, width), clip_vision.image_size
    comfy.model_management.load_model_gpu(clip_vision.patcher)
    zeros = torch.zeros(1, 3, size, size, device=clip_vision.patcher.load_device)
    _, before_last, embedded, _ = net(pixel_values=zeros, intermediate_output=-2)
    return _checked({STATES: before_last, EMBEDS: embedded}, STATES, width)


def _clip(clip_vision: ClipVisionModel, kind: str, width: int) -> Any:
    """Its network. Raises WrongEncoder for one that is no CLIP: DINOv2 and DINOv3 have layers as wide as some CLIPs."""
    net = getattr(clip_vision, "model", None)
    if not hasattr(net, "vision_model"):
        raise WrongEncoder(f"no CLIP ({type(net or clip_vision).__name__})", kind, width)
    return net


def _checked(given: Any, kind: str, width: int) -> Tensor:
    """Of what the encoder gives, what is asked for, float32 on the CPU."""
    found, right = {name: given[name].shape[-1] for name in _WORDS}, _wanted(kind, width)
    # Without its projection, ViT-H gives embeddings as wide as bigG's.
    if found[kind] != width or (kind == EMBEDS and right and found != right.widths):
        name = next((one.name for one in ENCODERS if one.widths == found), "an unknown encoder")
        widths = ", ".join(f"{_WORDS[kind]} of width {width}" for kind, width in found.items())
        raise WrongEncoder(f"{name} ({widths})", kind, width)
    return _finite(given[kind].float().cpu())


def _finite(made: Tensor) -> Tensor:
    """What a vision model makes of a picture. Raises BadPicture."""
    if not made.isfinite().all():
        why = "CLIP vision makes NaN or infinity of it"
        raise BadPicture("The picture", why, "Load another copy of the file, or start ComfyUI with --fp32-text-enc.")
    return made


def vision_of(state: State, *, ops: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The host's CLIP vision transformer, with the sizes of `state`; its weights are not loaded."""
    width, _, patch, _ = state["embeddings.patch_embedding.weight"].shape
    cells = len(state["embeddings.position_embedding.weight"]) - 1
    config = {
        "model_type": "clip_vision_model", "hidden_act": "quick_gelu", "num_channels": 3, "hidden_size": width,
        "num_attention_heads": width // HEAD_DIM, "patch_size": patch, "image_size": patch * round(cells**0.5),
        "intermediate_size": len(state["encoder.layers.0.mlp.fc1.bias"]),
        "num_hidden_layers": sum(key.endswith("mlp.fc1.bias") for key in state),
    }  # fmt: skip
    return comfy.clip_model.CLIPVision(config, dtype, device, ops)


def _wanted(kind: str, width: int) -> Encoder | None:
    return next((one for one in ENCODERS if one.widths[kind] == width), None)
