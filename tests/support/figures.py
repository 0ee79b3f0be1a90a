"""How far two results are apart, as the parity tests state it."""

from __future__ import annotations

from torch import Tensor


def relative(ours: Tensor, reference: Tensor) -> float:
    """The largest difference, relative to the largest value of the reference."""
    return ((ours - reference).abs().max() / reference.abs().max()).item()
