"""withanyone.safetensors at small sizes."""

from __future__ import annotations

from pack.core.people import PlacedCast, Slot
from people_made import person
from seeded import Shapes, seeded
from torch import Tensor

TOKENS, HEAD = 8, 64
WIDTH, HEIGHT = 136, 104
"""Odd multiples of 8, so that FLUX.1 pads the latent."""
BOXES = ((17, 20, 63, 70), (50, 33, 101, 96), (90, 0, 136, 50))
"""Of faces. The first two overlap, and so do the rows of the last two."""
DEFAULTS = {
    "weight": 1.0, "start_percent": 0.0, "end_percent": 1.0, "photos": "mean", "region_margin": 0.75,
}  # fmt: skip


def with_anyone_shapes(width: int = 64, blocks: int = 4, heads: int = 2) -> Shapes:
    """Of the branch that reads face embeddings, and some of the other one."""
    shapes: dict[str, tuple[int, ...]] = {}
    for branch in ("arc", "sig"):
        tokens = f"arcface_in_{branch}"
        for layer, rows, columns in ((0, 4 * width, 512), (3, TOKENS * width, 4 * width)):
            shapes |= {f"{tokens}.{layer}.weight": (rows, columns), f"{tokens}.{layer}.bias": (rows,)}
        shapes |= {f"{tokens}.2.{end}": (4 * width,) for end in ("weight", "bias")}
        for n in range(blocks):
            block = f"ipa_{branch}.{n}"
            shapes |= {f"{block}.{norm}.{end}": (width,) for norm in ("norm1", "norm2") for end in ("weight", "bias")}
            shapes |= {
                f"{block}.to_q.weight": (heads * HEAD, width),
                f"{block}.to_kv.weight": (2 * heads * HEAD, width),
                f"{block}.to_out.weight": (width, heads * HEAD),
            }
    return {**shapes, "siglip_in_sig.0.weight": (width, 768)}


def with_anyone_file(seed: int = 303, **sizes: int) -> dict[str, Tensor]:
    return seeded(with_anyone_shapes(**sizes), seed)


def placed(count: int, kind: type[PlacedCast] = PlacedCast, photos: int = 1, weight: float = 1.0) -> PlacedCast:
    """People in the BOXES, the last of them with this weight."""
    weights = [*[1.0] * (count - 1), weight]
    slots = [Slot((0.0, 0.0), box=(float(x0), float(y0), float(x1), float(y1))) for x0, y0, x1, y1 in BOXES[:count]]
    people = (person(n, photos, *one) for n, one in enumerate(zip(slots, weights, strict=True), 1))
    return kind(tuple(people), WIDTH, HEIGHT)
