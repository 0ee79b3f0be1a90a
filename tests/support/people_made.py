"""Casts without photos: random embeddings at given places."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pack.core.people import Identity, Person, PlacedCast, Slot

RECOGNISER = "arcface-ir-se50"


def identity(seed: int, photos: int = 1, recogniser: str = RECOGNISER) -> Identity:
    rows = torch.randn(photos, 512, generator=torch.Generator().manual_seed(seed))
    rows = rows / rows.norm(dim=1, keepdim=True)
    return Identity(f"person {seed}", {recogniser: rows}, torch.zeros(photos, 112, 112, 3))


def cast(
    centers: Sequence[tuple[float, float]], width: int, height: int, weights: Sequence[float] | None = None
) -> PlacedCast:
    weights = weights or [1.0] * len(centers)
    people = (
        Person(identity(i + 1), weight, Slot(center))
        for i, (center, weight) in enumerate(zip(centers, weights, strict=True))
    )
    return PlacedCast(tuple(people), width, height)
