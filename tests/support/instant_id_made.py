"""People and settings for InstantID tests."""

from __future__ import annotations

import torch
from pack.core.people import Identity, Person, Slot
from torch import Tensor

DEFAULTS = {
    "adapter_weight": 0.8, "control_strength": 0.8, "start_percent": 0.0, "end_percent": 1.0,
    "adapter_start_percent": 0.0, "adapter_end_percent": 1.0, "negative_noise": 0.0, "noise_seed": 0,
    "photos": "mean", "region_margin": 0.75, "feather": 32,
}  # fmt: skip


def person(name: str, embedding: Tensor, slot: Slot | None = None, weight: float = 1.0) -> Person:
    """embedding: (photos, 512)."""
    return Person(Identity(name, {"antelopev2": embedding}, torch.zeros(len(embedding), 112, 112, 3)), weight, slot)
