"""Tiny transformers of every family with their text encoders, and people with LoRAs on them."""

import re
from dataclasses import replace
from functools import cache

import torch
from families import RECORDS
from hidden_text import without_common
from pack.core.cast import Lora, PlacedCast
from peers import apply
from safetensors.torch import save_file
from tiny import lora_made, people_made, tiny_dits

import nodes as host_nodes

WIDTH, HEIGHT = 128, 96  # 8 x 6 tokens
PICTURE = 48
TOLERANCE = 1e-5
EVERYWHERE, NOWHERE = torch.ones(1, HEIGHT, WIDTH), torch.zeros(1, HEIGHT, WIDTH)
NOWHERE[:, :1, :1] = 1e-4  # a mask of nobody is refused; less than the least weight of a token
EVERY_LAYER = "llm_adapter"
"""What is left out where each row of a batch is one person's: what reads the prompt before the forward."""
COMMON = "two people in a park"
"""The common text."""


class Setting:
    """A family's MODEL, its text encoder, and LoRAs of people.

    left_out: in the names of layers that the LoRAs do not have. shape: changes of the network's configuration.
    """

    def __init__(self, family, model=None, left_out="", **shape):
        self.family = family
        self.record = RECORDS[family]
        self.clip = self.record.clip()
        self.model = model or self.record.model(**shape)
        shapes = linear_layers(self.model, left_out or self.record.without_place)
        numbers = sum(out_width * in_width for out_width, in_width in shapes.values())
        self.files = []
        for seed in (11, 12, 13):
            name = f"{family} {len(shapes)} {numbers} {seed}.safetensors".lower()
            self.files.append(saved(name, tensors(shapes, seed)))

    def text(self, words):
        """As CLIP Text Encode gives it."""
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(words))

    def own_text(self, words):
        """A person's words, with the pooled vector of the common text, which FLUX.1 reads for a whole forward."""
        ((_, of_common),), ((text, options),) = self.text(COMMON), self.text(words)
        return [[text, {**options, "pooled_output": of_common["pooled_output"]}]]

    def hidden(self):
        """The MODEL, on which nobody reads the common text."""
        return without_common(self.model, self.family, self.text(COMMON), PICTURE)

    def merged(self, file, strength=1.0):
        """The MODEL with a LoRA that the host's loader has merged."""
        return host_nodes.LoraLoader().load_lora(self.model, None, file, strength, strength)[0]

    def applied(self, kind, cast, model=None, sides=None, **changed):
        """What one of our nodes gives. sides: positive and negative, instead of the common text and another."""
        positive, negative = sides or (self.text(COMMON), self.text("blurred"))
        given = {"model": model or self.model, "positive": positive, "negative": negative, "clip": self.clip}
        return apply(kind, **{**given, "cast": cast, **changed})

    def sample(self, applied, start=None, cfg=1.0, rows=1, **more):
        start = tiny_dits.latent(self.family, WIDTH, HEIGHT, rows=rows) if start is None else start
        return tiny_dits.sample(*applied, start, cfg=cfg, **more)


@cache
def setting_of(family, left_out=""):
    return Setting(family, left_out=left_out)


def linear_layers(model, left_out):
    """Name -> (out, in)."""
    found = {}
    for name, module in model.model.diffusion_model.named_modules():
        if hasattr(module, "in_features") and not re.search(left_out, name):
            found[name] = module.out_features, module.in_features
    return found


def tensors(shapes, seed, prefix="diffusion_model."):
    """A LoRA of rank 3 in each of these layers, of a size that changes the picture."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, (out_width, in_width) in sorted(shapes.items()):
        down = torch.randn(3, in_width, generator=generator) / in_width**0.5
        up = torch.randn(out_width, 3, generator=generator) * 0.15
        state[f"{prefix}{name}.lora_A.weight"], state[f"{prefix}{name}.lora_B.weight"] = down, up
    return state


def saved(name, state):
    save_file({key: value.contiguous() for key, value in state.items()}, lora_made.folder() / name)
    return name


WORDS = "a woman with red hair", "a man with a beard"


def cast(*files, words=WORDS):
    """Two people side by side, or one, with a LoRA and its words each."""
    there = people_made.cast([(32.0, 48.0), (96.0, 48.0)], WIDTH, HEIGHT).people
    people = []
    for member, file, own_words in zip(there, files, words, strict=False):
        people.append(replace(member, person=replace(member.person, loras=(Lora(file, 1.0, own_words),))))
    return PlacedCast(tuple(people), WIDTH, HEIGHT)


def put_on(setting, who, mask, model=None, **changed):
    """LoRA per Person."""
    return setting.applied("LikenessLoRAPerPerson", who, model, **{"mask": mask, **changed})
