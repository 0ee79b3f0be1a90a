"""What every IP-Adapter of these kinds has for the UNet: a key and a value projection per cross-attention layer.

Source: IP-Adapter (arXiv 2308.06721), section 3.2.2, and the keys of its released files (Apache-2.0).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..models.tensors import State, below

_OURS = ("to_k_ip.weight", "to_v_ip.weight")


class AdapterLayer(nn.Module):
    """Keys and values of the image tokens for one cross-attention layer."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        out, width = state["to_k_ip.weight"].shape
        self.to_k_ip = ops.Linear(width, out, bias=False, **factory)
        self.to_v_ip = ops.Linear(width, out, bias=False, **factory)


class AdapterLayers(nn.ModuleDict):
    """state: "<odd n>.to_{k,v}_ip.weight", n counting attention layers as diffusers does; other keys are left aside."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        numbers = sorted({int(key.split(".")[0]) for key in state if key.endswith(_OURS)})
        super().__init__({str(n): AdapterLayer(below(f"{n}.", state), ops=ops, **factory) for n in numbers})

    @property
    def widths(self) -> list[int]:
        """Width of the queries each layer is made for, in diffusers' order."""
        return [int(layer.to_k_ip.weight.shape[0]) for layer in self._each()]

    @property
    def width(self) -> int:
        """Of one token: the text width of the models the file is made for."""
        return int(self._each()[0].to_k_ip.weight.shape[1])

    def _each(self) -> list[AdapterLayer]:
        return [layer for layer in self.values() if isinstance(layer, AdapterLayer)]

    def keys_and_values(self, tokens: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Tokens (people, T, width) -> per layer ((people, T, C), (people, T, C)), in diffusers' order."""
        return [(layer.to_k_ip(tokens), layer.to_v_ip(tokens)) for layer in self._each()]
