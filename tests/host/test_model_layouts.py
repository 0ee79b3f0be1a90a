"""Distilled and other models of SDXL's kind: every method samples with their layers, or names what does not fit."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_sdxl
from figures import relative
from graph_run import run
from graphs import Node, node, ours, sampled, sampler, value
from method_rows import latents
from pack.bridge.apply.adapters import AdapterMismatch
from pack.bridge.host import unet
from pack.core.checks.errors import WrongBaseModel
from pack.nodes.instant_id.nodes import InstantID
from sample_values import net_for, read, sdxl_clip, text
from seeded_files import instant_id_file
from tiny import tiny_networks

# Depths of the released files, in ComfyUI's order: down, up (from the end of its list), middle (-1: without
# transformers, -2: none at all).
LAYOUTS = json.loads(Path(__file__).with_name("model_layouts.json").read_text("utf-8"))
"""By the host's names of them. Turbo, Lightning and LCM are SDXL with other weights; LCM also comes as SSD1B."""
LAYERS = {"SDXL": 70, "SSD1B": 34, "Segmind_Vega": 15, "KOALA_700M": 21, "KOALA_1B": 30}


def shape(name, channels):
    return {**tiny_sdxl.HOST_CONFIG, "channel_mult": [1, 2, 4], "model_channels": channels, **LAYOUTS[name]}


def made(name):
    """A tenth as wide as the released one, with all of its layers."""
    return tiny_networks.seeded_model(name, shape(name, 32), 191)


@pytest.fixture(scope="module")
def control_net():
    """With SDXL's blocks, as IdentityNet's and ID-Patch's are."""
    config = {**shape("SDXL", 32), "transformer_depth": [0, 0, 1, 1, 1, 1], "transformer_depth_middle": 1}
    return net_for(config, num_heads=-1, num_head_channels=64)


def adapter(model, layers=None) -> InstantID:
    return read("instant_id", instant_id_file(layers or unet.attention_widths(model)))


def applied(kind: str, model: Any, **inputs: Any) -> Node:
    """One of our nodes and the sampler, on this MODEL."""
    inputs_of_sdxl = {"model": model, "clip": value(sdxl_clip)}
    inputs_of_the_node = {name: inputs_of_sdxl[name] for name in inputs_of_sdxl if name in SDXL_OWN[kind]}
    graph = sampled(ours(kind, **inputs_of_the_node, **inputs), steps=1)
    if inputs_of_the_node:
        return graph
    return node(graph.kind, **{**graph.inputs, "model": model})


TEXTS = {side: value(text, n, 2048) for n, side in enumerate(("positive", "negative"), 1)}
SDXL_OWN = {
    "LikenessApplyInstantID": ("model",), "LikenessApplyIDPatch": (), "LikenessSharePartsAttention": ("model", "clip"),
}  # fmt: skip
"""What of the defaults is another here."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.thorough if layers > 21 else ()) for name, layers in LAYERS.items()]
)
def test_every_method_samples_or_says_what_does_not_fit(name, control_net):
    model = made(name)
    adapter_of_the_layout = adapter(made(name))
    plain = latents(sampler(model, **TEXTS, steps=1))
    blocks = {"SDXL": 9, "SSD1B": 9, "Segmind_Vega": 9}.get(name, 6)

    def samples(kind, **inputs):
        result = latents(applied(kind, model, **inputs))
        assert result.isfinite().all()
        assert relative(result, plain) > 1e-4

    def samples_with_the_net(kind, **inputs):
        if blocks == 9:
            samples(kind, control_net=control_net, **inputs)
        else:
            with pytest.raises(WrongBaseModel, match=f"made for a UNet of 9 input blocks, but one of {blocks} .{name}"):
                latents(applied(kind, model, control_net=control_net, **inputs))

    samples("LikenessApplyInstantID", instant_id=adapter_of_the_layout, control_strength=0.0)
    samples_with_the_net("LikenessApplyInstantID", instant_id=adapter_of_the_layout)
    sdxl = adapter(model, [64] * 20 + [128] * 50)
    # A MODEL of SDXL's own has as many layers, but these are of other widths: it is made in small.
    differs = "layer 4 has another width" if name == "SDXL" else ""
    fits_not = rf"70 cross-attention layers .*{name}, {LAYERS[name]} layers\).*{differs}"
    with pytest.raises(AdapterMismatch, match=fits_not):
        run(ours("LikenessApplyInstantID", model=model, instant_id=sdxl), {})
    samples_with_the_net("LikenessApplyIDPatch")
    samples("LikenessSharePartsAttention", **TEXTS)
