"""ArcFace recognisers of any architecture: what their networks read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..models.onnx_file import Program
from .pictures import Picture


class ArcFace:
    """A recogniser from an ONNX file. Its embeddings are not normalised, as insightface returns them.

    scales: whether the network itself brings 0..255 to what it was trained with.
    """

    def __init__(
        self, identifier: str, network: Callable[[Tensor], Sequence[Tensor]], crop_size: int, scales: bool
    ) -> None:
        self.id, self.network, self.crop_size, self._scales = identifier, network, crop_size, scales

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        """(n, 512) float32 for n aligned crops of crop_size pixels; one at a time, as some files fix the batch at 1."""
        pixels = torch.as_tensor(np.stack(crops)).flip(-1).permute(0, 3, 1, 2).float()
        pixels = pixels if self._scales else (pixels - 127.5) / 127.5
        return torch.cat([self.network(crop[None])[0].reshape(1, -1).cpu() for crop in pixels])


def scales(program: Program) -> bool:
    """Whether a network begins with subtracting and multiplying, as those from MXNet do (insightface's own rule)."""
    return {"Sub", "Mul"} <= {node.operator for node in program.nodes[:8]}
