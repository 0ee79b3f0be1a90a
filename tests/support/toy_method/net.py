"""The toy's network: one layer makes a token of an embedding, adapter layers make keys and values of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ...core.attention.projections import AdapterLayers
from ...core.cast import EMBEDDING
from ...core.models.tensors import State, below


class ToyNet(nn.Module):
    """state: "toy_proj.weight" and "ip_adapter.<odd n>.to_{k,v}_ip.weight"."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.width = len(state["toy_proj.weight"])
        self.toy_proj = ops.Linear(EMBEDDING, self.width, bias=False, **factory)
        self.ip_adapter = AdapterLayers(below("ip_adapter.", state), ops=ops, **factory)

    def tokens(self, embeddings: Tensor) -> Tensor:
        """(people, 512) -> (people, 1, width)."""
        return self.toy_proj(embeddings)[:, None]

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        self.ip_adapter.keys_and_values(self.tokens(zeros(1, EMBEDDING)))
