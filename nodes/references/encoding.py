"""People as reference pictures of a DiT: encoded as the host does, with a record of which latent shows which person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import comfy.conds
import torch
import torch.nn.functional as functional
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy.sd import CLIP, VAE
from comfy.utils import common_upscale
from node_helpers import conditioning_set_values
from torch import Tensor

from ...bridge.host.notes import stepwise
from ...bridge.host.unet import ONE_FAMILY
from ...bridge.networks import model_family
from ...bridge.networks.families import DESCRIBED
from ...bridge.networks.transformer_families import ReferencePictures, TransformerFamily
from ...bridge.references.record import LATENTS, REFERENCES, PeopleReferences, ReferenceLatent
from ...bridge.sampling.conditioning import Conditioning
from ...core.cast import CanvasSize, rows_missing
from ...core.checks.errors import BadSetup, WrongBaseModel, counted, joined, listed
from ...core.checks.prompts import check_text
from ...core.checks.text import plain
from ...core.checks.value_checks import conditioning, unusable_latent
from . import NAME
from .pictures import Reference, fitted, resized


@dataclass(frozen=True)
class EncoderFamily:
    """The family of models that a text encoder is for, which take reference pictures.

    model: what they are called in messages. transformer: their description. pictures: how they are given references.
    """

    model: str
    transformer: TransformerFamily
    pictures: ReferencePictures


_VISION = "<|vision_start|><|image_pad|><|vision_end|>"
"""The mark in a text for Qwen's encoder where a picture stands."""
OWN_TRAINING = "own"
TRAININGS = (OWN_TRAINING, *(name for family in DESCRIBED for name in family.other_trainings))
"""How a model or its LoRA was trained to read references; OWN_TRAINING for the family's own way. The options of the
input `training`."""


def family_as_set(clip: CLIP, training: str, encoder_size: int) -> EncoderFamily:
    """The family of a text encoder, with `pictures` changed as the inputs of the node say.

    training: one of TRAININGS, how pictures are given. encoder_size: the side of the pictures that the encoder is
    shown, in pixels; 0 for the family's own. Raises as family_of, and BadSetup for a training that the family does not
    know.
    """
    family = family_of(clip)
    trainings = {OWN_TRAINING: family.pictures, **family.transformer.other_trainings}
    if training not in trainings:
        known = f"{family.model} knows {listed([*trainings])}"
        raise BadSetup(f"Training (training) is {training!r}: {known}.", f"Set it to {OWN_TRAINING!r}.")
    pictures = trainings[training]
    # Where a family has a longest side, the size is that side; otherwise it is the side of a square of the shown area.
    if encoder_size and pictures.longest_shown:
        pictures = replace(pictures, longest_shown=encoder_size)
    elif encoder_size:
        pictures = replace(pictures, shown_area=encoder_size * encoder_size)
    return replace(family, pictures=pictures)


def family_of(clip: CLIP) -> EncoderFamily:
    """The family of a text encoder. Raises WrongBaseModel for one of models that take no reference pictures."""
    families: list[EncoderFamily] = []
    for transformer in DESCRIBED:
        if transformer.references is not None:
            families.append(EncoderFamily(transformer.references.model, transformer, transformer.references))
    tokenizer = type(getattr(clip, "tokenizer", clip)).__name__
    for family in families:
        if tokenizer in family.pictures.tokenizers:
            # A tokenizer may have a name of its own for the models; "" stands for that of the family.
            return replace(family, model=family.pictures.tokenizers[tokenizer] or family.model)
    encoders: list[str] = []
    for family in families:
        encoder = f"for {family.model} {family.pictures.text_encoder}"
        transformer = family.transformer
        encoders.append(encoder if transformer.is_known_to_host else f"{encoder} (ComfyUI {transformer.least_host})")
    raise WrongBaseModel(
        "The clip input",
        tokenizer.rstrip("_").removesuffix("Tokenizer"),
        f"the text encoder of {joined([family.model for family in families], 'or')}",
        f"Load it with Load CLIP and the right type: {', '.join(encoders)}.",
    )


def check_model(model: ModelPatcher, family: EncoderFamily) -> None:
    """Raise WrongBaseModel unless a MODEL is of the same family as the text encoder.

    Raises BadSetup for the patch of Identity Edit's own node, for a network of another pack, and where the host's code
    of the family is not the code that bridge.networks.families describes. family: of the text encoder.
    """
    of_text_encoder = family.transformer
    wrappers = model.model_options.get("transformer_options", {}).get("wrappers", {})
    if "krea2_edit" in wrappers.get(WrappersMP.DIFFUSION_MODEL, {}):
        raise BadSetup(
            "Krea2 Edit (source patch) on this MODEL reads its own pictures and passes over all other references.",
            f"Take that node out: {NAME} gives the LoRA its references; ref_boost is reference_boost.",
        )
    network = model_family.require_family(model)
    if network != of_text_encoder.name:
        needed = f"{of_text_encoder.name}, as the text encoder is,"
        raise WrongBaseModel("The model input", network, needed, ONE_FAMILY)
    model_family.require_known_code(of_text_encoder, NAME)


def unlike_training(
    family: EncoderFamily, sources: Sequence[Reference], pictures_first: bool, encoder_size: int, has_model: bool
) -> list[str]:
    """The lines of the note under the node about what a family was not trained with, and what has no effect.

    They name too many references, another order, another size that the text encoder is shown, an encoder_size that
    changes nothing, and pictures that stand elsewhere without a MODEL.
    pictures_first: whether pictures of no person are in front of the people. encoder_size: as in family_as_set.
    has_model: whether a MODEL is connected.
    """
    count = sum(len(reference.pictures) for reference in sources)
    most = family.pictures.most[family.model]
    lines: list[str] = []
    if count > most:
        advice = "lower photos_per_person or connect fewer pictures"
        if any(source.part is not None for source in sources):
            advice = "write - for somebody's look into Looks worn (looks), or connect fewer parts or pictures"
        lines.append(f"{counted(count, 'picture')}: {family.model} is made for {most} at most, so {advice}")
    has_both = len({source.of_people for source in sources}) == 2  # references of people, and pictures of no person
    if family.pictures.pictures_first and not pictures_first and has_both:
        lines.append(f"{family.model} was trained with pictures first, and has people first")
    if encoder_size and not family.pictures.sees:
        lines.append(f"encoder_size changes nothing: the text encoder of {family.model} sees no pictures")
    if encoder_size and family.pictures.shown_as_encoded:
        lines.append(f"encoder_size changes nothing: {family.model} has one size for its text encoder and its VAE")
    if encoder_size and family.pictures.trained_sizes:
        smallest, largest = family.pictures.trained_sizes
        if not smallest <= encoder_size <= largest:
            lines.append(f"encoder_size is {encoder_size}: {family.model} was trained with {smallest} to {largest}")
    if family.pictures.fitted and count and not has_model:
        lines.append("Without model the pictures stand in the corner of the picture, not in its middle")
    return lines


@dataclass(frozen=True, eq=False)
class EncodedPicture:
    """A picture of a reference as its latent. source: the reference, which may have several pictures."""

    source: Reference
    latent: ReferenceLatent


def encoded_pictures(
    vae: VAE, family: EncoderFamily, sources: Sequence[Reference], canvas: CanvasSize, boost: float
) -> list[EncodedPicture]:
    """The pictures of all references, in their order, as latents.

    Pictures are scaled before they are encoded, as the host's nodes do. canvas: (width, height) of the picture that is
    drawn, into which pictures of some families are fitted. boost: of pictures that show people. Raises WrongBaseModel
    for the VAE of another model, which is known when the first picture is encoded; BadPicture for a latent with NaN or
    infinity.
    """
    encoded: list[EncodedPicture] = []
    with_strengths: list[tuple[Reference, Tensor, float]] = []
    for source in sources:
        of_part = 1.0 if source.part is None else source.part.part.weight
        strengths = source.strengths or [of_part] * len(source.pictures)
        with_strengths += [(source, *one) for one in zip(source.pictures, strengths, strict=True)]
    for source, picture, strength in stepwise(with_strengths):
        latent = ReferenceLatent(
            _latent(vae, family, _at_its_size(family, picture, source.area, canvas)),
            owner=source.person,
            region=source.region,
            strength=strength,
            boost=boost if source.of_people else 1.0,
            kept=_kept(family, source, picture, canvas),
            of_rows=source.of_rows,
        )
        encoded.append(EncodedPicture(source, latent))
    return encoded


def _at_its_size(family: EncoderFamily, picture: Tensor, area: int, canvas: CanvasSize) -> Tensor:
    """A picture (1 or rows, H, W, C) as it is encoded. The other arguments are those of encoded_pictures."""
    if family.pictures.fitted:
        return _fitted(picture, canvas, family.pictures.cell)
    return _at_area(family, picture, area)


def _at_area(family: EncoderFamily, picture: Tensor, area: int) -> Tensor:
    """A picture (1 or rows, H, W, C) brought to an area."""
    width, height = _size_at(family, picture, area, family.pictures.step)
    return _scaled(picture, width, height, family.pictures.scaling)


def _kept(family: EncoderFamily, source: Reference, picture: Tensor, canvas: CanvasSize) -> Tensor | None:
    """Which of the latent pixels of a picture are read, (1 or rows, h, w), 0..1; None for all of them.

    The mask is scaled and fitted as the picture is, so that it lies over the latent. canvas: as in encoded_pictures.
    """
    if source.kept is None:
        return None
    over_picture = functional.interpolate(source.kept[:, None], picture.shape[1:3], mode="area")
    as_picture = over_picture.movedim(1, 3)  # (1 or rows, H, W, 1)
    scaled = _at_its_size(family, as_picture, source.area, canvas)  # (1 or rows, height, width, 1)
    return functional.avg_pool2d(scaled[..., 0], family.pictures.cell)


def _size_at(family: EncoderFamily, picture: Tensor, area: int, step: int) -> tuple[int, int]:
    """Width and height to which a picture, (1 or rows, H, W, C), is brought for an area, see pictures.resized.

    Some families make pictures only smaller.
    """
    height, width = picture.shape[1:3]
    if family.pictures.only_smaller:
        area = min(area, width * height)
    return resized(width, height, area, step)


def _latent(vae: VAE, family: EncoderFamily, scaled: Tensor) -> Tensor:
    """The latent of one picture: (1 or rows, *family.pictures.latent, h, w). Raises as encoded_pictures.

    scaled: the picture at the size at which it is encoded, (1 or rows, H, W, 3).
    """
    height, width = scaled.shape[1:3]
    # The rows are encoded one by one, because a VAE for videos would take them for the frames of one video.
    rows = [vae.encode(row) for row in scaled.split(1)]
    expected = (*family.pictures.latent, height // family.pictures.cell, width // family.pictures.cell)
    shape = rows[0].shape[1:]
    if shape != expected:
        raise WrongBaseModel(
            "The vae input",
            f"another model ({width}x{height} px become {_in_words(shape)})",
            f"one for {family.model}, whose text encoder is connected ({_in_words(expected)}),",
            f"Load {family.pictures.vae} with Load VAE.",
        )
    latent = torch.cat(rows)
    if not latent.isfinite().all():
        raise unusable_latent("A reference picture")
    return latent


def _in_words(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)


def _scaled(picture: Tensor, width: int, height: int, scaling: str) -> Tensor:
    """A picture scaled to a size in pixels: (1 or rows, H, W, 3) -> (1 or rows, height, width, 3).

    scaling: as in ReferencePictures.
    """
    if picture.shape[1:3] == (height, width):
        return picture  # as the host's nodes do: "lanczos" would round it to 8 bits
    channels_in_front = picture.movedim(-1, 1)  # (1 or rows, 3, H, W), as common_upscale takes it
    scaled = common_upscale(channels_in_front, width, height, upscale_method=scaling, crop="disabled")
    return scaled.movedim(1, -1)


def _fitted(picture: Tensor, canvas: CanvasSize, cell: int) -> Tensor:
    """A picture fitted into a canvas, see pictures.fitted: (1 or rows, H, W, 3) -> (1 or rows, height, width, 3).

    cell: the side of a latent pixel in pixels; the canvas is cut to whole ones.
    """
    canvas_width, canvas_height = (max(cell, side // cell * cell) for side in canvas)
    height, width = picture.shape[1:3]
    fit = fitted((width, height), (canvas_width, canvas_height))
    top, left = (height - fit.cut_height) // 2, (width - fit.cut_width) // 2
    cut = picture[:, top : top + fit.cut_height, left : left + fit.cut_width].movedim(-1, 1)  # (1 or rows, 3, h, w)
    scaled = functional.interpolate(cut, size=(fit.height, fit.width), mode="bicubic", antialias=True)
    return scaled.movedim(1, -1).clamp(0, 1)


def pictures_for_encoder(family: EncoderFamily, sources: Sequence[Reference]) -> list[Tensor]:
    """The pictures that the text encoder is shown, (1 or rows, h, w, 3) each; [] for a family that shows it none."""
    if not family.pictures.sees:
        return []
    scaled: list[Tensor] = []
    for reference in sources:
        for picture in reference.pictures:
            if family.pictures.shown_as_encoded:
                scaled.append(_at_area(family, picture, reference.area))
                continue
            width, height = _shown_size(family, picture)
            scaled.append(_scaled(picture, width, height, family.pictures.scaling))
    return scaled


def _shown_size(family: EncoderFamily, picture: Tensor) -> tuple[int, int]:
    """Width and height to which a picture, (1 or rows, H, W, 3), is brought for the text encoder, in pixels."""
    if not family.pictures.longest_shown:
        return _size_at(family, picture, family.pictures.shown_area, step=1)
    height, width = picture.shape[1:3]
    longest = max(width, height)
    if longest <= family.pictures.longest_shown:
        return width, height
    scale = family.pictures.longest_shown / longest
    return max(1, round(width * scale)), max(1, round(height * scale))


def encoded(
    clip: CLIP, family: EncoderFamily, text: str, encoder_pictures: Sequence[Tensor], record: PeopleReferences
) -> Conditioning:
    """A prompt encoded as the host's nodes encode it: entries of texts (1 or rows, T, width).

    Where pictures have a row for each row of the batch, the text has as many rows. encoder_pictures: from
    pictures_for_encoder(). record: of the reference pictures. Where the record says how many tokens show each picture
    (`shown`), pictures of weight below 1 have less effect on the text, see _encoded_by_weight. Raises BadPicture for a
    text with NaN or infinity, and BadText for a text that is too much for the encoder.
    """
    label = f"The text {plain(text, 60)!r}"
    check_text(label, text)
    shown = [reference.shown for reference in record.references]
    rows: list[Conditioning] = []
    for row in range(max((len(picture) for picture in encoder_pictures), default=1)):
        # A picture with one row is the same in all of them.
        pictures_of_row = [picture[row % len(picture)][None] for picture in encoder_pictures]
        weights = [record.weight_of(reference, row) for reference in record.references]
        if any(shown) and min(weights) < 1:
            rows.append(_encoded_by_weight(clip, family, text, pictures_of_row, weights, shown))
        else:
            rows.append(_encoded_row(clip, family, text, pictures_of_row))
    in_one_batch: Conditioning = []
    # Every row has as many entries: one, or several where the CLIP changes with the schedule.
    for entry_of_rows in zip(*rows, strict=True):
        _, options_of_first = entry_of_rows[0]
        in_one_batch.append([torch.cat([text_of_row for text_of_row, _ in entry_of_rows]), options_of_first])
    conditioning(label, in_one_batch)  # it raises BadPicture
    return in_one_batch


def _encoded_row(clip: CLIP, family: EncoderFamily, text: str, pictures: Sequence[Tensor]) -> Conditioning:
    """The text of one row, encoded with the pictures of this row in the way of the family.

    pictures: (1, h, w, 3) each; none where the encoder sees no pictures.
    """
    if not family.pictures.sees:
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))
    if family.pictures.numbers_pictures:
        return clip.encode_from_tokens_scheduled(clip.tokenize(text, images=pictures))
    return _encoded_with(clip, family, text, dict(enumerate(pictures, 1)))


def _encoded_with(clip: CLIP, family: EncoderFamily, text: str, pictures: Mapping[int, Tensor]) -> Conditioning:
    """The text of one row, encoded with pictures under their numbers, which may have gaps.

    pictures: number in the text, from 1 -> picture, (1, h, w, 3).
    """
    if family.pictures.plain_template:
        template = clip.tokenizer.llama_template
    else:
        # The host's template has a mark for one picture, before the text. It is taken out. Instead, each picture has a
        # mark in the text, after its number: "Picture 1: <mark>Picture 2: <mark>...".
        template = clip.tokenizer.llama_template_images.replace(_VISION, "")
    marks = "".join(_mark(family, number) for number in pictures)
    tokens = clip.tokenize(marks + text, images=list(pictures.values()), llama_template=template)
    return clip.encode_from_tokens_scheduled(tokens)


def _mark(family: EncoderFamily, number: int) -> str:
    """The mark of a picture in a text, after its number where the family has numbers: "Picture 1: <mark>"."""
    name = family.pictures.word.format(number)
    return family.pictures.mark.format(name=name, picture=_VISION)


def with_shown(
    clip: CLIP, family: EncoderFamily, encoder_pictures: Sequence[Tensor], record: PeopleReferences
) -> PeopleReferences:
    """The record, which then says how many tokens of a text show each picture, its mark included (`shown`).

    Pictures behind the last one of a person are not looked at, and keep 0. A text is encoded on trial for each size of
    a picture. encoder_pictures: from pictures_for_encoder(), one of each reference of the record.
    """
    is_of_people = [reference.owner is not None or reference.of_rows for reference in record.references]
    looked_at = max((number for number, is_one in enumerate(is_of_people, 1) if is_one), default=0)
    text = "a"  # any will do
    text_alone = _first_text(_encoded_with(clip, family, text, {}))
    tokens_of_size: dict[torch.Size, int] = {}  # of a picture without its mark
    references = list(record.references)
    for number, picture in enumerate(encoder_pictures[:looked_at], 1):
        size = picture.shape[1:3]
        if size not in tokens_of_size:
            text_with_one = _first_text(_encoded_with(clip, family, text, {1: picture[:1]}))
            added = text_with_one.shape[1] - text_alone.shape[1]
            tokens_of_size[size] = added - _mark_length(clip, family, 1)
        shown = _mark_length(clip, family, number) + tokens_of_size[size]
        references[number - 1] = replace(references[number - 1], shown=shown)
    return replace(record, references=tuple(references))


def _first_text(prompt: Conditioning) -> Tensor:
    """The text of the first entry, (1, T, width)."""
    text, _options = prompt[0]
    return text


def _mark_length(clip: CLIP, family: EncoderFamily, number: int) -> int:
    """How many tokens the mark of a picture has."""
    # llama_template="{}": the mark alone. Such a CLIP has one encoder, to which a mark is one chunk of tokens.
    (chunks,) = clip.tokenize(_mark(family, number), llama_template="{}").values()
    return len(chunks[0])


def _encoded_by_weight(
    clip: CLIP,
    family: EncoderFamily,
    text: str,
    pictures: Sequence[Tensor],
    weights: Sequence[float],
    shown: Sequence[int],
) -> Conditioning:
    """The text of one row as a weighted mean of texts that were encoded with fewer and fewer of its pictures.

    There is a text for each weight of a picture (its level), with the pictures of at least this weight. The share of a
    text in the mean is how much its level lies above the level before. So texts with a picture of weight w have w in
    all, and texts without it 1 - w. With weights of 0.3 and 1: 0.3 of the text with both, 0.7 of the text with one.
    The tokens that show a picture are the mean of the texts that have it; the network reads them by w
    (core/attention/reads.py). weights: of the pictures; those above 1 count as 1. shown: of each picture,
    from with_shown().
    """
    # Texts begin with the same token behind pictures and without them, where a mark ends with a space, too.
    text = text.lstrip("\r\n")
    mark = family.pictures.mark
    text_alone = mark[len(mark.rstrip()) :] + text
    levels = sorted({1.0, *(weight for weight in weights if weight < 1)})
    prompts: list[Conditioning] = []  # of each level
    for level in levels:
        pictures_in_text = {number: pictures[number - 1] for number, weight in enumerate(weights, 1) if weight >= level}
        prompts.append(_encoded_with(clip, family, text if pictures_in_text else text_alone, pictures_in_text))
    # The text of the lowest level has all pictures, and so all T tokens. A text has those of at least its level.
    levels_of_tokens = torch.ones(_first_text(prompts[0]).shape[1], dtype=torch.float64)  # (T,)
    levels_of_tokens[: sum(shown)] = torch.tensor(weights, dtype=torch.float64).repeat_interleave(torch.tensor(shown))
    mixed: Conditioning = []
    for entry_of_levels in zip(*prompts, strict=True):
        texts = [text_of_level for text_of_level, _ in entry_of_levels]
        _, options = entry_of_levels[0]
        mixed.append([_mean_of_levels(texts, levels, levels_of_tokens), options])
    return mixed


def _mean_of_levels(texts: Sequence[Tensor], levels: Sequence[float], levels_of_tokens: Tensor) -> Tensor:
    """The weighted mean of texts, (1, T, width). A token's mean is that of the texts that have it.

    texts: of each level, with those of the T tokens whose own level, (T,), is no lower, (1, up to T, width).
    """
    mean = torch.zeros_like(texts[0])  # the lowest level has all T tokens
    shares = torch.zeros(len(levels_of_tokens), 1, dtype=torch.float32)  # the sum of the shares of each token
    for text, (level_before, level) in zip(texts, pairwise([0.0, *levels]), strict=True):
        is_there = levels_of_tokens >= level
        share = level - level_before
        mean[:, is_there] += share * text
        shares[is_there] += share
    return mean / shares.to(mean)  # a sum of shares is 1, and less for tokens that some texts lack


_METHOD = "reference_latents_method"
"""The host's own option of a CONDITIONING entry: by which method the network gives positions to references."""


def with_references(prompt: Conditioning, record: PeopleReferences, family: EncoderFamily) -> Conditioning:
    """An encoded prompt with the latents of a record as its reference latents, put in as the host's nodes do.

    A record without references is put in, too. Where each person has a row of the batch (a RowCast), sampling raises
    BadCast for a batch of another number of rows.
    """
    options: dict[str, Any] = {REFERENCES: record}
    if record.references:
        options[LATENTS] = [reference.latent for reference in record.references]
        if family.pictures.method:
            options[_METHOD] = family.pictures.method
        if record.cast.by_row and record.cast.people:
            options["model_conds"] = {_ROWS: _Rows(len(record.cast.people))}
    return conditioning_set_values(prompt, options)


_ROWS = "likeness_reference_rows"
"""Among the model_conds of an entry: its _Rows."""


class _Rows(comfy.conds.CONDConstant):
    """A COND whose value is the number of rows that references are for.

    For a batch of another number of rows the host would repeat some rows or drop them, so sampling is stopped.
    """

    def process_cond(self, batch_size: int, **_: Any) -> "_Rows":
        if batch_size != self.cond:
            raise rows_missing(NAME, self.cond, "the latent", batch_size)
        return self
