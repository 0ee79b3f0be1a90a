"""LoRA per Person in the real host: beside Load LoRA and beside plain torch, of every kind, and what is left behind."""

from __future__ import annotations

from dataclasses import replace

import attack_graphs
import attack_values
import compiled
import host_nodes as host_nodes_of
import lora_made
import photo_maker_made
import pytest
import tiny_dits
import tiny_sdxl
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.patcher_extension import WrappersMP
from figures import relative
from instant_id_run import HEIGHT, WIDTH, halves, sample, text
from pack.bridge.cross_attention import lora_readers
from pack.bridge.cross_attention.layers import QueryPlace
from pack.bridge.cross_attention.lora_layers import LayerLora, PeopleLayer
from pack.core import identities, low_rank
from pack.core.errors import BadSetup, ModelMissing, UnsupportedCheckpoint, WrongBaseModel
from pack.core.models.tensors import below
from pack.core.people import Identity, Lora, Person, PlacedCast
from peers import apply
from safetensors.torch import load_file, save_file

import nodes as host_nodes

ALMOST = 1e-5
LATENT = {"size": (WIDTH, HEIGHT), "steps": 2}


def theirs(model, file, strength=1.0, clip=None):
    return host_nodes.LoraLoader().load_lora(model, clip, file, strength, strength)


def given(file, strength=1.0, words="", before=None):
    return apply("LikenessAddLoRAToPerson", person=before, file=file, strength=strength, words=words, name="")[0]


def cast_of(*people, cast=None, weights=(1.0, 1.0)):
    """People in the places of another cast. weights: of the people in the cast."""
    there = (cast or halves()).people
    members = []
    for person, place, weight in zip(people, there, weights, strict=False):
        members.append(Person(person, weight, place.slot))
    return PlacedCast(tuple(members), WIDTH, HEIGHT)


def put_on(model, cast, positive=None, negative=None, **changed):
    both = {"positive": positive or [text(1)], "negative": negative or [text(2)], "clip": photo_maker_made.clip()}
    return apply("LikenessLoRAPerPerson", model=model, **both, cast=cast, **{"feather": 0, **changed})


@pytest.mark.parametrize("kind", [*lora_made.KINDS, "lora of SD1.5"])
def test_one_person_everywhere_is_load_lora(model, kind):
    """Over a whole sampling, in every layer, convolutions too."""
    sides = [text(1)], [text(2)]
    if "SD1.5" in kind:
        model, sides = attack_values.sd15(), [attack_values.text(seed, 48) for seed in (1, 2)]
    file = lora_made.file(model, kind.removesuffix(" of SD1.5"))
    ours, plain = sample(*put_on(model, given(file, 0.7), *sides), **LATENT), sample(model, *sides, **LATENT)
    by_host = lora_made.dense(model, file) if kind == "lokr tucker" else file
    true = sample(theirs(model, by_host, 0.7)[0], *sides, **LATENT)
    off = relative(ours, true)
    assert off <= ALMOST and relative(plain, true) > 1e-2
    assert torch.equal(sample(model, *sides, **LATENT), plain)
    assert not any("forward" in vars(module) for module in model.model.diffusion_model.modules())


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


# Beside plain torch


def dense(shape, tensors):
    return (tensors["lora_up.weight"].flatten(1) @ tensors["lora_down.weight"].flatten(1)).reshape(shape) * 2 / 3


def by_hand(model, files, masks, strengths):
    """Hooks that add each person's dense difference where the mask of that person is; returns what takes them out."""
    unet, handles = model.model.diffusion_model, []
    states = [load_file(lora_made.folder() / file) for file in files]
    size, dtype = {}, next(unet.parameters()).dtype

    def weights(grid):
        return torch.nn.functional.interpolate(masks[:, None], size=grid)[:, 0].to(dtype)

    def change(name, n, shape):
        prefix = f"diffusion_model.{name}."
        return strengths[n] * dense(shape, {key: x.to(dtype) for key, x in below(prefix, states[n]).items()})

    def adds(name, module):
        each = [change(name, n, module.weight.shape) for n in range(len(files))]

        def hook(_, args, out):
            x = args[0]
            if x.dim() == 4:
                size["now"] = grid = tuple(out.shape[-2:])
                more = [torch.nn.functional.conv2d(x, one, None, module.stride, module.padding) for one in each]
                return out + sum(one * w for one, w in zip(more, weights(grid), strict=True))
            more = [x @ one.T for one in each]
            if x.dim() == 3:
                flat = weights(size["now"]).flatten(1)[..., None]
                return out + sum(one * w for one, w in zip(more, flat, strict=True))
            wide = zip(more, weights(size["now"]), strict=True)
            return out[..., None, None] + sum(one[..., None, None] * w for one, w in wide)

        return module.register_forward_hook(hook)

    def attends(name, module):
        to = {
            x: [change(f"{name}.to_{x}", n, getattr(module, f"to_{x}").weight.shape) for n in range(len(files))]
            for x in "kv"
        }

        def hook(_, args, kwargs, out):
            text, flat = kwargs["context"], weights(size["now"]).flatten(1)[..., None]
            q, shares = module.to_q(args[0]), [1 - flat.sum(dim=0), *flat]
            total = 0
            for share, *more in zip(shares, *([0, *to[x]] for x in "kv"), strict=True):
                pair = [text @ (getattr(module, f"to_{x}").weight + one).T for x, one in zip("kv", more, strict=True)]
                total = total + share * attention_pytorch(q, *pair, module.heads)
            return module.to_out(total)

        return module.register_forward_hook(hook, with_kwargs=True)

    for name, module in unet.named_modules():
        if name in lora_made.layers(model, ("",)) and not name.endswith(("attn2.to_k", "attn2.to_v")):
            handles.append(adds(name, module))
        if name.endswith("attn2"):
            handles.append(attends(name, module))
    return lambda: [one.remove() for one in handles]


@pytest.mark.parametrize("feather, dtype, almost", [(0, torch.float32, ALMOST), (24, torch.float64, 2e-6)])
def test_a_whole_sampling_is_plain_torch_with_hooks(feather, dtype, almost):
    """Two people, hard and soft regions, part of the picture nobody's; dtype: of the network, and what it computes."""
    model = tiny_sdxl.host_model(tiny_sdxl.diffusers_unet().to(dtype))
    files = [lora_made.file(model, seed=n) for n in (1, 2)]
    # Three numbers that multiply: of Add LoRA, of the person in the cast, and of the node.
    of_files, of_people, of_node = (0.8, 0.5), (0.5, 0.9), 1.25
    strengths = [of_file * of_person * of_node for of_file, of_person in zip(of_files, of_people, strict=True)]
    cast = cast_of(*map(given, files, of_files), weights=of_people)
    masks = torch.stack([person.slot.mask for person in cast.people])
    masks[1, :40] = 0
    masks = (masks + torch.rand(masks.shape, generator=torch.Generator().manual_seed(3)) * feather / 24).clamp(0, 1)
    ours = sample(*put_on(model, cast, mask=masks, strength=of_node), **LATENT)
    taken_out = by_hand(model, files, masks / masks.sum(dim=0).clamp(min=1), strengths)
    true = sample(model, [text(1)], [text(2)], **LATENT)
    taken_out()
    assert relative(ours, true) <= almost < relative(true, sample(model, [text(1)], [text(2)], **LATENT))


# Who is where


def test_people_and_places_in_another_order_are_the_same_picture(model):
    one, two = (given(lora_made.file(model, seed=n)) for n in (1, 2))
    there = cast_of(one, two)
    orders = there, replace(there, people=there.people[::-1]), cast_of(two, one)
    first, same, other = (sample(*put_on(model, cast), **LATENT) for cast in orders)
    assert relative(same, first) <= ALMOST and relative(other, first) > 1e-2


def test_two_loras_of_one_person_are_both_as_load_lora_stacks_them(model):
    files = [lora_made.file(model, kind, seed=n, strong=0.08) for n, kind in enumerate(("lora", "glora"))]
    ours = sample(*put_on(model, given(files[1], 0.5, before=given(files[0]))), **LATENT)
    twice = theirs(theirs(model, files[0])[0], files[1], 0.5)[0]
    # The host multiplies GLoRA with weights that have the first LoRA in them.
    assert relative(ours, sample(twice, [text(1)], [text(2)], **LATENT)) < 0.1
    true = sample(theirs(theirs(model, files[1], 0.5)[0], files[0])[0], [text(1)], [text(2)], **LATENT)
    assert relative(ours, true) <= ALMOST
    first = put_on(model, given(files[0]))
    assert relative(sample(*put_on(first[0], given(files[1], 0.5), *first[1:]), **LATENT), true) <= ALMOST


def test_words_are_encoded_with_the_lora_and_read_by_that_person(model):
    """By one person everywhere: a longer prompt, from Load LoRA's CLIP and on Load LoRA's MODEL."""
    clip = photo_maker_made.clip()
    file = lora_made.file(model, clip=clip)
    loaded, encoder = theirs(model, file, clip=clip)
    said = encoder.encode_from_tokens(encoder.tokenize("a red coat"))
    assert relative(said, clip.encode_from_tokens(clip.tokenize("a red coat"))) > 1e-3
    positive = text(1)
    longer = [torch.cat([positive[0], said], dim=1), positive[1]]
    true = sample(loaded, [longer], [text(2)], **LATENT)
    assert relative(sample(*put_on(model, given(file, words="a red coat")), **LATENT), true) <= 2 * ALMOST
    assert relative(sample(*put_on(model, given(file)), **LATENT), true) > 1e-3


def test_in_the_first_attention_their_own_half_alone_reads_the_words_of_one(model):
    layers = model.model.diffusion_model.named_modules()
    file, first, seen = lora_made.file(model), next(one for name, one in layers if name.endswith("attn2.to_out")), []
    handle = first.register_forward_hook(lambda module, args, out: seen.append(out))
    for words in ("", "a red coat"):
        sample(*put_on(model, cast_of(given(file), given(file, words=words))), steps=1, size=(WIDTH, HEIGHT))
    handle.remove()
    before, after, left = seen[0], seen[len(seen) // 2], apart((HEIGHT // 16, WIDTH // 16))
    assert relative(after[:, left], before[:, left]) <= ALMOST < 1e-3 < relative(after[:, ~left], before[:, ~left])


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
    plain, ours = AskedPixels(model), AskedPixels(model)
    sample(plain.model, [text(1)], [text(2)], **{**LATENT, "steps": 1})
    cast = cast_of(*(given(file, words=words) for file in files))
    sample(*put_on(ours.model, cast), **{**LATENT, "steps": 1})
    assert plain.count > 0
    assert ours.count == plain.count


BESIDE = {
    "LikenessPromptPerPerson": {"clip": attack_graphs.value(attack_values.sdxl_clip), "prompts": "1: smiling"},
    "LikenessApplyIPAdapter": {}, "LikenessApplyIDPatch": {"image": None}, "LikenessApplyInstantID": {},
    "LikenessSharePartsAttention": {"clip": attack_graphs.value(attack_values.sdxl_clip)},
}  # fmt: skip


@pytest.mark.parametrize("beside", BESIDE)
def test_beside_other_nodes_both_are_there_in_any_order(model, beside):
    """Before and after it, the picture is the same, and neither of the two alone."""
    known = [attack_values.identity(name) for name in ("Anna", "Boris")]
    cast = cast_of(*(given(lora_made.file(model, seed=n), before=one) for n, one in enumerate(known)))

    def other(given_model, positive, negative):
        linked = {"model": given_model, "positive": positive, "negative": negative, "cast": cast}
        linked = {name: one for name, one in linked.items() if name in attack_graphs.DEFAULTS[beside]}
        applied = apply(beside, **BESIDE[beside], **linked)
        if "model" not in linked:
            positive, negative = applied[:2]
            return given_model, positive, negative
        return applied

    plain = model, [text(1)], [text(2)]
    first, *sides = other(*plain)
    both = [sample(*one, **LATENT) for one in (put_on(first, cast, *sides), other(*put_on(model, cast)))]
    assert relative(*both) <= 2 * ALMOST
    alone = [put_on(model, cast), other(*plain)]
    assert min(relative(sample(*one, **LATENT), both[0]) for one in alone) > 1e-4


# What is refused, and what is left behind


def test_what_is_no_addition_is_named(model):
    name = next(iter(lora_made.layers(model, ("attn1.to_q",))))
    out = lora_made.layers(model, ("",))[name][0]
    dora = {f"diffusion_model.{name}.dora_scale": torch.ones(out, 1)}
    norm = {f"diffusion_model.{name.rsplit('.', 2)[0]}.norm1.diff": torch.ones(out)}
    nowhere = {f"diffusion_model.time_embed.0.lora_{x}.weight": torch.ones(2, 2) for x in ("up", "down")}
    damaged = {f"diffusion_model.{name.replace('to_q', 'to_k')}.lora_up.weight": torch.ones(out, 2)}
    nan = {f"diffusion_model.{name}.lora_up.weight": torch.full((out, 3), torch.nan)}
    strange = {f"lora_unet_nobody_knows.lora_{x}.weight": torch.ones(2, 2) for x in ("up", "down")}
    for more, error, words in (
        (dora, BadSetup, "lora with DoRA"), (norm, BadSetup, "whole difference .diff"),
        (damaged, UnsupportedCheckpoint, "damaged LoRA"), (nan, UnsupportedCheckpoint, "holds NaN"),
        (nowhere, BadSetup, "time_embed.* without a place"), (strange, WrongBaseModel, "1 layer|fit"),
    ):  # fmt: skip
        file = lora_made.file(model, words=("attn1.to_q",), **more)
        with pytest.raises(error, match=words):
            put_on(model, cast_of(given(file), given(file)))
    for other in (attack_values.sd15(), *([attack_values.flux()] if tiny_dits.KNOWN else [])):
        with pytest.raises(WrongBaseModel):
            put_on(other, given(lora_made.file(model)))
    with pytest.raises(ModelMissing, match=r"nowhere\.safetensors is not in models/loras.* Put a LoRA of your own"):
        put_on(model, cast_of(replace(given(file), loras=(Lora("nowhere.safetensors", 1.0, ""),))))


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64], ids=str)
@pytest.mark.parametrize("side", ["up", "down"])
def test_whole_and_complex_numbers_are_no_weights(model, kind, side):
    """The host makes NaN of them, or nothing at all, without a word."""
    name, shape = next(iter(lora_made.layers(model, ("attn1.to_q",)).items()))
    size = {"up": (shape[0], 3), "down": (3, shape[1])}[side]
    key = f"diffusion_model.{name}.lora_{side}.weight"
    file = lora_made.file(model, words=("attn1.to_q",), **{key: torch.ones(size, dtype=kind)})
    with pytest.raises(UnsupportedCheckpoint) as refused:
        put_on(model, cast_of(given(file), given(file)))
    assert f"{file} is a LoRA whose {key} holds numbers of type {kind} instead of float; this" in str(refused.value)


def test_a_scale_may_be_a_whole_number(model):
    """Trainers that save in the kinds they have keep the alpha that they were given."""
    files = [lora_made.file(model, words=("attn1.to_q",)), lora_made.file(model, words=("attn1.to_q",))]
    path = lora_made.folder() / files[1]
    state = load_file(path)
    whole = {key: one.long() if key.endswith("alpha") else one for key, one in state.items()}
    save_file(whole, path)
    pictures = [sample(*put_on(model, given(file)), **LATENT) for file in files]
    assert torch.equal(*pictures)


def test_what_is_wrong_with_a_lora_is_a_whole_sentence(model):
    name, shape = next(iter(lora_made.layers(model, ("attn1.to_q",)).items()))
    key = f"diffusion_model.{name}.lora_up.weight"
    for value in (torch.full((shape[0], 3), torch.nan), torch.full((shape[0], 3), 1e30)):
        file = lora_made.file(model, words=("attn1.to_q",), **{key: value})
        with pytest.raises(UnsupportedCheckpoint) as refused:
            put_on(model, given(file))
        words = f"{file} is a LoRA whose {key} holds NaN, infinity or numbers too large; this node needs a LoRA."
        assert refused.value.problem == words
    scalar = lora_made.file(model, words=("attn1.to_q",), **{key: torch.tensor(1.0)})
    with pytest.raises(WrongBaseModel, match=r"is made of a single number and 3x\d+, here it is \d+x\d+\)"):
        put_on(model, given(scalar))


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


@pytest.mark.parametrize(("end", "made", "sizes"), TEXTS.values(), ids=TEXTS)
def test_text_layers_of_another_size_are_named_with_both(model, end, made, sizes):
    """Where the layers of the UNet fit; those of the right size are taken."""
    weights = photo_maker_made.clip().cond_stage_model.state_dict().items()
    name, (out, *into) = next((name, one.shape) for name, one in weights if name.endswith(end))

    def file(out):
        named = {f"text_encoders.{name.rpartition('.')[0]}.{key}": one for key, one in made(out, *into).items()}
        return given(lora_made.file(model, words=("attn1.to_q",), **named))

    put_on(model, file(out))
    here = "x".join(map(str, (out, *into)))
    words = rf"another model \(.*{name} is made of {sizes.format(out + 8, *into)}, here it is {here}\)"
    with pytest.raises(WrongBaseModel, match=words):
        put_on(model, file(out + 8))


def test_a_bias_for_a_text_layer_without_one_is_named(model):
    bias = {"text_encoders.clip_l.transformer.text_projection.diff_b": torch.zeros(64)}
    with pytest.raises(WrongBaseModel, match=r"text_projection.bias is made of 64, here it is missing\)"):
        put_on(model, given(lora_made.file(model, words=("attn1.to_q",), **bias)))


@pytest.mark.parametrize("name", ["HyperTile", "ToMe"])
def test_regions_of_moved_tokens_are_refused(name):
    moved, file = host_nodes_of.patch(name, attack_values.sd15()), lora_made.file(attack_values.sd15())
    sides = {side: attack_values.text(n, 48) for n, side in enumerate(("positive", "negative"))}
    made = put_on(moved, cast_of(given(file), given(file)), **sides)
    with pytest.raises(BadSetup, match=r"tokens of the \d+x\d+ of a layer.*whose LoRA"):
        sample(*made, steps=1, size=(2 * WIDTH, 2 * HEIGHT))


def test_nothing_is_left_after_an_exception_and_for_a_compiled_model():
    small = compiled.model()
    file = lora_made.file(small)
    with compiled.counting():
        whole = compiled.whole(small)
        made = put_on(whole, given(file))
        before = sample(whole, [text(1)], [text(2)], steps=1)
        with_lora = sample(*made, steps=1)
        assert torch.equal(sample(whole, [text(1)], [text(2)], steps=1), before) and not torch.equal(with_lora, before)

    def fails(*_):
        raise RuntimeError("stop")

    failing = made[0].clone()
    failing.set_model_sampler_post_cfg_function(fails)
    with pytest.raises(RuntimeError, match="stop"):
        sample(failing, *made[1:], steps=1)
    assert not any("forward" in vars(module) for module in small.model.diffusion_model.modules())


def test_a_saved_person_keeps_their_loras():
    person = Identity("Anna", {}, torch.zeros(1, 112, 112, 3))
    person = replace(person, loras=(Lora("a.safetensors", 0.5, "a red coat"),))
    back = identities.from_tensors(*identities.to_tensors(person), "anna.safetensors")
    assert back.loras == person.loras and back.name == "Anna"
    tensors, metadata = identities.to_tensors(person)
    with pytest.raises(UnsupportedCheckpoint, match="LoRAs"):
        identities.from_tensors(tensors, {**metadata, "loras": "[1]"}, "anna.safetensors")


def test_people_without_photos_come_by_cast_and_place_cast(model):
    people = [given(lora_made.file(model, seed=n)) for n in (1, 2)]
    cast = apply("LikenessCast", person_1=people[0], person_2=people[1])[0]
    layout = attack_values.layout()
    placed = apply("LikenessPlaceCast", cast=cast, layout=layout)[0]
    assert [person.identity.loras for person in placed.people] == [one.loras for one in people]
    both = sample(*put_on(model, placed), **LATENT)
    one = sample(*put_on(model, PlacedCast(placed.people[:1], WIDTH, HEIGHT)), **LATENT)
    assert both.isfinite().all() and relative(both, one) > 1e-3


def test_with_a_row_each_everybody_has_their_own_lora(model):
    people = [given(lora_made.file(model, seed=n)) for n in (1, 2)]
    rows = attack_values.by_row()
    cast = attack_values.RowCast(
        tuple(replace(p, identity=one) for p, one in zip(rows.people, people, strict=True)), 128, 128
    )
    start = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(7)) * 14
    both = sample(*put_on(model, cast), steps=1, start=start)
    alone = [sample(*put_on(model, one), steps=1, start=start[n : n + 1]) for n, one in enumerate(people)]
    assert relative(both, torch.cat(alone)) <= ALMOST


# Beside packs that change a layer's forward while sampling


def forwards(model):
    return [module for module in model.model.diffusion_model.modules() if "forward" in vars(module)]


@pytest.mark.parametrize("way", ["put back", "deleted"])
@pytest.mark.parametrize("when", ["around the sampling", "in a forward"])
def test_a_layer_that_another_pack_changes_for_a_while_is_as_it_was(model, way, when):
    """The pack doubles what one layer gives; its change alone and beside ours, and the plain picture afterwards."""
    plain = sample(model, [text(1)], [text(2)], **LATENT)
    layer = model.model.diffusion_model.input_blocks[0][0]

    def theirs(executor, *args, **kwargs):
        old = layer.forward
        layer.forward = lambda *given, **named: old(*given, **named) * 2
        try:
            return executor(*args, **kwargs)
        finally:
            if way == "put back":
                layer.forward = old
            else:
                del layer.forward

    kinds = {"around the sampling": "OUTER_SAMPLE", "in a forward": "DIFFUSION_MODEL"}
    made = put_on(model, given(lora_made.file(model)))
    alone = sample(*made, **LATENT)
    changed = made[0].clone()
    changed.add_wrapper_with_key(getattr(WrappersMP, kinds[when]), "theirs", theirs)
    both = sample(changed, *made[1:], **LATENT)
    assert both.isfinite().all() and relative(both, alone) > 1e-3
    for module in forwards(model):  # theirs, where the pack puts the class's own method into the layer
        assert vars(module).pop("forward") == type(module).forward.__get__(module)
    assert torch.equal(sample(model, [text(1)], [text(2)], **LATENT), plain)
    assert torch.equal(sample(*made, **LATENT), alone)
    assert not forwards(model)


def test_a_pack_that_goes_around_ours_in_a_forward_and_stays_keeps_its_function(model):
    """Ours in between hands on what comes, and nothing of the run is held by it."""
    plain = sample(model, [text(1)], [text(2)], **LATENT)
    layer, known = model.model.diffusion_model.middle_block[0].in_layers[2], []

    def patch(h, options):
        if not known:
            known.append(layer.forward)
            layer.forward = lambda x: known[0](x)
        return h

    made = put_on(model, given(lora_made.file(model)))
    alone = sample(*made, **LATENT)
    changed = made[0].clone()
    changed.set_model_input_block_patch(patch)
    sample(changed, *made[1:], **LATENT)
    reader = known[0].__self__
    assert isinstance(reader, lora_readers.Reader) and reader.ended
    assert forwards(model) == [layer]
    assert torch.equal(sample(model, [text(1)], [text(2)], **LATENT), plain)
    assert torch.equal(sample(*made, **LATENT), alone)
    layer.forward = known[0]  # put back by the pack: taken out by the next run
    sample(*made, **LATENT)
    assert not forwards(model)


def test_a_mask_of_ones_is_everywhere_and_takes_layers_of_the_time_step(model):
    out, into = model.model.diffusion_model.time_embed[0].weight.shape
    tensors = {f"diffusion_model.time_embed.0.{key}": x * 0.02 for key, x in pair(out, into).items()}
    person = given(lora_made.file(model, words=("attn1.to_q",), **tensors))
    bare = apply("LikenessCast", person_1=person)[0]
    whole = sample(*put_on(model, bare), **LATENT)
    masked = sample(*put_on(model, bare, mask=torch.ones(1, HEIGHT, WIDTH)), **LATENT)
    assert torch.equal(masked, whole) and relative(whole, sample(model, [text(1)], [text(2)], **LATENT)) > 1e-3


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


@pytest.mark.parametrize("kind", ["lora", "glora"])
@pytest.mark.parametrize("change", [dilate, go_around_the_edges, divide_into_groups])
def test_a_convolution_runs_the_lora_as_it_runs_itself(change, kind):
    """Its dilation, its padding and its groups are those of Load LoRA's weights."""
    model = tiny_sdxl.host_model(tiny_sdxl.diffusers_unet())
    change(model.model.diffusion_model.middle_block[0].in_layers, 2)
    file = lora_made.file(model, kind, words=("middle_block.0.in_layers.2",), strong=0.5)
    plain = sample(model, [text(1)], [text(2)], steps=1)
    true = sample(theirs(model, file)[0], [text(1)], [text(2)], steps=1)
    assert relative(sample(*put_on(model, given(file)), steps=1), true) <= ALMOST < 1e-3 < relative(plain, true)


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
        loras[person] = low_rank.Lora(random(6, rank), random(rank, 8 // groups, 3, 3), None, None)
    place = QueryPlace(2, frozenset(), torch.device("cpu"), torch.float64)
    layer_loras = [LayerLora(person, 0.5, lora) for person, lora in loras.items()]
    layer = PeopleLayer(layer_loras, convolution, place)
    hidden = layer.hidden(x)
    for person, lora in loras.items():
        own = torch.tensor([owner == person for owner in layer.owners])
        ours = torch.einsum("or,brhw->bohw", layer.up, hidden * own[:, None, None])
        dense = torch.einsum("or,ri...->oi...", lora.up, lora.down) * 0.5
        true = torch.nn.functional.conv2d(x, dense, padding=1, groups=groups)
        assert relative(ours, true) <= 1e-12


def test_forwards_that_overlap_add_their_own_each():
    """And a forward that ends first leaves what the others add."""
    readers = lora_readers.Readers({"known": torch.nn.Linear(2, 2), "other": torch.nn.Linear(2, 2)})
    first, second = [lora_readers.LayerAddition(lora_readers.Mark()) for _ in range(2)]
    with readers.standing_in(["known"], {"known": first}):
        reader = readers.by_name["known"]
        with readers.standing_in(["known", "other"], {"known": second}):
            assert reader.addition_of(first.mark) is first
            assert reader.addition_of(second.mark) is second
            assert readers.by_name["other"].addition_of(second.mark) is None
            with readers.standing_in(["known"], {"known": second}):
                pass
            assert reader.addition_of(second.mark) is second, "the same forward, put there twice"
        assert reader.addition_of(first.mark) is first
        assert reader.addition_of(second.mark) is None
    assert reader.addition_of(first.mark) is None, "it has ended"


def test_readers_are_taken_out_where_a_forward_or_a_reader_fails():
    """And owners of the text that another pack's attention was called with are gone, whatever it raises."""
    modules = {"known": torch.nn.Linear(2, 2)}
    readers = lora_readers.Readers(modules)
    with pytest.raises(RuntimeError, match="stop"), readers.standing_in(["known"]):
        assert "forward" in vars(modules["known"])
        raise RuntimeError("stop")
    assert "forward" not in vars(modules["known"]) and not readers.by_name
    with pytest.raises(KeyError), readers.standing_in(["known", "unknown"]):
        raise AssertionError("never reached")
    assert "forward" not in vars(modules["known"]) and not readers.by_name

    def fails():
        assert forward.text_owners == ("Anna",)
        raise RuntimeError("stop")

    forward = lora_readers.Forward(None)
    with pytest.raises(RuntimeError, match="stop"):
        forward.call_with_text_of(("Anna",), fails)
    assert forward.text_owners == ()
