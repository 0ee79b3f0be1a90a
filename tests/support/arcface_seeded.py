"""The published tensors of facexlib's IR-SE50 from a seed, and the crops of its golden file.

One generator walks the sorted keys of core.faces.ir_se50.published_shapes(): running_var is 0.5 + u (uniform),
PReLU slopes are 0.25 + 0.1 r, the weights of batch norms 1 + 0.1 r, other vectors 0.1 r, everything else
r / sqrt(elements of one output row). The golden file is what facexlib's own module makes of these (0.3.0 from PyPI,
Backbone(50, 0.6, "ir_se") of its recognition/arcface_arch.py) and of the crops, as RGB of -1 to 1.
"""

import math
import re

import torch
from torch import Tensor

SEED = 50
_SLOPES = re.compile(r"(input_layer|res_layer)\.2\.weight$")


def published_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    return {key: _tensor(key, shapes[key], generator) for key in sorted(shapes)}


def _tensor(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if key.endswith("running_var"):
        return 0.5 + torch.rand(shape, generator=generator)
    r = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return r / math.sqrt(r[0].numel())
    if _SLOPES.search(key):
        return 0.25 + 0.1 * r
    return 1 + 0.1 * r if key.endswith("weight") else 0.1 * r


def crops() -> Tensor:
    """(2, 112, 112, 3) 8-bit."""
    return torch.randint(0, 256, (2, 112, 112, 3), generator=torch.Generator().manual_seed(SEED), dtype=torch.uint8)
