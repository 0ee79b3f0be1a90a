"""LoRA per Person in the real host: beside Load LoRA and beside plain torch, of every kind, and what is left behind."""

from __future__ import annotations

import lora_made
import photo_maker_made
import pytest
import tiny_sdxl
import torch
from figures import relative
from instant_id_run import HEIGHT, WIDTH, halves, sample, text
from pack.core.people import Person, PlacedCast
from peers import apply

import nodes as host_nodes

ALMOST = 1e-5
LATENT = {"size": (WIDTH, HEIGHT), "steps": 2}


@pytest.fixture(scope="module")
def model():
    return tiny_sdxl.host_model(tiny_sdxl.diffusers_unet())


def theirs(model, file, strength=1.0, clip=None):
    return host_nodes.LoraLoader().load_lora(model, clip, file, strength, strength)


def given(file, strength=1.0, words="", before=None):
    return apply("LikenessAddLora", identity=before, lora=file, strength=strength, words=words, name="")[0]


def cast_of(*people, cast=None):
    """People in the places of another cast."""
    there = (cast or halves()).people
    members = tuple(Person(one, slot=place.slot) for one, place in zip(people, there, strict=False))
    return PlacedCast(members, WIDTH, HEIGHT)


def put_on(model, cast, positive=None, negative=None, **changed):
    both = {"positive": positive or [text(1)], "negative": negative or [text(2)], "clip": photo_maker_made.clip()}
    return apply("LikenessLoraPerPerson", model=model, **both, cast=cast, **{"feather": 0, **changed})


@pytest.mark.parametrize("kind", lora_made.KINDS)
def test_one_person_everywhere_is_load_lora(model, kind):
    """Over a whole sampling, in every layer, convolutions too."""
    file = lora_made.file(model, kind)
    ours, plain = sample(*put_on(model, given(file, 0.7)), **LATENT), sample(model, [text(1)], [text(2)], **LATENT)
    true = sample(theirs(model, file, 0.7)[0], [text(1)], [text(2)], **LATENT)
    off = relative(ours, true)
    assert off <= ALMOST and relative(plain, true) > 1e-2
    assert torch.equal(sample(model, [text(1)], [text(2)], **LATENT), plain)


def left_half():
    return halves().people[0].slot.mask > 0.5


def apart(grid):
    height, width = grid
    return (torch.arange(width) < width // 2).expand(height, width).flatten()


def test_in_the_first_layer_each_half_is_its_lora_alone(model):
    """What the first layer gives, a convolution, and what the first cross-attention gives of the same picture."""
    one, two = (lora_made.file(model, seed=n, words=("input_blocks.0.0",)) for n in (1, 2))
    first, seen = model.model.diffusion_model.input_blocks[0][0], {}

    def given_by(key, made):
        handle = first.register_forward_hook(lambda module, args, out: seen.setdefault(key, out))
        sample(*made, steps=1)
        handle.remove()

    given_by("both", put_on(model, cast_of(given(one), given(two))))
    for key, file in (("one", one), ("two", two)):
        given_by(key, (theirs(model, file)[0], [text(1)], [text(2)]))
    left = apart(seen["both"].shape[-2:])
    both, alone, other = (seen[key].flatten(2) for key in ("both", "one", "two"))
    assert relative(both[..., left], alone[..., left]) <= ALMOST
    assert relative(both[..., ~left], other[..., ~left]) <= ALMOST
    assert relative(both[..., left], other[..., left]) > 1e-2
