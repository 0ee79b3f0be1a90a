"""WithAnyone: a face embedding becomes 8 tokens, which the picture reads inside the face box behind every block.

For FLUX.1; of the two branches in the file the one that reads face embeddings. With so few tokens the projections of
queries and outputs are multiplied into keys and values, once per person: what is left is an eighth of their size.
Source: "WithAnyone: Towards Controllable and ID-Consistent Image Generation" (arXiv 2510.14975) and its released
withanyone/flux/model.py and modules/layers.py (Apache-2.0).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ...core.models.tensors import State
from ...core.people import EMBEDDING
from ...core.projections import HEAD_DIM, PerceiverAttention

_TOKENS, _LAYERS = "arcface_in_arc.", "ipa_arc."


class Face(NamedTuple):
    """What the rows of a picture read of people behind one block.

    keys: (people, heads, T, width), whose products with a normalised row, and offset: (people, heads, T), are the
    logits of each head. values: (people, heads, T, width), weighted by their softmax.
    """

    keys: Tensor
    offset: Tensor
    values: Tensor


class BlockAttention(PerceiverAttention):
    """Behind one block: its rows of the picture are the queries, as latents are elsewhere, of the tokens alone."""

    def face(self, tokens: Tensor) -> Face:
        """Tokens (people, T, width) as they are read."""
        keys, values = (
            x.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2) for x in self.to_kv(self.norm1(tokens)).chunk(2, dim=-1)
        )
        # Bare parameters are outside the host's cast-on-use layers, hence the explicit casts.
        to_query, to_picture, gain, bias = (
            x.to(tokens) for x in (self.to_q.weight, self.to_out.weight.T, self.norm2.weight, self.norm2.bias)
        )
        keys = keys @ to_query.unflatten(0, (-1, HEAD_DIM)) / HEAD_DIM**0.5
        return Face(keys * gain, keys @ bias, values @ to_picture.unflatten(0, (-1, HEAD_DIM)))


class WithAnyoneNet(nn.Module):
    """The branch of withanyone.safetensors that reads face embeddings.

    state: "arcface_in_arc.{0,2,3}.*", and "ipa_arc.<n>.{norm1,norm2,to_q,to_kv,to_out}.*", n counting the double
    blocks, then the single ones. width: of one row of the picture.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        inside, embedding = state[f"{_TOKENS}0.weight"].shape
        self.arcface_in_arc = nn.Sequential(
            ops.Linear(embedding, inside, **factory),
            nn.GELU(),
            ops.LayerNorm(inside, **factory),
            ops.Linear(inside, len(state[f"{_TOKENS}3.weight"]), **factory),
        )
        blocks = range(len({key.split(".")[1] for key in state if key.startswith(_LAYERS)}))
        inner, self.width = state[f"{_LAYERS}0.to_q.weight"].shape
        self.ipa_arc = nn.ModuleList(BlockAttention(self.width, inner, HEAD_DIM, ops=ops, **factory) for _ in blocks)

    def faces(self, embeddings: Tensor) -> list[Face]:
        """Embeddings (people, 512), as the recogniser gives them, per block."""
        tokens = self.arcface_in_arc(embeddings).unflatten(-1, (-1, self.width))
        return [block.face(tokens) for block in self.ipa_arc if isinstance(block, BlockAttention)]

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Raises RuntimeError or ValueError where sizes do not fit each other."""
        for face in self.faces(zeros(1, EMBEDDING)):
            read(zeros(1, self.width), face, [0])


def of_faces(state: State) -> dict[str, Tensor]:
    """What WithAnyoneNet has of a file."""
    return {key: tensor for key, tensor in state.items() if key.startswith((_TOKENS, _LAYERS))}


def read(rows: Tensor, face: Sequence[Tensor], who: Sequence[int]) -> Tensor:
    """What rows (..., width) read of some of the people of a Face, in one softmax: (..., width)."""
    keys, offset, values = (_together([x[n] for n in who]) for x in face)
    normed = functional.layer_norm(rows, rows.shape[-1:])
    logits = (normed @ keys.flatten(0, 1).T).reshape(*rows.shape[:-1], *offset.shape) + offset
    return logits.softmax(dim=-1).flatten(-2) @ values.flatten(0, 1)


def _together(people: Sequence[Tensor]) -> Tensor:
    """(heads, T, ...) of each: (heads, all T, ...); of one alone, as nearly all rows have it, no copy is made."""
    return people[0] if len(people) == 1 else torch.cat(tuple(people), dim=1)
