"""LoRA per Person on transformers, in the real host: against networks in which a LoRA is merged by Load LoRA."""

import re
from dataclasses import replace

import comfy.ldm.lumina.model as lumina
import marks
import pytest
import torch
import torch.nn.functional as functional
from families import RECORDS
from figures import relative
from marks import EACH, families
from other_packs import with_blocks_in_one
from pack.bridge.loras.lora_files import NotForOnePerson
from pack.bridge.networks.attention import OVERRIDE
from pack.bridge.sampling.carried import ConditioningLost
from pack.core.checks.errors import BadSetup, WrongBaseModel
from tiny import lora_made, people_made, tiny_dits
from tiny.tiny_dits import ANIMA, FLUX, FLUX_2, KREA_2, QWEN, Z_IMAGE
from transformer_loras import (
    EVERYWHERE,
    HEIGHT,
    NOWHERE,
    PICTURE,
    TOLERANCE,
    WIDTH,
    WORDS,
    Setting,
    cast,
    put_on,
    saved,
    setting_of,
    tensors,
)

import nodes as host_nodes

pytestmark = marks.transformers
APART = people_made.painted((0, 0, 64, 96), (64, 0, 128, 96), width=WIDTH, height=HEIGHT)


@pytest.fixture(params=EACH)
def setting(request):
    return setting_of(request.param)


def test_a_person_everywhere_is_the_merged_network_on_their_words(setting):
    """With another person and their LoRA present, of whom nothing is seen."""
    hidden = setting.hidden()
    people = cast(*setting.files)
    plain = setting.sample((setting.model, setting.own_text(WORDS[0]), setting.text("blurred")))
    for number, mask in enumerate(([EVERYWHERE, NOWHERE], [NOWHERE, EVERYWHERE])):
        picture = setting.sample(put_on(setting, people, torch.cat(mask), model=hidden))
        side = setting.own_text(WORDS[number])
        expected = setting.sample((setting.merged(setting.files[number]), side, setting.text("blurred")))
        assert relative(picture, expected) <= TOLERANCE
        assert relative(picture, plain) > 100 * TOLERANCE


@families("setting", FLUX_2)
def test_one_person_without_a_region_is_load_lora(setting):
    """Also by the weight of the person, and below 0."""
    alone = cast(setting.files[0], words=("",))
    lighter = replace(alone, people=(replace(alone.people[0], weight=0.5),))
    picture = setting.sample(put_on(setting, lighter, None, strength=-0.7), cfg=3.0)
    sides = setting.text("two people in a park"), setting.text("blurred")
    assert relative(picture, setting.sample((setting.merged(setting.files[0], -0.35), *sides), cfg=3.0)) <= TOLERANCE
    assert relative(picture, setting.sample((setting.model, *sides), cfg=3.0)) > 100 * TOLERANCE


@pytest.mark.parametrize("when", ["before", "behind"])
def test_a_layer_that_a_control_lora_has_widened_is_that_of_the_merged_network(when):
    """FLUX.1 Canny and Depth as LoRAs: img_in reads a picture beside the noise, and the host fills it up with zeros."""
    setting = setting_of(FLUX)
    state = tensors({"img_in": (64, 128)}, 23, prefix="")
    state |= {"img_in.lora_B.bias": torch.ones(64) * 0.1, "single_blocks.0.norm.key_norm.scale": torch.ones(32)}
    control = saved("flux control.safetensors", state)
    beside = tiny_dits.latent(FLUX, WIDTH, HEIGHT, seed=77)

    def with_control(model):
        return host_nodes.LoraLoader().load_lora(model, None, control, 1.0, 1.0)[0]

    sides = [
        [[text, {**more, "concat_latent_image": beside}] for text, more in setting.text(w)] for w in ("a park", "")
    ]
    given = {"positive": sides[0], "negative": sides[1]}
    person = cast(setting.files[0], words=("",)).people[0].person
    if when == "before":
        applied = put_on(setting, person, None, model=with_control(setting.model), **given)
    else:
        model, *carrying = put_on(setting, person, None, **given)
        applied = with_control(model), *carrying
    expected = setting.sample((with_control(setting.merged(setting.files[0])), *sides))
    assert relative(setting.sample(applied), expected) <= TOLERANCE
    assert relative(setting.sample((with_control(setting.model), *sides)), expected) > 100 * TOLERANCE


FOR_FILL = (
    {
        "diffusion_model.img_in.lora_A.weight": torch.ones(3, 96),
        "diffusion_model.img_in.lora_B.weight": torch.ones(64, 3),
    },
    "diffusion_model.img_in.weight is made of 64x3 and 3x96, here it is 64x64.",
)


@pytest.mark.parametrize(
    ("more", "said"), [FOR_FILL, *(pytest.param(*row, marks=pytest.mark.thorough) for row in lora_made.LEFT_OUT)]
)
def test_what_load_lora_leaves_out_is_left_out_and_said(more, said, caplog):
    setting = setting_of(FLUX)
    state = tensors({"final_layer.linear": (64, 64)}, 24)
    files = [saved(f"left out {len(kept)}.safetensors", kept) for kept in (state, {**state, **more})]
    pictures = [setting.sample(put_on(setting, cast(file, setting.files[1]), APART)) for file in files]
    assert torch.equal(*pictures)
    assert re.findall("as by Load LoRA: (.*)", caplog.text)[-1:] == [said]
    assert "lora key not loaded" not in caplog.text


def test_layers_that_the_host_computes_with_and_does_not_call_are_named(monkeypatch):
    """As kernels that join several layers do."""
    setting = setting_of(Z_IMAGE)
    applied = put_on(setting, cast(setting.files[0], words=("",)), EVERYWHERE)

    def joined(self, x):
        def of(layer, x):
            return functional.linear(x, layer.weight, layer.bias)

        return of(self.w2, functional.silu(of(self.w1, x)) * of(self.w3, x))

    joined.__module__ = lumina.__name__
    monkeypatch.setattr(lumina.FeedForward, "forward", joined)
    says = r"ComfyUI or a node .* passes over [1-9]\d* of the \d+ layers .* such as \S+feed_forward\.w\d\. .*int8"
    with pytest.raises(ConditioningLost, match=says):
        setting.sample(applied)


@families("setting", FLUX, of=[FLUX])
def test_blocks_that_another_pack_calls_in_a_block_of_its_own_have_their_loras(setting):
    model, *sides = put_on(setting, cast(*setting.files), APART)
    expected = setting.sample((model, *sides))
    assert torch.equal(setting.sample((with_blocks_in_one(model), *sides)), expected)


def test_people_of_a_model_with_more_blocks_are_refused():
    large, small = setting_of(FLUX), Setting(FLUX, depth=1)
    of_large, of_small = (put_on(each, cast(*each.files), APART) for each in (large, small))
    with pytest.raises(BadSetup, match=r"has no layer double_blocks\.1\.\S+, other than the MODEL of LoRA per Person"):
        small.sample((of_small[0], *of_large[1:]))


@families("setting", FLUX_2)
def test_a_picture_comes_again_and_the_model_is_as_before(setting):
    sides = setting.text("two people in a park"), setting.text("blurred")
    before = setting.sample((setting.model, *sides), cfg=3.0)
    first = put_on(setting, cast(*setting.files), APART)
    second = put_on(setting, cast(*setting.files[::-1]), APART)
    picture = setting.sample(first, cfg=3.0)
    assert not torch.equal(setting.sample(second, cfg=3.0), picture)
    assert torch.equal(setting.sample(first, cfg=3.0), picture)
    assert torch.equal(setting.sample((setting.model, *sides), cfg=3.0), before)


class Captured:
    """The picture's tokens as the first attention of a sampling is given them: q, k and v."""

    def __init__(self, model):
        self.tokens = None
        self.model = model.clone()
        options = self.model.model_options["transformer_options"]
        self.model.model_options["transformer_options"] = {**options, OVERRIDE: self.attend}

    def attend(self, kernel, q, k, v, heads, mask=None, **more):
        inputs = (q, k, v)
        if not more.get("skip_reshape"):
            inputs = [x.unflatten(2, (heads, -1)).transpose(1, 2) for x in inputs]
        if self.tokens is None and inputs[0].shape[2] >= PICTURE:
            self.tokens = torch.cat([*inputs], dim=-1).float()  # (B, heads, tokens, 3 d)
        return kernel(q, k, v, heads, mask=mask, **more)


def first_tokens(setting, applied):
    """The last tokens of the first attention of a sampling of one step: those of the picture, and references."""
    model, *sides = applied
    captured = Captured(model)
    setting.sample((captured.model, *sides), steps=1)
    return captured.tokens


BETWEEN = people_made.painted((0, 0, 48, 96), (80, 0, 128, 96), width=WIDTH, height=HEIGHT)
COLUMN = torch.arange(PICTURE) % 8
OWNED = {"first": COLUMN < 3, "second": COLUMN > 4, "nobody": (COLUMN == 3) | (COLUMN == 4)}
"""By whose they are, the tokens of the picture with these regions."""


def test_each_token_is_that_of_the_network_merged_with_its_persons_lora(setting):
    """In the first attention, before anything is mixed: modulation, q, k and v. Tokens of nobody are the plain ones."""
    tokens = first_tokens(setting, put_on(setting, cast(*setting.files, words=("", "")), BETWEEN))
    sides = setting.text("two people in a park"), setting.text("blurred")
    networks = {"nobody": setting.model}
    for owner, file in zip(("first", "second"), setting.files, strict=False):
        networks[owner] = setting.merged(file)
    for owner, network in networks.items():
        expected = first_tokens(setting, (network, *sides))
        picture = slice(-PICTURE, None)
        owned = OWNED[owner]
        of_the_picture = tokens[:, :, picture]
        expected_of_the_picture = expected[:, :, picture]
        assert relative(of_the_picture[:, :, owned], expected_of_the_picture[:, :, owned]) <= TOLERANCE
        assert relative(of_the_picture[:, :, ~owned], expected_of_the_picture[:, :, ~owned]) > 100 * TOLERANCE


def with_reference(setting, method=None):
    """The common text with a picture of another size beside it."""
    ((text, options),) = setting.text("two people in a park")
    references = {"reference_latents": [tiny_dits.latent(setting.family, 64, 96, seed=9)]}
    if method is not None:
        references["reference_latents_method"] = method
    return [[text, {**options, **references}]]


def test_references_at_the_time_zero_stay_as_they_are():
    """Qwen-Image-Edit 2511 modulates reference pictures by the time 0: nobody's LoRA acts there."""
    setting = setting_of(QWEN)
    positive = with_reference(setting, "index_timestep_zero")
    people = cast(*setting.files, words=("", ""))
    tokens = first_tokens(setting, put_on(setting, people, BETWEEN, positive=positive))
    plain = first_tokens(setting, (setting.model, positive, setting.text("blurred")))
    references = 4 * 6
    assert relative(tokens[:, :, -references:], plain[:, :, -references:]) <= TOLERANCE
    expected = first_tokens(setting, (setting.merged(setting.files[0]), positive, setting.text("blurred")))
    picture = slice(-PICTURE - references, -references)
    of_the_first = OWNED["first"]
    assert relative(tokens[:, :, picture][:, :, of_the_first], expected[:, :, picture][:, :, of_the_first]) <= TOLERANCE
    nowhere = put_on(setting, people, torch.cat([NOWHERE, NOWHERE.flip(2)]), positive=positive)
    expected_picture = setting.sample((setting.model, positive, setting.text("blurred")))
    assert relative(setting.sample(nowhere), expected_picture) <= TOLERANCE


@pytest.mark.parametrize("family", [FLUX, FLUX_2, KREA_2])
def test_a_modulation_with_references_at_the_time_zero_is_refused_by_name(family):
    setting = setting_of(family)
    positive = with_reference(setting, "index_timestep_zero")
    with pytest.raises(BadSetup, match="method index_timestep_zero are modulated in another way"):
        setting.sample(put_on(setting, cast(*setting.files), APART, positive=positive))


def test_beside_a_text_whose_reference_is_not_read_another_is_read_with_its_own():
    """Krea 2 reads references by a method alone. After one step two texts give the mean of what each gives."""
    setting = setting_of(KREA_2)
    people = cast(*setting.files, words=("", ""))
    unread, read = with_reference(setting), with_reference(setting, "index")
    both, *alone = [
        setting.sample(put_on(setting, people, BETWEEN, positive=positive), steps=1)
        for positive in ([*unread, *read], unread, read)
    ]
    assert relative(alone[0], alone[1]) > 100 * TOLERANCE
    assert relative(both, sum(alone) / 2) <= TOLERANCE


SPLIT = {
    FLUX: {
        "transformer.transformer_blocks.0.attn.to_q": (64, 64), "transformer.transformer_blocks.1.attn.to_v": (64, 64),
        "transformer.transformer_blocks.0.attn.add_k_proj": (64, 64),
        "transformer.single_transformer_blocks.0.attn.to_k": (64, 64),
        "transformer.single_transformer_blocks.1.attn.to_v": (64, 64),
    },
    Z_IMAGE: {
        "diffusion_model.layers.0.attention.to_q": (256, 256), "diffusion_model.layers.2.attention.to_v": (256, 256),
        "diffusion_model.context_refiner.0.attention.to_k": (256, 256),
    },
}  # fmt: skip
"""Layers of a file that are a part of a layer here, and their sizes."""


@pytest.mark.parametrize("family", SPLIT)
def test_a_file_with_q_k_and_v_apart_is_the_merged_network(family):
    setting = setting_of(family)
    file = saved(f"{family} split.safetensors".lower(), tensors(SPLIT[family], 21, prefix=""))
    hidden = setting.hidden()
    applied = put_on(setting, cast(file, setting.files[1]), torch.cat([EVERYWHERE, NOWHERE]), model=hidden)
    expected = setting.sample((setting.merged(file), setting.own_text(WORDS[0]), setting.text("blurred")))
    assert relative(setting.sample(applied), expected) <= TOLERANCE


OF_THE_TIME = [
    (family, {name: size}, NotForOnePerson, "without a place in the picture")
    for family, record in RECORDS.items()
    for name, size in record.of_the_time.items()
]


@pytest.mark.parametrize(("family", "layers", "error", "words"), [
    *OF_THE_TIME,
    (ANIMA, {"lora_unet_llm_adapter_blocks_0_self_attn_q_proj": (16, 16)}, NotForOnePerson,
     "read with the whole prompt, before Anima draws"),
    (FLUX, {"diffusion_model.img_in": (64, 32)}, WrongBaseModel, "one that fits the MODEL .FLUX.1."),
    (FLUX, {"diffusion_model.img_in": (64, 128)}, WrongBaseModel, "img_in.weight is made of 64x3 and 3x128"),
    (Z_IMAGE, {"lora_unet_layers_9_attention_to_q": (256, 256)}, WrongBaseModel, "does not know .1; first lora_unet"),
])  # fmt: skip
def test_a_file_that_cannot_be_one_persons_is_refused_by_name(family, layers, error, words):
    setting = setting_of(family)
    state = tensors(layers, 22, prefix="")
    file = saved(f"{family} {next(iter(layers))}.safetensors".lower(), state)
    with pytest.raises(error, match=words):
        put_on(setting, cast(file, setting.files[1]), APART)
