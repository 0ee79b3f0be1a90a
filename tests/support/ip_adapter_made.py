"""Settings and files for IP-Adapter's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pack.bridge.unet import attention_layers, text_width
from pack.nodes.ip_adapter.file import IPAdapter, load_ip_adapter
from seeded import ip_adapter_file
from torch import Tensor

MADE = "as the file was made"
DEFAULTS: dict[str, Any] = {
    "weight": 1.0, "shortcut": 1.0, "lora_weight": 1.0, "start_percent": 0.0, "end_percent": 1.0, "photos": MADE,
    "portrait": MADE, "region_margin": 0.75, "feather": 32,
}  # fmt: skip


def file_of(kind: str, model: Any) -> dict[str, dict[str, Tensor]]:
    """Of one of seeded.PROJECTIONS for a MODEL."""
    return ip_adapter_file(kind, [width for *_, width in attention_layers(model)], text_width(model))


def loaded(file: dict[str, dict[str, Tensor]], folder: Path, version: str = "by the file") -> IPAdapter:
    torch.save(file, folder / "ip-adapter.bin")
    return load_ip_adapter(str(folder / "ip-adapter.bin"), version)
