"""Weights from seeds, as the golden files were made, and the authors' names for the shapes of tiny networks.

One generator per module walks the sorted floating-point keys: 1-d tensors are 1 + 0.1 r (a norm's weight) or 0.1 r,
`latents` is r, everything else r / sqrt(elements of one output row).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

Shapes = Mapping[str, tuple[int, ...]]


def seeded(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {key: _scaled(key, torch.randn(shapes[key], generator=generator)) for key in sorted(shapes)}


def _scaled(key: str, r: Tensor) -> Tensor:
    if key == "latents":
        return r
    if r.dim() <= 1:
        return 1 + 0.1 * r if "norm" in key and key.endswith("weight") else 0.1 * r
    return r / math.sqrt(r[0].numel())


def fill(module: nn.Module, seed: int) -> nn.Module:
    """Fill a module's floating-point state and return it in eval mode."""
    state = module.state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items() if value.is_floating_point()}
    module.load_state_dict(seeded(shapes, seed), strict=False)
    return module.eval().requires_grad_(False)


def resampler_shapes(
    queries: int, out: int, width: int = 64, depth: int = 4, embedding: int = 512, heads: int = 1
) -> Shapes:
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, queries, width),
        "proj_in.weight": (width, embedding),
        "proj_in.bias": (width,),
        "proj_out.weight": (out, width),
        "proj_out.bias": (out,),
        "norm_out.weight": (out,),
        "norm_out.bias": (out,),
    }
    for layer in range(depth):
        attention, feed_forward = f"layers.{layer}.0", f"layers.{layer}.1"
        for norm in (f"{attention}.norm1", f"{attention}.norm2", f"{feed_forward}.0"):
            shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
        shapes |= {
            f"{attention}.to_q.weight": (64 * heads, width),
            f"{attention}.to_kv.weight": (128 * heads, width),
            f"{attention}.to_out.weight": (width, 64 * heads),
            f"{feed_forward}.1.weight": (4 * width, width),
            f"{feed_forward}.3.weight": (width, 4 * width),
        }
    return shapes


def mlp_shapes(tokens: int, width: int, hidden: int = 1024, embedding: int = 512) -> Shapes:
    return {
        "proj.0.weight": (hidden, embedding),
        "proj.0.bias": (hidden,),
        "proj.2.weight": (tokens * width, hidden),
        "proj.2.bias": (tokens * width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }


def perceiver_shapes(width: int, embedding: int, depth: int, forward: int, heads: int = 1) -> Shapes:
    """Of FaceID Plus, which has no queries of its own. forward: numbers inside a layer's feed-forward."""
    shapes = dict(resampler_shapes(0, width, width, depth, embedding, heads))
    del shapes["latents"]
    for layer in range(depth):
        shapes |= {f"layers.{layer}.1.1.weight": (forward, width), f"layers.{layer}.1.3.weight": (width, forward)}
    return {f"perceiver_resampler.{key}": shape for key, shape in shapes.items()}


KINDS = {"resampler": resampler_shapes, "mlp": mlp_shapes}


def id_patch_file(kind: str, patch_seed: int = 131, prompt_seed: int = 132) -> dict[str, dict[str, Tensor]]:
    """The contents of an id-patch.bin of this kind, with the golden files' sizes."""
    shapes = KINDS[kind]
    return {"patch_proj": seeded(shapes(3, 4096), patch_seed), "prompt_proj": seeded(shapes(16, 2048), prompt_seed)}


def instant_id_file(layer_widths: list[int], resampler_seed: int = 173, adapter_seed: int = 174) -> dict[str, Shapes]:
    """An ip-adapter.bin for a UNet whose cross-attention layers have these widths, in diffusers' order."""
    adapter, resampler = adapter_shapes(layer_widths, 2048), resampler_shapes(16, 2048, width=128, heads=2)
    return {"image_proj": seeded(resampler, resampler_seed), "ip_adapter": seeded(adapter, adapter_seed)}


def adapter_shapes(widths: list[int], text: int, rank: int = 0) -> Shapes:
    """For a UNet whose transformer blocks have these widths, in diffusers' order. rank: of the LoRA, 0 is none."""
    shapes: dict[str, tuple[int, ...]] = {}
    for number, width in enumerate(width for width in widths for _ in "12"):
        reads = text if number % 2 else width
        for side, inputs in (("q", width), ("k", reads), ("v", reads), ("out", width)) if rank else ():
            shapes[f"{number}.to_{side}_lora.down.weight"] = (rank, inputs)
            shapes[f"{number}.to_{side}_lora.up.weight"] = (width, rank)
        if number % 2:
            shapes |= {f"{number}.to_{side}_ip.weight": (width, text) for side in "kv"}
    return shapes


def ip_adapter_file(kind: str, widths: list[int], text: int, seed: int = 191) -> dict[str, dict[str, Tensor]]:
    """An IP-Adapter of one of PROJECTIONS for a UNet whose attention layers have these widths, in diffusers' order."""
    layers = seeded(adapter_shapes(widths, text, RANK if kind in WITH_LORA else 0), seed + 1)
    for key in layers:
        layers[key] *= 0.3 if "_lora.up" in key else 1  # a LoRA is small beside what it changes
    if kind == "face-id-unnorm":  # as published, by which alone it is told from InstantID's
        layers = {key: tensor.half() for key, tensor in layers.items()}
    return {"image_proj": seeded(PROJECTIONS[kind](text), seed), "ip_adapter": layers}


RANK, STATES, EMBEDS = 4, 1280, 1024
WITH_LORA = ("face-id", "face-id-plus")
PROJECTIONS = {
    "face-id": lambda text: mlp_shapes(4, text, hidden=512),
    "face-id-plus": lambda text: {**mlp_shapes(4, text), **perceiver_shapes(text, STATES, 1, text // 8)},
    "face-id-portrait": lambda text: mlp_shapes(16, text, hidden=512),
    "face-id-unnorm": lambda text: resampler_shapes(16, text),
    "ip-adapter": lambda text: {
        "proj.weight": (4 * text, EMBEDS), "proj.bias": (4 * text,), "norm.weight": (text,), "norm.bias": (text,),
    },
    "ip-adapter-plus": lambda text: resampler_shapes(16, text, embedding=STATES),
    "ip-adapter-full": lambda text: {
        "proj.0.weight": (STATES, STATES), "proj.0.bias": (STATES,), "proj.2.weight": (text, STATES),
        "proj.2.bias": (text,), "proj.3.weight": (text,), "proj.3.bias": (text,),
    },
}  # fmt: skip
