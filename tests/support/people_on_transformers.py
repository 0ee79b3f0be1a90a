"""A MODEL of every family of transformers, its text encoder, LoRAs for people, and our nodes on it."""

from __future__ import annotations

from functools import cache
from typing import Any

import lora_made
import tiny_dits
import torch
from comfy.model_patcher import ModelPatcher
from hidden_text import without_common
from pack.bridge.loras.on_transformers import has_place, is_in_forward
from pack.bridge.networks.families import TransformerFamily
from pack.bridge.networks.model_family import transformer_family
from peers import apply
from safetensors.torch import save_file
from torch import Tensor
from transformer_loras import CLIPS, with_pooled_of

import nodes as host_nodes

COMMON = "close portrait of a person"
"""The common text."""


class TransformerSetting:
    """A family's MODEL, its text encoder, and LoRAs in all of its layers.

    files: names of LoRAs in every layer of a forward, those of the time step too. files_with_places: of LoRAs in the
    layers that are given tokens of text or picture.
    """

    def __init__(self, family: str) -> None:
        make_encoder, changes = CLIPS[family]
        self.family = family
        self.clip = make_encoder()
        self.model = tiny_dits.model(family, **changes)
        self.files = [self._lora(seed, everywhere=True) for seed in (11, 12, 13)]
        self.files_with_places = [self._lora(seed, everywhere=False) for seed in (14, 15)]

    def _lora(self, seed: int, everywhere: bool) -> str:
        """The name of a LoRA file of rank 3."""
        known = transformer_family(self.model.model)
        assert isinstance(known, TransformerFamily)
        generator = torch.Generator().manual_seed(seed)
        state: dict[str, Tensor] = {}
        for name, module in self.model.model.diffusion_model.named_modules():
            if not hasattr(module, "in_features"):
                continue
            if not (is_in_forward if everywhere else has_place)(known, name):
                continue
            down = torch.randn(3, module.in_features, generator=generator) / module.in_features**0.5
            up = torch.randn(module.out_features, 3, generator=generator) * 0.1
            state[f"diffusion_model.{name}.lora_A.weight"] = down
            state[f"diffusion_model.{name}.lora_B.weight"] = up
        file = f"{self.family} {seed} of people.safetensors".lower()
        save_file(state, lora_made.folder() / file)
        return file

    def text(self, words: str) -> list[Any]:
        """As CLIP Text Encode gives it."""
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(words))

    def own_text(self, words: str) -> list[Any]:
        """A text with the pooled vector of the common one, which FLUX.1 reads for a whole forward."""
        return with_pooled_of(self.text(COMMON), self.text(words))

    def hidden(self, picture: int) -> ModelPatcher:
        """The MODEL, on which nobody reads the common text. picture: its tokens."""
        return without_common(self.model, self.family, self.text(COMMON), picture)

    def applied(self, kind: str, cast: Any, model: Any = None, sides: Any = None, **changed: Any) -> Any:
        """What one of our nodes gives. sides: positive and negative, instead of the common text and another."""
        positive, negative = sides or (self.text(COMMON), self.text("blurred"))
        given = {"model": model or self.model, "positive": positive, "negative": negative, "clip": self.clip}
        return apply(kind, **given, cast=cast, feather=0, **changed)

    def sample(self, applied: Any, start: Tensor, cfg: float = 1.0) -> Tensor:
        return tiny_dits.sample(*applied, start, cfg=cfg)

    def merged(self, file: str) -> ModelPatcher:
        """The MODEL with a LoRA that the host's loader has merged."""
        return host_nodes.LoraLoader().load_lora(self.model, None, file, 1.0, 1.0)[0]


@cache
def setting_of(family: str) -> TransformerSetting:
    return TransformerSetting(family)
