"""An embedding, of a face or of what CLIP sees, becomes tokens; FaceID Plus adds what these find in CLIP's states.

Unnorm is resampler.Resampler. Module and parameter names are those of the authors' files, so that a checkpoint loads
strictly; every size is read from the tensors.
Source: IP-Adapter (Apache-2.0), ip_adapter/ip_adapter.py: ImageProjModel; ip_adapter/ip_adapter_faceid.py:
MLPProjModel and ProjPlusModel.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..models.tensors import State, below
from .resampler import Perceiver


class _OfEmbeddings(nn.Module):
    """What both kinds have, with the sizes of `state`; its weights are not loaded.

    state: "norm.*", and "proj.*" of one layer or "proj.{0,2}.*" of two. KeyError names the key that is missing.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        first, last = ("proj.weight",) * 2 if "proj.weight" in state else ("proj.0.weight", "proj.2.weight")
        inside, self.embedding = state[first].shape
        out, self.width = len(state[last]), len(state["norm.weight"])
        self.tokens = out // self.width
        self.proj = ops.Linear(self.embedding, inside, **factory)
        if first != last:
            self.proj = nn.Sequential(self.proj, nn.GELU(), ops.Linear(inside, out, **factory))
        self.norm = ops.LayerNorm(self.width, **factory)

    def told(self, embeddings: Tensor) -> Tensor:
        return self.norm(self.proj(embeddings).reshape(len(embeddings), self.tokens, self.width))


class EmbeddingProjection(_OfEmbeddings):
    """Embeddings (B, embedding) or (B, 1, embedding) -> (B, tokens, width). Unconditional: zeros as embeddings."""

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.told(embeddings)


class FacePlusProjection(_OfEmbeddings):
    """The same, and what these tokens find in CLIP's hidden states of the face, (B, n, 1280).

    Unconditional: zeros as embeddings, and the states of a picture that is zero after normalisation.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__(state, ops=ops, **factory)
        self.perceiver_resampler = Perceiver(below("perceiver_resampler.", state), ops=ops, **factory)

    def forward(self, embeddings: Tensor, states: Tensor, shortcut: float | None = 1.0) -> Tensor:
        """shortcut: how much of what is found is added to the tokens, as in version 2; None: it replaces them, as in
        version 1."""
        tokens = self.told(embeddings)
        found = self.perceiver_resampler.found(states, tokens)
        return found if shortcut is None else tokens + shortcut * found
