"""SDXL's UNet and its ControlNet, and SD1.5's UNet, at 64 channels, in plain torch, with the host's names of keys.

The layouts are the smallest that the host knows, as in shared/shapes.txt: Segmind Vega's, and SD1.5 of two levels of
one block. Without labels: the prompt has no effect on these models.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

WIDTH = 64
"""Channels of every layer."""
TIME = 256
"""Numbers that say which step it is."""


class Layout(NamedTuple):
    """depths: of the transformers on each level; blocks: residual ones on each level; heads: of attention."""

    depths: tuple[int, ...]
    blocks: int
    heads: int


SDXL = Layout((0, 1, 2), 2, 1)
SD15 = Layout((1, 0), 1, 8)
HINT = (3, 8, 8, 16, 16, 32, 32, 64, WIDTH)
"""Channels along the way of the condition image from pixels to latent cells; the release has (3, 16 .. 256, 320)."""
Control = list[Tensor]
"""What a ControlNet adds: per input block, then the middle."""
Beside = tuple[Tensor, Tensor]
"""What a layer's self-attention reads beside its own tokens: states (B, n, 64), and what is added to their logits,
(B, n), or (B, tokens, n) where it differs by who reads."""


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

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(WIDTH, WIDTH, bias=False)
        self.to_k = nn.Linear(WIDTH, WIDTH, bias=False)
        self.to_v = nn.Linear(WIDTH, WIDTH, bias=False)
        self.to_out = nn.Sequential(nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor, context: Tensor, beside: Beside | None = None) -> Tensor:
        queries = self.to_q(x)  # (B, tokens, 64)
        bias = None
        if beside:
            states, bias_beside = beside
            by_reader = bias_beside if bias_beside.ndim == 3 else bias_beside[:, None]
            bias = functional.pad(by_reader, (context.shape[1], 0))
            context = torch.cat([context, states], 1)
        output = self._read(queries, self.to_k(context), self.to_v(context), bias)
        if self.image:
            output = output + self._read(queries, *self.image)
        return self.to_out(output)

    def _read(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
        """bias: (B, 1, tokens of the context), added to the logits."""
        if self.heads == 1:  # written out, because torch's own kernel takes several times as long at this size
            logits = queries @ keys.transpose(1, 2) * WIDTH**-0.5
            if bias is not None:
                logits = logits + bias
            return logits.softmax(-1) @ values
        q = self._by_head(queries)
        k = self._by_head(keys)
        v = self._by_head(values)
        mask = None
        if bias is not None:
            mask = bias[:, None].expand(-1, self.heads, q.shape[2], -1)
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)

    def _by_head(self, x: Tensor) -> Tensor:
        """(B, tokens, 64) -> (B, heads, tokens, 64 / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(WIDTH, 8 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        values, gate = self.proj(x).chunk(2, dim=-1)
        return values * functional.gelu(gate)


class _FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(_Gated(), nn.Identity(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class _Layer(nn.Module):
    """seen: what its self-attention has last seen. ends: nothing behind that is computed."""

    seen: Tensor
    beside: Beside | None = None
    ends = False

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.attn1 = _Attention(heads)
        self.attn2 = _Attention(heads)
        self.ff = _FeedForward()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.norm3 = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        self.seen = self.norm1(x)
        if self.ends:
            return x
        x = x + self.attn1(self.seen, self.seen, self.beside)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class _Transformer(nn.Module):
    def __init__(self, depth: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, WIDTH, eps=1e-6)
        self.proj_in = nn.Linear(WIDTH, WIDTH)
        self.proj_out = nn.Linear(WIDTH, WIDTH)
        self.transformer_blocks = nn.ModuleList(_Layer(heads) for _ in range(depth))

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
            elif isinstance(layer, _Double):
                x = layer(x, size)
            else:
                x = layer(x)
        return x


def _level(channels: int, depth: int, heads: int) -> list[nn.Module]:
    """A residual block, and a transformer where the level has one."""
    layers: list[nn.Module] = [_Residual(channels)]
    if depth:
        layers.append(_Transformer(depth, heads))
    return layers


class _Encoder(nn.Module):
    """What both networks share: the time, the input blocks and the middle block."""

    def __init__(self, layout: Layout = SDXL) -> None:
        super().__init__()
        self.time_embed = nn.Sequential(nn.Linear(WIDTH, TIME), nn.SiLU(), nn.Linear(TIME, TIME))
        self.input_blocks = nn.ModuleList([_Block([nn.Conv2d(4, WIDTH, 3, padding=1)])])
        for level, depth in enumerate(layout.depths):
            if level:
                self.input_blocks.append(_Block([_Halve()]))
            for _ in range(layout.blocks):
                self.input_blocks.append(_Block(_level(WIDTH, depth, layout.heads)))
        self.middle_block = _Block([_Residual(WIDTH), _Transformer(1, layout.heads), _Residual(WIDTH)])

    def time(self, steps: Tensor, dtype: torch.dtype) -> Tensor:
        """(B,) from 0 to 999 -> (B, 256)."""
        half = WIDTH // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, device=steps.device) / half)
        angles = steps.float()[:, None] * frequencies
        return self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=1).to(dtype))


def _has_transformer(block: nn.Module) -> bool:
    return any(isinstance(layer, _Transformer) for layer in block.children())


def hint_block() -> nn.Sequential:
    """(B, 3, 8h, 8w) -> (B, 64, h, w); Parts2Whole's pose guider has the same layers as a ControlNet."""
    hint: list[nn.Module] = []
    for number, (before, after) in enumerate(itertools.pairwise(HINT)):
        stride = 2 if number in (2, 4, 6) else 1
        hint += [nn.Conv2d(before, after, 3, padding=1, stride=stride), nn.SiLU()]
    return nn.Sequential(*hint[:-1])


class ControlNet(_Encoder):
    def __init__(self) -> None:
        super().__init__()
        self.input_hint_block = hint_block()
        self.zero_convs = nn.ModuleList(nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1)) for _ in self.input_blocks)
        self.middle_block_out = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1))

    def forward(self, x: Tensor, steps: Tensor, context: Tensor, hint: Tensor) -> Control:
        """x: (B, 4, h, w); hint: (B, 3, 8h, 8w), signed; context: (B, tokens, 64)."""
        time = self.time(steps, x.dtype)
        hint_features = self.input_hint_block(hint)  # (B, 64, h, w)
        added: Control = []
        for number, block in enumerate(self.input_blocks):
            x = block(x, time, context)
            if number == 0:
                x = x + hint_features
            added.append(self.zero_convs[number](x))
        return [*added, self.middle_block_out(self.middle_block(x, time, context))]


class UNet(_Encoder):
    def __init__(self, layout: Layout = SDXL) -> None:
        super().__init__(layout)
        self.output_blocks = nn.ModuleList()
        for level, depth in reversed(list(enumerate(layout.depths))):
            for number in range(layout.blocks + 1):
                layers = _level(2 * WIDTH, depth, layout.heads)
                if number == layout.blocks and level:
                    layers.append(_Double())
                self.output_blocks.append(_Block(layers))
        self.out = nn.Sequential(nn.GroupNorm(32, WIDTH), nn.SiLU(), nn.Conv2d(WIDTH, 4, 3, padding=1))

    def layers(self) -> list[_Layer]:
        """In diffusers' order: down, up, middle."""
        blocks = itertools.chain(self.input_blocks, self.output_blocks, [self.middle_block])
        return [layer for block in blocks for layer in block.modules() if isinstance(layer, _Layer)]

    def up_layers(self) -> list[_Layer]:
        return [layer for layer in self.output_blocks.modules() if isinstance(layer, _Layer)]

    def look_at(self, seen: Sequence[Beside | None]) -> None:
        """What every layer reads beside its own tokens, from now on."""
        for layer, beside in zip(self.layers(), seen, strict=True):
            layer.beside = beside

    def cross_attention(self) -> list[_Attention]:
        return [layer.attn2 for layer in self.layers()]

    def forward(
        self, x: Tensor, steps: Tensor, context: Tensor, control: Control | None = None, strength: float = 1.0,
        image: Sequence[tuple[Tensor, Tensor]] = (), pose: Tensor | None = None, only_seen: bool = False,
    ) -> Tensor:  # fmt: skip
        """What it predicts, (B, 4, h, w); with only_seen nothing of use, as it ends behind the last transformer.
        image: keys and values for each of cross_attention. pose: (B, 64, h, w), added behind the first convolution."""
        layers = self.cross_attention()
        for number, layer in enumerate(layers):
            layer.image = image[number] if image else None
        time = self.time(steps, x.dtype)
        skips: list[Tensor] = []
        for block in self.input_blocks:
            x = block(x, time, context)
            if pose is not None and not skips:
                x = x + pose
            skips.append(x)
        if not control:
            nothing = x.new_zeros(())
            control = [nothing for _ in (*skips, x)]
        *added, middle = control
        x = self.middle_block(x, time, context) + strength * middle
        last = max(number for number, block in enumerate(self.output_blocks) if _has_transformer(block))
        for block in self.output_blocks[: last + 1] if only_seen else self.output_blocks:
            skip = skips.pop() + strength * added.pop()
            size = skips[-1].shape[2:] if skips else ()
            x = block(torch.cat([x, skip], dim=1), time, context, size)
        return x if only_seen else self.out(x)
