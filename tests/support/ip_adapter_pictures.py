"""Small IP-Adapter files that read pictures, with the published keys, for parts_made's CLIP vision."""

from __future__ import annotations

from collections.abc import Sequence

from seeded import Shapes, resampler_shapes, seeded
from torch import Tensor

STATES, EMBEDS = 32, 48
"""Of parts_made.clip_vision()."""


def plain(text: int) -> Shapes:
    return {
        "proj.weight": (4 * text, EMBEDS), "proj.bias": (4 * text,), "norm.weight": (text,), "norm.bias": (text,),
    }  # fmt: skip


def plus(text: int) -> Shapes:
    return resampler_shapes(16, text, width=128, heads=2, embedding=STATES)


def full(text: int) -> Shapes:
    return {
        "proj.0.weight": (STATES, STATES), "proj.0.bias": (STATES,), "proj.2.weight": (text, STATES),
        "proj.2.bias": (text,), "proj.3.weight": (text,), "proj.3.bias": (text,),
    }  # fmt: skip


KINDS = {"plain": plain, "plus": plus, "full": full}


def ip_adapter_file(
    kind: str, widths: Sequence[int], text: int = 2048, seed: int = 191
) -> dict[str, dict[str, Tensor]]:
    """widths: of the cross-attention layers of a UNet, in diffusers' order."""
    layers = {f"{2 * n + 1}.to_{side}_ip.weight": (wide, text) for n, wide in enumerate(widths) for side in "kv"}
    return {"image_proj": seeded(KINDS[kind](text), seed), "ip_adapter": seeded(layers, seed + 1)}
