"""EVA02-CLIP-L-336: what it sees of pictures of faces. PuLID's encoders read five of its hidden states.

Source: "EVA-CLIP: Improved Training Techniques for CLIP at Scale" (arXiv 2303.15389) and its released
eva_clip/eva_vit_model.py and rope.py (MIT). ComfyUI's CLIP vision is another network.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ...core.attention.projections import HEAD_DIM
from ...core.models.tensors import State, below
from ...core.pictures.tensors import CLIP_DEVIATION, CLIP_MEAN

STATES_BEHIND = (4, 8, 12, 16, 20)
"""The numbers of blocks behind which hidden states are taken."""
_EPSILON = 1e-6
"""Of its norms."""
_TRAINED_CELLS = 16
"""Positions are those of 16 x 16 patches, whatever the number of patches: it was trained with pictures of 224 px."""
_THETA = 10000.0
"""The base of the rotary embeddings: the speed of pair i, of the n pairs in a half of a head, is _THETA ** -(i / n)."""
_TABLES = "rope.freqs_"
"""Part of the keys of tables in the file that are computed here."""


def vision_state(state: State) -> dict[str, Tensor]:
    """The tensors of a file that the network reads: those of its vision, without the tables of rotations."""
    return {key: tensor for key, tensor in below("visual.", state).items() if _TABLES not in key}


class Seen(NamedTuple):
    """What is seen of n pictures. embeddings: (n, 768). states: (n, 1 + patches, width) each, the class token first."""

    embeddings: Tensor
    states: list[Tensor]


class _Attention(nn.Module):
    """Self-attention of a block. width: of a token."""

    def __init__(self, width: int, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.q_proj = ops.Linear(width, width, bias=False, **factory)
        self.k_proj = ops.Linear(width, width, bias=False, **factory)
        self.v_proj = ops.Linear(width, width, bias=False, **factory)
        self.q_bias = nn.Parameter(torch.empty(width, **factory))
        self.v_bias = nn.Parameter(torch.empty(width, **factory))
        self.inner_attn_ln = ops.LayerNorm(width, eps=_EPSILON, **factory)
        self.proj = ops.Linear(width, width, **factory)

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """What the attention gives, (n, T, width). x: (n, T, width), the class token first. rotation: as in
        `_rotated`."""
        # Bare parameters are outside the host's cast-on-use layers, hence the explicit casts.
        query = _rotated(_in_heads(self.q_proj(x) + self.q_bias.to(x)), rotation)
        key = _rotated(_in_heads(self.k_proj(x)), rotation)
        value = _in_heads(self.v_proj(x) + self.v_bias.to(x))
        read = functional.scaled_dot_product_attention(query, key, value)  # (n, heads, T, HEAD_DIM)
        joined = read.transpose(1, 2).flatten(2)  # (n, T, width): the heads side by side again
        return self.proj(self.inner_attn_ln(joined))


class _SwiGLU(nn.Module):
    """The feed-forward of a block. width: of a token. hidden: between its layers."""

    def __init__(self, width: int, hidden: int, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.w1 = ops.Linear(width, hidden, **factory)
        self.w2 = ops.Linear(width, hidden, **factory)
        self.ffn_ln = ops.LayerNorm(hidden, eps=_EPSILON, **factory)
        self.w3 = ops.Linear(hidden, width, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, T, width)."""
        return self.w3(self.ffn_ln(functional.silu(self.w1(x)) * self.w2(x)))


class _Block(nn.Module):
    """A block of the transformer. width, hidden: as in _SwiGLU."""

    def __init__(self, width: int, hidden: int, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.norm1 = ops.LayerNorm(width, eps=_EPSILON, **factory)
        self.attn = _Attention(width, ops=ops, **factory)
        self.norm2 = ops.LayerNorm(width, eps=_EPSILON, **factory)
        self.mlp = _SwiGLU(width, hidden, ops=ops, **factory)

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """x: (n, T, width). rotation: as in `_rotated`."""
        x = x + self.attn(self.norm1(x), rotation)
        return x + self.mlp(self.norm2(x))


class EvaNet(nn.Module):
    """The network, in the sizes of a file's tensors.

    side: of the pictures that it reads, px. width: of a token, as its hidden states have it.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        """state: of `vision_state`; gives the sizes. Raises KeyError for a missing key."""
        super().__init__()
        self.width, channels, patch, _ = state["patch_embed.proj.weight"].shape
        positions = state["pos_embed"].shape[1]  # one of them is the class token's
        self.cells = math.isqrt(positions - 1)
        self.side = patch * self.cells
        self.cls_token = nn.Parameter(torch.empty(1, 1, self.width, **factory))
        self.pos_embed = nn.Parameter(torch.empty(1, positions, self.width, **factory))
        self.patch_embed = nn.ModuleDict({"proj": ops.Conv2d(channels, self.width, patch, stride=patch, **factory)})
        hidden = len(state["blocks.0.mlp.w1.weight"])
        depth = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
        self.blocks = nn.ModuleList(_Block(self.width, hidden, ops=ops, **factory) for _ in range(depth))
        self.norm = ops.LayerNorm(self.width, eps=_EPSILON, **factory)
        self.head = ops.Linear(self.width, len(state["head.weight"]), **factory)

    def forward(self, pictures: Tensor) -> Seen:
        """What is seen of pictures (n, 3, H, W), RGB 0..1, which are brought to `side`."""
        # Without antialias, as in torchvision 0.15.2 of the authors' requirements.txt; 0.19.1 of requirements_fp8.txt
        # has it.
        size = (self.side, self.side)
        resized = functional.interpolate(pictures, size, mode="bicubic", align_corners=False)
        mean = torch.tensor(CLIP_MEAN, dtype=torch.float32).to(resized)[:, None, None]  # (3, 1, 1)
        deviation = torch.tensor(CLIP_DEVIATION, dtype=torch.float32).to(resized)[:, None, None]
        in_cells = self.patch_embed["proj"]((resized - mean) / deviation)  # (n, width, cells, cells)
        patches = in_cells.flatten(2).transpose(1, 2)  # (n, patches, width)
        class_token = self.cls_token.to(patches).expand(len(patches), -1, -1)
        x = torch.cat([class_token, patches], dim=1) + self.pos_embed.to(patches)
        rotation = rotation_table(self.cells).to(x)
        states: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            if number in STATES_BEHIND:  # numbers are from 0, so here x is what `number` blocks have given
                states.append(x)
            x = block(x, rotation)
        seen_by_class_token = self.norm(x)[:, 0]  # (n, width)
        return Seen(self.head(seen_by_class_token), states)

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        self(zeros(1, 3, self.side, self.side))


def _in_heads(tokens: Tensor) -> Tensor:
    """(n, T, width) -> (n, heads, T, HEAD_DIM)."""
    heads: Tensor = tokens.unflatten(-1, (-1, HEAD_DIM))  # pyright: ignore[reportUnknownMemberType]
    return heads.transpose(1, 2)


def rotation_table(cells: int) -> Tensor:
    """The cosines and sines by which the numbers of a head are turned, (2, cells * cells, HEAD_DIM).

    cells: patches in a row. The first half of a head turns by the row of a patch, the second by its column. Neighbours
    are a pair that turns by one angle, faster pairs first (rotary embeddings, arXiv 2104.09864).
    """
    half = HEAD_DIM // 2
    speeds = _THETA ** -(torch.arange(0, half, 2, dtype=torch.float32) / half)  # (half / 2,)
    positions = torch.arange(cells, dtype=torch.float32) / cells * _TRAINED_CELLS
    rows, columns = torch.meshgrid(positions, positions, indexing="ij")  # (cells, cells) each
    by_row, by_column = rows[..., None] * speeds, columns[..., None] * speeds  # (cells, cells, half / 2) each
    angles = torch.cat([by_row, by_column], dim=-1).flatten(0, 1)  # (cells * cells, half): one of each pair
    of_both = angles.repeat_interleave(2, dim=-1)  # (cells * cells, HEAD_DIM)
    return torch.stack([of_both.cos(), of_both.sin()])


def _rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """Heads (n, heads, T, HEAD_DIM) with the pairs of each patch turned; the class token, which is first, is not.

    rotation: of rotation_table.
    """
    cosine, sine = rotation
    patches = x[:, :, 1:]
    # A pair (a, b) turned by an angle is (a, b) * cosine + (-b, a) * sine.
    pairs = patches.unflatten(-1, (-1, 2))  # (n, heads, patches, HEAD_DIM / 2, 2)
    crossed = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2)
    return torch.cat([x[:, :, :1], patches * cosine + crossed * sine], dim=2)
