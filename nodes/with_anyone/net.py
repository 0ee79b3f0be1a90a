"""WithAnyone: a face embedding becomes 8 tokens, which the picture reads inside the face box behind every block.

For FLUX.1; of the two branches in the file the one that reads face embeddings. The tokens of a person are the same at
every step, so what the layers make of them is made once per person, see `BlockTokens`.
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

_TOKENS = "arcface_in_arc."
"""What the keys of the layers begin with that make tokens of an embedding."""
_BLOCKS = "ipa_arc."
"""What the keys of the attentions behind the blocks begin with."""


class BlockTokens(NamedTuple):
    """The tokens of people as the picture reads them behind one block: each field has a line per person.

    In the file a row of the picture is normed (norm2), projected to queries (to_q), meets the keys of the tokens
    (to_kv), and what it reads of their values is projected back (to_out):

        logits = to_q(gain * normed + bias) . key / 8  =  normed . keys + offset
        added  = to_out(softmax(logits) value)         =  softmax(logits) values

    On the right both projections are part of the tokens. A person has 8 tokens and both projections have 1536 rows, so
    keys and values of 24 heads are an eighth of the projections' size, and no weight of the file is needed per step.

    keys: (people, heads, T, width), gain and 1/8 in them. offset: (people, heads, T), what the bias of norm2 adds to
    the logits. values: (people, heads, T, width).
    """

    keys: Tensor
    offset: Tensor
    values: Tensor


class BlockAttention(PerceiverAttention):
    """The attention behind one block. Rows of the picture ask as latents do elsewhere, and see the tokens alone."""

    def read_by_picture(self, tokens: Tensor) -> BlockTokens:
        """The keys and values of people's tokens for one block, with the projections of the picture's side already in
        them.

        tokens: (people, T, width).
        """
        keys_and_values = self.to_kv(self.norm1(tokens))  # (people, T, 2 * heads * HEAD_DIM)
        keys, values = keys_and_values.chunk(2, dim=-1)
        keys = keys.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2)  # (people, heads, T, HEAD_DIM)
        values = values.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2)  # (people, heads, T, HEAD_DIM)
        # The host casts weights where it calls their layer. These are used without a call, hence the explicit casts.
        query_weight = self.to_q.weight.to(tokens)  # (heads * HEAD_DIM, width)
        output_weight = self.to_out.weight.T.to(tokens)  # (heads * HEAD_DIM, width)
        to_query = query_weight.unflatten(0, (-1, HEAD_DIM))  # (heads, HEAD_DIM, width)
        to_picture = output_weight.unflatten(0, (-1, HEAD_DIM))  # (heads, HEAD_DIM, width)
        gain = self.norm2.weight.to(tokens)  # (width,)
        bias = self.norm2.bias.to(tokens)  # (width,)
        projected = keys @ to_query / HEAD_DIM**0.5  # (people, heads, T, width)
        return BlockTokens(
            keys=projected * gain,
            offset=projected @ bias,
            values=values @ to_picture,
        )


class WithAnyoneNet(nn.Module):
    """The branch of withanyone.safetensors that reads face embeddings.

    state: "arcface_in_arc.{0,2,3}.*", and "ipa_arc.<n>.{norm1,norm2,to_q,to_kv,to_out}.*", n counting the double
    blocks, then the single ones. width: of one row of the picture.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        """state: gives the sizes; its weights are not loaded. ops: the host's layers (Linear, LayerNorm), which cast
        their weights where they are used. factory: device and dtype of the layers. Raises KeyError for a missing key.
        """
        super().__init__()
        hidden, embedding = state[f"{_TOKENS}0.weight"].shape
        tokens_times_width = len(state[f"{_TOKENS}3.weight"])
        self.arcface_in_arc = nn.Sequential(
            ops.Linear(embedding, hidden, **factory),
            nn.GELU(),
            ops.LayerNorm(hidden, **factory),
            ops.Linear(hidden, tokens_times_width, **factory),
        )
        numbers = {key.split(".")[1] for key in state if key.startswith(_BLOCKS)}
        inner, self.width = state[f"{_BLOCKS}0.to_q.weight"].shape
        self.ipa_arc = nn.ModuleList()
        for _ in numbers:
            self.ipa_arc.append(BlockAttention(self.width, inner, HEAD_DIM, ops=ops, **factory))

    def block_tokens(self, embeddings: Tensor) -> list[BlockTokens]:
        """The tokens of people as the picture reads them, for each block: the double blocks, then the single ones.

        embeddings: (people, 512), as the recogniser gives them.
        """
        tokens = self.arcface_in_arc(embeddings).unflatten(-1, (-1, self.width))  # (people, T, width)
        tokens_by_block: list[BlockTokens] = []
        for attention in self.ipa_arc:
            assert isinstance(attention, BlockAttention)
            tokens_by_block.append(attention.read_by_picture(tokens))
        return tokens_by_block

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Raises RuntimeError or ValueError where sizes do not fit each other."""
        for block_tokens in self.block_tokens(zeros(1, EMBEDDING)):
            read_tokens(zeros(1, self.width), block_tokens, [0])


def face_branch(state: State) -> dict[str, Tensor]:
    """The tensors of a file that WithAnyoneNet has: the branch of faces."""
    return {key: tensor for key, tensor in state.items() if key.startswith((_TOKENS, _BLOCKS))}


def read_tokens(rows: Tensor, block_tokens: Sequence[Tensor], person_indices: Sequence[int]) -> Tensor:
    """The output of the attention behind one block for rows (..., width) of the picture: (..., width).

    block_tokens: the fields of a BlockTokens. person_indices: which people are read, with all their tokens in one
    softmax.
    """
    keys_by_person, offset_by_person, values_by_person = block_tokens
    keys = _side_by_side(keys_by_person, person_indices)  # (heads, T, width), T of all these people
    offset = _side_by_side(offset_by_person, person_indices)  # (heads, T)
    values = _side_by_side(values_by_person, person_indices)  # (heads, T, width)
    normed = functional.layer_norm(rows, rows.shape[-1:])
    logits = normed @ keys.flatten(0, 1).T  # (..., heads * T)
    logits = logits.reshape(*rows.shape[:-1], *offset.shape)  # (..., heads, T)
    logits = logits + offset
    weights = logits.softmax(dim=-1).flatten(-2)  # (..., heads * T)
    return weights @ values.flatten(0, 1)


def _side_by_side(by_person: Tensor, person_indices: Sequence[int]) -> Tensor:
    """The tokens of some people one after the other: (people, heads, T, ...) -> (heads, T of all of them, ...).

    person_indices: of those people, from 0.
    """
    if len(person_indices) == 1:
        return by_person[person_indices[0]]  # nearly all rows read one person: a view, no copy
    return torch.cat([by_person[person] for person in person_indices], dim=1)
