"""What a LoRA adds to a layer, whatever its kind, as two matrices: y = W x + up down x.

Sources: LoRA (arXiv 2106.09685), LyCORIS (arXiv 2309.14859: LoHa, LoKr, Tucker forms), GLoRA (arXiv 2306.07967).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Front = tuple[Tensor, Tensor]
UNFIT = {"lora": 4, "loha": 7, "lokr": 8, "glora": 5}
"""By the host's name of a kind, from which of its tensors on stands what is no addition: DoRA, and other shapes."""


def low_rank(kind: str, v: Sequence[Any], shape: Sequence[int]) -> tuple[Tensor, Tensor, Front | None]:
    """down (rank, in, h, w), up (out, rank), and the same in front of W, or None: W up down x.

    kind, v: the host's name of the kind, and what its weight_adapter has read of a file, in its order. shape: of W,
    (out, in) or (out, in, h, w). Raises RuntimeError or ValueError where they do not fit.
    """
    alpha, front, one = v[2], None, torch.eye
    if kind == "lora":
        up, down, _, middle = v[:4]
        rank = len(down)
        if middle is not None:
            down = torch.einsum("rs...,si->ri...", middle, down.flatten(1))
    elif kind == "loha":
        # The product of two matrices, number by number, has the product of their ranks.
        up, down, _, up_2, down_2, core, core_2 = v[:7]
        rank = len(down)
        if core is not None:
            up, down = up.T, torch.einsum("ij...,jr->ir...", core, down)
            up_2, down_2 = up_2.T, torch.einsum("ij...,jr->ir...", core_2, down_2)
        up = torch.einsum("or,os->ors", up, up_2)
        down = torch.einsum("ri,si->rsi", down.flatten(1), down_2.flatten(1)).flatten(0, 1)
    elif kind == "lokr":
        # The Kronecker product of products is the product of Kronecker products.
        whole, whole_2, _, up, down, up_2, down_2, core = v[:8]
        rank = len(down_2) if whole_2 is None else len(down) if whole is None else None
        if whole is not None:
            up, down = whole, one(whole.shape[1]).to(whole)
        if whole_2 is not None:
            up_2, down_2 = one(len(whole_2)).to(whole_2), whole_2
        elif core is not None:
            up_2, down_2 = up_2.T, torch.einsum("ij...,jr->ir...", core, down_2)
        up, down = torch.kron(up, up_2), torch.kron(down, down_2.flatten(1))
    else:
        alpha, (a1, a2, b1, b2) = v[4], (x.flatten(1) for x in v[:4])
        # The older form of a file has the products the other way round; in a square layer the newer is meant.
        older, newer = b2.shape[1] == len(b1) == len(a1) == a2.shape[1], len(b2) == b1.shape[1] == len(a2)
        if older and not (newer and not len(a2) == shape[0] == shape[1]):
            a1, a2, b1, b2 = a2, a1, b2, b1
        up, down, rank = b1, b2, len(b2)
        front = a2, a1 * (1.0 if alpha is None else alpha / rank)
    down, up = down.flatten(1), up.flatten(1) * (1.0 if alpha is None or rank is None else alpha / rank)
    if len(down) > len(up):  # no longer of low rank
        down, up = up @ down, one(len(up)).to(up)
    return down.reshape(-1, *shape[1:]), up, front
