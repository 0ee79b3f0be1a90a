"""Pictures and texts encoded by the host's CLIP, CLIP vision and VAE, and checks that the encoder is the right one.

Of CLIP vision a method reads the embeddings or the hidden states before the last layer. Source: IP-Adapter,
ip_adapter/ip_adapter.py (Apache-2.0).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import comfy.clip_model
import comfy.model_management
import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ...core.checks.errors import BadSetup, LikenessError, WrongBaseModel
from ...core.checks.prompts import check_text
from ...core.checks.text import plain
from ...core.checks.value_checks import BadPicture, unusable_text
from ...core.families import latent_name
from ...core.models import manifest
from ...core.models.manifest import Model
from ...core.parts import cut_outs
from ...core.parts.parts import Part
from ...core.parts.resizing import Prepared
from .notes import stepwise
from .schedule import ScheduleRange
from .shared_network import model_of
from .unet import check_text_width, text_width


@dataclass(frozen=True, eq=False)
class T5Tokens:
    """The same text as the numbers of T5's tokens, where a network reads both as one text (Anima).

    numbers: (1, n) ints. weights: (1, n, 1), of the prompt.
    """

    numbers: Tensor
    weights: Tensor


@dataclass(frozen=True, eq=False)
class EncodedText:
    """A text as a CLIP encodes it for one part of the schedule.

    tokens: (1, T, width). pooled: (1, width), or None from a CLIP that gives none. Both are float32 on the CPU. t5:
    None from most CLIPs.
    """

    schedule: ScheduleRange
    tokens: Tensor
    pooled: Tensor | None
    t5: T5Tokens | None = None


def encoded_by_schedule(clip: CLIP, text: str, width: int, advice: str) -> list[EncodedText]:
    """The text, encoded once for each part of the schedule in which the CLIP is the same.

    That is one part, the whole schedule, unless the CLIP changes (Set CLIP Hooks). width: of the texts that the MODEL
    reads. Raises WrongBaseModel with `advice` for the CLIP of another family, BadText for what is too much for an
    encoder, and BadPicture where the CLIP makes NaN or infinity of the text (of weights that no text can have).
    """
    label = f"The text {plain(text, 60)!r}"
    check_text(label, text)
    parts: list[EncodedText] = []
    for tokens, options in clip.encode_from_tokens_scheduled(clip.tokenize(text), show_pbar=False):
        check_text_width("The clip input", tokens.shape[-1], width, advice)
        tokens = tokens.float().cpu()
        pooled: Tensor | None = options.get("pooled_output")
        if pooled is not None:
            pooled = pooled.float().cpu()
        if not (tokens.isfinite().all() and (pooled is None or pooled.isfinite().all())):
            raise unusable_text(label)
        schedule = ScheduleRange(options.get("clip_start_percent", 0.0), options.get("clip_end_percent", 1.0))
        parts.append(EncodedText(schedule, tokens, pooled, _t5_tokens(options)))
    return parts


def _t5_tokens(options: Mapping[str, Any]) -> T5Tokens | None:
    """The T5 tokens that a CLIP gives beside a text, None from most CLIPs. options: of an entry of CONDITIONING."""
    numbers: Tensor | None = options.get("t5xxl_ids")  # (n,)
    if numbers is None:
        return None
    weights: Tensor = options["t5xxl_weights"]  # (n,)
    return T5Tokens(numbers[None], weights[None, :, None])


def text_of(clip: CLIP, text: str, model: ModelPatcher, advice: str) -> EncodedText:
    """The text encoded by `clip` for this MODEL, as one part that holds for the whole schedule.

    Raises BadSetup for a CLIP that changes in the schedule, and what `encoded_by_schedule` raises.
    """
    parts = encoded_by_schedule(clip, text, text_width(model), advice)
    if len(parts) > 1:
        raise BadSetup(
            f"The CLIP changes in the schedule (Set CLIP Hooks with keyframes), and the text {plain(text, 60)!r} is "
            "read in all of it.",
            "Set schedule_clip of Set CLIP Hooks to false, or connect a CLIP without hooks to this node.",
        )
    return parts[0]


@dataclass(frozen=True, eq=False)
class PeopleWords:
    """The words about people as a CLIP encodes them for one part of the schedule.

    tokens: (1, T, width) for each person, float32 on the CPU; T is 0 for a person without words. t5: for each person,
    see EncodedText.
    """

    schedule: ScheduleRange
    tokens: list[Tensor]
    t5: list[T5Tokens | None]


def words_by_schedule(clips: Sequence[CLIP], all_words: Sequence[str], width: int, advice: str) -> list[PeopleWords]:
    """The encoded words about all people: one PeopleWords for each part of the schedule.

    clips: one for each person; all of them change at the same parts of the schedule. all_words: the words of each
    person, "" for none; one person at least has words. The other arguments and what is raised are as in
    `encoded_by_schedule`.
    """
    parts_of_people: list[list[EncodedText]] = []  # [] for a person without words
    for clip, words in zip(clips, all_words, strict=True):
        parts_of_people.append(encoded_by_schedule(clip, words, width, advice) if words else [])
    # All CLIPs change alike, so the parts of the first person with words are those of all.
    parts_of_first = next(parts for parts in parts_of_people if parts)
    people_words: list[PeopleWords] = []
    for number, part in enumerate(parts_of_first):
        no_words = EncodedText(part.schedule, torch.zeros(1, 0, width, dtype=torch.float32), pooled=None)
        texts = [parts[number] if parts else no_words for parts in parts_of_people]
        people_words.append(PeopleWords(part.schedule, [text.tokens for text in texts], [text.t5 for text in texts]))
    return people_words


def latent_of(vae: VAE, part: Prepared, model: ModelPatcher, advice: str) -> Tensor:
    """The latent of a part as the VAE gives it, (1, channels, h, w) float32 on the CPU, unscaled.

    Raises WrongBaseModel with `advice` for the VAE of another family, and the host's error where the user cancels.
    """
    comfy.model_management.throw_exception_if_processing_interrupted()
    latent = vae.encode(part.picture[None])
    channels, needed_channels = latent.shape[1], model_of(model).latent_format.latent_channels
    if channels != needed_channels:
        raise WrongBaseModel("The vae input", _of_channels(channels), _of_channels(needed_channels), advice)
    return latent.float().cpu()


def _of_channels(channels: int) -> str:
    """The names of the families whose latents have so many channels, with the number."""
    return f"{latent_name(channels)} (latent channels {channels})"


def similarities(clip_vision: ClipVisionModel, garments: Sequence[Sequence[Part]], images: Tensor) -> list[list[float]]:
    """How much each garment resembles its region of each picture: for each picture a list with a cosine per garment.

    The cosines compare CLIP's projected embeddings, or DINOv2's class tokens. Where a garment has several pictures, the
    highest of their cosines counts. garments: for each its parts, one for each picture of it, with one target. images:
    (B, H, W, 3). Raises BadPicture for NaN.
    """
    of_garments: list[Tensor] = []  # (pictures of the garment, width) each
    for garment in garments:
        embeddings = [_embedding_of_picture(clip_vision, cut_outs.cut_out_of_part(part)) for part in garment]
        of_garments.append(torch.cat(embeddings))
    by_picture: list[list[float]] = []
    for image in images:
        cosines: list[float] = []
        for garment, embeddings in zip(garments, of_garments, strict=True):
            # All pictures of a garment have the same region.
            of_region = _embedding_of_picture(clip_vision, cut_outs.cut_out_of_target(garment[0], image))
            cosines.append(float(cosine_similarity(embeddings, of_region).max()))
        by_picture.append(cosines)
    return by_picture


def _embedding_of_picture(clip_vision: ClipVisionModel, picture: Tensor) -> Tensor:
    """The embedding of one picture (H, W, 3): (1, width) float32 on the CPU.

    Raises BadPicture for NaN, and the host's error where the user cancels.
    """
    comfy.model_management.throw_exception_if_processing_interrupted()
    output = clip_vision.encode_image(picture[None], crop=True)
    return _require_finite(output["image_embeds"].float().cpu())


@torch.no_grad()
def text_alignment(clip: CLIP, clip_vision: ClipVisionModel, prompt: str, images: Tensor) -> list[float]:
    """CLIP-T of each picture (B, H, W, 3): the cosine of its projected embedding and that of the prompt.

    CLIP reads the first 75 tokens of the prompt. Raises BadText for what is too much for the encoder, BadSetup unless
    both encoders project to the same width, BadPicture for NaN in the text, and what `encode_pictures` raises.
    """
    label = f"The text {plain(prompt, 60)!r}"
    check_text(label, prompt)
    text = _projected_text(clip, prompt)
    width = text.shape[-1]
    picture_width = _projected_width(clip_vision)
    if width != picture_width:
        widths = f"texts are projected to a width of {width}, pictures to {picture_width or 'none (no CLIP)'}"
        raise _no_pair_error(widths)
    if not torch.isfinite(text).all():
        raise unusable_text(label)
    embeddings = encode_pictures(clip_vision, images, EMBEDS, width)  # (B, width)
    return cosine_similarity(text, embeddings).tolist()


def _projected_text(clip: CLIP, prompt: str) -> Tensor:
    """The text as CLIP projects it, (1, width) float32 on the CPU. Raises BadSetup for a CLIP that projects none."""
    tokens = clip.tokenize(prompt)
    text = _pooled_text(clip, tokens, return_pooled=True)
    unprojected = _pooled_text(clip, tokens, return_pooled="unprojected")
    # For SD1.5 and FLUX.1 the host gives CLIP-L's text unprojected both times, so the two are equal. For SD3 it gives
    # zeros where no CLIP is loaded.
    if text is None or unprojected is None or torch.equal(text, unprojected) or not text.any():
        raise _no_pair_error("the CLIP gives texts without their projection, or none")
    return text


def _pooled_text(clip: CLIP, tokens: Any, return_pooled: bool | str) -> Tensor | None:
    """The pooled text, (1, width) float32 on the CPU; None for a CLIP that has none.

    return_pooled: the host's argument: True for the text after CLIP's projection, "unprojected" for that before it.
    """
    pooled = clip.encode_from_tokens(tokens, return_pooled=return_pooled)[1]
    return None if pooled is None else pooled.float().cpu()


def _projected_width(clip_vision: ClipVisionModel) -> int | None:
    """The width of the embeddings that CLIP projects of a picture; None for a model without a projection."""
    network = getattr(clip_vision, "model", None)
    projection = getattr(network, "visual_projection", None)
    return getattr(projection, "out_features", None)


def _no_pair_error(why: str) -> BadSetup:
    return BadSetup(
        f"Pictures cannot be compared with the prompt: {why}.",
        "Connect both sides of one CLIP: that of an SDXL checkpoint and CLIP ViT-bigG/14, or that of SD2.1 and CLIP "
        "ViT-H/14. ViT-L/14 has no such text encoder in ComfyUI.",
    )


PICTURES_AT_ONCE = 8
"""How many pictures CLIP vision encodes at once. Between two batches the user can cancel."""
STATES = "penultimate_hidden_states"
EMBEDS = "image_embeds"
_OUTPUT_IN_WORDS = {STATES: "hidden states", EMBEDS: "embeddings"}
"""The outputs of CLIP vision that files read, by the host's names of them."""


class Encoder(NamedTuple):
    """A CLIP vision model that files are made for. widths: of STATES and EMBEDS. model: its published file."""

    name: str
    widths: dict[str, int]
    model: Model


ENCODERS = (
    Encoder("CLIP ViT-H/14 (laion2B)", {STATES: 1280, EMBEDS: 1024}, manifest.model("clip-vit-h")),
    Encoder("CLIP ViT-bigG/14 (laion2B)", {STATES: 1664, EMBEDS: 1280}, manifest.model("clip-vit-bigg")),
    Encoder("CLIP ViT-L/14 (OpenAI)", {STATES: 1024, EMBEDS: 768}, manifest.model("clip-vit-large-patch14")),
)


class WrongEncoder(LikenessError):
    """The CLIP vision model is not the one whose hidden states or embeddings the adapter's file was trained on.

    connected: in words, what the user has connected. kind, width: of the output that the file reads, STATES or EMBEDS.
    """

    def __init__(self, connected: str, kind: str, width: int) -> None:
        encoder = _encoder_of({kind: width})
        name = "the encoder that the file's page names"
        if encoder:
            name = f"{encoder.name}, {encoder.model.name} ({encoder.model.url}, {encoder.model.size_text})"
        super().__init__(
            f"The clip_vision input is {connected}, but this file reads {_OUTPUT_IN_WORDS[kind]} of width {width}.",
            f"Connect {name}, with Load CLIP Vision: it belongs in models/clip_vision.",
        )


@torch.no_grad()
def encode_pictures(clip_vision: ClipVisionModel, pictures: Tensor, kind: str, width: int) -> Tensor:
    """An output of CLIP vision for pictures (B, H, W, 3) 0..1, float32 on the CPU.

    kind: STATES, the hidden states before the last layer, (B, tokens, width), or EMBEDS, the projected embeddings,
    (B, width). The host takes the square in the middle and brings it to the encoder's size. Raises WrongEncoder for an
    encoder whose output has another width, and BadPicture for NaN.
    """
    _clip_network(clip_vision, kind, width)  # raises for what is no CLIP
    outputs: list[Tensor] = []
    for batch in stepwise(pictures.split(PICTURES_AT_ONCE)):
        outputs.append(_checked_output(clip_vision.encode_image(batch), kind, width))
    return torch.cat(outputs)


@torch.no_grad()
def encode_grey(clip_vision: ClipVisionModel, width: int) -> Tensor:
    """The hidden states (1, tokens, width) of a picture in mean grey, which normalisation makes 0 everywhere.

    Raises as encode_pictures does.
    """
    # Not by way of encode_image, which rounds a picture to steps of 1/255 before it normalises it: grey would not be 0.
    network = _clip_network(clip_vision, STATES, width)
    size = clip_vision.image_size
    comfy.model_management.load_model_gpu(clip_vision.patcher)
    zeros = torch.zeros(1, 3, size, size, device=clip_vision.patcher.load_device, dtype=torch.float32)
    # The host's network gives the last hidden states, those of the layer asked for (-2), embeddings, and a fourth
    # value.
    _, before_last, embeddings, _ = network(pixel_values=zeros, intermediate_output=-2)
    return _checked_output({STATES: before_last, EMBEDS: embeddings}, STATES, width)


def _clip_network(clip_vision: ClipVisionModel, kind: str, width: int) -> Any:
    """The network of a CLIP vision model.

    Raises WrongEncoder for a model that is no CLIP: DINOv2 and DINOv3 have layers as wide as some CLIPs.
    kind, width: of the output that is needed.
    """
    network = getattr(clip_vision, "model", None)
    if not hasattr(network, "vision_model"):
        raise WrongEncoder(f"no CLIP ({type(network or clip_vision).__name__})", kind, width)
    return network


def _checked_output(outputs: Any, kind: str, width: int) -> Tensor:
    """The output `kind` of CLIP vision, float32 on the CPU. outputs: all that the encoder gives, by the host's names.

    Raises WrongEncoder unless this output has this width, and, for EMBEDS, unless all widths are those of the encoder
    that is needed. Raises BadPicture for NaN.
    """
    widths = {name: outputs[name].shape[-1] for name in _OUTPUT_IN_WORDS}
    is_right = widths[kind] == width
    needed_encoder = _encoder_of({kind: width})
    if kind == EMBEDS and needed_encoder is not None:
        # The width of embeddings alone does not tell encoders apart: those of a ViT-H without its projection are as
        # wide as bigG's. So the hidden states' width is compared, too.
        is_right = widths == needed_encoder.widths
    if not is_right:
        encoder = _encoder_of(widths)
        name = "an unknown encoder" if encoder is None else encoder.name
        in_words = [f"{_OUTPUT_IN_WORDS[output]} of width {widths[output]}" for output in widths]
        raise WrongEncoder(f"{name} ({', '.join(in_words)})", kind, width)
    return _require_finite(outputs[kind].float().cpu())


def _encoder_of(widths: dict[str, int]) -> Encoder | None:
    """The known encoder whose outputs have these widths, by kind: STATES, EMBEDS or both. None for no such one."""
    for encoder in ENCODERS:
        if widths.items() <= encoder.widths.items():
            return encoder
    return None


def _require_finite(output: Tensor) -> Tensor:
    if not output.isfinite().all():
        why = "CLIP vision makes NaN or infinity of it"
        raise BadPicture("The picture", why, "Load another copy of the file, or start ComfyUI with --fp32-text-enc.")
    return output
