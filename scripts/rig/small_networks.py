"""A node pack without nodes, which lies among the stand-ins: with it the host takes networks as small as these are.

ComfyUI knows a family of models by how wide its UNet is, CLIP by the last layers in a file and the tiny autoencoder by
its keys, and then makes them in their published sizes: no small file makes them small. In these sizes a step, a text
for SDXL or a picture for ViT-H takes seconds of a CPU. The networks are the host's own either way, and what is tested
reads their sizes from their tensors.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

import comfy.clip_model
import comfy.supported_models
import comfy.taesd.taesd
from comfy_api.latest import ComfyExtension

WIDTH, VAE_WIDTH = 64, 32
"""Channels of a UNet in the place of 320, one head of SDXL's, and of the autoencoder in the place of 64."""
LAYERS = 3
"""Of CLIP: the fewest of which the host takes the last but one."""


def families() -> list[Any]:
    """All that the host knows, and SD1.5 and Segmind Vega of this width."""
    known = comfy.supported_models
    return [*known.models, *map(_narrow, (known.SD15, known.Segmind_Vega))]


def _narrow(family: Any) -> Any:
    return type(family.__name__, (family,), {"unet_config": {**family.unet_config, "model_channels": WIDTH}})


def _end_early(network: Any) -> None:
    """network: made of a configuration with transformers' names; what a file has of further layers is left over."""
    made = network.__init__

    @wraps(made)
    def init(self: Any, config: dict[str, Any], *given: Any) -> None:
        made(self, {**config, "num_hidden_layers": min(LAYERS, config["num_hidden_layers"])}, *given)

    network.__init__ = init


def _convolution(usual: Any) -> Any:
    """Of the autoencoder."""
    return lambda n_in, n_out, **given: usual(*(VAE_WIDTH if n == 64 else n for n in (n_in, n_out)), **given)


class SmallNetworks(ComfyExtension):
    async def get_node_list(self) -> list[Any]:
        return []


async def comfy_entrypoint() -> SmallNetworks:
    comfy.supported_models.models = families()
    comfy.taesd.taesd.conv = _convolution(comfy.taesd.taesd.conv)
    _end_early(comfy.clip_model.CLIPTextModel)
    _end_early(comfy.clip_model.CLIPVisionModelProjection)
    return SmallNetworks()
