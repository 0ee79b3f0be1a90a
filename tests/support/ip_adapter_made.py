"""People, settings and files for IP-Adapter's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pack.bridge.ip_adapter import IPAdapter, load_ip_adapter
from pack.bridge.unet import attention_layers, text_width
from pack.core.people import ALIGNED, LOOSE, Identity, Person, Portraits, Slot
from seeded import ip_adapter_file
from torch import Tensor

MADE = "as the file was made"
DEFAULTS: dict[str, Any] = {
    "weight": 1.0, "shortcut": 1.0, "lora_weight": 1.0, "start_percent": 0.0, "end_percent": 1.0, "photos": MADE,
    "portrait": MADE, "region_margin": 0.75, "feather": 32,
}  # fmt: skip


def person(seed: int, photos: int = 1, slot: Slot | None = None, weight: float = 1.0) -> Person:
    """With random embeddings and portraits."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(photos, 512, generator=generator) * 1.5
    aligned, loose = (
        torch.randint(0, 256, (photos, side, side, 3), generator=generator, dtype=torch.uint8)
        for side in (ALIGNED, LOOSE)
    )
    kept = {"w600k_r50": embeddings, "antelopev2": embeddings, "arcface-ir-se50": embeddings}
    identity = Identity(f"person {seed}", kept, torch.zeros(photos, 112, 112, 3), Portraits(aligned, loose))
    return Person(identity, weight, slot)


def file_of(kind: str, model: Any) -> dict[str, dict[str, Tensor]]:
    """Of one of seeded.PROJECTIONS for a MODEL."""
    return ip_adapter_file(kind, [width for *_, width in attention_layers(model)], text_width(model))


def loaded(file: dict[str, dict[str, Tensor]], folder: Path, version: str = "by the file") -> IPAdapter:
    torch.save(file, folder / "ip-adapter.bin")
    return load_ip_adapter(str(folder / "ip-adapter.bin"), version)
