"""Which description says yes to which network of the host: exactly one to each that it describes, none to relatives."""

import re
import sys
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import comfy.model_detection
import comfy.supported_models
import marks
import pytest
import torch
from bench import transformers
from comfy.model_patcher import ModelPatcher
from dense_texts import text
from figures import relative
from hidden_text import without_common
from pack.bridge.host import unet
from pack.bridge.networks import families, model_family
from pack.bridge.networks.families import DESCRIBED, RELATIVES
from pack.bridge.networks.transformer_families import TransformerFamily
from pack.bridge.sampling import on_model
from pack.bridge.sampling.carried import carry
from pack.bridge.words.transformer.run import TRANSFORMER_WORDS
from pack.core.checks.errors import WrongBaseModel, joined
from tiny import tiny_dits, tiny_networks
from tiny.seeded import normal
from tiny.tiny_dits import CHROMA, EVERY, FLUX, FLUX_2, QWEN, QWEN_2_1, Z_IMAGE
from transformer_loras import EVERYWHERE, HEIGHT, PICTURE, TOLERANCE, WIDTH
from words_made import carried_words

LAYERED, IN_PIXELS = (family.name for family in RELATIVES)
NONE_OF_THEM = ""


@dataclass(frozen=True)
class Network:
    """A network of the host that is like one of a family.

    kind: its class in comfy.supported_models. like, changes: the family, and the settings that are other than there.
    family: whose description says yes. called: what the refusal calls it, the name of the class where it is "".
    """

    kind: str
    like: str
    changes: dict[str, Any] = field(default_factory=dict)
    family: str = NONE_OF_THEM
    called: str = ""


_PIXELS = {"patch_size": 16, "in_channels": 3}
_COUNTED = {"guidance_embed": False, "txt_ids_dims": [1, 2]}
_NERF = {
    "nerf_hidden_size": 64, "nerf_mlp_ratio": 2, "nerf_depth": 1, "nerf_max_freqs": 8, "nerf_tile_size": 512,
    "nerf_final_head_type": "conv", "nerf_embedder_dtype": torch.float32, "use_x0": False,
    "use_sequential_txt_ids": True,
}  # fmt: skip
_LUMINA = {"z_image_modulation": False, "pad_tokens_multiple": None}
NETWORKS = {
    **{family: Network(tiny_dits.CONFIGS[family][0], family, {}, family) for family in EVERY},
    "FLUX.1 Fill": Network("FluxInpaint", FLUX, {"in_channels": 96}, FLUX),
    "FLUX.1 schnell": Network("FluxSchnell", FLUX, {"guidance_embed": False}, FLUX),
    "Qwen-Image-Edit-2511": Network("QwenImage", QWEN, {"default_ref_method": "index_timestep_zero"}, QWEN),
    "Z-Image Omni": Network("ZImage", Z_IMAGE, {"siglip_feat_dim": 24}, Z_IMAGE),
    LAYERED: Network("QwenImage", QWEN, {"use_additional_t_cond": True}, LAYERED),
    IN_PIXELS: Network(
        "ZImagePixelSpace", Z_IMAGE,
        {**_PIXELS, "image_model": "zimage_pixel", "decoder_hidden_size": 64, "decoder_num_res_blocks": 1},
        IN_PIXELS,
    ),
    "Chroma Radiance": Network(
        "ChromaRadiance", CHROMA, {**_PIXELS, **_NERF, "out_channels": 3, "image_model": "chroma_radiance"}
    ),
    "LongCat-Image": Network("LongCatImage", FLUX, {**_COUNTED, "vec_in_dim": None}),
    "Ovis-Image": Network(
        "Flux", FLUX, {**_COUNTED, "yak_mlp": True, "txt_norm": True},
        called="Flux with txt_ids_dims, txt_norm and yak_mlp",
    ),
    "FLUX.2 with one part more": Network("Flux2", FLUX_2, {"txt_norm": True}, called="Flux2 with txt_norm"),
    "FLUX.2 with positions of FLUX.1": Network("Flux2", FLUX_2, {"txt_ids_dims": []}, called="Flux2 without txt_ids"),
    "Lumina 2": Network("Lumina2", Z_IMAGE, _LUMINA),
    "NewBie": Network("Lumina2", Z_IMAGE, {**_LUMINA, "clip_text_dim": 24}, called="Lumina2 with clip_text_dim"),
    "Ming-Image Layer": Network("MingImage", Z_IMAGE, {"image_model": "ming_image"}),
    "Ming-Image Design": Network(
        "MingImage", Z_IMAGE, {"image_model": "ming_image", "pad_tokens_multiple": None, "masked_pad_multiple": 8}
    ),
}  # fmt: skip
_UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_middle": 1,
    "num_heads": 2,
    "transformer_depth_output": [1, 1, 1, 1],
    "num_head_channels": -1,
    "use_spatial_transformer": True,
    "legacy": False,
    "context_dim": 64,
}
_OF_LABELS = {**_UNET, "num_classes": "sequential", "adm_in_channels": 64}
_OF_FILMS = {
    **_OF_LABELS,
    "in_channels": 8,
    "use_temporal_attention": True,
    "extra_ff_mix_layer": True,
    "merge_factor": 0.0,
    "merge_strategy": "learned_with_images",
    "use_spatial_context": True,
    "use_temporal_resblock": True,
    "video_kernel_size": [3, 1, 1],
}
UNETS = {
    **dict.fromkeys(("SD15", "SD20", "SD15_instructpix2pix"), _UNET),
    **dict.fromkeys(("SD21UnclipL", "SDXLRefiner", "SDXL", "SSD1B", "KOALA_700M", "Segmind_Vega"), _OF_LABELS),
    "SDXL_instructpix2pix": {**_OF_LABELS, "in_channels": 8},
}
"""Networks that draw from a text, by their classes."""
RELATIVES_OF_UNETS = {
    **dict.fromkeys(("SVD_img2vid", "SV3D_u", "SV3D_p"), _OF_FILMS),
    "Stable_Zero123": {**_UNET, "in_channels": 8},
    "SD_X4Upscaler": {**_UNET, "in_channels": 7, "num_classes": 1000, "disable_self_attentions": [True, False]},
    "LotusD": _OF_LABELS,
}
FROM_FILE = {"cc_projection.weight": torch.zeros(64, 68), "cc_projection.bias": torch.zeros(64)}
"""What the host makes Zero123's network of, beside settings."""
PUBLISHED = {published.name: published for published in transformers.PUBLISHED}
"""Networks of the published sizes: of which family, and its settings that are other than those of the tiny one."""
CANNOT_BE_MADE = TypeError, KeyError, ValueError, AssertionError, RuntimeError
pytestmark = pytest.mark.both_hosts


def built(kind: str, settings: dict[str, Any]) -> ModelPatcher:
    """A MODEL without weights: what a class of the host's makes of settings."""
    with torch.device("meta"), tiny_networks.small_adapter(settings):
        network = tiny_networks.host_class(kind, settings)(settings).get_model({}, device="meta")
    return ModelPatcher(network, load_device=torch.device("meta"), offload_device=torch.device("meta"))


def tiny(network: Network) -> ModelPatcher:
    if not hasattr(comfy.supported_models, network.kind):
        pytest.skip(f"this ComfyUI has no {network.kind}")
    try:
        return built(network.kind, {**settings_like(network.like), **network.changes})
    except TypeError:
        if tiny_dits.KNOWN:
            raise
        pytest.skip("this older ComfyUI has no such settings")


def settings_like(family: str) -> dict[str, Any]:
    settings = tiny_dits.CONFIGS[family][1]
    return {name: value for name, value in settings.items() if tiny_dits.KNOWN or name != "txt_ids_dims"}


def families_of(model: Any) -> list[str]:
    """Whose descriptions say yes."""
    return [family.name for family in (*DESCRIBED, *RELATIVES) if model_family.is_of(model, family)]


@pytest.mark.parametrize("name", NETWORKS)
def test_one_description_says_yes_to_a_network_and_none_to_a_relative(name: str) -> None:
    network = NETWORKS[name]
    model = tiny(network)
    assert families_of(model.model) == [network.family] * (network.family != NONE_OF_THEM)
    if network.family != NONE_OF_THEM:
        found = model_family.transformer_family(model.model)
        assert found is not None and found.name == network.family
        return
    known = f"{EVERY[-1]} or {QWEN_2_1} is needed"
    with pytest.raises(WrongBaseModel, match=f"The MODEL is made for {network.called or network.kind}.*{known}"):
        model_family.transformer_of(model, "A node")


def layers_called(name: str, modules: Collection[str]) -> list[str]:
    """The layers that a description means by a name, "{}" in it for the number of a block."""
    pattern = re.escape(name).replace(re.escape("{}"), r"\d+")
    return [layer for layer in modules if re.fullmatch(pattern, layer)]


def alternatives(pattern: str) -> list[str]:
    """What stands between the outer | of a pattern."""
    parts, depth = [""], 0
    for sign in pattern:
        depth += (sign == "(") - (sign == ")")
        if sign == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def networks_of(family: TransformerFamily) -> list[torch.nn.Module]:
    """The tiny network of a family and those of the published sizes, of which one may have what another lacks."""
    if family in RELATIVES:
        return [tiny(NETWORKS[family.name]).model.diffusion_model]
    kind, sizes = tiny_dits.CONFIGS[family.name]
    published = [one.network for one in PUBLISHED.values() if one.family == family.name]
    return [built(kind, {**sizes, **others}).model.diffusion_model for others in ({}, *published)]


def unknown_names(family: TransformerFamily) -> list[str]:
    """What a description names that no network of its family has."""
    networks = networks_of(family)
    modules = {name for network in networks for name, _ in network.named_modules()}
    in_blocks = [f"{path}.{{}}" for path in family.blocks]
    names = [*in_blocks, *family.text_layers, family.picture_layer, family.refiners]
    names += [f"{block}.{family.text_reader}" for block in in_blocks if family.text_reader]
    names += [name.layer for name in family.layer_names]
    for modulation in family.modulations:
        names += [modulation.layer, *(part.name for part in (*modulation.norms, *modulation.gated))]
    unknown = [name for name in names if not layers_called(name, modules)]
    unknown += [name for name in (family.inputs_method, family.patch) if name and not hasattr(networks[0], name)]
    return unknown


def unknown_streams(family: TransformerFamily) -> list[str]:
    """Which layers' names its streams have that neither its networks have nor those of families with the same."""
    sharing = [one for one in (*DESCRIBED, *RELATIVES) if one.streams is family.streams and is_in_host(one)]
    networks = [network for one in sharing for network in networks_of(one)]
    modules = {name for network in networks for name, _ in network.named_modules()}
    patterns = [part for stream in family.streams for part in alternatives(stream.names)]
    return [part for part in patterns if not any(re.fullmatch(part, name) for name in modules)]


def is_in_host(family: TransformerFamily) -> bool:
    return family in RELATIVES or family.name in tiny_dits.CONFIGS


@marks.transformers
@pytest.mark.parametrize("family", [*DESCRIBED, *RELATIVES], ids=lambda family: family.name)
def test_a_description_names_what_its_network_has(family: TransformerFamily) -> None:
    """A layer of another name would be a LoRA refused or a person left out, in few sentences or none."""
    if not is_in_host(family):
        pytest.skip("this ComfyUI has no such network")
    assert unknown_names(family) + unknown_streams(family) == []


@marks.transformers
@pytest.mark.parametrize("field", ["blocks", "text_layers", "picture_layer", "refiners", "inputs_method", "patch"])
def test_a_name_that_the_network_has_not_is_found(field: str) -> None:
    wrong: Any = ("nowhere",) if field in ("blocks", "text_layers") else "nowhere"
    family = replace(families.flux.TRANSFORMER, **{field: wrong})
    assert "nowhere" in unknown_names(family)[0]


@marks.transformers
@pytest.mark.parametrize(
    "family", [one for one in DESCRIBED if one.telling_block is not None], ids=lambda one: one.name
)
def test_the_block_that_tells_is_one_of_the_published_network(family: TransformerFamily) -> None:
    """Of the largest of its networks: a smaller one may have fewer, and then its people are found in the last."""
    networks = networks_of(family)
    counts = [sum(len(network.get_submodule(path)) for path in family.blocks) for network in networks]
    assert family.telling_block and family.telling_block < max(counts)


@pytest.mark.parametrize("name", UNETS | RELATIVES_OF_UNETS)
def test_of_unets_those_are_taken_that_draw_from_a_text(name: str) -> None:
    """Also in a class that another pack has derived, and whatever a node asks."""
    settings = UNETS.get(name) or RELATIVES_OF_UNETS[name]
    with torch.no_grad():
        network = tiny_networks.host_class(name, settings)(settings).get_model(FROM_FILE)
    network.__class__ = type("OfAnotherPack", (type(network),), {})
    model = ModelPatcher(network, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))
    if name in UNETS:
        assert model_family.transformer_of(model, "A node") is None
        assert unet.text_width(model) == settings["context_dim"]
        return
    for question in (unet.unet_of, partial(model_family.transformer_of, node="A node"), model_family.require_family):
        with pytest.raises(WrongBaseModel, match=f"The MODEL is made for {name}[ ,]"):
            question(model)


@marks.transformers
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_host_finds_a_family_in_a_file_of_its_size(name: str) -> None:
    family, sizes = PUBLISHED[name].family, PUBLISHED[name].network
    kind, tiny_sizes = tiny_dits.CONFIGS[family]
    weights = built(kind, {**tiny_sizes, **sizes}).model.diffusion_model.state_dict()
    config = comfy.model_detection.model_config_from_unet(weights, "")
    with torch.device("meta"):
        assert families_of(config.get_model(weights, "", device="meta")) == [family]


LATENTS = {LAYERED: (1, 16, 3, HEIGHT // 8, WIDTH // 8), IN_PIXELS: (1, 3, HEIGHT, WIDTH)}


@marks.transformers
@pytest.mark.parametrize("name", LATENTS)
def test_relatives_are_given_words_but_no_references(name: str) -> None:
    """One person everywhere is the plain forward of their words."""
    network = NETWORKS[name]
    model = tiny_networks.seeded_model(network.kind, {**settings_like(network.like), **network.changes}, 301)
    start = normal(7, *LATENTS[name])
    frames = start.shape[2] if start.dim() == 5 else 1
    words = carried_words([text("anna")[0][0]], EVERYWHERE, ["anna"])
    positive = carry(text("common"), words)
    negative = carry(text("common"), words.without_people())
    hidden = without_common(model, network.like, text("common"), PICTURE * frames)
    picture = tiny_dits.sample(on_model.with_kinds(hidden, TRANSFORMER_WORDS), positive, negative, start, cfg=1.0)
    expected = tiny_dits.sample(model, text("anna"), text("common"), start, cfg=1.0)
    others = tiny_dits.sample(model, text("common"), text("common"), start, cfg=1.0)
    assert relative(picture, expected) <= TOLERANCE < relative(others, expected) / 100
    last = model_family.WITH_REFERENCES[-1]
    with pytest.raises(WrongBaseModel, match=f"made for {name}, but FLUX.1.* or {last} is needed"):
        model_family.require_family(model)


@pytest.mark.parametrize("family", EVERY)
def test_what_is_derived_from_a_network_is_none_of_its_family(family: str) -> None:
    """A class around it, a class of it, a name or latents that are others."""

    def derived(kind: type) -> type:
        return type(f"Later{kind.__name__}", (kind,), {"__module__": kind.__module__})

    for part in ("model", "network", "image_model", "latent"):
        model = tiny(NETWORKS[family]).model
        assert families_of(model) == [family]
        if part == "model":
            model.__class__ = derived(type(model))
        elif part == "network":
            model.diffusion_model.__class__ = derived(type(model.diffusion_model))
        elif part == "image_model":
            model.model_config.unet_config["image_model"] += "3"
        else:
            model.latent_format.latent_channels += 1
        assert families_of(model) == [], part


@pytest.mark.thorough
def test_no_other_network_of_the_host_is_taken_for_one_of_ours() -> None:
    """Of every transformer of this ComfyUI: made of its own settings, or of these and those of each tiny network. What
    was met is written, for the weekly run on ComfyUI's master."""
    met: list[str] = []
    for kind in comfy.supported_models.models:
        if "image_model" not in kind.unet_config:
            continue
        known = {
            network.family
            for network in NETWORKS.values()
            if issubclass(getattr(comfy.supported_models, network.kind, object), kind)
        }
        lines = {f"{kind.__name__}: not made without a file"}
        for like in ({}, *map(settings_like, EVERY)):
            try:
                model = built(kind.__name__, {**like, **kind.unet_config}).model
            except CANNOT_BE_MADE:
                continue
            found = families_of(model)
            assert len(found) < 2 and known.issuperset(found), f"{kind.__name__} is taken for {found}"
            lines.discard(f"{kind.__name__}: not made without a file")
            lines.add(f"{kind.__name__}: {found[0] if found else 'none' + of_which_relative(model)}")
        met += sorted(lines)
    sys.stdout.write("\n".join(met))
    assert len(met) > 30


def of_which_relative(model: Any) -> str:
    """Of which families the network has the class, or one that is derived from it."""
    kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(model.diffusion_model).__mro__}
    names = [family.name for family in DESCRIBED if family.made.network in kinds]
    return f", a relative of {joined(names)}" if names else ""
