"""A PhotoMaker file on the host: its networks, and the LoRA that belongs to it."""

from __future__ import annotations

from functools import partial
from typing import Any

import comfy.clip_model
import comfy.clip_vision
import comfy.lora
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...bridge import load
from ...bridge.load import Loaded
from ...core.errors import WrongBaseModel
from ...core.identities import embeddings, portraits
from ...core.methods import method
from ...core.models.tensors import State, below
from ...core.people import Person
from .net import PhotoMakerNet

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
        raise WrongBaseModel(f"The LoRA in this {METHOD.title} file", f"{layers} layers", f"{found} ({name})", advice)
    return weights
