"""ID-Patch: a face embedding becomes a small patch in the ControlNet image and 16 tokens in the prompt.

Source: "ID-Patch: Robust ID Association for Group Photo Personalization" (CVPR 2025) and its released
modules/inferencer.py (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ...core.geometry import PATCH
from ...core.models.tensors import State, below
from ...core.people import EMBEDDING
from ...core.projections.embeddings import EmbeddingProjection
from ...core.projections.resampler import Resampler


def _projection(state: State, ops: Any, **factory: Any) -> Resampler | EmbeddingProjection:
    kind = EmbeddingProjection if "norm.weight" in state else Resampler
    return kind(state, ops=ops, **factory)


class IDPatchNet(nn.Module):
    """Both projections of one id-patch file.

    state: keys "patch_proj.*" and "prompt_proj.*", each a Resampler or an EmbeddingProjection, which their
    keys tell apart.
    Raises ValueError when patch_proj does not make three planes of PATCH x PATCH pixels, or when one of them reads
    something else than face embeddings.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.patch_proj = _projection(below("patch_proj.", state), ops, **factory)
        self.prompt_proj = _projection(below("prompt_proj.", state), ops, **factory)
        made = (self.patch_proj.tokens, self.patch_proj.width)
        if made != (3, PATCH**2):
            planes = f"three colour planes of {PATCH}x{PATCH} px"
            raise ValueError(f"patch_proj makes {made[0]} tokens of {made[1]} values, not {planes}")
        read = (self.patch_proj.embedding, self.prompt_proj.embedding)
        if read != (EMBEDDING, EMBEDDING):
            raise ValueError(f"the projections read {read[0]} and {read[1]} numbers, face embeddings have {EMBEDDING}")

    @property
    def width(self) -> int:
        """Of one token: the text width of the models this file is made for."""
        return self.prompt_proj.width

    @property
    def takes_sequences(self) -> bool:
        """Whether several photos of one person can go in together; the MLP reads one embedding only."""
        return isinstance(self.patch_proj, Resampler) and isinstance(self.prompt_proj, Resampler)

    def tokens(self, embeddings: Tensor) -> Tensor:
        """(1, n, 512) -> (1, tokens, context width): what is appended to the prompt."""
        return self.prompt_proj(embeddings)

    def patch(self, embeddings: Tensor) -> Tensor:
        """(1, n, 512) -> (3, PATCH, PATCH): three tokens become three colour planes, signed and unbounded."""
        return self.patch_proj(embeddings)[0].unflatten(-1, (PATCH, PATCH))

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Raises RuntimeError where sizes do not fit each other."""
        self.tokens(zeros(1, 1, EMBEDDING))
        self.patch(zeros(1, 1, EMBEDDING))
