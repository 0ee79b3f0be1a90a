"""What the tensors of a LoRA's layer add to its weights, as one dense matrix, by the formulas of the papers.

Independent of the pack and of the host, in float64: sums over every index, and numpy's Kronecker product.
Sources: LoRA (arXiv 2106.09685), LyCORIS (arXiv 2309.14859), GLoRA (arXiv 2306.07967).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


def tucker(core: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """core (i, j, h, w), left (i, out), right (j, in) -> (out, in, h, w)."""
    total = np.zeros((left.shape[1], right.shape[1], *core.shape[2:]))
    for i in range(core.shape[0]):
        for j in range(core.shape[1]):
            outer = np.outer(left[i], right[j])
            total += outer.reshape(*outer.shape, *[1] * (core.ndim - 2)) * core[i, j]
    return total


def kron(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(a, b) and (c, d, h, w) -> (a * c, b * d, h, w), place by place of the kernel."""
    flat = second.reshape(*second.shape[:2], -1)
    places = [np.kron(first, flat[:, :, place]) for place in range(flat.shape[2])]
    height, width = first.shape[0] * second.shape[0], first.shape[1] * second.shape[1]
    return np.stack(places, -1).reshape(height, width, *second.shape[2:])


def difference(tensors: Mapping[str, Tensor], weight: Tensor, alpha: float | None) -> Tensor:
    """tensors: of one layer by the names in a file. weight: of the layer, which GLoRA multiplies. float64."""
    matrices = {name.removesuffix(".weight"): tensor.double().numpy() for name, tensor in tensors.items()}
    shape = tuple(weight.shape)
    if "lora_up" in matrices:
        rank = len(matrices["lora_down"])
        added = _lora(matrices, shape)
    elif "hada_w1_a" in matrices:
        rank = len(matrices["hada_w1_b"])
        added = _half(matrices, "1", shape) * _half(matrices, "2", shape)
    elif "a1" in matrices:
        return _glora(matrices, weight.double(), alpha)
    else:
        rank, added = _lokr(matrices, shape)
    if alpha is not None and rank is not None:
        added = added * (alpha / rank)
    return torch.from_numpy(added.reshape(shape))


def _lora(matrices: Mapping[str, np.ndarray], shape: Sequence[int]) -> np.ndarray:
    up, down = matrices["lora_up"], matrices["lora_down"]
    up = up.reshape(len(up), -1)
    if "lora_mid" in matrices:
        return tucker(matrices["lora_mid"], up.T, down.reshape(len(down), -1))
    return (up @ down.reshape(len(down), -1)).reshape(shape)


def _half(matrices: Mapping[str, np.ndarray], number: str, shape: Sequence[int]) -> np.ndarray:
    left, right = matrices[f"hada_w{number}_a"], matrices[f"hada_w{number}_b"]
    if f"hada_t{number}" in matrices:
        return tucker(matrices[f"hada_t{number}"], left, right)
    return (left @ right).reshape(shape)


def _lokr(matrices: Mapping[str, np.ndarray], shape: Sequence[int]) -> tuple[int | None, np.ndarray]:
    rank = None
    first = matrices.get("lokr_w1")
    if first is None:
        rank = len(matrices["lokr_w1_b"])
        first = matrices["lokr_w1_a"] @ matrices["lokr_w1_b"]
    second = matrices.get("lokr_w2")
    if second is None:
        rank = len(matrices["lokr_w2_b"])
        if "lokr_t2" in matrices:
            second = tucker(matrices["lokr_t2"], matrices["lokr_w2_a"], matrices["lokr_w2_b"])
        else:
            second = matrices["lokr_w2_a"] @ matrices["lokr_w2_b"]
    # Of a convolution that is no Tucker form the kernel lies in the second matrix' columns.
    second = second.reshape(shape[0] // first.shape[0], shape[1] // first.shape[1], *shape[2:])
    return rank, kron(first, second)


def _glora(matrices: Mapping[str, np.ndarray], weight: Tensor, alpha: float | None) -> Tensor:
    flat = {name: torch.from_numpy(matrix).flatten(1) for name, matrix in matrices.items()}
    older = flat["a1"].shape[0] < flat["a1"].shape[1]
    if older:  # b2 b1 + W a2 a1
        front = flat["a2"] @ flat["a1"]
        rank = len(flat["a1"])
        added = flat["b2"] @ flat["b1"]
    else:  # b1 b2 + W a1 a2
        front = flat["a1"] @ flat["a2"]
        rank = len(flat["a2"])
        added = flat["b1"] @ flat["b2"]
    # Every place of the kernel by itself: (out, in, h, w) and (in, in)
    total = added.reshape(weight.shape) + torch.einsum("oi...,ij->oj...", weight, front)
    return total * (1.0 if alpha is None else alpha / rank)
