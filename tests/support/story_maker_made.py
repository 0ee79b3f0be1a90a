"""StoryMaker's file at small sizes, and a picture of somebody's clothes."""

import torch
from seeded_files import adapter_shapes, parts
from shared.shapes import of
from tiny.seeded import seeded
from torch import Tensor


def story_maker_file(widths: list[int], states: int) -> dict[str, dict[str, Tensor]]:
    """A mask.bin for a UNet whose transformer blocks have these widths, in diffusers' order. states: width of what its
    CLIP sees."""
    shapes = of("story_maker", text=2048, states=states, body=128, hidden=64, forward=128, depth=1)
    projection = seeded(parts(shapes)["image_proj_model"], 193)
    # Places and background as loud as the other tokens.
    projection |= {key: projection[key] * (20 * 2048) ** 0.5 for key in ("pos_embed", "bg_embed")}
    return {"image_proj_model": projection, "ip_adapter": seeded(adapter_shapes(widths, 2048, 4), 194)}


def body(seed: int, width: int = 60, height: int = 90) -> tuple[Tensor, Tensor]:
    """A picture (1, height, width, 3) and where the person is in it, (1, height, width)."""
    picture = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(1, height, width)
    mask[:, 10 + seed : height - 5, 7 : width - 12 - seed] = 1
    return picture, mask
