"""What LoRA files may change in a transformer for single people, and names of layers that the host's loader lacks.

Trainers write one layer in many ways: as the network of ComfyUI or of diffusers calls it, with dots and a prefix
(PEFT, ai-toolkit, DiffSynth, diffusers) or with underscores and a prefix (kohya, musubi, OneTrainer, LyCORIS). The host
knows most of them, each for some families.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import comfy.lora
from comfy.model_patcher import ModelPatcher

from ..lora_files import LoraLayers
from ..shared_network import model_of
from ..unet import NETWORK, WEIGHT, layer_shape
from .families import FLUX_2, TransformerFamily
from .person_loras import has_place

_DOTTED = (
    "",
    "diffusion_model.",
    "model.diffusion_model.",
    "transformer.",
    "unet.",
    "base_model.model.",
    "base_model.model.diffusion_model.",
    "base_model.model.transformer.",
)
"""What stands in front of a name with dots."""
_UNDERSCORED = ("lora_unet_", "lora_transformer_", "lycoris_")
"""What stands in front of a name with underscores."""
_FLUX_2 = {
    "double_stream_modulation_img.linear": "double_stream_modulation_img.lin",
    "double_stream_modulation_txt.linear": "double_stream_modulation_txt.lin",
    "single_stream_modulation.linear": "single_stream_modulation.lin",
    "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_guidance_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_guidance_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
}
"""Names of diffusers for layers of FLUX.2, and those of the network here."""

Target = Any
"""What the host makes of a name: the name of a weight, (name, (dimension, start, length)) for a part of it, or (name,
None, function) for one whose outputs stand in another order."""


def layers_of_transformer(model: ModelPatcher, family: TransformerFamily) -> LoraLayers:
    """What of a MODEL's transformer can have a LoRA of a single person."""
    advice = f"Use a LoRA made for {family.name}, with names of layers that ComfyUI's Load LoRA knows."
    return LoraLayers(family.name, more_names(model, family), partial(has_place, family), True, advice)


def more_names(model: ModelPatcher, family: TransformerFamily) -> dict[str, Target]:
    """The weight of a MODEL by its name in a file, for all names that the host's own map lacks or has wrong."""
    targets: dict[str, Target] = comfy.lora.model_lora_keys_unet(model_of(model), {})
    layers = _layers_of(targets)
    corrected: dict[str, Target] = {}
    if family is FLUX_2:
        corrected = _flux_2_layers(model)
        layers.update(corrected)
    names: dict[str, Target] = {}
    for layer, target in layers.items():
        names_in_files = [prefix + layer for prefix in _DOTTED]
        names_in_files += [prefix + layer.replace(".", "_") for prefix in _UNDERSCORED]
        for name in names_in_files:
            if name not in targets or layer in corrected:
                names[name] = target
    return names


def _layers_of(known: Mapping[str, Target]) -> dict[str, Target]:
    """The weights, by name without a prefix, that the host knows by a name with dots."""
    layers: dict[str, Target] = {}
    for name, target in known.items():
        weight = target if isinstance(target, str) else target[0]
        if "." not in name or not weight.endswith(WEIGHT):
            continue
        layers[_without_prefix(name)] = target
    return layers


def _without_prefix(name: str) -> str:
    """The name of a layer without the prefix of _DOTTED that a trainer has put in front."""
    # From the longest on: one prefix may begin with another.
    for prefix in sorted(_DOTTED, key=len, reverse=True):
        if prefix and name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _flux_2_layers(model: ModelPatcher) -> dict[str, Target]:
    """The weights of FLUX.2 by diffusers' names of layers, where the host has no name or that of FLUX.1's layer."""
    network = model_of(model).diffusion_model
    layers: dict[str, Target] = {}
    for name, own in _FLUX_2.items():
        layers[name] = f"{NETWORK}{own}{WEIGHT}"
    for number, block in enumerate(network.single_blocks):
        out_width, in_width = layer_shape(block.linear1) or (0, 0)
        # Behind q, k and v all is the MLP's, which in FLUX.2 is wider than in FLUX.1.
        rows = 0, 3 * in_width, out_width - 3 * in_width
        weight = f"{NETWORK}single_blocks.{number}.linear1{WEIGHT}"
        layers[f"single_transformer_blocks.{number}.proj_mlp"] = weight, rows
    return layers
