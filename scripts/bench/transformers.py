"""People on diffusion transformers, by a prompt or a LoRA for each person: to be counted or timed.

In the host's networks at their published sizes, with random weights or as shapes alone. A step is a forward without
CFG. The people have a strip of the picture each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import torch
from pack.bridge.references import by_prefix
from pack.bridge.words.transformer import prefix as words_by_prefix
from pack.core.cast import Lora, Member, PlacedCast
from tiny import lora_made, people_made, tiny_dits, tiny_networks
from tiny.seeded import normal
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from .figures import Applied, Way
from .unets import filled, hollow, prompts, run, shapes_alone, strips, unet

SIDE = 1024
"""Width and height of the picture in pixels where nothing else is said."""
RANK = 16
DTYPE = torch.bfloat16
LORA_LAYERS = (
    ".attn.", "_attn.", ".attention.", "_mlp.", ".mlp.gate", ".mlp.up", ".mlp.down", ".feed_forward.", ".linear1",
    ".linear2", ".mlp.layer",
)  # fmt: skip
"""Words in the names of attention and feed-forward layers of every family."""


@dataclass(frozen=True)
class Transformer:
    """A published model.

    family: as in core.families. network: the host's configuration, where it differs from the tiny network of this
    family in the tests. text_width: of a token of its text encoder. text_tokens: how many its text encoder gives for a
    prompt of usual length.
    """

    name: str
    family: str
    network: Mapping[str, Any]
    text_width: int
    text_tokens: int

    @property
    def settings(self) -> dict[str, Any]:
        """The host's configuration of its network."""
        _, tiny = tiny_dits.CONFIGS[self.family]
        return {**tiny, **self.network}

    @property
    def model_class(self) -> Any:
        """The host's class for its family."""
        name, _ = tiny_dits.CONFIGS[self.family]
        return tiny_networks.host_class(name, self.settings)


def _published() -> tuple[Transformer, ...]:
    published: dict[str, Any] = json.loads(Path(__file__).with_name("transformers.json").read_text("utf-8"))
    models = (Transformer(name, **settings) for name, settings in published.items())
    return tuple(model for model in models if model.family in tiny_dits.CONFIGS)


PUBLISHED = _published()
"""Those that this ComfyUI has."""


def tiny() -> tuple[Transformer, ...]:
    """A transformer of every family, as small as in the tests."""
    models: list[Transformer] = []
    for family in (*tiny_dits.EVERY, *tiny_dits.NEWER):
        settings = tiny_dits.CONFIGS[family][1]
        width = settings["txtlayers"] * settings["txtdim"] if family == tiny_dits.KREA_2 else tiny_dits.TEXT
        models.append(Transformer(f"small {family}", family, {}, width, text_tokens=7))
    return tuple(models)


class TextEncoder:
    """In the place of a CLIP: it gives random texts of the size of a transformer's own."""

    def __init__(self, transformer: Transformer) -> None:
        self._transformer = transformer
        self.cond_stage_model = nn.Module()  # no LoRA changes it
        self.patcher = None  # nor is it asked for the sizes of its layers

    def clone(self) -> TextEncoder:
        return self

    def add_patches(self, patches: Mapping[str, Any], _strength: float) -> None:
        assert not patches

    def tokenize(self, words: str) -> str:
        return words

    def encode_from_tokens_scheduled(self, words: str, show_pbar: bool) -> list[list[Any]]:
        """One entry, for all of the schedule."""
        assert not show_pbar
        return [[normal(len(words), 1, self._transformer.text_tokens, self._transformer.text_width), {}]]


class Network:
    """A transformer in the host, and what our nodes are connected to.

    model: the host's MODEL of it. side: width and height of the picture in pixels.
    """

    def __init__(self, transformer: Transformer, model: comfy.model_patcher.ModelPatcher, side: int = SIDE) -> None:
        self.transformer = transformer
        self.clip = TextEncoder(transformer)
        self.settings = transformer.settings
        self.model = model
        self.side = side

    @property
    def title(self) -> str:
        return self.transformer.name

    def plain(self) -> Applied:
        """Without people."""
        sides = self.sides()
        return Applied(self.model, sides["positive"], sides["negative"])

    def text(self, seed: int, more_tokens: int = 0, **options: Any) -> list[list[Any]]:
        """A prompt as the text encoder gives it."""
        tokens = normal(seed, 1, self.transformer.text_tokens + more_tokens, self.transformer.text_width)
        pooled = normal(seed, 1, self.settings.get("vec_in_dim") or 1)
        return [[tokens, {"pooled_output": pooled, **options}]]

    def sides(self) -> dict[str, list[list[Any]]]:
        """Positive and negative."""
        return {"positive": self.text(1), "negative": self.text(2)}

    @cached_property
    def lora(self) -> str:
        """The name of a file."""
        dtype = self.model.model.get_dtype()
        return lora_made.file(self.model, words=LORA_LAYERS, rank=RANK, dtype=dtype)

    def sampled(self, applied: Applied, steps: int, **options: Any) -> Tensor:
        """The latent after so many of the host's Euler steps without CFG. options: of the host's sampler."""
        start = tiny_dits.latent(self.transformer.family, self.side, self.side, rows=applied.rows)
        sides = applied.positive, applied.negative
        return tiny_dits.sample(applied.model, *sides, start, steps=steps, cfg=1.0, **options)


def for_counting(transformer: Transformer) -> Network:
    """It computes in shapes alone, and no weight takes memory."""
    model = unet(transformer.model_class, transformer.settings, DTYPE)
    hollow(model)
    # Both have numbers, which are needed.
    model.latent_format = type(model.latent_format)()
    model.model_sampling = comfy.model_base.model_sampling(model.model_config, model.model_type)
    shapes_alone(model.diffusion_model)
    _with_numbers(model.diffusion_model)
    cpu = torch.device("cpu")
    return Network(transformer, _InRoom(model, load_device=cpu, offload_device=cpu))


class _InRoom(comfy.model_patcher.ModelPatcher):
    """As if there were memory for all rows at once, and for whatever is kept from step to step."""

    def get_free_memory(self, device: Any) -> int:
        return 2**50


_WITH_SPLITS = by_prefix.PrefixReferencesBatch, words_by_prefix.WordsReading
"""What works out in the first forward, from the numbers of tensors, how the picture reads people's prefixes."""


def _with_numbers(network: nn.Module) -> None:
    """Let _WITH_SPLITS have numbers in a network of shapes alone."""
    forward = network.forward

    def called(*inputs: Any, **named: Any) -> Any:
        with ExitStack() as stack:
            for owner in _WITH_SPLITS:
                stack.enter_context(patch.object(owner, "made_split", _in_numbers(owner.made_split)))
            return forward(*inputs, **named)

    network.forward = called


def _in_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*inputs: Any) -> Any:
        with unset_fake_temporarily():
            split = function(*inputs)
            split.on(torch.device("cpu"))  # it keeps that
            return split

    return called


def for_timing(transformer: Transformer, side: int = SIDE, dtype: torch.dtype = DTYPE) -> Network:
    """With random weights on the device where the host computes. They stay there: nothing is moved to the CPU and back
    between two figures."""
    device = comfy.model_management.get_torch_device()
    torch.manual_seed(0)
    model = transformer.model_class({**transformer.settings, "dtype": dtype}).get_model({}, device=device)
    filled(model.diffusion_model)
    return Network(
        transformer, comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device), side
    )


def cast(people: int, side: int, loras: tuple[Lora, ...] = ()) -> PlacedCast:
    """People beside each other in a picture of this side in pixels, with these LoRAs each."""
    width = side / people
    people_with_loras: list[Member] = []
    for number in range(people):
        slot = people_made.standing(width * (number + 0.5), side / 3, side / 12)
        member = people_made.a_member(number + 1, slot=slot)
        people_with_loras.append(replace(member, person=replace(member.person, loras=loras)))
    return PlacedCast(tuple(people_with_loras), side, side)


def _applied(node: str, network: Network, people: PlacedCast, **inputs: Any) -> Applied:
    mask = strips(len(people.people), network.side, network.side)
    outputs = run(node, model=network.model, clip=network.clip, cast=people, mask=mask, **network.sides(), **inputs)
    model, positive, negative = outputs
    return Applied(model, positive, negative)


def prompt_per_person(network: Network, people: int) -> Applied:
    placed = cast(people, network.side)
    return _applied("LikenessPromptPerPerson", network, placed, **prompts(placed))


def lora_per_person(network: Network, people: int, words: str = "") -> Applied:
    """words: that belong to each person's LoRA."""
    people_with_loras = cast(people, network.side, (Lora(network.lora, 1.0, words),))
    return _applied("LikenessLoRAPerPerson", network, people_with_loras)


def masked_prompts(network: Network, people: int) -> Applied:
    """The host's own way: a common prompt, and a prompt with a mask for each person. Its LoRA hooks need as many
    forwards."""
    positive = network.text(1)
    for number, mask in enumerate(strips(people, network.side, network.side)):
        positive += network.text(3 + number, mask=mask[None], mask_strength=1.0, set_area_to_bounds=False)
    return Applied(network.model, positive, network.text(2))


ON_TRANSFORMERS = {
    "prompt_per_person": Way("**Prompt per Person**", prompt_per_person),
    "lora_per_person": Way("**LoRA per Person**", lora_per_person),
    "lora_per_person_with_words": Way("**LoRA per Person** with words", partial(lora_per_person, words="a red coat")),
    "masked_prompts": Way("ComfyUI's masks", masked_prompts),
}
