"""Files of every format, by the tensors that tell it: format_files.json, a list of files for each format's id."""

import json
from pathlib import Path
from typing import Any

import torch
from shared import adapters
from shared.shapes import of

TABLE: dict[str, list[Any]] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
"""A published adapter or network by its name, or names and shapes."""


def on_meta(shapes: Any, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device="meta", dtype=dtype) for key, shape in dict(shapes).items()}


def state_of(row: Any) -> dict[str, torch.Tensor]:
    """The tensors of a row, without numbers."""
    match row:
        case {"adapter": name}:
            unet, shapes = adapters.PUBLISHED[name]
            return on_meta(shapes(unet))
        case {"network": name, **sizes}:
            return on_meta(of(name, **sizes))
        case _:
            return on_meta(row)
