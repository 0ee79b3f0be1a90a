"""What LoRA files may change in a network for single people, and names of layers that the host's loader lacks.

Trainers write one layer in many ways: as the network of ComfyUI or of diffusers calls it, with dots and a prefix
(PEFT, ai-toolkit, DiffSynth, diffusers) or with underscores and a prefix (kohya, musubi, OneTrainer, LyCORIS). The host
knows most of them, each for some families.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import comfy.lora
import comfy.utils
from comfy.model_patcher import ModelPatcher
from torch import nn

from ..host.shared_network import model_of, network_within
from ..host.unet import NETWORK, WEIGHT, advice_on, block_of, layer_shape
from ..networks.model_family import transformer_of
from ..networks.transformer_families import TransformerFamily
from .lora_files import LoraLayers
from .transformer_loras import has_place, is_in_forward

_DOTTED = ("", "diffusion_model.", "model.diffusion_model.", "transformer.", "unet.")
"""What stands in front of a name with dots; what PEFT puts there, lora_files.py has taken away."""
_UNDERSCORED = ("lora_unet_", "lora_transformer_", "lycoris_")
"""What stands in front of a name with underscores."""
Target = Any
"""What the host makes of a name: the name of a weight, (name, (dimension, start, length)) for a part of it, or (name,
None, function) for one whose outputs stand in another order."""


def layers_of(model: ModelPatcher, node_name: str) -> LoraLayers:
    """What of a MODEL's network can have a LoRA of a single person. Raises as transformer_of."""
    transformer = transformer_of(model, node_name)
    return layers_of_unet(model) if transformer is None else layers_of_transformer(model, transformer)


def layers_of_unet(model: ModelPatcher) -> LoraLayers:
    """What of a MODEL's UNet can have a LoRA of a single person."""
    advice = "Use a LoRA made for the MODEL's family, and the CLIP of the MODEL's checkpoint."
    # has_place: asked of linear layers alone, whose place is that of their block. The output of a convolution has
    # pixels, wherever it stands.
    return LoraLayers(
        type(model.model.model_config).__name__,
        more_names(model, None),
        has_place=lambda layer: block_of(layer) is not None,
        is_in_forward=lambda layer: True,  # no layer of a UNet runs before
        reads_latents="input_blocks.0.0",
        linear_alone=False,
        rows_share_time=False,
        advice=advice_on(model, advice),
    )


def layers_of_transformer(model: ModelPatcher, family: TransformerFamily) -> LoraLayers:
    """What of a MODEL's transformer can have a LoRA of a single person."""
    advice = f"Use a LoRA made for {family.name}, with names of layers that ComfyUI's Load LoRA knows."
    return LoraLayers(
        family.name,
        more_names(model, family),
        has_place=partial(has_place, family),
        is_in_forward=partial(is_in_forward, family),
        reads_latents=family.picture_layer,
        linear_alone=True,
        rows_share_time=family.prefix,
        advice=advice,
    )


def more_names(model: ModelPatcher, family: TransformerFamily | None) -> dict[str, Target]:
    """The weight of a MODEL by its name in a file, for all names that the host's own map lacks or has wrong.

    Each layer has a name for each prefix that trainers use, with dots and with underscores. family: None for a UNet.
    """
    of_host: dict[str, Target] = comfy.lora.model_lora_keys_unet(model_of(model), {})
    corrected = _layers_of_diffusers(model) if family is None else _corrected_layers(model, family)
    names: dict[str, Target] = {}
    for layer, target in {**_layers_of(of_host), **corrected}.items():
        for name in _names_in_files(layer):
            if layer in corrected or name not in of_host:
                names[name] = target
    return names


def _names_in_files(layer: str) -> list[str]:
    """All names of a layer in files. layer: its name with dots, without a prefix."""
    with_underscores = layer.replace(".", "_")
    return [*(prefix + layer for prefix in _DOTTED), *(prefix + with_underscores for prefix in _UNDERSCORED)]


def _layers_of(known: Mapping[str, Target]) -> dict[str, Target]:
    """The host's targets by the name of their layer, without prefix. Only names with dots, of weights, are taken.

    known: all names of the host, with their targets.
    """
    layers: dict[str, Target] = {}
    for name, target in known.items():
        weight = target if isinstance(target, str) else target[0]
        if "." not in name or not weight.endswith(WEIGHT):
            continue
        layers[_without_prefix(name)] = target
    return layers


def _without_prefix(name: str) -> str:
    # From the longest on: one prefix may begin with another.
    for prefix in sorted(_DOTTED, key=len, reverse=True):
        if prefix and name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _layers_of_diffusers(model: ModelPatcher) -> dict[str, Target]:
    """The weight of each layer of a UNet, by the layer's name in diffusers.

    For attention the host's own map has only the names of older files with dots, such as "attn1.processor.to_q".
    """
    layers: dict[str, Target] = {}
    for name, weight in comfy.utils.unet_to_diffusers(model_of(model).model_config.unet_config).items():
        if name.endswith(WEIGHT):
            layers[name.removesuffix(WEIGHT)] = NETWORK + weight
    return layers


def _corrected_layers(model: ModelPatcher, family: TransformerFamily) -> dict[str, Target]:
    """The targets of the family's `layer_names` by their name in files. A name with "{}" gives one for each block."""
    network = network_within(model_of(model).diffusion_model)
    layers: dict[str, Target] = {}
    for name in family.layer_names:
        count = len(network.get_submodule(name.blocks)) if name.blocks else 1
        for number in range(count):
            layer = name.layer.format(number)
            weight = f"{NETWORK}{layer}{WEIGHT}"
            target: Target = (weight, _behind_qkv(network.get_submodule(layer))) if name.behind_qkv else weight
            layers[name.in_files.format(number)] = target
    return layers


def _behind_qkv(layer: nn.Module) -> tuple[int, int, int]:
    """(dimension, start, length) of a layer's outputs behind q, k and v, each of which is as wide as the input."""
    out_width, in_width = layer_shape(layer) or (0, 0)
    qkv_width = 3 * in_width
    return 0, qkv_width, out_width - qkv_width
