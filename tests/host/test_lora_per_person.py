"""LoRA per Person in the real host: beside Load LoRA and beside plain torch, of every kind, and what is left behind."""

from __future__ import annotations

import gc
import re
import weakref
from dataclasses import replace
from itertools import product

import comfy.model_management
import comfy.utils
import compiled
import graphs
import host_nodes as host_nodes_of
import photo_maker_made
import pytest
import sample_values
import tiny_sdxl
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.patcher_extension import WrappersMP
from figures import relative
from instant_id_run import HEIGHT, WIDTH, halves, sample, text
from marks import each
from other_packs import forwards, ic_light
from pack.bridge.loras import layer_hooks
from pack.bridge.loras.people_layers import LayerLora, LayerSize, PeopleLayer
from pack.bridge.loras.person_loras import PersonLoras
from pack.bridge.sampling.carried import carried_in
from pack.core.attention import low_rank
from pack.core.cast import Lora, Member, Person, PlacedCast
from pack.core.checks.errors import BadSetup, ModelMissing, UnsupportedCheckpoint, WrongBaseModel
from pack.core.models.tensors import below
from pack.core.persons import saving
from peers import apply
from safetensors.torch import load_file, save_file
from tiny import devices, lora_made, tiny_dits

import nodes as host_nodes

ALMOST = 1e-5
LATENT = {"size": (WIDTH, HEIGHT), "steps": 1}
TWO_STEPS = {**LATENT, "steps": 2}


def loaded_by_the_host(model, file, strength=1.0, clip=None):
    return host_nodes.LoraLoader().load_lora(model, clip, file, strength, strength)


def person_with_lora(file, strength=1.0, words="", before=None):
    return apply("LikenessAddLoRAToPerson", person=before, file=file, strength=strength, words=words, name="")[0]


def cast_of(*people, cast=None, weights=(1.0, 1.0)):
    """People in the places of another cast. weights: of the people in the cast."""
    placed_people = (cast or halves()).people
    members = []
    for person, place, weight in zip(people, placed_people, weights, strict=False):
        members.append(Member(person, weight, place.slot))
    return PlacedCast(tuple(members), WIDTH, HEIGHT)


def put_on(model, cast, positive=None, negative=None, **changed):
    texts = {"positive": positive or [text(1)], "negative": negative or [text(2)], "clip": photo_maker_made.clip()}
    return apply("LikenessLoRAPerPerson", model=model, **texts, cast=cast, **changed)


@pytest.mark.parametrize("kind", each([*lora_made.KINDS, "lora of SD1.5"], ["lora", "lokr", "lora of SD1.5"]))
def test_one_person_everywhere_is_load_lora(model, kind):
    """Over a whole sampling, in every layer, convolutions too."""
    sides = [text(1)], [text(2)]
    if "SD1.5" in kind:
        model = sample_values.sd15()
        sides = [sample_values.text(seed, 48) for seed in (1, 2)]
    file = lora_made.file(model, kind.removesuffix(" of SD1.5"))
    picture = sample(*put_on(model, person_with_lora(file, 0.7), *sides), **TWO_STEPS)
    plain = sample(model, *sides, **TWO_STEPS)
    file_for_the_host = lora_made.dense(model, file) if kind == "lokr tucker" else file
    expected = sample(loaded_by_the_host(model, file_for_the_host, 0.7)[0], *sides, **TWO_STEPS)
    assert relative(picture, expected) <= ALMOST
    assert relative(plain, expected) > 2e-3
    assert torch.equal(sample(model, *sides, **TWO_STEPS), plain)
    assert not any("forward" in vars(module) for module in model.model.diffusion_model.modules())


PEFT, OLD = ("lora_A", "lora_B"), ("lora.down", "lora.up")
NAMES = {
    "diffusers": ("lora", "unet.{}", "text_encoder{}.{}", *PEFT),
    "diffusers of 2023": ("lora", "unet.{}", "text_encoder{}.{}", *OLD),
    "PEFT": ("lora", "base_model.model.{}", "text_encoder{}.base_model.model.{}", *PEFT),
    "PEFT in diffusers": ("lora", "unet.base_model.model.{}", "base_model.model.text_encoder{}.{}", *PEFT),
    "PEFT, not by its own save": ("lora", "base_model.model.{}", "text_encoder{}.{}", "lora_A.me", "lora_B.me"),
    "PEFT of layers of ComfyUI": ("lora", "base_model.model.diffusion_model.{}", "text_encoder{}.{}", *PEFT),
    "LoKr of PEFT": ("lokr", "base_model.model.{}", "text_encoder{}.{}", *PEFT),
    "LoHa of PEFT": ("loha", "unet.base_model.model.{}", "text_encoder{}.base_model.model.{}", *PEFT),
}
"""By trainer: the kind; where the name of a layer of the UNet goes; where those of text encoders go, behind "" or "_2";
the names of the two matrices."""


def renamed(model, file, unet_name, text_name, down, up):
    """The same file as diffusers and PEFT call layers, by ComfyUI's own table."""
    names = comfy.utils.unet_to_diffusers(model.model.model_config.unet_config)
    of_diffusers = {f"diffusion_model.{layer}": name for name, layer in names.items()}
    state = {}
    for key, tensor in load_file(lora_made.folder() / file).items():
        layer, ending = re.fullmatch(r"(.+)\.(lora_\w+\.weight|hada\w+|lokr\w+|alpha)", key).groups()
        encoder, _, in_encoder = layer.partition(".transformer.")
        if in_encoder:
            new_name = text_name.format({"text_encoders.clip_l": "", "text_encoders.clip_g": "_2"}[encoder], in_encoder)
        elif unet_name.endswith("diffusion_model.{}"):
            new_name = unet_name.format(layer.removeprefix("diffusion_model."))
        else:
            new_name = unet_name.format(of_diffusers[f"{layer}.weight"].removesuffix(".weight"))
        state[f"{new_name}.{ending.replace('lora_down', down).replace('lora_up', up)}"] = tensor
    save_file(state, lora_made.folder() / f"renamed {file}")
    return f"renamed {file}"


@pytest.mark.parametrize("kind_and_names", each(NAMES, ["diffusers", "LoHa of PEFT"]))
def test_a_lora_under_other_names_is_the_same(model, kind_and_names, caplog):
    """In every layer of the UNet and of the text encoders that it has, by the words too."""
    kind, *names = NAMES[kind_and_names]
    file = lora_made.file(model, kind, clip=photo_maker_made.clip())
    people = [person_with_lora(name, 0.7, "a red coat") for name in (file, renamed(model, file, *names))]
    pictures = [sample(*put_on(model, person), **LATENT) for person in people]
    assert torch.equal(*pictures)
    assert "Left out" not in caplog.text


@pytest.mark.parametrize("when", ["before", "behind"])
def test_a_first_convolution_that_another_pack_has_widened_is_that_of_load_lora(model, when):
    """The host fills it up with zeros, where the LoRA comes first."""
    first = {"lora_up.weight": torch.ones(32, 1, 1, 1), "lora_down.weight": torch.ones(1, 4, 3, 3) * 0.02}
    named = {f"diffusion_model.input_blocks.0.0.{key}": tensor for key, tensor in first.items()}
    file = lora_made.file(model, words=("attn1.to_q",), **named)
    if when == "before":
        applied = put_on(ic_light(model), person_with_lora(file))
    else:
        model_out, *sides = put_on(model, person_with_lora(file))
        applied = ic_light(model_out), *sides
    expected = sample(ic_light(loaded_by_the_host(model, file)[0]), [text(1)], [text(2)], **LATENT)
    assert relative(sample(*applied, **LATENT), expected) <= ALMOST
    assert relative(sample(ic_light(model), [text(1)], [text(2)], **LATENT), expected) > 2e-3


def test_a_patch_that_gives_keys_and_values_a_text_each_still_does(model):
    """LoRAs of the keys are on the text of the keys, and those of the values on that of the values."""
    apart = model.clone()
    apart.set_model_attn2_patch(lambda n, context, value, options: (n, context, 0.5 * value))
    file = lora_made.file(model, words=("attn2.to_k", "attn2.to_v"))
    picture = sample(*put_on(apart, person_with_lora(file)), steps=1)
    expected = sample(loaded_by_the_host(apart, file)[0], [text(1)], [text(2)], steps=1)
    assert relative(picture, expected) <= ALMOST
    assert relative(sample(apart, [text(1)], [text(2)], steps=1), expected) > 1e-3


def left_half(grid):
    height, width = grid
    return (torch.arange(width) < width // 2).expand(height, width).flatten()


@pytest.mark.parametrize("node_count", [1, 2])
def test_in_the_first_layer_each_half_is_its_lora_alone(model, node_count):
    """What the first layer gives, a convolution. Whoever is listed first stands on the right. node_count: one for both
    people, or one for each."""
    first_file, second_file = (lora_made.file(model, seed=n, words=("input_blocks.0.0",)) for n in (1, 2))
    layer = model.model.diffusion_model.input_blocks[0][0]
    outputs = {}

    def record(key, inputs):
        handle = layer.register_forward_hook(lambda module, args, out: outputs.setdefault(key, out))
        sample(*inputs, steps=1)
        handle.remove()

    exchanged = replace(halves(), people=halves().people[::-1])
    people = [*map(person_with_lora, (first_file, second_file))]
    applied = model, [text(1)], [text(2)]
    if node_count == 1:
        applied = put_on(model, cast_of(*people, cast=exchanged))
    else:
        for person, place in zip(people, exchanged.people, strict=True):
            applied = put_on(applied[0], cast_of(person), *applied[1:], mask=place.slot.mask[None])
    record("both", applied)
    for key, file in (("first", first_file), ("second", second_file)):
        record(key, (loaded_by_the_host(model, file)[0], [text(1)], [text(2)]))
    on_the_left = left_half(outputs["both"].shape[-2:])
    of_both, of_the_first, of_the_second = (outputs[key].flatten(2) for key in ("both", "first", "second"))
    assert relative(of_both[..., ~on_the_left], of_the_first[..., ~on_the_left]) <= ALMOST
    assert relative(of_both[..., on_the_left], of_the_second[..., on_the_left]) <= ALMOST
    assert relative(of_both[..., on_the_left], of_the_first[..., on_the_left]) > 1e-2


# Beside plain torch


def dense(shape, tensors):
    return (tensors["lora_up.weight"].flatten(1) @ tensors["lora_down.weight"].flatten(1)).reshape(shape) * 2 / 3


def by_hand(model, files, masks, strengths):
    """Hooks that add each person's dense difference where the mask of that person is; returns what takes them out."""
    unet = model.model.diffusion_model
    handles = []
    states = [load_file(lora_made.folder() / file) for file in files]
    device, dtype = devices.DEVICE, next(unet.parameters()).dtype
    grid_now = {}

    def weights(grid):
        return torch.nn.functional.interpolate(masks[:, None], size=grid)[:, 0].to(device, dtype)

    def changes_of(name, shape):
        """The dense difference of each person, in this layer."""
        prefix = f"diffusion_model.{name}."
        changes = []
        for strength, state in zip(strengths, states, strict=True):
            tensors = {key: tensor.to(device, dtype) for key, tensor in below(prefix, state).items()}
            changes.append(strength * dense(shape, tensors))
        return changes

    def adds(name, module):
        changes = changes_of(name, module.weight.shape)

        def hook(_, args, out):
            x = args[0]
            if x.dim() == 4:
                grid_now["size"] = tuple(out.shape[-2:])
                convolved = [
                    torch.nn.functional.conv2d(x, change, None, module.stride, module.padding) for change in changes
                ]
                return out + weighted_sum(convolved, weights(grid_now["size"]))
            additions = [x @ change.T for change in changes]
            if x.dim() == 3:
                return out + weighted_sum(additions, weights(grid_now["size"]).flatten(1)[..., None])
            pixels = [addition[..., None, None] for addition in additions]
            return out[..., None, None] + weighted_sum(pixels, weights(grid_now["size"]))

        return module.register_forward_hook(hook)

    def attends(name, module):
        to_k, to_v = module.to_k.weight, module.to_v.weight
        changes_of_keys = [0, *changes_of(f"{name}.to_k", to_k.shape)]
        changes_of_values = [0, *changes_of(f"{name}.to_v", to_v.shape)]

        def hook(_, args, kwargs, out):
            text = kwargs["context"]
            shares_of_people = weights(grid_now["size"]).flatten(1)[..., None]
            shares = [1 - shares_of_people.sum(dim=0), *shares_of_people]
            q = module.to_q(args[0])
            total = 0
            for share, change_of_k, change_of_v in zip(shares, changes_of_keys, changes_of_values, strict=True):
                keys = text @ (to_k + change_of_k).T
                values = text @ (to_v + change_of_v).T
                total = total + share * attention_pytorch(q, keys, values, module.heads)
            return module.to_out(total)

        return module.register_forward_hook(hook, with_kwargs=True)

    for name, module in unet.named_modules():
        if name in lora_made.layers(model, ("",)) and not name.endswith(("attn2.to_k", "attn2.to_v")):
            handles.append(adds(name, module))
        if name.endswith("attn2"):
            handles.append(attends(name, module))
    return lambda: [handle.remove() for handle in handles]


def weighted_sum(additions, weights):
    return sum(addition * weight for addition, weight in zip(additions, weights, strict=True))


@pytest.mark.parametrize(
    "feather, dtype, tolerance",
    [(0, torch.float32, ALMOST), pytest.param(24, torch.float64, 2e-6, marks=pytest.mark.thorough)],
)
def test_a_whole_sampling_is_plain_torch_with_hooks(feather, dtype, tolerance):
    """Two people, hard and soft regions, part of the picture nobody's; dtype: of the network, and what it computes."""
    model = tiny_sdxl.seeded_model(dtype)
    files = [lora_made.file(model, seed=n) for n in (1, 2)]
    # Three numbers that multiply: of Add LoRA, of the person in the cast, and of the node.
    of_files, of_people, of_node = (0.8, 0.5), (0.5, 0.9), 1.25
    strengths = [of_file * of_person * of_node for of_file, of_person in zip(of_files, of_people, strict=True)]
    cast = cast_of(*map(person_with_lora, files, of_files), weights=of_people)
    masks = torch.stack([member.slot.mask for member in cast.people])
    masks[1, :40] = 0
    masks = (masks + torch.rand(masks.shape, generator=torch.Generator().manual_seed(3)) * feather / 24).clamp(0, 1)
    picture = sample(*put_on(model, cast, mask=masks, strength=of_node), **TWO_STEPS)
    take_hooks_out = by_hand(model, files, masks / masks.sum(dim=0).clamp(min=1), strengths)
    plain = model, [text(1)], [text(2)]
    expected = sample(*plain, **TWO_STEPS)
    take_hooks_out()
    assert relative(picture, expected) <= tolerance < relative(expected, sample(*plain, **TWO_STEPS))


# Who is where


def test_two_loras_of_one_person_are_both_as_load_lora_stacks_them(model):
    files = [lora_made.file(model, kind, seed=n, strong=0.08) for n, kind in enumerate(("lora", "glora"))]
    picture = sample(*put_on(model, person_with_lora(files[1], 0.5, before=person_with_lora(files[0]))), **LATENT)
    twice = loaded_by_the_host(loaded_by_the_host(model, files[0])[0], files[1], 0.5)[0]
    # The host multiplies GLoRA with weights that have the first LoRA in them.
    assert relative(picture, sample(twice, [text(1)], [text(2)], **LATENT)) < 0.1
    other_way_round = loaded_by_the_host(loaded_by_the_host(model, files[1], 0.5)[0], files[0])[0]
    expected = sample(other_way_round, [text(1)], [text(2)], **LATENT)
    assert relative(picture, expected) <= ALMOST
    with_the_first, *sides = put_on(model, person_with_lora(files[0]))
    with_two_nodes = put_on(with_the_first, person_with_lora(files[1], 0.5), *sides)
    assert relative(sample(*with_two_nodes, **LATENT), expected) <= ALMOST


def test_words_are_encoded_with_the_lora_and_read_by_that_person(model):
    """By one person everywhere: a longer prompt, from Load LoRA's CLIP and on Load LoRA's MODEL, of all strengths."""
    clip = photo_maker_made.clip()
    file = lora_made.file(model, clip=clip)
    loaded, encoder = loaded_by_the_host(model, file, 0.8 * 0.5 * 1.5, clip)
    encoded_words = encoder.encode_from_tokens(encoder.tokenize("a red coat"))
    assert relative(encoded_words, clip.encode_from_tokens(clip.tokenize("a red coat"))) > 1e-3
    positive = text(1)
    longer = [torch.cat([positive[0], encoded_words], dim=1), positive[1]]
    expected = sample(loaded, [longer], [text(2)], **LATENT)
    with_words, without_words = (
        sample(*put_on(model, cast_of(person_with_lora(file, 0.8, words), weights=(0.5,)), strength=1.5), **LATENT)
        for words in ("a red coat", "")
    )
    assert relative(with_words, expected) <= 2 * ALMOST
    assert relative(without_words, expected) > 1e-3


def test_in_the_first_attention_their_own_half_alone_reads_the_words_of_one(model):
    layers = model.model.diffusion_model.named_modules()
    layer = next(module for name, module in layers if name.endswith("attn2.to_out"))
    file = lora_made.file(model)
    outputs = []
    handle = layer.register_forward_hook(lambda module, args, out: outputs.append(out))
    for words in ("", "a red coat"):
        cast = cast_of(person_with_lora(file), person_with_lora(file, words=words))
        sample(*put_on(model, cast), steps=1, size=(WIDTH, HEIGHT))
    handle.remove()
    before = outputs[0]
    after = outputs[len(outputs) // 2]
    on_the_left = left_half((HEIGHT // 16, WIDTH // 16))
    assert relative(after[:, on_the_left], before[:, on_the_left]) <= ALMOST
    assert relative(after[:, ~on_the_left], before[:, ~on_the_left]) > 1e-3


class AskedPixels:
    """How many pixels all cross-attentions of a sampling are asked for."""

    def __init__(self, model):
        self.count = 0
        self.model = model.clone()
        options = self.model.model_options["transformer_options"]
        self.model.model_options["transformer_options"] = {**options, "optimized_attention_override": self.attend}

    def attend(self, kernel, q, k, v, *args, **more):
        if k.shape[1] != q.shape[1]:
            self.count += len(q) * q.shape[1]
        return kernel(q, k, v, *args, **more)


@pytest.mark.parametrize("words", ["", "a red coat"])
def test_where_regions_have_hard_edges_each_pixel_reads_the_text_once(model, words):
    """With the LoRAs of whom it belongs to, and no pixel is asked for with those of somebody else."""
    files = [lora_made.file(model, seed=seed) for seed in (1, 2)]
    plain, with_loras = AskedPixels(model), AskedPixels(model)
    sample(plain.model, [text(1)], [text(2)], **LATENT)
    cast = cast_of(*(person_with_lora(file, words=words) for file in files))
    sample(*put_on(with_loras.model, cast), **LATENT)
    assert plain.count > 0
    assert with_loras.count == plain.count


BESIDE = {
    "LikenessPromptPerPerson": {"clip": graphs.value(sample_values.sdxl_clip), "prompts": "1: smiling"},
    "LikenessApplyIPAdapter": {}, "LikenessApplyIDPatch": {"image": None}, "LikenessApplyInstantID": {},
    "LikenessSharePartsAttention": {"clip": graphs.value(sample_values.sdxl_clip)},
}  # fmt: skip


@pytest.mark.parametrize("beside", each(BESIDE, ["LikenessApplyInstantID", "LikenessSharePartsAttention"]))
def test_beside_other_nodes_both_are_there_in_any_order(model, beside):
    """Before and after it, the picture is the same, and neither of the two alone."""
    people = [sample_values.a_person(name) for name in ("Anna", "Boris")]
    with_loras = [person_with_lora(lora_made.file(model, seed=n), before=person) for n, person in enumerate(people)]
    cast = cast_of(*with_loras)

    def other_node(given_model, positive, negative):
        links = {"model": given_model, "positive": positive, "negative": negative, "cast": cast}
        linked = {name: link for name, link in links.items() if name in graphs.DEFAULTS[beside]}
        applied = apply(beside, **BESIDE[beside], **linked)
        if "model" not in linked:
            positive, negative = applied[:2]
            return given_model, positive, negative
        return applied

    plain = model, [text(1)], [text(2)]
    first, *sides = other_node(*plain)
    loras_last = sample(*put_on(first, cast, *sides), **LATENT)
    loras_first = sample(*other_node(*put_on(model, cast)), **LATENT)
    assert relative(loras_last, loras_first) <= 2 * ALMOST
    loras_alone = sample(*put_on(model, cast), **LATENT)
    assert relative(loras_alone, loras_last) > 1e-4
    other_alone = sample(*other_node(*plain), **LATENT)
    assert relative(other_alone, loras_last) > 1e-4


# What is refused, and what is left behind


def test_what_is_no_addition_is_named(model):
    name = next(iter(lora_made.layers(model, ("attn1.to_q",))))
    out = lora_made.layers(model, ("",))[name][0]
    dora = {f"diffusion_model.{name}.dora_scale": torch.ones(out, 1)}
    norm = {f"diffusion_model.{name.rsplit('.', 2)[0]}.norm1.diff": torch.ones(out)}
    nowhere = {f"diffusion_model.time_embed.0.lora_{x}.weight": torch.ones(2, 2) for x in ("up", "down")}
    damaged = {f"diffusion_model.{name.replace('to_q', 'to_k')}.lora_up.weight": torch.ones(out, 2)}
    nan = {f"diffusion_model.{name}.lora_up.weight": torch.full((out, 3), torch.nan)}
    up, down = f"diffusion_model.{name}.lora_up.weight", f"diffusion_model.{name}.lora_down.weight"
    empty = {up: torch.ones(out, 0), down: torch.ones(0, out)}
    for tensors, error, words in (
        (dora, BadSetup, "lora with DoRA"), (norm, BadSetup, "whole difference .diff"),
        (damaged, UnsupportedCheckpoint, "damaged LoRA"), (nan, UnsupportedCheckpoint, "holds NaN"),
        (nowhere, BadSetup, "time_embed.* without a place"), (empty, UnsupportedCheckpoint, "LoRA of rank 0"),
    ):  # fmt: skip
        file = lora_made.file(model, words=("attn1.to_q",), **tensors)
        with pytest.raises(error, match=words):
            put_on(model, cast_of(person_with_lora(file), person_with_lora(file)))
    other_models = [sample_values.sd15()]
    if tiny_dits.KNOWN:
        other_models.append(sample_values.flux())
    for other_model in other_models:
        with pytest.raises(WrongBaseModel):
            put_on(other_model, person_with_lora(lora_made.file(model)))
    unknown = {f"blocks.{number}.to_q.lora_A.weight": torch.ones(3, 8) for number in range(2)}
    save_file(unknown, lora_made.folder() / "unknown.safetensors")
    with pytest.raises(WrongBaseModel, match=r"that ComfyUI does not know \(2; first blocks\.0\.to_q\)"):
        put_on(model, person_with_lora("unknown.safetensors"))
    with pytest.raises(ModelMissing, match=r"nowhere\.safetensors is not in models/loras.* Put a LoRA of your own"):
        put_on(model, cast_of(replace(person_with_lora(file), loras=(Lora("nowhere.safetensors", 1.0, ""),))))


_FIRST = "diffusion_model.input_blocks.0.0"
FOR_INPAINTING = (
    {f"{_FIRST}.lora_up.weight": torch.ones(32, 2, 1, 1), f"{_FIRST}.lora_down.weight": torch.ones(2, 9, 3, 3)},
    f"{_FIRST}.weight is made of 32x2x1x1 and 2x9x3x3, here it is 32x4x3x3.",
)


@pytest.mark.parametrize(("tensors", "said"), [*lora_made.LEFT_OUT, FOR_INPAINTING])
def test_what_load_lora_leaves_out_is_left_out_and_said(model, tensors, said, caplog):
    files = [lora_made.file(model, words=("attn1.to_q",), **more) for more in ({}, tensors)]
    pictures = [sample(*put_on(model, person_with_lora(file)), **LATENT) for file in files]
    assert torch.equal(*pictures)
    assert re.findall("as by Load LoRA: (.*)", caplog.text)[-1:] == [said]


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64], ids=str)
@pytest.mark.parametrize("side", ["up", "down"])
def test_whole_and_complex_numbers_are_no_weights(model, kind, side):
    """The host makes NaN of them, or nothing at all, without a word."""
    name, shape = next(iter(lora_made.layers(model, ("attn1.to_q",)).items()))
    size = {"up": (shape[0], 3), "down": (3, shape[1])}[side]
    key = f"diffusion_model.{name}.lora_{side}.weight"
    file = lora_made.file(model, words=("attn1.to_q",), **{key: torch.ones(size, dtype=kind)})
    with pytest.raises(UnsupportedCheckpoint) as refused:
        put_on(model, cast_of(person_with_lora(file), person_with_lora(file)))
    assert f"{file} is a LoRA whose {key} holds numbers of type {kind} instead of float; this" in str(refused.value)


def test_a_scale_may_be_a_whole_number(model):
    """Trainers that save in the kinds they have keep the alpha that they were given, and some the rank, which nobody
    reads."""
    files = [lora_made.file(model, words=("attn1.to_q",)), lora_made.file(model, words=("attn1.to_q",))]
    path = lora_made.folder() / files[1]
    state = load_file(path)
    with_whole_alpha = {key: tensor.long() if key.endswith("alpha") else tensor for key, tensor in state.items()}
    unread = {key.replace("alpha", "rank"): torch.tensor(3) for key in state if key.endswith("alpha")}
    save_file(with_whole_alpha | unread, path)
    pictures = [sample(*put_on(model, person_with_lora(file)), **LATENT) for file in files]
    assert torch.equal(*pictures)


def test_what_is_wrong_with_a_lora_is_a_whole_sentence(model):
    name, shape = next(iter(lora_made.layers(model, ("attn1.to_q",)).items()))
    key = f"diffusion_model.{name}.lora_up.weight"
    for value in (torch.full((shape[0], 3), torch.nan), torch.full((shape[0], 3), 1e30)):
        file = lora_made.file(model, words=("attn1.to_q",), **{key: value})
        with pytest.raises(UnsupportedCheckpoint) as refused:
            put_on(model, person_with_lora(file))
        words = f"{file} is a LoRA whose {key} holds NaN, infinity or numbers too large; this node needs a LoRA."
        assert refused.value.problem == words
    scalar = lora_made.file(model, words=("attn1.to_q",), **{key: torch.tensor(1.0)})
    with pytest.raises(WrongBaseModel, match=r"is made of a single number and 3x\d+, here it is \d+x\d+\)"):
        put_on(model, person_with_lora(scalar))


def prepared_for(node_outputs):
    """What samplings of a node's outputs have prepared, as the host has loaded it."""
    (carried,) = carried_in(node_outputs[1][0][1], PersonLoras.key)
    loaded = {id(patcher.model): patcher.model for patcher in comfy.model_management.loaded_models()}
    return loaded[id(carried.prepared.on(devices.DEVICE))]


def test_layers_are_prepared_once_and_gone_with_what_the_node_gave(model):
    """The host keeps them between samplings, and has them back where it has taken them from the card."""
    node_outputs = put_on(model, cast_of(*(person_with_lora(lora_made.file(model, seed=n)) for n in (1, 2))))
    picture = sample(*node_outputs, **LATENT)
    prepared = prepared_for(node_outputs)
    comfy.model_management.unload_all_models()
    assert torch.equal(sample(*node_outputs, **LATENT), picture)
    assert prepared_for(node_outputs) is prepared
    gone = weakref.ref(prepared)
    del node_outputs, prepared
    gc.collect()
    assert gone() is None


def test_prepared_layers_are_those_of_the_model_that_samples(model):
    """One node, and behind it the MODEL as it is, and as another pack has widened it."""
    first = {"lora_up.weight": torch.ones(32, 1, 1, 1), "lora_down.weight": torch.ones(1, 4, 3, 3) * 0.02}
    named = {f"diffusion_model.input_blocks.0.0.{key}": tensor for key, tensor in first.items()}
    model_out, *sides = put_on(model, person_with_lora(lora_made.file(model, words=("attn1.to_q",), **named)))
    expected = [sample(given, *sides, **LATENT) for given in (model_out, ic_light(model_out))]
    assert relative(*expected) > 2e-3
    for given, picture in zip((model_out, ic_light(model_out)), expected, strict=True):
        assert torch.equal(sample(given, *sides, **LATENT), picture)


def pair(out, into):
    return {"lora_up.weight": torch.ones(out, 2), "lora_down.weight": torch.ones(2, into)}


TEXTS = {
    "a pair": ("k_proj.weight", pair, "{}x2 and 2x{}"),
    "a difference": ("k_proj.weight", lambda *size: {"diff": torch.zeros(size)}, "{}x{}"),
    "new weights": ("k_proj.weight", lambda *size: {"set_weight": torch.zeros(size)}, "{}x{}"),
    "OFT": ("k_proj.weight", lambda out, _: {"oft_blocks": torch.zeros(out // 4, 4, 4)}, r"\d+x4x4"),
    "BOFT": ("k_proj.weight", lambda out, _: {"oft_blocks": torch.zeros(1, out // 4, 4, 4)}, r"1x\d+x4x4"),
    "a bias": ("k_proj.bias", lambda out: {"diff_b": torch.zeros(out)}, "{}"),
    "a norm": ("layer_norm1.weight", lambda out: {"w_norm": torch.zeros(out)}, "{}"),
    "an embedding": ("position_embedding.weight", lambda *size: {"diff": torch.zeros(size)}, "{}x{}"),
    "a pair of an embedding": ("position_embedding.weight", pair, "{}x2 and 2x{}"),
}


@pytest.mark.parametrize(("end", "tensors_of_size", "sizes"), TEXTS.values(), ids=TEXTS)
def test_text_layers_of_another_size_are_named_with_both(model, end, tensors_of_size, sizes):
    """Where the layers of the UNet fit; those of the right size are taken."""
    weights = photo_maker_made.clip().cond_stage_model.state_dict().items()
    name, (out, *into) = next((name, tensor.shape) for name, tensor in weights if name.endswith(end))

    def file(out):
        layer = f"text_encoders.{name.rpartition('.')[0]}"
        named = {f"{layer}.{key}": tensor for key, tensor in tensors_of_size(out, *into).items()}
        return person_with_lora(lora_made.file(model, words=("attn1.to_q",), **named))

    put_on(model, file(out))
    expected_size = "x".join(map(str, (out, *into)))
    words = rf"another model \(.*{name} is made of {sizes.format(out + 8, *into)}, here it is {expected_size}\)"
    with pytest.raises(WrongBaseModel, match=words):
        put_on(model, file(out + 8))


def test_a_bias_for_a_text_layer_without_one_is_named(model):
    bias = {"text_encoders.clip_l.transformer.text_projection.diff_b": torch.zeros(64)}
    with pytest.raises(WrongBaseModel, match=r"text_projection.bias is made of 64, here it is missing\)"):
        put_on(model, person_with_lora(lora_made.file(model, words=("attn1.to_q",), **bias)))


def test_keys_of_a_reference_row_have_the_lora_of_whose_pixels_they_are(model):
    """As Reference Only Simple puts them behind a row's own. With one LoRA for both halves it is Load LoRA's."""

    def patch(q, k, v, _options):
        k = k.repeat(1, 2, 1)
        k[1::2, q.shape[1] :] = q[::2]
        return q, k, k

    referring = model.clone()
    referring.set_model_attn1_patch(patch)
    file = lora_made.file(model)
    people = cast_of(person_with_lora(file), person_with_lora(file))
    rows = {**LATENT, "batch": 2}
    expected = sample(loaded_by_the_host(referring, file, 1.0)[0], [text(1)], [text(2)], **rows)
    assert relative(sample(*put_on(referring, people), **rows), expected) <= 1e-5
    assert relative(sample(loaded_by_the_host(model, file, 1.0)[0], [text(1)], [text(2)], **rows), expected) > 1e-3


@pytest.mark.parametrize("name", ["HyperTile", "ToMe"])
def test_regions_of_moved_tokens_are_refused(name):
    moved = host_nodes_of.patch(name, sample_values.sd15())
    file = lora_made.file(sample_values.sd15())
    sides = {side: sample_values.text(n, 48) for n, side in enumerate(("positive", "negative"))}
    inputs = put_on(moved, cast_of(person_with_lora(file), person_with_lora(file)), **sides)
    with pytest.raises(BadSetup, match=r"tokens of the \d+x\d+ of a layer.*whose LoRA"):
        sample(*inputs, steps=1, size=(2 * WIDTH, 2 * HEIGHT))


def test_regions_of_queries_that_were_taken_away_are_refused(model):
    """By people whose LoRAs change the reading of the text alone."""
    fewer = model.clone()
    fewer.set_model_attn2_patch(lambda n, context, value, options: (n[:, 1:], context, value))
    file = lora_made.file(model, words=("attn2.to_k", "attn2.to_v"))
    with pytest.raises(BadSetup, match=r"tokens of the \d+x\d+ of a layer.*whose LoRA"):
        sample(*put_on(fewer, cast_of(person_with_lora(file), person_with_lora(file))), steps=1)


@pytest.mark.thorough
def test_for_a_compiled_model_nothing_is_left():
    small = compiled.model()
    with compiled.counting():
        compiled_model = compiled.whole(small)
        before = sample(compiled_model, [text(1)], [text(2)], steps=1)
        with_lora = sample(*put_on(compiled_model, person_with_lora(lora_made.file(small))), steps=1)
        assert torch.equal(sample(compiled_model, [text(1)], [text(2)], steps=1), before)
        assert not torch.equal(with_lora, before)


def test_a_saved_person_keeps_their_loras():
    person = Person("Anna", {}, torch.zeros(1, 112, 112, 3))
    person = replace(person, loras=(Lora("a.safetensors", 0.5, "a red coat"),))
    loaded_person = saving.from_tensors(*saving.to_tensors(person), "anna.safetensors")
    assert loaded_person.loras == person.loras
    assert loaded_person.name == "Anna"
    tensors, metadata = saving.to_tensors(person)
    with pytest.raises(UnsupportedCheckpoint, match="LoRAs"):
        saving.from_tensors(tensors, {**metadata, "loras": "[1]"}, "anna.safetensors")


def test_people_without_photos_come_by_cast_and_place_cast(model):
    people = [person_with_lora(lora_made.file(model, seed=n)) for n in (1, 2)]
    cast = apply("LikenessCast", person_1=people[0], person_2=people[1])[0]
    layout = sample_values.layout()
    placed = apply("LikenessPlaceCast", cast=cast, layout=layout)[0]
    assert [person.person.loras for person in placed.people] == [person.loras for person in people]
    of_both = sample(*put_on(model, placed), **LATENT)
    of_the_first = sample(*put_on(model, PlacedCast(placed.people[:1], WIDTH, HEIGHT)), **LATENT)
    assert of_both.isfinite().all()
    assert relative(of_both, of_the_first) > 1e-3


# Beside packs that change a layer's forward while sampling


@pytest.mark.parametrize(
    ("when", "restoring"),
    each(
        product(["around the sampling", "in a forward"], ["put back", "deleted"]),
        [("around the sampling", "deleted"), ("in a forward", "put back")],
    ),
)
def test_a_layer_that_another_pack_changes_for_a_while_is_as_it_was(model, restoring, when):
    """The pack doubles what one layer gives; its change alone and beside ours, and the plain picture afterwards."""
    plain = sample(model, [text(1)], [text(2)], **TWO_STEPS)
    layer = model.model.diffusion_model.input_blocks[0][0]

    def change_the_layer(executor, *args, **kwargs):
        old = layer.forward
        layer.forward = lambda *arguments, **named: old(*arguments, **named) * 2
        try:
            return executor(*args, **kwargs)
        finally:
            if restoring == "put back":
                layer.forward = old
            else:
                del layer.forward

    kinds = {"around the sampling": "OUTER_SAMPLE", "in a forward": "DIFFUSION_MODEL"}
    inputs = put_on(model, person_with_lora(lora_made.file(model)))
    alone = sample(*inputs, **TWO_STEPS)
    changed = inputs[0].clone()
    changed.add_wrapper_with_key(getattr(WrappersMP, kinds[when]), "theirs", change_the_layer)
    beside_the_pack = sample(changed, *inputs[1:], **TWO_STEPS)
    assert beside_the_pack.isfinite().all()
    assert relative(beside_the_pack, alone) > 1e-3
    for module in forwards(model):  # theirs, where the pack puts the class's own method into the layer
        assert vars(module).pop("forward") == type(module).forward.__get__(module)
    assert torch.equal(sample(model, [text(1)], [text(2)], **TWO_STEPS), plain)
    assert torch.equal(sample(*inputs, **TWO_STEPS), alone)
    assert not forwards(model)


def test_a_pack_that_goes_around_ours_in_a_forward_and_stays_keeps_its_function(model):
    """Ours in between hands on what comes, and nothing of the run is held by it."""
    plain = sample(model, [text(1)], [text(2)], **TWO_STEPS)
    layer = model.model.diffusion_model.middle_block[0].in_layers[2]
    forwards_before = []

    def patch(h, options):
        if not forwards_before:
            forwards_before.append(layer.forward)
            layer.forward = lambda x: forwards_before[0](x)
        return h

    inputs = put_on(model, person_with_lora(lora_made.file(model)))
    alone = sample(*inputs, **TWO_STEPS)
    changed = inputs[0].clone()
    changed.set_model_input_block_patch(patch)
    sample(changed, *inputs[1:], **TWO_STEPS)
    hook = forwards_before[0].__self__
    assert isinstance(hook, layer_hooks.LayerHook)
    assert hook.ended
    assert forwards(model) == [layer]
    assert torch.equal(sample(model, [text(1)], [text(2)], **TWO_STEPS), plain)
    assert torch.equal(sample(*inputs, **TWO_STEPS), alone)
    layer.forward = forwards_before[0]  # put back by the pack: taken out by the next run
    sample(*inputs, **TWO_STEPS)
    assert not forwards(model)


def test_a_mask_of_ones_is_everywhere_and_takes_layers_of_the_time_step(model):
    out, into = model.model.diffusion_model.time_embed[0].weight.shape
    tensors = {f"diffusion_model.time_embed.0.{key}": x * 0.02 for key, x in pair(out, into).items()}
    file = lora_made.file(model, words=("attn1.to_q",), **tensors)
    bare = apply("LikenessCast", person_1=person_with_lora(file))[0]
    everywhere = sample(*put_on(model, bare), **LATENT)
    masked = sample(*put_on(model, bare, mask=torch.ones(1, HEIGHT, WIDTH)), **LATENT)
    assert torch.equal(masked, everywhere)
    expected = sample(loaded_by_the_host(model, file)[0], [text(1)], [text(2)], **LATENT)
    assert relative(everywhere, expected) <= ALMOST
    assert relative(sample(model, [text(1)], [text(2)], **LATENT), expected) > 1e-3


# Convolutions as they are set while sampling


def dilate(convolutions, number):
    convolutions[number].dilation = convolutions[number].padding = (2, 2)


def go_around_the_edges(convolutions, number):
    """As packs for seamless tiles do it."""
    convolutions[number].padding_mode = "circular"
    convolutions[number]._reversed_padding_repeated_twice = (1, 1, 1, 1)


def divide_into_groups(convolutions, number):
    old = convolutions[number]
    new = type(old)(old.in_channels, old.out_channels, 3, padding=1, groups=4)
    new.weight.data = old.weight.data[:, : old.in_channels // 4].clone()
    new.bias.data = old.bias.data.clone()
    convolutions[number] = new


@pytest.mark.parametrize(
    ("change", "kind"),
    each(
        product([dilate, go_around_the_edges, divide_into_groups], ["lora", "glora"]),
        [(dilate, "glora"), (divide_into_groups, "lora")],
    ),
)
def test_a_convolution_runs_the_lora_as_it_runs_itself(change, kind):
    """Its dilation, its padding and its groups are those of Load LoRA's weights."""
    model = tiny_sdxl.seeded_model()
    change(model.model.diffusion_model.middle_block[0].in_layers, 2)
    file = lora_made.file(model, kind, words=("middle_block.0.in_layers.2",), strong=1.0)
    plain = sample(model, [text(1)], [text(2)], steps=1)
    expected = sample(loaded_by_the_host(model, file)[0], [text(1)], [text(2)], steps=1)
    assert (
        relative(sample(*put_on(model, person_with_lora(file)), steps=1), expected)
        <= ALMOST
        < 1e-3
        < relative(plain, expected)
    )


@pytest.mark.parametrize("groups", [1, 2])
def test_in_groups_every_rank_is_still_its_persons(groups):
    """Two people of one convolution, with other ranks: with one's weights alone it is that person's difference."""
    generator = torch.Generator().manual_seed(3)

    def random(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).float().double()

    convolution = torch.nn.Conv2d(8, 6, 3, padding=1, groups=groups, dtype=torch.float64)
    x = random(2, 8, 5, 4)
    loras = {}
    for person, rank in ((0, 2), (1, 3)):
        loras[person] = low_rank.PlainLora(random(6, rank), random(rank, 8 // groups, 3, 3), None, None)
    shape = tuple(convolution.weight.shape)
    layer_loras = [LayerLora(person, 0.5, lora, shape) for person, lora in loras.items()]
    layer = PeopleLayer(layer_loras, LayerSize(shape, groups), x.device, like=x)
    hidden = layer.down.hidden(x, convolution)
    ranks = torch.tensor(layer.ranks)
    for person, lora in loras.items():
        result = torch.einsum("or,bnr->bon", layer.up.numbers, hidden * (ranks == person))
        dense = torch.einsum("or,ri...->oi...", lora.up, lora.down) * 0.5
        expected = torch.nn.functional.conv2d(x, dense, padding=1, groups=groups)
        assert relative(result, expected.flatten(2)) <= 1e-12


class Adds(layer_hooks.LayerAddition):
    """It adds 1 to what a layer gives."""

    def output(self, forward, hook, x, out):
        return out + 1


def added(mark, layer):
    """What a forward with this mark adds in a layer that by itself gives what it is given."""
    layer_hooks.begin_additions(mark)
    try:
        return float(layer(torch.zeros(())))
    finally:
        layer_hooks.current.additions = None


def test_forwards_that_overlap_add_their_own_each():
    """And a forward that ends first leaves what the others add."""
    layers = {"known": torch.nn.Identity(), "other": torch.nn.Identity()}
    known, other = layers.values()
    hooks = layer_hooks.LayerHooks(layers)
    first, second = Adds(object()), Adds(object())
    with hooks.standing_in({"known": first}):
        with hooks.standing_in({"known": second, "other": second}):
            assert [added(each.mark, known) for each in (first, second)] == [1, 1]
            assert [added(each.mark, other) for each in (first, second)] == [0, 1]
            with hooks.standing_in({"known": second}):
                pass
            assert added(second.mark, known) == 1, "the same forward, put there twice"
        assert [added(each.mark, known) for each in (first, second)] == [1, 0]
    assert added(first.mark, known) == 0, "it has ended"


def test_readers_are_taken_out_where_a_forward_or_a_reader_fails():
    """And people with whose text another pack's attention was called are gone, whatever it raises."""
    modules = {"known": torch.nn.Linear(2, 2)}
    hooks = layer_hooks.LayerHooks(modules)
    addition = Adds(object())
    with pytest.raises(RuntimeError, match="stop"), hooks.standing_in({"known": addition}):
        assert "forward" in vars(modules["known"])
        raise RuntimeError("stop")
    assert "forward" not in vars(modules["known"])
    assert not hooks.by_name
    with pytest.raises(KeyError), hooks.standing_in({"known": addition, "unknown": addition}):
        raise AssertionError("never reached")
    assert "forward" not in vars(modules["known"])
    assert not hooks.by_name

    def fails():
        assert forward.text_people == ("Anna",)
        raise RuntimeError("stop")

    forward = layer_hooks.Forward(None)
    with pytest.raises(RuntimeError, match="stop"):
        forward.call_with_text_of(("Anna",), fails)
    assert forward.text_people == ()
