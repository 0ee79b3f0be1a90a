"""The released files of Parts2Whole: which there are, what is in them, and what is left out on purpose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from ...core.errors import UnsupportedCheckpoint, counted
from ...core.models import manifest, releases

MODEL = manifest.model("parts2whole")
EXPECTED, ADVICE = releases.expected(MODEL), releases.advice(MODEL)
NETWORKS = releases.networks(MODEL)
"""Prefixes of the keys in a single file."""
_MOST_STEPS = 100_000


def schedule(config: str | bytes, path: str) -> dict[str, Any]:
    """What a diffusers scheduler_config.json says. Raises UnsupportedCheckpoint, naming `path`, for anything else."""
    try:
        found: Any = json.loads(config)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UnsupportedCheckpoint(path, "damaged or no noise schedule", "a scheduler_config.json as released", ADVICE)
    return cast("dict[str, Any]", found)


def betas(scheduler: Mapping[str, Any], path: str) -> Tensor:
    """The noise schedule of a diffusers scheduler_config.json, (timesteps,) float64.

    "linear" is linear in beta, unlike the host's schedule of that name. Raises UnsupportedCheckpoint.
    """
    try:
        steps = int(scheduler.get("num_train_timesteps", 1000))
        start, end = float(scheduler.get("beta_start", 0.00085)), float(scheduler.get("beta_end", 0.012))
        whole = 0 < steps <= _MOST_STEPS and 0 < start < 1 and 0 < end < 1
    except (TypeError, ValueError, OverflowError):
        steps, start, end, whole = 0, 0.0, 0.0, False
    if not whole:
        raise UnsupportedCheckpoint(path, "a model with numbers that make no noise schedule", EXPECTED, ADVICE)
    kind = scheduler.get("beta_schedule", "linear")
    if kind == "linear":
        return torch.linspace(start, end, steps, dtype=torch.float64)
    if kind == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    what = f"a model with beta_schedule = {kind!r}"
    raise UnsupportedCheckpoint(path, what, "linear or scaled_linear", ADVICE)


def check_layers(decoupled: Mapping[str, Tensor], denoiser: Mapping[str, Tensor], path: str) -> None:
    """Raise UnsupportedCheckpoint unless the parts have keys and values of their own in every cross-attention layer of
    the denoiser, of its width and all from one width of tokens."""
    found = {key: tuple(tensor.shape) for key, tensor in decoupled.items() if "_dc." in key}
    token = next(iter(found.values()), ())[1:]
    text = "attn2.to_k.weight"
    wanted = {
        f"{key.removesuffix(text)}attn2.processor.to_{side}_dc.weight": (len(tensor), *token)
        for key, tensor in denoiser.items()
        if key.endswith(text)
        for side in "kv"
    }
    for key in sorted({*found, *wanted}):
        if found.get(key) != wanted.get(key):
            shapes = f"{found.get(key, 'nothing')} instead of {wanted.get(key, 'nothing')}"
            what = f"a Parts2Whole whose DecoupledAttn is damaged ({key}: {shapes})"
            raise UnsupportedCheckpoint(path, what, EXPECTED, ADVICE)


def with_tail(reference: Mapping[str, Tensor], denoiser: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
    """The reference UNet with zeros where the release has nothing: after the input of its last self-attention.

    Nothing reads what comes out of these layers. Raises UnsupportedCheckpoint where anything else is missing.
    """
    lost = denoiser.keys() - reference.keys()
    unexpected = sorted(key for key in lost if not key.startswith(_tail(denoiser)))
    if unexpected:
        what = f"an incomplete reference UNet ({counted(len(unexpected), 'tensor')} missing: {unexpected[0]}, ...)"
        raise UnsupportedCheckpoint(path, what, EXPECTED, ADVICE)
    return {**reference, **{key: torch.zeros_like(denoiser[key]) for key in lost}}


def _tail(unet: Mapping[str, Tensor]) -> tuple[str, ...]:
    """What the keys start with that come after the last layer that is recorded."""
    blocks = [key.split(".") for key in unet if key.startswith("up_blocks.") and ".transformer_blocks." in key]
    level, number, depth = max((int(parts[1]), int(parts[3]), int(parts[5])) for parts in blocks)
    last = f"up_blocks.{level}.attentions.{number}"
    inside = tuple(f"{last}.transformer_blocks.{depth}.{name}." for name in ("attn1", "norm2", "attn2", "norm3", "ff"))
    return (*inside, f"{last}.proj_out.", "conv_norm_out.", "conv_out.")
