"""Parts2Whole written plainly on diffusers' modules: a dense bank, keys and values projected again at every step.

The published algorithm with nothing left out and nothing made faster: masked tokens stay as zeros, the shared
attention is computed for both rows and the unconditional one is replaced by plain attention afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as functional
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn


def _attend(attn: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2)


class Writer:
    """Self-attention of the reference UNet: remembers what it sees, times the mask."""

    def __init__(self, masks: list[Tensor]) -> None:
        self.masks, self.bank = masks, []

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        mask = self.masks[-1]
        height, width = mask.shape
        scale = 2 ** math.ceil(math.log2(height * width / hidden_states.shape[1]) / 2)
        grid = (math.ceil(height / scale), math.ceil(width / scale))
        small = functional.interpolate(mask[None, None], size=grid, mode="nearest")
        grown = (9 * functional.avg_pool2d(small, 3, stride=1, padding=1)).clamp(0, 1)
        self.bank.append(hidden_states * grown.reshape(1, -1, 1))
        return AttnProcessor()(attn, hidden_states)


class Reader:
    """Self-attention of the denoiser over [own | bank]; row 0 is unconditional."""

    def __init__(self, bank: Sequence[Tensor]) -> None:
        self.bank = list(bank)

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        rows = len(hidden_states) // 2
        everything = torch.cat([hidden_states, *(part.expand(2 * rows, -1, -1) for part in self.bank)], dim=1)
        shared = _attend(attn, attn.to_q(hidden_states), attn.to_k(everything), attn.to_v(everything))
        alone = _attend(attn, attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states))
        shared[:rows] = alone[:rows]
        return attn.to_out[0](shared)


class Decoupled:
    """Cross-attention over the text, plus that over the last six tokens through their own projections."""

    def __init__(self, to_k: Tensor, to_v: Tensor) -> None:
        self.to_k, self.to_v = to_k, to_v

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        text, images = encoder_hidden_states[:, :-6], encoder_hidden_states[:, -6:]
        q = attn.to_q(hidden_states)
        out = _attend(attn, q, attn.to_k(text), attn.to_v(text))
        out = out + _attend(attn, q, images @ self.to_k.T, images @ self.to_v.T)
        return attn.to_out[0](out)


@torch.no_grad()
def write_bank(
    reference: UNet2DConditionModel, latents: Sequence[Tensor], texts: Sequence[Tensor], masks: Sequence[Tensor]
) -> dict[str, list[Tensor]]:
    """Per attn1 module the (1, tokens, C) of every part."""
    given: list[Tensor] = []
    writers = {name: Writer(given) for name in reference.attn_processors if "attn1" in name}
    rest = {name: AttnProcessor() for name in reference.attn_processors if "attn1" not in name}
    reference.set_attn_processor({**writers, **rest})
    for latent, text, mask in zip(latents, texts, masks, strict=True):
        given.append(mask)
        reference(latent, torch.zeros(()), encoder_hidden_states=text)
    return {name: writer.bank for name, writer in writers.items()}


class PoseNet(nn.Module):
    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.state = state

    def forward(self, x: Tensor) -> Tensor:
        for name, stride in (("conv_in", 1), *((f"blocks.{n}", 1 + n % 2) for n in range(6))):
            weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
            x = functional.silu(functional.conv2d(x, weight, bias, stride=stride, padding=1))
        return functional.conv2d(x, self.state["conv_out.weight"], self.state["conv_out.bias"], padding=1)


def read_with(denoiser: UNet2DConditionModel, bank: dict[str, list[Tensor]], decoupled: dict[str, Tensor]) -> None:
    readers = {name: Reader(bank[name]) for name in bank}
    images = {
        name: Decoupled(*(decoupled[f"{name}.to_{side}_dc.weight"] for side in "kv"))
        for name in denoiser.attn_processors
        if "attn2" in name
    }
    denoiser.set_attn_processor({**readers, **images})


@torch.no_grad()
def sample(
    denoiser: UNet2DConditionModel,
    x: Tensor,
    sigmas: Tensor,
    timesteps: Tensor,
    texts: tuple[Tensor, Tensor],
    embeds: Sequence[Tensor],
    pose: Tensor | None,
    cfg: float,
) -> Tensor:
    """Plain Euler. texts: (negative, positive). embeds: (1, width) per part. x: (B, 4, h, w) at the first sigma."""
    images = torch.cat([*embeds, *(torch.zeros_like(embeds[0]) for _ in range(6 - len(embeds)))])[None]
    context = torch.cat(
        [torch.cat(pair, dim=1) for pair in zip(texts, (torch.zeros_like(images), images), strict=True)]
    )
    hook = denoiser.conv_in.register_forward_hook(lambda *_: None if pose is None else _[2] + pose)
    for step, timestep in enumerate(timesteps):
        scaled = (x / (sigmas[step] ** 2 + 1).sqrt()).repeat(2, 1, 1, 1)
        rows = context.repeat_interleave(len(x), dim=0)
        uncond, cond = denoiser(scaled, timestep, encoder_hidden_states=rows, return_dict=False)[0].chunk(2)
        x = x + (uncond + cfg * (cond - uncond)) * (sigmas[step + 1] - sigmas[step])
    hook.remove()
    return x
