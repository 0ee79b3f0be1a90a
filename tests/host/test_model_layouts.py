"""Distilled and other models of SDXL's kind: every method samples with their layers, or names what does not fit."""

from __future__ import annotations

import re

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_detection
import comfy.model_patcher
import comfy.ops
import comfy.samplers
import comfy.supported_models
import comfy.utils
import instant_id_run
import parts_made
import people_made
import pytest
import tiny_sdxl
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from pack.bridge import unet
from pack.bridge.runs import patched
from pack.bridge.scopes import AdapterMismatch
from pack.bridge.self_attention.run import SharingRun
from pack.bridge.self_attention.shared_parts import SharedParts, share_with
from pack.core.errors import WrongBaseModel
from pack.core.parts.bank import PartWeights
from pack.core.parts.parts import Parts, make_part
from pack.core.people import Layout
from pack.nodes.control_images import FaceKeypointsImage
from pack.nodes.id_patch.nodes import ApplyIDPatch, IDPatchImage, load_id_patch
from pack.nodes.instant_id.nodes import load_instant_id
from pack.nodes.share_parts.nodes import SharePartsAttention
from pack.nodes.share_parts.reference import SelfReference
from seeded import fill, id_patch_file, instant_id_file

SIDE = 64
HOST = {"num_heads": -1, "num_head_channels": 64, "operations": comfy.ops.disable_weight_init}
TWO = {"num_res_blocks": [2, 2, 2], "transformer_depth": [0, 0, 2, 2, 10, 10]}
ONE = {"num_res_blocks": [1, 1, 1]}
# Depths of the released files, in ComfyUI's order: down, up (from the end of its list), middle (-1: without
# transformers, -2: none at all).
LAYOUTS = {
    "SDXL": {
        **TWO, "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "transformer_depth_middle": 10
    },
    "SSD1B": {
        **TWO, "transformer_depth": [0, 0, 2, 2, 4, 4], "transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4],
        "transformer_depth_middle": -1,
    },
    "Segmind_Vega": {
        **TWO, "transformer_depth": [0, 0, 1, 1, 2, 2], "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
        "transformer_depth_middle": -1,
    },
    "KOALA_700M": {
        **ONE, "transformer_depth": [0, 2, 5], "transformer_depth_output": [0, 0, 2, 2, 5, 5],
        "transformer_depth_middle": -2,
    },
    "KOALA_1B": {
        **ONE, "transformer_depth": [0, 2, 6], "transformer_depth_output": [0, 0, 2, 2, 6, 6],
        "transformer_depth_middle": 6,
    },
}  # fmt: skip
"""By the host's names of them. Turbo, Lightning and LCM are SDXL with other weights; LCM also comes as SSD1B."""
LAYERS = {"SDXL": 70, "SSD1B": 34, "Segmind_Vega": 15, "KOALA_700M": 21, "KOALA_1B": 30}


def shape(name, channels):
    return {**tiny_sdxl.HOST_CONFIG, "channel_mult": [1, 2, 4], "model_channels": channels, **LAYOUTS[name]}


def made(name):
    """A tenth as wide as the released one, with all of its layers."""
    config = getattr(comfy.supported_models, name)(dict(shape(name, 32), dtype=torch.float32))
    model = config.get_model({})
    fill(model.diffusion_model, 191)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


@pytest.fixture(scope="module")
def control_net():
    """With SDXL's blocks, as IdentityNet's and ID-Patch's are."""
    config = {**shape("SDXL", 32), "transformer_depth": [0, 0, 1, 1, 1, 1], "transformer_depth_middle": 1}
    config = {key: config[key] for key in config if key not in ("out_channels", "transformer_depth_output")}
    net = comfy.cldm.cldm.ControlNet(**config, **HOST, hint_channels=3, dtype=torch.float32)
    return comfy.controlnet.ControlNet(fill(net, 192), load_device=torch.device("cpu"))


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def text(seed):
    return [[normal(seed, 1, 8, 2048), {"pooled_output": normal(seed + 50, 1, 1280)}]]


def sample(model, positive, negative):
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 2)
    return tiny_sdxl.host_sample(model, normal(7, 1, 4, SIDE // 8, SIDE // 8) * 14, sigmas, positive, negative)


def shared(model, positive, negative):
    """As Share Parts Attention puts a part in."""
    latents = normal(3, 1, 4, SIDE // 8, SIDE // 8)
    live = SelfReference(
        model_sampling=model.get_model_object("model_sampling"), latents=latents, extra=latents[:, :0],
        contexts=normal(4, 1, 8, 2048), adm=normal(9, 1, 2816), masks=[torch.ones(SIDE, SIDE)], noise=latents,
        layers="all", windows=[(0, 0, SIDE // 8, SIDE // 8)],
    )  # fmt: skip
    given = {"source": object(), "sigmas": (1e9, 0.0), "weights": PartWeights([1.0]), "bank": None}
    sides = share_with(positive, SharedParts(live=live, **given)), share_with(negative, SharedParts(**given))
    return patched(model, SharingRun), *sides


def adapter(model, folder, layers=None):
    torch.save(instant_id_file(layers or [width for *_, width in unet.attention_layers(model)]), folder / "a.bin")
    return load_instant_id(str(folder / "a.bin"))


def id_patch(control_net, positive, negative, folder):
    torch.save(id_patch_file("resampler"), folder / "id-patch.bin")
    patches, cast = load_id_patch(str(folder / "id-patch.bin")), people_made.cast([(30.0, 30.0)], SIDE, SIDE)
    image = IDPatchImage.execute(patches, cast, "mean", None)[0]
    settings = {"strength": 0.8, "start_percent": 0.0, "end_percent": 1.0, "id_start_percent": 0.2, "photos": "mean"}
    return ApplyIDPatch.execute(positive, negative, control_net, patches, cast, image, **settings).args


def detected(name, **changed):
    """What the host makes of a file with these layers, as wide as the released one: of its own names, of diffusers'."""
    config = {**shape(name, 320), **changed}
    state = UNetModel(**config, **HOST, device="meta").state_dict()
    theirs = {old: state[new] for old, new in comfy.utils.unet_to_diffusers(config).items() if new in state}
    return (
        comfy.model_detection.model_config_from_unet(state, ""),
        comfy.model_detection.model_config_from_diffusers_unet(theirs),
    )


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_host_finds_the_same_layers_in_a_file(name):
    for found in detected(name):
        assert type(found).__name__ == name
        depths = {key: found.unet_config[key] for key in LAYOUTS[name]}
        assert depths == LAYOUTS[name]


@pytest.mark.parametrize("name", LAYOUTS)
def test_adapter_layers_are_counted_as_diffusers_counts_them(name):
    config = shape(name, 32)
    names = comfy.utils.unet_to_diffusers(config)
    attention = [key for key in names if key.endswith("attn2.to_q.weight")]

    def place(key):
        return ["down", "up", "mid"].index(key[: key.index("_")].removesuffix("_")), *map(
            int, re.findall(r"\d+", key)[:-1]
        )

    expected = [names[key] for key in sorted(attention, key=place)]
    found = [
        f"{block}_block{'s.' + str(number) if block != 'middle' else ''}.1.transformer_blocks.{index}.attn2.to_q.weight"
        for block, number, index, _ in unet.attention_layers(made(name))
    ]
    assert found == expected and len(found) == LAYERS[name]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.thorough if layers > 21 else ()) for name, layers in LAYERS.items()],
)
def test_every_method_samples_or_says_what_does_not_fit(name, control_net, tmp_path):
    model, positive, negative = made(name), text(1), text(2)
    plain = sample(model, positive, negative)
    blocks = {"SDXL": 9, "SSD1B": 9, "Segmind_Vega": 9}.get(name, 6)

    def samples(applied):
        result = sample(*applied)
        assert result.isfinite().all() and not torch.allclose(result, plain, atol=1e-3)

    def samples_with_the_net(applied):
        if blocks == 9:
            samples(applied)
        else:
            with pytest.raises(WrongBaseModel, match=f"made for a UNet of 9 input blocks, but one of {blocks} .{name}"):
                sample(*applied)

    host, own = (model, control_net), adapter(model, tmp_path)
    hint = FaceKeypointsImage.execute(layout=Layout(SIDE, SIDE, (instant_id_run.slot(8, 8, 40, 40),)))[0]
    face = instant_id_run.one()
    samples(instant_id_run.apply(host, own, face, positive, negative, hint=hint, control_strength=0.0))
    samples_with_the_net(instant_id_run.apply(host, own, face, positive, negative, hint=hint))
    if name != "SDXL":
        sdxl = adapter(model, tmp_path, [64] * 20 + [128] * 50)
        with pytest.raises(AdapterMismatch, match=f"70 cross-attention layers .*{name}, {LAYERS[name]} layers"):
            instant_id_run.apply(host, sdxl, face, positive, negative, hint=hint)

    samples_with_the_net((model, *id_patch(control_net, positive, negative, tmp_path)))
    samples(shared(model, positive, negative))


def test_kolors_is_not_taken_for_sdxl(control_net, tmp_path):
    """SDXL's UNet that reads another text: the host does not know its files, and packs that do bring that text."""
    assert detected("SDXL", adm_in_channels=5632) == (None, None)
    model, words = made("Segmind_Vega"), [[torch.zeros(1, 256, 4096), {"pooled_output": torch.zeros(1, 4096)}]]
    parts = Parts((make_part("face", torch.ones(1, SIDE, SIDE, 3), None, 1.0, None),))
    range_ = {"start_percent": 0.0, "end_percent": 1.0}
    applied = {
        "Apply InstantID": lambda: instant_id_run.apply(
            (model, control_net), adapter(model, tmp_path), instant_id_run.one(), words, words
        ),
        "Apply ID-Patch": lambda: id_patch(control_net, words, words, tmp_path),
        "Share Parts Attention": lambda: SharePartsAttention.execute(
            model, words, words, parts, parts_made.clip(), parts_made.vae(), SIDE, SIDE, 1.0, **range_,
            layers="all", reference="at every step", seed=0,
        ),
    }  # fmt: skip
    for node, apply in applied.items():
        with pytest.raises(WrongBaseModel, match=f"{node}.* made for Kolors.*4096.*SDXL .text width 2048"):
            apply()
