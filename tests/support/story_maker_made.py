"""StoryMaker's file at small sizes, and a picture of somebody's clothes."""

from __future__ import annotations

import torch
from seeded import Shapes, adapter_shapes, mlp_shapes, perceiver_shapes, resampler_shapes, seeded
from torch import Tensor


def projection_shapes(text: int, states: int, inner: int = 64, feed_forward: int = 128, depth: int = 1) -> Shapes:
    """inner, feed_forward, depth: of the face's Perceiver, which is as wide as the text."""
    body = resampler_shapes(16, text, 128, depth, states, 2)
    return {
        "pos_embed": (3, 20, text),
        "bg_embed": (1, 20, text),
        **mlp_shapes(4, text),
        "proj_out.weight": (text, text),
        "proj_out.bias": (text,),
        "norm_out.weight": (text,),
        "norm_out.bias": (text,),
        **perceiver_shapes(text, states, depth, feed_forward, inner // 64),
        **{f"resample.{key}": shape for key, shape in body.items()},
    }


def story_maker_file(widths: list[int], states: int, text: int = 2048, rank: int = 4) -> dict[str, dict[str, Tensor]]:
    """A mask.bin for a UNet whose transformer blocks have these widths, in diffusers' order. states: width of what its
    CLIP sees; rank: of the LoRA."""
    projection = seeded(projection_shapes(text, states), 193)
    # Places and background as loud as the other tokens.
    projection |= {key: projection[key] * (20 * text) ** 0.5 for key in ("pos_embed", "bg_embed")}
    return {"image_proj_model": projection, "ip_adapter": seeded(adapter_shapes(widths, text, rank), 194)}


def body(seed: int, width: int = 60, height: int = 90) -> tuple[Tensor, Tensor]:
    """A picture (1, height, width, 3) and where the person is in it, (1, height, width)."""
    picture = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(1, height, width)
    mask[:, 10 + seed : height - 5, 7 : width - 12 - seed] = 1
    return picture, mask


DEFAULTS = {
    "weight": 0.8, "lora_weight": 0.8, "start_percent": 0.0, "end_percent": 1.0, "photos": "mean", "extent": "body",
    "margin": 0.25, "feather": 0,
}  # fmt: skip
