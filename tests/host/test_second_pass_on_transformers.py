"""Where a latent is changed, in the real host: a second pass on a larger one, and another face in a photo."""

from dataclasses import replace

import comfy.sample
import comfy.samplers
import marks
import pytest
import torch
from figures import relative
from marks import WITH_REFERENCES, families
from pack.core.cast import PlacedCast, RowCast, Slot
from pack.core.places import group
from peers import apply
from people_on_one_model import (
    APART,
    by_lora,
    by_words,
    cast,
    of_family,
    replace_words,
)
from tiny import people_made, tiny_dits
from tiny.tiny_dits import FLUX_2, QWEN
from transformer_loras import (
    HEIGHT,
    TOLERANCE,
    WIDTH,
)

import nodes as host_nodes

pytestmark = marks.transformers
CROP = 128


@pytest.fixture(params=WITH_REFERENCES)
def setting(request):
    return of_family(request.param)


def referring(setting, people, model=None):
    """What People as References gives for rows of Crop Faces: model, positive, negative."""
    vae = setting.record.vae()
    given = {"clip": setting.clip, "vae": vae, "cast": RowCast(people, CROP, CROP), "negative_prompt": "rain"}
    positive, negative, _text, model_out = apply(
        "LikenessPeopleAsReferences", **given, model=model or setting.model, size=128, pictures=None
    )
    return model_out, positive, negative


def denoised(setting, applied, photo, mask, noise):
    """A picture changed within a mask, as a sampler with Set Latent Noise Mask does."""
    sigmas = comfy.samplers.calculate_sigmas(setting.model.get_model_object("model_sampling"), "simple", 4)[1:]
    euler = comfy.samplers.sampler_object("euler")
    return comfy.sample.sample_custom(
        applied[0], noise, 3.0, euler, sigmas, *applied[1:], photo, noise_mask=mask, seed=0, disable_pbar=True
    )


def graph_of_all(setting, times=1, without=""):
    """MODEL, positive and negative behind People as References, Prompt per Person and LoRA per Person.

    times: how many times as wide and high the canvas and the masks are. without: the letter of a node that is left out:
    words, LoRAs, or references that only their person's region reads.
    """
    who = replace_words(cast(setting))
    people = []
    for member in who.people:
        spot = member.slot
        people.append(replace(member, slot=Slot((spot.center[0] * times, spot.center[1] * times))))
    who = PlacedCast(tuple(people), WIDTH * times, HEIGHT * times)
    masks = APART.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
    vae = setting.record.vae()
    given = {"clip": setting.clip, "vae": vae, "cast": who, "negative_prompt": "rain", "pictures": None, "mask": masks}
    strength = 0.0 if "r" in without else 1.0
    positive, negative, _text, model = apply(
        "LikenessPeopleAsReferences", **given, model=setting.model, region_strength=strength
    )
    made = model, positive, negative
    if "w" not in without:
        made = by_words(setting, *made, who, masks)[:3]
    if "l" not in without:
        made = by_lora(setting, *made, who, masks)[:3]
    return made


def second_pass(made, small):
    """The second KSampler of a graph, on the enlarged latent of the first one."""
    larger = host_nodes.LatentUpscaleBy().upscale({"samples": small}, "nearest-exact", 2.0)[0]
    sampled = host_nodes.KSampler().sample(made[0], 5, 4, 3.0, "euler", "simple", *made[1:], larger, denoise=0.5)
    return sampled[0]["samples"]


@pytest.mark.thorough
@pytest.mark.parametrize("family", [FLUX_2, QWEN])
def test_in_a_second_pass_on_a_larger_latent_everybody_keeps_their_own(family):
    """Words, LoRAs and references of two people: the graph of the first pass gives there what a graph of that size
    gives."""
    setting = of_family(family)
    made = graph_of_all(setting)
    small = tiny_dits.latent(family, WIDTH, HEIGHT)
    first = host_nodes.KSampler().sample(made[0], 4, 2, 3.0, "euler", "simple", *made[1:], {"samples": small})
    small = first[0]["samples"]
    found = second_pass(made, small)
    assert found.shape[-1] == 2 * small.shape[-1]
    assert relative(found, second_pass(graph_of_all(setting, times=2), small)) <= TOLERANCE
    for letter in "wlr":
        other = second_pass(graph_of_all(setting, without=letter), small)
        assert relative(other, found) > 100 * TOLERANCE, f"it is as without {letter}"


@families("setting", FLUX_2, of=tiny_dits.REFERENCES)
def test_faces_are_changed_each_by_its_own_reference_and_nothing_outside_the_mask(setting):
    people = tuple(people_made.a_member(n, slot=slot) for n, slot in enumerate(group.layout(1, "bust", 1, CROP, CROP)
                   .slots * 2, 1))  # fmt: skip
    photo = tiny_dits.latent(setting.family, CROP, CROP, seed=20, rows=2)
    noise = tiny_dits.latent(setting.family, CROP, CROP, seed=21, rows=2)
    mask = torch.zeros(2, 1, CROP, CROP)
    mask[..., 32:96, 32:96] = 1
    found = denoised(setting, referring(setting, people), photo, mask, noise)
    sides = setting.text("in a park"), setting.text("rain")
    plain = denoised(setting, (setting.model, *sides), photo, mask, noise)
    cell = 128 // photo.shape[-1]
    inside = torch.zeros(photo.shape[-2:], dtype=torch.bool)
    inside[32 // cell : 96 // cell, 32 // cell : 96 // cell] = True
    assert torch.equal(found[..., ~inside], plain[..., ~inside]), "bit for bit"
    assert relative(found[..., inside], plain[..., inside]) > 100 * TOLERANCE
    for row, member in enumerate(people):
        own = slice(row, row + 1)
        alone = denoised(setting, referring(setting, (member,)), photo[own], mask[own], noise[own])
        assert relative(found[own], alone) <= TOLERANCE
    exchanged = denoised(setting, referring(setting, people[::-1]), photo, mask, noise)
    assert relative(exchanged, found) > 100 * TOLERANCE


@pytest.mark.parametrize("family", marks.each([FLUX_2, QWEN], [QWEN]))
def test_each_row_reads_its_reference_by_the_weight_of_its_person(family):
    setting = of_family(family)
    slots = group.layout(1, "bust", 1, CROP, CROP).slots * 2
    people = tuple(replace(people_made.a_member(n, slot=slot), weight=n / 2.5) for n, slot in enumerate(slots, 1))
    noise = tiny_dits.latent(family, CROP, CROP, seed=21, rows=2)
    found = tiny_dits.sample(*referring(setting, people), noise)
    for row, member in enumerate(people):
        own = noise[row : row + 1]
        alone = tiny_dits.sample(*referring(setting, (member,)), own)
        assert relative(found[row : row + 1], alone) <= TOLERANCE
        as_ever = tiny_dits.sample(*referring(setting, (replace(member, weight=1.0),)), own)
        assert relative(found[row : row + 1], as_ever) > 100 * TOLERANCE
