"""LoRA per Person on transformers, in the real host: against networks in which a LoRA is merged by Load LoRA."""

from dataclasses import replace

import lora_made
import people_made
import pytest
import tiny_dits
import tiny_encoders
import torch
from figures import relative
from hidden_text import without_common
from pack.bridge.lora_files import NotForOnePerson
from pack.core.errors import WrongBaseModel
from pack.core.people import Lora, PlacedCast
from peers import apply
from safetensors.torch import save_file
from tiny_dits import EVERY, FLUX, FLUX_2, KREA_2, QWEN, Z_IMAGE

import nodes as host_nodes

pytestmark = tiny_dits.needed
WIDTH, HEIGHT = 128, 96  # 8 x 6 tokens
PICTURE = 48
TOLERANCE = 1e-5
CLIPS = {
    FLUX: (tiny_encoders.flux1, {"context_in_dim": tiny_encoders.WIDTH, "vec_in_dim": 64}),
    FLUX_2: (tiny_encoders.klein, {"context_in_dim": 3 * tiny_encoders.WIDTH}),
    QWEN: (tiny_encoders.qwen, {"joint_attention_dim": tiny_encoders.WIDTH}),
    Z_IMAGE: (tiny_encoders.z_image, {"cap_feat_dim": tiny_encoders.WIDTH}),
    KREA_2: (tiny_encoders.krea2, {"txtdim": tiny_encoders.WIDTH, "txtlayers": 12}),
}
LAYERS = {
    FLUX: ("_attn.", "_mlp.", "linear", "img_in", "txt_in", "_mod.lin", "modulation.lin"),
    FLUX_2: ("_attn.", "_mlp.", "linear", "img_in", "txt_in", "modulation"),
    QWEN: ("attn.to_", "attn.add_", "_mlp.net", "img_in", "txt_in", "proj_out"),
    Z_IMAGE: ("attention.qkv", "attention.out", "feed_forward", "cap_embedder.1", "x_embedder", "final_layer.linear"),
    KREA_2: (".attn.w", ".attn.gate", ".mlp.", "first", "last.linear", "txtmlp", "projector"),
}
"""By family, words in the names of layers that a LoRA may be in."""
EVERYWHERE, NOWHERE = torch.ones(1, HEIGHT, WIDTH), torch.zeros(1, HEIGHT, WIDTH)
NOWHERE[:, :1, :1] = 1e-4  # a mask of nobody is refused; less than the least weight of a token


class Setting:
    """A family's MODEL, text encoder and LoRAs, one for each person."""

    def __init__(self, family):
        make, changes = CLIPS[family]
        self.family = family
        self.clip = make()
        self.model = tiny_dits.model(family, **changes)
        self.files = [lora(family, self.model, seed) for seed in (11, 12)]

    def text(self, words):
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(words))


SETTINGS = {}


@pytest.fixture(params=EVERY)
def setting(request):
    if request.param not in SETTINGS:
        SETTINGS[request.param] = Setting(request.param)
    return SETTINGS[request.param]


def linear_layers(family, model):
    found = {}
    for name, module in model.model.diffusion_model.named_modules():
        is_meant = any(word in name for word in LAYERS[family]) and "adaLN" not in name
        if is_meant and hasattr(module, "in_features"):
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


def lora(family, model, seed):
    name = f"{family} {seed}.safetensors".lower()
    return saved(name, tensors(linear_layers(family, model), seed))


def merged(setting, file, strength=1.0):
    return host_nodes.LoraLoader().load_lora(setting.model, None, file, strength, strength)[0]


WORDS = "a woman with red hair", "a man with a beard"


def cast(*files, words=WORDS):
    """Two people side by side, or one, with a LoRA and its words each."""
    there = people_made.cast([(32.0, 48.0), (96.0, 48.0)], WIDTH, HEIGHT).people
    people = []
    for person, file, own_words in zip(there, files, words, strict=False):
        people.append(replace(person, identity=replace(person.identity, loras=(Lora(file, 1.0, own_words),))))
    return PlacedCast(tuple(people), WIDTH, HEIGHT)


def put_on(setting, who, mask, model=None, **changed):
    sides = {"positive": setting.text("two people in a park"), "negative": setting.text("blurred")}
    given = {"model": model or setting.model, "clip": setting.clip, "cast": who, "mask": mask, "feather": 0, **sides}
    return apply("LikenessLoRAPerPerson", **{**given, **changed})


def sample(setting, applied, cfg=1.0, **more):
    return tiny_dits.sample(*applied, tiny_dits.latent(setting.family, WIDTH, HEIGHT), cfg=cfg, **more)


def own_text(setting, words):
    """A person's words, with the pooled vector of the common text where a family has one."""
    ((text, _),) = setting.text(words)
    ((_, options),) = setting.text("two people in a park")
    return [[text, options]]


def test_a_person_everywhere_is_the_merged_network_on_their_words(setting):
    """With another person and their LoRA present, of whom nothing is seen."""
    common = setting.text("two people in a park")[0][0]
    hidden = without_common(setting.model, setting.family, common.shape[1], PICTURE)
    who = cast(*setting.files)
    plain = sample(setting, (setting.model, own_text(setting, WORDS[0]), setting.text("blurred")))
    for number, mask in enumerate(([EVERYWHERE, NOWHERE], [NOWHERE, EVERYWHERE])):
        found = sample(setting, put_on(setting, who, torch.cat(mask), model=hidden))
        side = own_text(setting, WORDS[number])
        expected = sample(setting, (merged(setting, setting.files[number]), side, setting.text("blurred")))
        assert relative(found, expected) <= TOLERANCE
        assert relative(found, plain) > 100 * TOLERANCE


def test_one_person_without_a_region_is_load_lora(setting):
    who = cast(setting.files[0], words=("",)).people[0].identity
    found = sample(setting, put_on(setting, who, None, strength=0.7), cfg=3.0)
    sides = setting.text("two people in a park"), setting.text("blurred")
    assert relative(found, sample(setting, (merged(setting, setting.files[0], 0.7), *sides), cfg=3.0)) <= TOLERANCE
    assert relative(found, sample(setting, (setting.model, *sides), cfg=3.0)) > 100 * TOLERANCE


APART = people_made.painted((0, 0, 64, 96), (64, 0, 128, 96), width=WIDTH, height=HEIGHT)


def test_exchanged_people_are_the_same_picture(setting):
    there = cast(*setting.files)
    exchanged = replace(there, people=there.people[::-1])
    found = [sample(setting, put_on(setting, *given)) for given in ((there, APART), (exchanged, APART.flip(0)))]
    assert relative(*found) <= TOLERANCE


def test_a_picture_comes_again_and_the_model_is_as_before(setting):
    sides = setting.text("two people in a park"), setting.text("blurred")
    before = sample(setting, (setting.model, *sides), cfg=3.0)
    first = put_on(setting, cast(*setting.files), APART)
    second = put_on(setting, cast(*setting.files[::-1]), APART)
    found = sample(setting, first, cfg=3.0)
    assert not torch.equal(sample(setting, second, cfg=3.0), found)
    assert torch.equal(sample(setting, first, cfg=3.0), found)
    assert torch.equal(sample(setting, (setting.model, *sides), cfg=3.0), before)


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
    setting = SETTINGS.setdefault(family, Setting(family))
    file = saved(f"{family} split.safetensors".lower(), tensors(SPLIT[family], 21, prefix=""))
    common = setting.text("two people in a park")[0][0]
    hidden = without_common(setting.model, setting.family, common.shape[1], PICTURE)
    applied = put_on(setting, cast(file, setting.files[1]), torch.cat([EVERYWHERE, NOWHERE]), model=hidden)
    expected = sample(setting, (merged(setting, file), own_text(setting, WORDS[0]), setting.text("blurred")))
    assert relative(sample(setting, applied), expected) <= TOLERANCE


@pytest.mark.parametrize(("family", "layers", "error", "words"), [
    (QWEN, {"diffusion_model.transformer_blocks.0.img_mod.1": (384, 64)}, NotForOnePerson,
     "without a place in the picture that is known for Qwen-Image"),
    (Z_IMAGE, {"diffusion_model.layers.0.adaLN_modulation.0": (1024, 256)}, NotForOnePerson,
     "without a place in the picture that is known for Z-Image"),
    (FLUX, {"diffusion_model.time_in.in_layer": (64, 256)}, NotForOnePerson, "without a place in the picture"),
    (FLUX, {"diffusion_model.img_in": (64, 32)}, WrongBaseModel, "one that fits the MODEL .FLUX.1."),
    (Z_IMAGE, {"lora_unet_layers_0_attention_to_q": (256, 256)}, WrongBaseModel, "of which 0 fit; first lora_unet"),
])  # fmt: skip
def test_a_file_that_cannot_be_one_persons_is_refused_by_name(family, layers, error, words):
    setting = SETTINGS.setdefault(family, Setting(family))
    state = tensors(layers, 22, prefix="")
    file = saved(f"{family} {next(iter(layers))}.safetensors".lower(), state)
    with pytest.raises(error, match=words):
        put_on(setting, cast(file, setting.files[1]), APART)
