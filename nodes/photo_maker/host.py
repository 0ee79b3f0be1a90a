"""PhotoMaker on the host: the loaded file, people fused with their class words, and the LoRA that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import comfy.clip_model
import comfy.clip_vision
import comfy.lora
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from torch import Tensor

from ...bridge import load
from ...bridge.carried import put
from ...bridge.conditioning import Canvas, Conditioning, changed_at
from ...bridge.regional_text import silent, standing_at
from ...core.errors import WrongBaseModel, listed
from ...core.identities import combine, portraits
from ...core.inputs import unusable_text
from ...core.methods import method
from ...core.models import manifest
from ...core.models.tensors import State, below
from ...core.people import Person
from ...core.text import plain
from . import words
from .net import METHOD, RECOGNISER, PhotoMakerNet

FORMATS = tuple(one.id for one in method("photo_maker").formats)
FILE = load.Published(METHOD, "PhotoMaker adapter", manifest.model("photo-maker"), FORMATS)
SAME_CLIP = "Use the CLIP of an SDXL checkpoint."
_ENCODERS, _HEAD_DIM = {"g", "l"}, 64


@dataclass(frozen=True)
class PhotoMaker:
    """A loaded PhotoMaker file. `patcher` holds a core.photo_maker.net.PhotoMakerNet; the host finds it by this name.

    lora: for the attention of an SDXL UNet, by the names that the host's own loader knows.
    """

    patcher: ModelPatcher
    lora: State

    @property
    def net(self) -> PhotoMakerNet:
        return self.patcher.model

    def tokens(self, person: Person) -> Tensor:
        """(n, width) float32 on the CPU, photo after photo.

        Raises PortraitsMissing; for v2 RecogniserMissing, BadEmbedding.
        """
        pixels = comfy.clip_vision.clip_preprocess(portraits(person.identity, METHOD).loose / 255)
        faces = None
        if self.net.qformer_perceiver is not None:
            faces = load.on_device(self.patcher, combine(person.identity, RECOGNISER, "sequence", f"{METHOD} v2"))
        return self.net.tokens(load.on_device(self.patcher, pixels), faces).flatten(0, 1).cpu()

    def fused(self, text: Tensor, place: int, tokens: Tensor, weight: float) -> Tensor:
        """A text (1, T, width) whose class words from `place` on are fused with as many tokens."""
        here = slice(place, place + len(tokens))
        word, seen = (load.on_device(self.patcher, x) for x in (text[0, here], tokens))
        fused = text.clone()
        fused[0, here] = word.lerp(self.net.fuse_module(word, seen), weight).to(text)
        return fused


def load_photo_maker(path: str) -> PhotoMaker:
    """Read photomaker-v1.bin, photomaker-v2.bin or a safetensors copy of one.

    Raises UnsupportedCheckpoint, naming what the file is instead.
    """
    state = FILE.read(path)
    encoder, lora = (below(part, state) for part in ("id_encoder.", "lora_weights."))
    encoder.pop("vision_model.embeddings.position_ids", None)  # some versions of transformers save this count
    patcher = FILE.build(path, partial(PhotoMakerNet, vision=_vision), {**encoder, **lora})
    return PhotoMaker(patcher, lora)


def _vision(state: State, *, ops: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The host's CLIP vision transformer of these weights' sizes."""
    width, _, patch, _ = state["embeddings.patch_embedding.weight"].shape
    cells = len(state["embeddings.position_embedding.weight"]) - 1
    config = {
        "model_type": "clip_vision_model", "hidden_act": "quick_gelu", "num_channels": 3, "hidden_size": width,
        "num_attention_heads": width // _HEAD_DIM, "patch_size": patch, "image_size": patch * round(cells**0.5),
        "intermediate_size": len(state["encoder.layers.0.mlp.fc1.bias"]),
        "num_hidden_layers": sum(key.endswith("mlp.fc1.bias") for key in state),
    }  # fmt: skip
    return comfy.clip_model.CLIPVision(config, dtype, device, ops)


def lora_weights(loaded: PhotoMaker, model: ModelPatcher) -> dict[str, str]:
    """The names of the layers in a file's LoRA -> the MODEL's. Raises WrongBaseModel where one finds no layer."""
    weights = comfy.lora.model_lora_keys_unet(model.model, {})
    layers = sum(key.endswith("up.weight") for key in loaded.lora)
    found = len(comfy.lora.load_lora(dict(loaded.lora), weights, False))
    if found != layers:
        name = type(model.model.model_config).__name__
        advice = "Use a MODEL with SDXL's own layout: SDXL, Turbo, Lightning, LCM and their fine-tunes."
        raise WrongBaseModel(f"The LoRA in this {METHOD} file", f"{layers} layers", f"{found} ({name})", advice)
    return weights


class Prompt(NamedTuple):
    """The plain words of a prompt, and the same with class words fused; where in the second those of everybody heard
    stand, and how many."""

    plain: Conditioning
    fused: Conditioning
    stand: tuple[tuple[int, int], ...]


def prompt(loaded: PhotoMaker, clip: CLIP, text: str, trigger: str, people: Sequence[Person]) -> Prompt:
    """Of `people`, whose class words stand in the text in their order, a trigger behind each.

    Those at weight 0 have plain words. Raises BadTrigger, TooManyPhotos, WrongBaseModel, BadPicture for weights that no
    text can have, and what `PhotoMaker.tokens` raises.
    """
    read, mark, nothing = (clip.tokenize(each, return_word_ids=True) for each in (text, trigger, ""))
    if read.keys() != _ENCODERS:
        found, wanted = (f"text encoders {listed(sorted(each))}" for each in (read, _ENCODERS))
        raise WrongBaseModel("The CLIP", f"another family ({found})", f"SDXL's ({wanted})", SAME_CLIP)
    found = words.find(read, mark, trigger, [person.identity.name for person in people])
    said = {n: loaded.tokens(person) for n, person in enumerate(people) if person.weight > 0}
    copies = [len(said[n]) if n in said else 1 for n in range(len(people))]
    single, _ = words.laid_out(found, [1] * len(people), nothing)
    copied, places = words.laid_out(found, copies, nothing)
    before, after = (clip.encode_from_tokens_scheduled(each) for each in (single, copied))
    if not all(x.isfinite().all() for context, options in before for x in (context, options["pooled_output"])):
        raise unusable_text(f"The text {plain(text, 60)!r}")
    for n, tokens in said.items():
        weight = people[n].weight
        after = [[loaded.fused(context, places[n], tokens, weight), options] for context, options in after]
    return Prompt(before, after, tuple((places[n], copies[n]) for n in said))


def by_region(
    said: Prompt, negative: Conditioning, start_percent: float, regions: Tensor | None, canvas: Canvas
) -> tuple[Conditioning, Conditioning]:
    """Positive and negative: the plain words, and from `start_percent` of the schedule on the fused ones.

    ControlNets read the plain words at every step, as in the released photomaker/pipeline_controlnet.py.

    regions: (people, H, W) where those who are heard are, or None: everywhere.
    """
    before, after = (_control_nets_read(said.plain, side) for side in (said.plain, said.fused))
    negative = _control_nets_read(negative, negative)
    for (place, count), region in zip(said.stand, () if regions is None else regions, strict=regions is not None):
        text = standing_at(place, count, region, canvas)
        before, after, negative = put(before, silent(text)), put(after, text), put(negative, silent(text))
    pairs = zip(before, after, strict=True)
    return [entry for pair in pairs for entry in changed_at(*pair, start_percent)], negative


def _control_nets_read(words: Conditioning, side: Conditioning) -> Conditioning:
    """A side whose ControlNets read these texts instead, except where another node has given them others."""
    pairs = zip(words, side, strict=True)
    return [[text, {"cross_attn_controlnet": read, **options}] for (read, _), (text, options) in pairs]
