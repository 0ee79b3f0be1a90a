"""Decoupled attention of Parts2Whole: one token per part, from the whole picture of the part.

Source: Parts2Whole, parts2whole/models/custom_attention_processor.py (MIT).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SLOTS = 6
"""The trained number of image tokens; fewer parts are filled up with zeros."""


class DecoupledAttn(nn.Module):
    """Keys and values of the image tokens for every cross-attention layer.

    state: "<diffusers layer>.attn2.processor.to_{k,v}_dc.weight"; other keys are not looked at.
    width: of one image token. layer_widths: of the keys of every layer.
    """

    def __init__(self, state: Mapping[str, Tensor], *, ops: Any, **factory: Any) -> None:
        super().__init__()
        first = [state[f"{name}{_PROCESSOR}to_k_dc.weight"] for name in _layers(state)]
        self.width = first[0].shape[1]
        self.layer_widths = [len(weight) for weight in first]
        self.to_k_dc, self.to_v_dc = (
            nn.ModuleList(
                _linear(state[f"{name}{_PROCESSOR}to_{side}_dc.weight"], ops, **factory) for name in _layers(state)
            )
            for side in "kv"
        )

    @staticmethod
    def own_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`state` under this module's keys."""
        return {
            f"to_{side}_dc.{n}.weight": state[f"{name}{_PROCESSOR}to_{side}_dc.weight"]
            for n, name in enumerate(_layers(state))
            for side in "kv"
        }

    def forward(self, tokens: Tensor) -> list[tuple[Tensor, Tensor]]:
        """tokens (1, SLOTS, width) -> per layer ((1, SLOTS, C), the same), in diffusers' order: down, up, mid."""
        return [(to_k(tokens), to_v(tokens)) for to_k, to_v in zip(self.to_k_dc, self.to_v_dc, strict=True)]


_PROCESSOR = ".attn2.processor."


def _layers(state: Mapping[str, Tensor]) -> list[str]:
    return sorted({key.split(_PROCESSOR)[0] for key in state if key.endswith("to_k_dc.weight")}, key=_position)


def _position(name: str) -> tuple[int, list[int]]:
    """Down before up before mid, then by number, as diffusers walks a UNet."""
    place = ("down_blocks", "up_blocks", "mid_block").index(name.split(".")[0])
    return place, [int(part) for part in name.split(".") if part.isdigit()]


def _linear(weight: Tensor, ops: Any, **factory: Any) -> Any:
    return ops.Linear(weight.shape[1], weight.shape[0], bias=False, **factory)


def padded(embeds: Sequence[Tensor]) -> Tensor:
    """One (1, width) CLIP image embedding per part -> (1, SLOTS, width), zeros where there is no part."""
    tokens = torch.stack([embed.float() for embed in embeds], dim=1)
    return nn.functional.pad(tokens, (0, 0, 0, SLOTS - tokens.shape[1]))
