"""The pose guider: a pose picture becomes features that are added after the denoiser's first convolution.

Source: Parts2Whole, parts2whole/models/pose_guider.py (MIT), after Animate Anyone (arXiv 2311.17117).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as functional
from torch import Tensor, nn


class PoseGuider(nn.Module):
    """(B, 3, H, W), 0..1 -> (B, channels, ceil(H / 8), ceil(W / 8)). Sizes are read from the tensors of `state`."""

    def __init__(self, state: Mapping[str, Tensor], *, ops: Any, **factory: Any) -> None:
        super().__init__()

        def conv(name: str, stride: int = 1) -> Any:
            out, channels = state[f"{name}.weight"].shape[:2]
            return ops.Conv2d(channels, out, 3, padding=1, stride=stride, **factory)

        count = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
        self.conv_in = conv("conv_in")
        # Every second convolution halves the picture.
        self.blocks = nn.ModuleList(conv(f"blocks.{n}", 1 + n % 2) for n in range(count))
        self.conv_out = conv("conv_out")

    def forward(self, pose: Tensor) -> Tensor:
        features = functional.silu(self.conv_in(pose))
        for block in self.blocks:
            features = functional.silu(block(features))
        return self.conv_out(features)
