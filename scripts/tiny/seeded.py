"""Weights from seeds, as the golden files were made.

One generator per module walks the sorted floating-point keys: 1-d tensors are 1 + 0.1 r (a norm's weight) or 0.1 r,
`latents` is r, everything else r / sqrt(elements of one output row).
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

Shapes = Mapping[str, tuple[int, ...]]


def seeded(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {key: _scaled(key, torch.randn(shapes[key], generator=generator)) for key in sorted(shapes)}


def _scaled(key: str, r: Tensor) -> Tensor:
    """In the place of r: the words of a text encoder are a hundred million numbers."""
    if key == "latents":
        return r
    if r.dim() <= 1:
        r.mul_(0.1)
        return r.add_(1) if "norm" in key and key.endswith("weight") else r
    return r.div_(math.sqrt(r[0].numel()))


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fill(module: nn.Module, seed: int) -> nn.Module:
    """Fill a module's floating-point state and return it in eval mode."""
    state = module.state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items() if value.is_floating_point()}
    module.load_state_dict(seeded(shapes, seed), strict=False)
    return module.eval().requires_grad_(False)
