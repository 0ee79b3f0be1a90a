"""What a LoRA adds to a layer, whatever its kind, as two matrices: y = W x + up down x.

The tensors are those that the host's weight_adapter reads from a file, in its order; shape is that of W, (out, in) or
(out, in, h, w). Sources: LoRA (arXiv 2106.09685), LyCORIS (arXiv 2309.14859, LoHa, LoKr and their Tucker forms), GLoRA
(arXiv 2306.07967).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class LowRank(NamedTuple):
    """down: (rank, in) or (rank, in, h, w); up: (out, rank). before: the same in front of W, W before.up before.down x,
    or None."""

    down: Tensor
    up: Tensor
    before: tuple[Tensor, Tensor] | None = None

    def fits(self, shape: Sequence[int]) -> bool:
        return len(self.up) == shape[0] and self.down.shape[1:] == tuple(shape[1:])


def _lora(v: Sequence[Any], shape: Sequence[int]) -> LowRank:
    up, down, alpha, middle = v[:4]
    rank = len(down)
    if middle is not None:
        down = torch.einsum("rs...,si->ri...", middle, down.flatten(1))
    return _scaled(up, down, alpha, rank)


def _loha(v: Sequence[Any], shape: Sequence[int]) -> LowRank:
    """The product of two matrices of low rank, number by number, has the product of their ranks."""
    up_1, down_1, alpha, up_2, down_2, core_1, core_2 = v[:7]
    rank = len(down_1)
    if core_1 is not None:
        up_1, down_1 = up_1.T, torch.einsum("ij...,jr->ir...", core_1, down_1)
        up_2, down_2 = up_2.T, torch.einsum("ij...,jr->ir...", core_2, down_2)
    up = torch.einsum("or,os->ors", up_1, up_2)
    return _scaled(up, torch.einsum("ri,si->rsi", down_1.flatten(1), down_2.flatten(1)).flatten(0, 1), alpha, rank)


def _lokr(v: Sequence[Any], shape: Sequence[int]) -> LowRank:
    """The Kronecker product of products is the product of Kronecker products."""
    whole_1, whole_2, alpha, up_1, down_1, up_2, down_2, core = v[:8]
    # As the host: of a product that is there whole, alpha says nothing.
    rank = None if whole_1 is not None else len(down_1)
    rank = rank if whole_2 is not None else len(down_2)
    if whole_1 is not None:
        up_1, down_1 = whole_1, torch.eye(whole_1.shape[1]).to(whole_1)
    if whole_2 is not None:
        up_2, down_2 = torch.eye(len(whole_2)).to(whole_2), whole_2
    elif core is not None:
        up_2, down_2 = up_2.T, torch.einsum("ij...,jr->ir...", core, down_2)
    up, down = torch.kron(up_1, up_2), torch.kron(down_1, down_2.flatten(1))
    return _scaled(up, down, None if rank is None else alpha, rank or 1)


def _glora(v: Sequence[Any], shape: Sequence[int]) -> LowRank:
    a1, a2, b1, b2 = (x.flatten(1) for x in v[:4])
    # The older form of the file has both products the other way round; of a square layer the newer is meant.
    older = b2.shape[1] == len(b1) == len(a1) == a2.shape[1]
    newer = len(b2) == b1.shape[1] == a1.shape[1] == len(a2)
    if older and not (newer and not len(a2) == shape[0] == shape[1]):
        a1, a2, b1, b2 = a2, a1, b2, b1
    added, rank = _scaled(b1, b2, v[4], len(b2)), len(b2)
    return added._replace(before=(a2, a1 * _scale(v[4], rank)))


def _scale(alpha: float | None, rank: int) -> float:
    return 1.0 if alpha is None else alpha / rank


def _scaled(up: Tensor, down: Tensor, alpha: float | None, rank: int) -> LowRank:
    return LowRank(down.flatten(1), up.flatten(1) * _scale(alpha, rank))


_KINDS: dict[str, tuple[Callable[[Sequence[Any], Sequence[int]], LowRank], int]] = {
    "lora": (_lora, 4), "loha": (_loha, 7), "lokr": (_lokr, 8), "glora": (_glora, 5),
}  # fmt: skip
"""By the host's name of a kind: what makes matrices of its tensors, and from which of them on stands what changes the
size of W's rows (DoRA) or its shape, which no addition can."""


def unfit(kind: str, tensors: Sequence[Any]) -> str | None:
    """Why the tensors of a kind are no addition to what a layer gives, or None where they are."""
    if kind not in _KINDS:
        return kind
    return None if all(one is None for one in tensors[_KINDS[kind][1] :]) else f"{kind} with DoRA or another shape"


def low_rank(kind: str, tensors: Sequence[Any], shape: Sequence[int]) -> LowRank:
    """Of the tensors of one layer; raises RuntimeError or ValueError where they fit no layer of this shape."""
    found = _KINDS[kind][0](tensors, shape)
    down, up = found.down.reshape(-1, *shape[1:]), found.up
    if len(down) > len(up):  # no longer of low rank
        down, up = (up @ down.flatten(1)).reshape(-1, *shape[1:]), torch.eye(len(up)).to(up)
    return found._replace(down=down, up=up)
