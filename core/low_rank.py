"""What a LoRA adds to a layer, whatever its kind, as two matrices: y = W x + up down x.

Sources: LoRA (arXiv 2106.09685), LyCORIS (arXiv 2309.14859: LoHa, LoKr, Tucker forms), GLoRA (arXiv 2306.07967).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Front = tuple[Tensor, Tensor]
UNFIT = {"lora": 4, "loha": 7, "lokr": 8, "glora": 5}
"""By the host's name of a kind, from which of its tensors on stands what is no addition: DoRA, and other shapes."""


@dataclass(frozen=True)
class Factors:
    """A difference as two matrices. down: (rank, in * h * w), also with more dimensions; up: (out, rank).

    alpha: the file's number, None where it has none. divisor: the rank that alpha is divided by, None where a kind has
    no such scale. front: the same in front of W, already scaled, for GLoRA.
    """

    down: Tensor
    up: Tensor
    alpha: float | None
    divisor: int | None
    front: Front | None = None

    @property
    def scale(self) -> float:
        if self.alpha is None or self.divisor is None:
            return 1.0
        return self.alpha / self.divisor


def low_rank(kind: str, v: Sequence[Any], shape: Sequence[int]) -> tuple[Tensor, Tensor, Front | None]:
    """down (rank, in, h, w), up (out, rank), and the same in front of W, or None: W up down x.

    kind, v: the host's name of the kind, and what its weight_adapter has read of a file, in its order. shape: of W,
    (out, in) or (out, in, h, w). Raises RuntimeError or ValueError where they do not fit.
    """
    if kind == "lora":
        factors = _lora(v)
    elif kind == "loha":
        factors = _loha(v)
    elif kind == "lokr":
        factors = _lokr(v)
    else:
        factors = _glora(v, shape)
    down = factors.down.flatten(1)
    up = factors.up.flatten(1) * factors.scale
    if len(down) > len(up):
        # No longer of low rank: one matrix, and nothing behind it.
        down = up @ down
        up = torch.eye(len(up)).to(up)
    return down.reshape(-1, *shape[1:]), up, factors.front


def _tucker(core: Tensor, down: Tensor) -> Tensor:
    """A core (i, j, h, w) by a matrix (j, in) -> (i, in, h, w)."""
    return torch.einsum("ij...,jr->ir...", core, down)


def _lora(v: Sequence[Any]) -> Factors:
    up, down, alpha, middle = v[:4]
    rank = len(down)
    if middle is not None:
        down = _tucker(middle, down.flatten(1))
    return Factors(down, up, alpha, rank)


def _loha(v: Sequence[Any]) -> Factors:
    """The product of two matrices, number by number, has the product of their ranks."""
    up, down, alpha, up_2, down_2, core, core_2 = v[:7]
    rank = len(down)
    if core is not None:
        up, down = up.T, _tucker(core, down)
        up_2, down_2 = up_2.T, _tucker(core_2, down_2)
    # (out, r) and (out, s) -> (out, r, s)
    up = torch.einsum("or,os->ors", up, up_2)
    down = torch.einsum("ri,si->rsi", down.flatten(1), down_2.flatten(1)).flatten(0, 1)
    return Factors(down, up, alpha, rank)


def _lokr(v: Sequence[Any]) -> Factors:
    """The Kronecker product of products is the product of Kronecker products."""
    whole, whole_2, alpha, up, down, up_2, down_2, core = v[:8]
    rank = None
    if whole is not None:
        up, down = whole, torch.eye(whole.shape[1]).to(whole)
    else:
        rank = len(down)
    if whole_2 is not None:
        up_2, down_2 = torch.eye(len(whole_2)).to(whole_2), whole_2
    else:
        rank = len(down_2)  # of both, that of the second counts
        if core is not None:
            up_2, down_2 = up_2.T, _tucker(core, down_2)
    # torch.kron views what it gives, which tensors that are turned do not allow.
    up = torch.kron(up.contiguous(), up_2.contiguous())
    down = torch.kron(down.contiguous(), down_2.flatten(1).contiguous())
    return Factors(down, up, alpha, rank)


def _glora(v: Sequence[Any], shape: Sequence[int]) -> Factors:
    alpha = v[4]
    a1, a2, b1, b2 = (matrix.flatten(1) for matrix in v[:4])
    # The older form of a file has the products the other way round; in a square layer the newer is meant.
    older = b2.shape[1] == len(b1) == len(a1) == a2.shape[1]
    newer = len(b2) == b1.shape[1] == len(a2)
    if older and not (newer and not len(a2) == shape[0] == shape[1]):
        a1, a2, b1, b2 = a2, a1, b2, b1
    rank = len(b2)
    scale = 1.0 if alpha is None else alpha / rank
    return Factors(b2, b1, alpha, rank, (a2, a1 * scale))
