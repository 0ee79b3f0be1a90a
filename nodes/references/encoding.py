"""People as reference pictures of a DiT: encoded as the host does, and which of its latents are whose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.conds
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy.utils import common_upscale
from node_helpers import conditioning_set_values
from torch import Tensor

from ...bridge.conditioning import Conditioning
from ...bridge.notes import stepwise
from ...bridge.transformers import networks
from ...bridge.transformers.families import KREA_2, TRANSFORMERS, Z_IMAGE
from ...bridge.unet import ONE_FAMILY
from ...core.errors import WrongBaseModel
from ...core.inputs import conditioning, unusable_latent
from ...core.people import Cast, rows_missing
from ...core.prompts import check_text
from ...core.text import plain
from .pictures import SEEN, Reference, resized

LATENTS = "reference_latents"
"""The host's own option of a CONDITIONING entry: a list of latents, which other nodes append to."""
REFERENCES = "likeness_references"
"""Option of a CONDITIONING entry: its PeopleReferences."""


@dataclass(frozen=True, eq=False)
class PeopleReferences:
    """Which reference latents of an entry are whose. Immutable.

    cast: everybody, as they were given. latents: the very tensors that stand in the option LATENTS. people: for each
    of them the index of a person among `present(cast).people`, or None for one that is open to all.
    """

    cast: Cast
    latents: tuple[Tensor, ...]
    people: tuple[int | None, ...]


def whose(options: Mapping[str, Any]) -> tuple[int | None, ...]:
    """For every latent in the option LATENTS of an entry, the index of its person, or None: open to all.

    Known by the tensor itself, so that what other nodes put before, between and behind ours is open to all.
    """
    record: PeopleReferences | None = options.get(REFERENCES)
    latents: list[Tensor] = options.get(LATENTS) or []
    if record is None:
        return (None,) * len(latents)
    owners = {id(latent): person for latent, person in zip(record.latents, record.people, strict=True)}
    return tuple(owners.get(id(latent)) for latent in latents)


@dataclass(frozen=True)
class Family:
    """Models that take reference pictures, known by their text encoder.

    model: its name. network: its family, as bridge.transformers.networks.FAMILIES names it. vae: the file of its VAE.
    channels: of a latent, and frames where the VAE makes them. cell: pixels of a latent pixel. step: pixels to which
    the sides of pictures are rounded. word: for a picture, as the model knows it. sees: whether the text encoder is
    shown the pictures. frames_pictures: whether texts stand around the pictures.
    """

    model: str
    network: str
    vae: str
    channels: tuple[int, ...]
    cell: int = 8
    step: int = 8
    word: str = "image"
    sees: bool = False
    frames_pictures: bool = False


_KLEIN = Family("FLUX.2 klein", networks.FLUX_2, "flux2-vae", (128,), cell=16, step=16)
_BY_TOKENIZER = {
    "QwenImageTokenizer": Family(
        "Qwen-Image-Edit", networks.QWEN, "qwen_image_vae", (16, 1), word="Picture", sees=True
    ),
    "KleinTokenizer": _KLEIN,
    "KleinTokenizer8B": _KLEIN,
    "Flux2Tokenizer": replace(_KLEIN, model="FLUX.2 dev"),
    "FluxTokenizer": Family("FLUX.1 Kontext", networks.FLUX, "ae", (16,)),
    # The host's network cuts references into tokens of 16 px without filling them up.
    "ZImageTokenizer": Family("Z-Image", Z_IMAGE.name, "ae", (16,), step=16, frames_pictures=True),
    "Krea2Tokenizer": Family("Krea 2", KREA_2.name, "qwen_image_vae", (16, 1)),
}
"""By the host's class: other models read the same encoders with other templates, so these have classes of their own."""
_VISION = "<|vision_start|><|image_pad|><|vision_end|>"
# Z-Image, as the host's node for it writes a prompt with pictures: each picture stands between two texts.
_FRAMED = "<|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n<|vision_start|>"
_FRAME_BEFORE = "<|im_start|>user\n<|vision_start|>"
_FRAME_BETWEEN = "<|vision_end|><|vision_start|>"
_FRAME_BEHIND = "<|vision_end|><|im_end|>"


def family_of(clip: CLIP) -> Family:
    """Whose text encoder this is. Raises WrongBaseModel for one of models that take no reference pictures."""
    name = type(getattr(clip, "tokenizer", clip)).__name__
    if name not in _BY_TOKENIZER:
        raise WrongBaseModel(
            "The clip input",
            name.removesuffix("Tokenizer"),
            "the text encoder of Qwen-Image-Edit, FLUX.2, FLUX.1 Kontext, Z-Image or Krea 2",
            "Load it with Load CLIP and the right type: qwen_2.5_vl_7b with qwen_image, qwen_3_4b, qwen_3_8b or "
            "mistral_3_small with flux2, qwen_3_4b with lumina2 for Z-Image, qwen3vl_4b with krea2, and for Kontext "
            "clip_l and t5xxl with Load CLIP (Dual) and flux.",
        )
    return _BY_TOKENIZER[name]


def check_model(model: ModelPatcher, family: Family, node: str) -> None:
    """Raise WrongBaseModel unless a MODEL is of the family of the text encoder.

    Raises BadSetup for another pack's network, and where the host's code of the family is not as described. node: the
    name of the node that asks.
    """
    network = networks.family(model)
    if network != family.network:
        raise WrongBaseModel("The model input", network, f"{family.network}, as the text encoder is,", ONE_FAMILY)
    described = networks.described(model.model)
    assert described is not None  # as its name is known
    networks.require_known_code(networks.network_of(model.model), described, node)


def latents_of(vae: VAE, family: Family, sources: Sequence[Reference]) -> list[Tensor]:
    """What the VAE makes of every picture, (1 or rows, *family.channels, h, w), each scaled as the host's nodes do.

    Raises WrongBaseModel for another model's VAE, after the first picture; BadPicture for NaN.
    """
    areas: list[int] = []
    for reference in sources:
        areas += [reference.area] * len(reference.pictures)
    latents: list[Tensor] = []
    for picture, area in stepwise(list(zip(_pictures_of(sources), areas, strict=True))):
        latents.append(_latent(vae, family, picture, area))
    return latents


def _pictures_of(sources: Sequence[Reference]) -> list[Tensor]:
    """All pictures, in their order."""
    pictures: list[Tensor] = []
    for reference in sources:
        pictures.extend(reference.pictures)
    return pictures


def _latent(vae: VAE, family: Family, picture: Tensor, area: int) -> Tensor:
    """The latent of one picture (1 or rows, H, W, 3), brought to an area in pixels."""
    width, height = resized(picture.shape[2], picture.shape[1], area, family.step)
    # One by one: a VAE of videos takes several pictures for frames.
    rows = [vae.encode(row) for row in _scaled(picture, width, height).split(1)]
    wanted = (*family.channels, height // family.cell, width // family.cell)
    shape = rows[0].shape[1:]
    if shape != wanted:
        raise WrongBaseModel(
            "The vae input",
            f"another model ({width}x{height} px become {_in_words(shape)})",
            f"one for {family.model}, whose text encoder is connected ({_in_words(wanted)}),",
            f"Load {family.vae} with Load VAE.",
        )
    latent = torch.cat(rows)
    if not latent.isfinite().all():
        raise unusable_latent("A reference picture")
    return latent


def _in_words(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)


def _scaled(picture: Tensor, width: int, height: int) -> Tensor:
    """(1 or rows, H, W, 3) -> (1 or rows, height, width, 3). The host scales with the channels in front."""
    return common_upscale(picture.movedim(-1, 1), width, height, "area", "disabled").movedim(1, -1)


def seen_of(family: Family, sources: Sequence[Reference]) -> list[Tensor]:
    """The pictures as the text encoder is shown them, (1 or rows, h, w, 3); none where it is shown nothing."""
    if not family.sees:
        return []
    seen: list[Tensor] = []
    for picture in _pictures_of(sources):
        width, height = resized(picture.shape[2], picture.shape[1], SEEN, 1)
        seen.append(_scaled(picture, width, height))
    return seen


def encoded(clip: CLIP, family: Family, text: str, seen: Sequence[Tensor], pictures: int) -> Conditioning:
    """A text as the host's nodes encode it, with the pictures that the encoder is shown. pictures: how many references
    there are.

    Where pictures have rows, so has the text. Raises BadPicture for weights that no text can have, and BadText.
    """
    label = f"The text {plain(text, 60)!r}"
    check_text(label, text)
    row_count = max((len(picture) for picture in seen), default=1)
    rows: list[Conditioning] = []
    for row in range(row_count):
        # A picture with one row is the same in all of them.
        shown = [picture[row % len(picture)][None] for picture in seen]
        rows.append(_encoded(clip, family, text, shown, pictures))
    joined: Conditioning = []
    # Every row has the same entries: one, or several of a CLIP with a schedule.
    for entry_of_rows in zip(*rows, strict=True):
        texts = torch.cat([entry[0] for entry in entry_of_rows])  # (rows, T, width)
        joined.append([texts, entry_of_rows[0][1]])
    conditioning(label, joined)
    return joined


def _encoded(clip: CLIP, family: Family, text: str, seen: Sequence[Tensor], pictures: int) -> Conditioning:
    if family.frames_pictures and pictures:
        prompt = clip.encode_from_tokens_scheduled(clip.tokenize(text, llama_template=_FRAMED))
        return conditioning_set_values(prompt, {_FRAMES: _frames(clip, pictures)})
    if not family.sees:
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))
    shown = "".join(f"{family.word} {number}: {_VISION}" for number in range(1, len(seen) + 1))
    # The host's template for one picture, without it: each has its number before it.
    template = clip.tokenizer.llama_template_images.replace(_VISION, "")
    return clip.encode_from_tokens_scheduled(clip.tokenize(shown + text, images=seen, llama_template=template))


_FRAMES = "reference_latents_text_embeds"
"""The host's own option of a CONDITIONING entry of Z-Image: the text before each reference, and behind the prompt."""


def _frames(clip: CLIP, pictures: int) -> list[Tensor]:
    """The texts before so many pictures and behind the prompt, (1, T, width) each."""
    texts = [_FRAME_BEFORE, *[_FRAME_BETWEEN] * (pictures - 1), _FRAME_BEHIND]
    frames: list[Tensor] = []
    for text in texts:
        entries = clip.encode_from_tokens_scheduled(clip.tokenize(text, llama_template="{}"))
        frames.append(entries[0][0])
    return frames


_METHOD = "reference_latents_method"
"""The host's own option of a CONDITIONING entry: how the network numbers references."""


def _method_of(family: Family) -> str:
    """What has to be named so that the family's network reads references at all; "" where nothing has to be."""
    for described in TRANSFORMERS:
        if described.name == family.network:
            return described.reference_method
    return ""


def referring(prompt: Conditioning, record: PeopleReferences, family: Family, node: str) -> Conditioning:
    """The conditioning with the record's latents, as the host's nodes put them in.

    With a RowCast sampling raises BadCast for another number of rows, naming the node.
    """
    options: dict[str, Any] = {REFERENCES: record}
    if record.latents:
        options[LATENTS] = list(record.latents)
        method = _method_of(family)
        if method:
            options[_METHOD] = method
        if record.cast.by_row and record.cast.people:
            options["model_conds"] = {_ROWS: _Rows((len(record.cast.people), node))}
    return conditioning_set_values(prompt, options)


_ROWS = "likeness_reference_rows"
"""Among the model_conds of an entry: its _Rows."""


class _Rows(comfy.conds.CONDConstant):
    """How many rows the references are for, and which node has made them: the host would repeat or drop some."""

    def process_cond(self, batch_size: int, **_: Any) -> "_Rows":
        rows, node = self.cond
        if batch_size != rows:
            raise rows_missing(node, rows, "the latent", batch_size)
        return self
