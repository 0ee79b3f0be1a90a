"""Tiny random MODELs of every family of transformers, what they are given, and a sampling of theirs."""

from collections.abc import Sequence
from typing import Any

import comfy.model_patcher
import comfy.samplers
import comfy.supported_models
import torch
from pack.bridge.networks import families as descriptions
from pack.bridge.networks.families import TRANSFORMERS
from pack.core import families
from torch import Tensor

from . import tiny_networks
from .seeded import normal

KNOWN = hasattr(comfy.supported_models, "Flux2")
"""Whether this ComfyUI has all of them: 0.33 and newer."""
FLUX, FLUX_2, QWEN = families.FLUX.name, families.FLUX_2.name, families.QWEN.name
Z_IMAGE, KREA_2, CHROMA, ANIMA, QWEN_2_1 = (
    families.Z_IMAGE.name, families.KREA_2.name, families.CHROMA.name, families.ANIMA.name, families.QWEN_2_1.name,
)  # fmt: skip
EVERY = tuple(family.name for family in TRANSFORMERS)
NEWER = tuple(
    family.name for family in descriptions.NEWER
    if hasattr(comfy.supported_models, tiny_networks.NETWORKS[family.name][0])
)  # fmt: skip
"""Those of the newer families that this ComfyUI has."""
REFERENCES = {family.name: family.references for family in TRANSFORMERS if family.references is not None}
"""How the families that take reference pictures are given them."""
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {family: tiny_networks.NETWORKS[family] for family in (*EVERY, *NEWER)}
"""By family: the host's configuration class, and what it is given."""
TEXT, POOLED = CONFIGS[FLUX][1]["context_in_dim"], CONFIGS[FLUX][1]["vec_in_dim"]


def model(family: str, seed: int = 301, **changes: Any) -> comfy.model_patcher.ModelPatcher:
    """A MODEL on the CPU in float32. changes: of its network's configuration."""
    name, shape = CONFIGS[family]
    settings = {**shape, **changes}
    if family == FLUX and not KNOWN:
        # FLUX.1 in ComfyUI 0.3.64 does not know this setting, which is empty in FLUX.1.
        del settings["txt_ids_dims"]
    return tiny_networks.seeded_model(name, settings, seed)


def cells_per_token(family: str) -> int:
    """How many cells of a latent a token of 16 pixels is wide and high."""
    return 16 // _cell(family)


def latent(family: str, width: int, height: int, seed: int = 7, rows: int = 1) -> Tensor:
    """Noise of a picture, or a reference, of this size in pixels."""
    of_the_host = _latent_format(family)
    frames = [1] * (of_the_host.latent_dimensions - 2)
    sides = height // _cell(family), width // _cell(family)
    return normal(seed, rows, of_the_host.latent_channels, *frames, *sides)


def _latent_format(family: str) -> Any:
    return getattr(comfy.supported_models, CONFIGS[family][0]).latent_format()


def _cell(family: str) -> int:
    """Pixels of the picture in one cell of a latent. ComfyUI 0.3.64 does not say it: of FLUX.1 it is 8."""
    return getattr(_latent_format(family), "spacial_downscale_ratio", 8)


def conditioning(seed: int, references: Sequence[Tensor] = (), tokens: int = 7, **options: Any) -> list[list[Any]]:
    """A text of so many tokens, with reference latents as the host's nodes put them in."""
    generator = torch.Generator().manual_seed(seed)
    text, pooled = torch.randn(1, tokens, TEXT, generator=generator), torch.randn(1, POOLED, generator=generator)
    reference_options = {"reference_latents": list(references)} if references else {}
    return [[text, {"pooled_output": pooled, **reference_options, **options}]]


def sample(
    patcher: Any, positive: Any, negative: Any, start: Tensor, steps: int = 2, cfg: float = 3.0, **more: Any
) -> Tensor:
    """The host's own Euler from `start`."""
    sigmas = comfy.samplers.calculate_sigmas(patcher.get_model_object("model_sampling"), "simple", steps)
    # The host samples in inference mode. In another it does not make one text of the two of Anima beforehand.
    with torch.inference_mode(hasattr(patcher.model.diffusion_model, "llm_adapter")):
        return tiny_networks.host_sample(patcher, start, sigmas, positive, negative, cfg, **more)
