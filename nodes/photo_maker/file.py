"""A PhotoMaker file on the host, and the prompt with people in its class words, each read in a part of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import comfy.clip_model
import comfy.clip_vision
import comfy.lora
import torch
from comfy.sd import CLIP
from torch import Tensor

from ...bridge import load
from ...bridge.carried import put
from ...bridge.conditioning import Canvas, Conditioning, changed_at
from ...bridge.load import Loaded
from ...bridge.regional_text import silent, standing_at
from ...core.errors import WrongBaseModel, listed
from ...core.identities import embeddings, portraits
from ...core.inputs import unusable_text
from ...core.methods import method
from ...core.models.tensors import State, below
from ...core.people import Person
from ...core.text import plain
from . import net
from .net import PhotoMakerNet, own_names

METHOD = method("photo_maker")
FILE = load.Published.of(METHOD, "PhotoMaker adapter")
_HEAD_DIM = 64


class PhotoMaker(Loaded[PhotoMakerNet]):
    """A loaded PhotoMaker file. lora: for the attention of an SDXL UNet, by the names that the host's loader knows."""

    def tokens(self, person: Person) -> Tensor:
        """(n, width) float32 on the CPU, photo after photo.

        Raises PortraitsMissing; for v2 RecogniserMissing, BadEmbedding.
        """
        pixels = comfy.clip_vision.clip_preprocess(portraits(person.identity, METHOD.title).loose / 255)
        v2 = self.net.qformer_perceiver is not None
        faces = self.beside(embeddings(person, METHOD, "sequence")) if v2 else None
        return self.net.tokens(self.beside(pixels), faces).flatten(0, 1).cpu()

    def fused(self, text: Tensor, place: int, tokens: Tensor, weight: float) -> Tensor:
        """A text (1, T, width) whose class words from `place` on are fused with as many tokens."""
        here = slice(place, place + len(tokens))
        word, seen = map(self.beside, (text[0, here], tokens))
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
    patcher = FILE.build(path, partial(PhotoMakerNet, vision=_vision), {**own_names(encoder), **lora})
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


SAME_CLIP = "Use the CLIP of an SDXL checkpoint."
_ENCODERS = {"g", "l"}


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
    found = net.find(read, mark, trigger, [person.identity.name for person in people])
    said = {n: loaded.tokens(person) for n, person in enumerate(people) if person.weight > 0}
    copies = [len(said[n]) if n in said else 1 for n in range(len(people))]
    single, _ = net.laid_out(found, [1] * len(people), nothing)
    copied, places = net.laid_out(found, copies, nothing)
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
