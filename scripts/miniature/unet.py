"""SDXL's UNet and its ControlNet at 64 channels, in plain torch, with the host's names of keys.

The layout is Segmind Vega's as in standins.py: three levels of two residual blocks, all of one width, with no, one and
two transformer layers. Without labels: the prompt has no effect on this model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

WIDTH, TIME = 64, 256
DEPTHS = (0, 1, 2)
HINT = (3, 8, 8, 16, 16, 32, 32, 64, WIDTH)
"""Channels along the way of the condition image from pixels to latent cells; the release has (3, 16 .. 256, 320)."""
Control = list[Tensor]
"""What a ControlNet adds: per input block, then the middle."""


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, WIDTH, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(TIME, WIDTH))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, WIDTH), nn.SiLU(), nn.Identity(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if channels == WIDTH else nn.Conv2d(channels, WIDTH, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        hidden = self.in_layers(x) + self.emb_layers(time)[..., None, None]
        return self.skip_connection(x) + self.out_layers(hidden)


class _Attention(nn.Module):
    """image: keys and values (B, tokens, 64) that are read beside the context, as an IP-Adapter's are."""

    image: tuple[Tensor, Tensor] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        queries = self.to_q(x)
        found = _read(queries, self.to_k(context), self.to_v(context))
        if self.image:
            found = found + _read(queries, *self.image)
        return self.to_out(found)


def _read(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One head. Written out, because torch's own kernel takes several times as long at this size."""
    return (queries @ keys.transpose(1, 2) * WIDTH**-0.5).softmax(-1) @ values


class _Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(WIDTH, 8 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        kept, gate = self.proj(x).chunk(2, dim=-1)
        return kept * functional.gelu(gate)


class _FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(_Gated(), nn.Identity(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn1, self.attn2, self.ff = _Attention(), _Attention(), _FeedForward()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(WIDTH) for _ in range(3))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        seen = self.norm1(x)
        x = x + self.attn1(seen, seen)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class _Transformer(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, WIDTH, eps=1e-6)
        self.proj_in, self.proj_out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.transformer_blocks = nn.ModuleList(_Layer() for _ in range(depth))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        height, width = x.shape[2:]
        hidden = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))  # B H*W C
        for layer in self.transformer_blocks:
            hidden = layer(hidden, context)
        return x + self.proj_out(hidden).transpose(1, 2).unflatten(2, (height, width))


class _Halve(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.op = nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class _Double(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return self.conv(functional.interpolate(x, size=tuple(size)))


class _Block(nn.ModuleList):
    """A step of the network: its layers in order, each given what it takes."""

    def forward(self, x: Tensor, time: Tensor, context: Tensor, size: Sequence[int] = ()) -> Tensor:
        for layer in self:
            if isinstance(layer, _Residual):
                x = layer(x, time)
            elif isinstance(layer, _Transformer):
                x = layer(x, context)
            else:
                x = layer(x, size) if isinstance(layer, _Double) else layer(x)
        return x


def _level(channels: int, depth: int) -> list[nn.Module]:
    return [_Residual(channels), *([_Transformer(depth)] if depth else [])]


class _Encoder(nn.Module):
    """What both networks share: the time, the input blocks and the middle block."""

    def __init__(self) -> None:
        super().__init__()
        self.time_embed = nn.Sequential(nn.Linear(WIDTH, TIME), nn.SiLU(), nn.Linear(TIME, TIME))
        self.input_blocks = nn.ModuleList([_Block([nn.Conv2d(4, WIDTH, 3, padding=1)])])
        for number in range(1, 9):
            layers = _level(WIDTH, DEPTHS[number // 3]) if number % 3 else [_Halve()]
            self.input_blocks.append(_Block(layers))
        self.middle_block = _Block([_Residual(WIDTH), _Transformer(1), _Residual(WIDTH)])

    def time(self, steps: Tensor, dtype: torch.dtype) -> Tensor:
        """(B,) from 0 to 999 -> (B, 256)."""
        half = WIDTH // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, device=steps.device) / half)
        angles = steps.float()[:, None] * frequencies
        return self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=1).to(dtype))


class ControlNet(_Encoder):
    def __init__(self) -> None:
        super().__init__()
        hint: list[nn.Module] = []
        for number, (before, after) in enumerate(itertools.pairwise(HINT)):
            stride = 2 if number in (2, 4, 6) else 1
            hint += [nn.Conv2d(before, after, 3, padding=1, stride=stride), nn.SiLU()]
        self.input_hint_block = nn.Sequential(*hint[:-1])
        self.zero_convs = nn.ModuleList(nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1)) for _ in self.input_blocks)
        self.middle_block_out = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1))

    def forward(self, x: Tensor, steps: Tensor, context: Tensor, hint: Tensor) -> Control:
        """x: (B, 4, h, w); hint: (B, 3, 8h, 8w), signed; context: (B, tokens, 64)."""
        time, told = self.time(steps, x.dtype), self.input_hint_block(hint)
        added: Control = []
        for number, block in enumerate(self.input_blocks):
            x = block(x, time, context)
            if not number:
                x = x + told
            added.append(self.zero_convs[number](x))
        return [*added, self.middle_block_out(self.middle_block(x, time, context))]


class UNet(_Encoder):
    def __init__(self) -> None:
        super().__init__()
        self.output_blocks = nn.ModuleList()
        for level in (2, 1, 0):
            for last in (False, False, True):
                doubling = [_Double()] if last and level else []
                self.output_blocks.append(_Block([*_level(2 * WIDTH, DEPTHS[level]), *doubling]))
        self.out = nn.Sequential(nn.GroupNorm(32, WIDTH), nn.SiLU(), nn.Conv2d(WIDTH, 4, 3, padding=1))

    def cross_attention(self) -> list[_Attention]:
        """In diffusers' order: down, up, middle."""
        blocks = itertools.chain(self.input_blocks, self.output_blocks, [self.middle_block])
        return [layer.attn2 for block in blocks for layer in block.modules() if isinstance(layer, _Layer)]

    def forward(
        self, x: Tensor, steps: Tensor, context: Tensor, control: Control, strength: float = 1.0,
        image: Sequence[tuple[Tensor, Tensor]] = (),
    ) -> Tensor:  # fmt: skip
        """The velocity (v prediction), (B, 4, h, w). image: keys and values for each of cross_attention."""
        layers = self.cross_attention()
        for layer, pair in zip(layers, image or [None] * len(layers), strict=True):
            layer.image = pair
        time, skips = self.time(steps, x.dtype), list[Tensor]()
        for block in self.input_blocks:
            x = block(x, time, context)
            skips.append(x)
        *added, middle = control
        x = self.middle_block(x, time, context) + strength * middle
        for block in self.output_blocks:
            skip = skips.pop() + strength * added.pop()
            size = skips[-1].shape[2:] if skips else ()
            x = block(torch.cat([x, skip], dim=1), time, context, size)
        return self.out(x)
