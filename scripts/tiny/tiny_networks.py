"""Tiny networks of the host: the real shapes but for widths and depths, with weights from a seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import comfy.sample
import comfy.samplers
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from . import devices
from .seeded import fill

LATENT_SCALE = 0.13025
"""Of the host's SDXL latent format."""
NETWORKS: dict[str, Any] = json.loads(Path(__file__).with_name("tiny_networks.json").read_text("utf-8"))
"""By family, the configurations of the tiny networks in the host's names: the real shapes but for widths and depths. Of
SDXL and SD1.5 those of the diffusers configurations in the golden files' metadata; of others with the host's class."""


def seeded_model(kind: str, shape: dict[str, Any], seed: int, dtype: torch.dtype = torch.float32) -> ModelPatcher:
    """Of one of the host's families by its class and a configuration of the network."""
    with small_adapter(shape):
        network = host_class(kind, shape)({**shape, "dtype": dtype}).get_model({})
    fill(network.diffusion_model, seed).to(dtype)
    return ModelPatcher(network, load_device=devices.DEVICE, offload_device=devices.CPU)


def host_class(kind: str, shape: Mapping[str, Any]) -> Any:
    """One of the host's families, which takes these sizes. The host keeps some sizes of SD1.5 and SD2 in the class."""
    known = getattr(comfy.supported_models, kind)
    own = {name: size for name, size in known.unet_extra_config.items() if name not in shape}
    return type(kind, (known,), {"unet_extra_config": own})


@contextmanager
def small_adapter(shape: Mapping[str, Any]) -> Iterator[None]:
    """While this context is open, the part of Anima that reads two texts as one is as narrow as its text.

    The host has no setting for it.
    """
    if shape.get("image_model") != "anima":
        yield
        return
    from comfy.ldm.anima import model

    width = shape["crossattn_emb_channels"]
    sizes = {"source_dim": width, "target_dim": width, "model_dim": width, "num_layers": 1, "num_heads": 2}
    with patch.object(model, "LLMAdapter", partial(model.LLMAdapter, **sizes)):
        yield


def host_sample(
    model: ModelPatcher,
    start: Tensor,
    sigmas: Tensor,
    positive: Any,
    negative: Any,
    cfg: float = 5.0,
    sampler: str = "euler",
    **options: Any,
) -> Tensor:
    """One of the host's own samplers over `sigmas` from the latent `start`; returns unscaled latents."""
    function_of_the_host = comfy.samplers.sampler_object(sampler).sampler_function

    def from_start(wrapped: Any, noisy: Tensor, *given: Any, **named: Any) -> Tensor:
        return function_of_the_host(wrapped, start.to(noisy.device), *given, **named)

    sampler_from_start = comfy.samplers.KSAMPLER(from_start)
    zeros = torch.zeros_like(start)
    out = comfy.sample.sample_custom(
        model, zeros, cfg, sampler_from_start, sigmas, positive, negative, zeros, seed=0, disable_pbar=True, **options
    )
    return out * LATENT_SCALE
