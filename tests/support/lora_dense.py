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


def kron(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(a, b) and (c, d, h, w) -> (a * c, b * d, h, w), place by place of the kernel."""
    flat = two.reshape(*two.shape[:2], -1)
    places = [np.kron(one, flat[:, :, place]) for place in range(flat.shape[2])]
    return np.stack(places, -1).reshape(one.shape[0] * two.shape[0], one.shape[1] * two.shape[1], *two.shape[2:])


def difference(tensors: Mapping[str, Tensor], weight: Tensor, alpha: float | None) -> Tensor:
    """tensors: of one layer by the names in a file. weight: of the layer, which GLoRA multiplies. float64."""
    v = {name.removesuffix(".weight"): one.double().numpy() for name, one in tensors.items()}
    shape = tuple(weight.shape)
    if "lora_up" in v:
        rank, added = len(v["lora_down"]), _lora(v, shape)
    elif "hada_w1_a" in v:
        rank, added = len(v["hada_w1_b"]), _half(v, "1", shape) * _half(v, "2", shape)
    elif "a1" in v:
        return _glora(v, weight.double(), alpha)
    else:
        rank, added = _lokr(v, shape)
    if alpha is not None and rank is not None:
        added = added * (alpha / rank)
    return torch.from_numpy(added.reshape(shape))


def _lora(v: Mapping[str, np.ndarray], shape: Sequence[int]) -> np.ndarray:
    up, down = v["lora_up"], v["lora_down"]
    up = up.reshape(len(up), -1)
    if "lora_mid" in v:
        return tucker(v["lora_mid"], up.T, down.reshape(len(down), -1))
    return (up @ down.reshape(len(down), -1)).reshape(shape)


def _half(v: Mapping[str, np.ndarray], number: str, shape: Sequence[int]) -> np.ndarray:
    left, right = v[f"hada_w{number}_a"], v[f"hada_w{number}_b"]
    if f"hada_t{number}" in v:
        return tucker(v[f"hada_t{number}"], left, right)
    return (left @ right).reshape(shape)


def _lokr(v: Mapping[str, np.ndarray], shape: Sequence[int]) -> tuple[int | None, np.ndarray]:
    rank = None
    one = v.get("lokr_w1")
    if one is None:
        rank, one = len(v["lokr_w1_b"]), v["lokr_w1_a"] @ v["lokr_w1_b"]
    two = v.get("lokr_w2")
    if two is None:
        rank = len(v["lokr_w2_b"])
        if "lokr_t2" in v:
            two = tucker(v["lokr_t2"], v["lokr_w2_a"], v["lokr_w2_b"])
        else:
            two = v["lokr_w2_a"] @ v["lokr_w2_b"]
    # Of a convolution that is no Tucker form the kernel lies in the second matrix' columns.
    two = two.reshape(shape[0] // one.shape[0], shape[1] // one.shape[1], *shape[2:])
    return rank, kron(one, two)


def _glora(v: Mapping[str, np.ndarray], weight: Tensor, alpha: float | None) -> Tensor:
    flat = {name: torch.from_numpy(one).flatten(1) for name, one in v.items()}
    older = flat["a1"].shape[0] < flat["a1"].shape[1]
    if older:  # b2 b1 + W a2 a1
        front, rank = flat["a2"] @ flat["a1"], len(flat["a1"])
        added = flat["b2"] @ flat["b1"]
    else:  # b1 b2 + W a1 a2
        front, rank = flat["a1"] @ flat["a2"], len(flat["a2"])
        added = flat["b1"] @ flat["b2"]
    # Every place of the kernel by itself: (out, in, h, w) and (in, in)
    total = added.reshape(weight.shape) + torch.einsum("oi...,ij->oj...", weight, front)
    return total * (1.0 if alpha is None else alpha / rank)
