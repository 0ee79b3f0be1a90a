"""What words, LoRAs and references of people are refused on, and which code of other packs is no reason to refuse."""

import comfy.sample
import comfy.samplers
import marks
import pytest
from families import RECORDS
from figures import relative
from logged import messages_of_the_pack
from marks import WITH_REFERENCES, families
from pack.bridge.sampling.carried import ConditioningLost
from pack.core.checks.errors import BadSetup, BadSize, WrongBaseModel
from peers import apply, without_options
from people_on_one_model import APART, applied_in, by_lora, by_words, cast, of_family, record_of
from tiny import tiny_dits, tiny_networks
from tiny.tiny_dits import CHROMA, FLUX, FLUX_2, Z_IMAGE
from transformer_loras import (
    COMMON,
    HEIGHT,
    TOLERANCE,
    WIDTH,
    setting_of,
)

pytestmark = marks.transformers


@pytest.fixture(params=WITH_REFERENCES)
def setting(request):
    return of_family(request.param)


def lumina_2():
    """A relative of Z-Image."""
    changes = {"z_image_modulation": False, "pad_tokens_multiple": None}
    return tiny_networks.seeded_model("Lumina2", {**tiny_dits.CONFIGS[Z_IMAGE][1], **changes}, 301)


def of_a_pack():
    """A subclass of the host's network."""
    model = RECORDS[FLUX].model()
    network = model.model.diffusion_model
    network.__class__ = type("PackFlux", (type(network),), {"__module__": "pack_of_others.flux"})
    return model


def copied_forward():
    """A pack's copy of a method of the host's, on the network of this MODEL."""
    model = RECORDS[FLUX].model()
    network = model.model.diffusion_model
    network.forward_orig = forward_of_a_pack(network)
    return model


def patched_forward():
    """The same as an object patch of one clone, which the host has not put on the network yet."""
    clone = RECORDS[FLUX].model().clone()
    clone.add_object_patch("diffusion_model.forward_orig", forward_of_a_pack(clone.model.diffusion_model))
    return clone


def forward_of_a_pack(network):
    copied = network.forward_orig

    def forward_orig(*args, **kwargs):
        return copied(*args, **kwargs)

    forward_orig.__module__ = "pack_of_others.cache"
    return forward_orig


@pytest.mark.parametrize(("make", "error", "words"), [
    (lumina_2, WrongBaseModel, "The MODEL is made for Lumina2 without .*, but .*FLUX.1.* is needed"),
    (of_a_pack, BadSetup, r"network of another pack \(PackFlux in pack_of_others\.flux\)"),
], ids=["lumina 2", "subclass"])  # fmt: skip
def test_networks_that_are_not_known_are_refused_by_every_node(make, error, words):
    setting = of_family(FLUX)
    model, who = make(), cast(setting)
    sides = setting.text(COMMON), setting.text("blurred")
    with pytest.raises(error, match=words):
        by_words(setting, model, *sides, who, APART)
    with pytest.raises(error, match=words):
        by_lora(setting, model, *sides, who, APART)
    given = {"clip": setting.clip, "vae": setting.record.vae(), "pictures": None, "negative_prompt": "", "mask": APART}
    with pytest.raises(error, match=words):
        apply("LikenessPeopleAsReferences", model=model, cast=who, **given)


def test_a_family_that_takes_no_references_is_refused_by_name():
    setting = of_family(FLUX)
    given = {"clip": setting.clip, "vae": setting.record.vae(), "pictures": None, "negative_prompt": "", "mask": APART}
    with pytest.raises(WrongBaseModel, match=r"The MODEL is made for Chroma, but .*FLUX.1.* is needed"):
        apply("LikenessPeopleAsReferences", model=tiny_dits.model(CHROMA), cast=cast(setting), **given)


@pytest.mark.parametrize("put_on", [by_words, by_lora])
def test_reference_pictures_of_another_node_are_refused_on_z_image(put_on):
    setting = setting_of(Z_IMAGE)
    common, negative = setting.text(COMMON), setting.text("blurred")
    latents = [tiny_dits.latent(Z_IMAGE, 64, 64)]
    referring_to = [[text, {**options, "reference_latents": latents}] for text, options in common]
    made = put_on(setting, setting.model, referring_to, negative, cast(setting), APART)[:3]
    with pytest.raises(BadSetup, match="Z-Image with reference pictures is not known"):
        setting.sample(made)


@families("setting", FLUX_2, of=tiny_dits.REFERENCES)
def test_the_canvas_is_held_against_the_latent_in_pixels(setting, caplog):
    """A latent pixel is 8 or 16 px, as the family's latents have it."""
    applied = by_words(setting, setting.model, setting.text(COMMON), setting.text("blurred"), cast(setting), APART)[:3]
    model, positive, negative = applied
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 4)[2:]
    picture, noise = (tiny_dits.latent(setting.family, WIDTH, HEIGHT, seed=seed) for seed in (7, 5))
    euler = comfy.samplers.sampler_object("euler")
    comfy.sample.sample_custom(model, noise, 1.0, euler, sigmas, positive, negative, picture, seed=0, disable_pbar=True)
    assert messages_of_the_pack(caplog) == []
    with pytest.raises(BadSize, match=f"is {WIDTH}x{2 * HEIGHT} px"):
        tiny_dits.sample(*applied, tiny_dits.latent(setting.family, WIDTH, 2 * HEIGHT))


@pytest.mark.parametrize("make", [copied_forward, patched_forward])
@pytest.mark.parametrize("put_on", [by_words, by_lora])
def test_a_copied_forward_that_hands_all_on_is_no_reason_to_refuse(make, put_on):
    setting = of_family(FLUX)
    sides = setting.text(COMMON), setting.text("blurred")
    expected = setting.sample(put_on(setting, setting.model, *sides, cast(setting), APART)[:3])
    assert relative(setting.sample(put_on(setting, make(), *sides, cast(setting), APART)[:3]), expected) <= TOLERANCE


@pytest.mark.parametrize("family", WITH_REFERENCES)
def test_a_copied_forward_that_loses_the_references_is_named(family, monkeypatch):
    """At sampling: without transformer_options everybody would read all references."""
    setting = of_family(family)
    record = record_of(setting, cast(setting), (0, 1))
    made = applied_in("r", setting, record, APART)
    network = setting.model.model.diffusion_model
    monkeypatch.setattr(network, "_forward", without_options(network._forward))
    with pytest.raises(ConditioningLost, match=r"peers\) passes over [1-9]"):
        setting.sample(made)
