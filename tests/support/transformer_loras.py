"""LoRA per Person on tiny transformers of every family: MODELs, text encoders, files and casts."""

import re
from dataclasses import replace

import family_encoders
import lora_made
import people_made
import tiny_dits
import torch
from pack.core.people import Lora, PlacedCast
from peers import apply
from safetensors.torch import save_file
from tiny_dits import ANIMA, CHROMA, FLUX, FLUX_2, IDEOGRAM_4, KREA_2, MAGE_FLOW, QWEN, Z_IMAGE

import nodes as host_nodes

WIDTH, HEIGHT = 128, 96  # 8 x 6 tokens
PICTURE = 48
TOLERANCE = 1e-5
CLIPS = {
    FLUX: (family_encoders.flux1, {"context_in_dim": family_encoders.WIDTH, "vec_in_dim": 64}),
    FLUX_2: (family_encoders.klein, {"context_in_dim": 3 * family_encoders.WIDTH}),
    QWEN: (family_encoders.qwen, {"joint_attention_dim": family_encoders.WIDTH}),
    Z_IMAGE: (family_encoders.z_image, {"cap_feat_dim": family_encoders.WIDTH}),
    KREA_2: (family_encoders.krea2, {"txtdim": family_encoders.WIDTH, "txtlayers": 12}),
    MAGE_FLOW: (family_encoders.mage_flow, {"joint_attention_dim": family_encoders.WIDTH}),
    CHROMA: (family_encoders.chroma, {"context_in_dim": family_encoders.WIDTH}),
    IDEOGRAM_4: (family_encoders.ideogram_4, {"llm_features_dim": 13 * family_encoders.WIDTH}),
    ANIMA: (family_encoders.anima, {"crossattn_emb_channels": family_encoders.WIDTH}),
}
"""By family: its text encoder, and what a network has to be to read it."""
WITHOUT_PLACE = re.compile(r"(t_embed|time_|tmlp|vector_in|guidance|adaln_proj|llm_adapter)|\.adaln_modulation\w*\.\d")
"""In the names of layers that are given neither text nor picture, of all families: a LoRA there is not one person's."""
EVERYWHERE, NOWHERE = torch.ones(1, HEIGHT, WIDTH), torch.zeros(1, HEIGHT, WIDTH)
NOWHERE[:, :1, :1] = 1e-4  # a mask of nobody is refused; less than the least weight of a token


class Setting:
    """A family's MODEL, text encoder and LoRAs, one for each person. shape: changes of the network's configuration."""

    def __init__(self, family, **shape):
        make, changes = CLIPS[family]
        self.family = family
        self.clip = make()
        self.model = tiny_dits.model(family, **changes, **shape)
        self.files = [lora(family, self.model, seed) for seed in (11, 12)]

    def text(self, words):
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(words))


SETTINGS = {}


def setting_of(family):
    if family not in SETTINGS:
        SETTINGS[family] = Setting(family)
    return SETTINGS[family]


def linear_layers(model):
    found = {}
    for name, module in model.model.diffusion_model.named_modules():
        if hasattr(module, "in_features") and not WITHOUT_PLACE.search(name):
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
    shapes = linear_layers(model)
    return saved(f"{family} {len(shapes)} {seed}.safetensors".lower(), tensors(shapes, seed))


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
    return with_pooled_of(setting.text("two people in a park"), setting.text(words))


def with_pooled_of(common, own):
    """A text with the pooled vector of another, where there is one: FLUX.1 reads one for a whole forward."""
    ((_, of_common),), ((text, options),) = common, own
    return [[text, {**options, "pooled_output": of_common["pooled_output"]}]]
