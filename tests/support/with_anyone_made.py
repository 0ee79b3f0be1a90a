"""withanyone.safetensors at small sizes, and people with boxes of their faces."""

from itertools import chain

from pack.core.cast import PlacedCast, Slot
from shared.shapes import of
from tiny.people_made import a_member
from tiny.seeded import seeded
from torch import Tensor

TOKENS, HEAD = 8, 64
WIDTH, HEIGHT = 136, 104
"""Odd multiples of 8, so that FLUX.1 pads the latent."""
BOXES = ((17.0, 20.0, 64.3, 70.0), (50.0, 33.0, 101.0, 96.4), (90.0, 0.0, 136.0, 50.0))
"""Of faces. The first two overlap, and so do the rows of the last two; two reach a few tenths of a pixel into a row."""


def with_anyone_file() -> dict[str, Tensor]:
    """The branch that reads face embeddings, and some of the other one."""
    branches = (of("withanyone", width=64, branch=branch) for branch in ("arc", "sig"))
    return seeded(dict([*chain(*branches), ("siglip_in_sig.0.weight", (64, 768))]), 303)


def placed(count: int, kind: type[PlacedCast] = PlacedCast, photos: int = 1) -> PlacedCast:
    """People in the BOXES."""
    slots = (Slot((0.0, 0.0), box) for box in BOXES[:count])
    return kind(tuple(a_member(n, photos, slot) for n, slot in enumerate(slots, 1)), WIDTH, HEIGHT)
