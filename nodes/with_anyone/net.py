"""WithAnyone: a face embedding becomes 8 tokens, which the picture reads inside of the face box after every block.

It is for FLUX.1. The file has two branches; this is the one that reads face embeddings. The tokens of a person are the
same at every step, so what the layers make of them is made once per person, see `BlockTokens`.
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
"""The prefix of the keys of the layers that make tokens of an embedding."""
_BLOCKS = "ipa_arc."
"""The prefix of the keys of the attentions that stand after the blocks of FLUX.1."""


class BlockTokens(NamedTuple):
    """The tokens of people as the picture reads them after one block. The first dimension of each field is the people.

    With the layers of the file, a row of the picture (one of its tokens) is normed (norm2) and projected to a query
    (to_q). The query is multiplied with the keys of the people's tokens (to_kv), and what it reads of their values is
    projected back (to_out). 8 is the square root of HEAD_DIM, 64. In each head:

        logits = to_q(gain * normed + bias) . key / 8
               = normed . (gain * to_q^T key / 8)  +  bias . (to_q^T key / 8)
               = normed . keys                     +  offset
        added  = to_out(softmax(logits) value)  =  softmax(logits) to_out(value)  =  softmax(logits) values

    So both projections, which are linear, can be made part of the tokens. A person has 8 tokens in each of 24 heads, so
    `keys` has 192 rows, an eighth of the 1536 rows of to_q; likewise values and to_out. No weight of the file is needed
    per step.

    keys: (people, heads, T, width), with gain, to_q and 1/8 in them. offset: (people, heads, T), what the bias of norm2
    adds to the logits. values: (people, heads, T, width), with to_out in them.
    """

    keys: Tensor
    offset: Tensor
    values: Tensor


class BlockAttention(PerceiverAttention):
    """The attention after one block of FLUX.1, in which rows of the picture read the tokens of people.

    It has the layers of a PerceiverAttention: the rows of the picture take the part of the Perceiver's latents. Unlike
    there, they read the tokens alone and not each other.
    """

    def read_by_picture(self, tokens: Tensor) -> BlockTokens:
        """The keys and values of people's tokens for one block, with both projections in them, see BlockTokens.

        tokens: (people, T, width).
        """
        keys_and_values = self.to_kv(self.norm1(tokens))  # (people, T, 2 * heads * HEAD_DIM)
        keys, values = keys_and_values.chunk(2, dim=-1)
        keys = keys.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2)  # (people, heads, T, HEAD_DIM)
        values = values.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2)  # (people, heads, T, HEAD_DIM)
        # The host casts weights where it calls their layer. These are used without a call, hence the explicit casts.
        # A linear layer is x weight^T: to_q has a row of its weight for each query value, to_out a column for each
        # value.
        query_weight = self.to_q.weight.to(tokens)  # (heads * HEAD_DIM, width)
        output_weight = self.to_out.weight.T.to(tokens)  # (heads * HEAD_DIM, width)
        to_query = query_weight.unflatten(0, (-1, HEAD_DIM))  # (heads, HEAD_DIM, width)
        to_picture = output_weight.unflatten(0, (-1, HEAD_DIM))  # (heads, HEAD_DIM, width)
        gain = self.norm2.weight.to(tokens)  # (width,)
        bias = self.norm2.bias.to(tokens)  # (width,)
        projected = keys @ to_query / HEAD_DIM**0.5  # (people, heads, T, width): to_q^T key / 8
        return BlockTokens(
            keys=projected * gain,
            offset=projected @ bias,
            values=values @ to_picture,
        )


class WithAnyoneNet(nn.Module):
    """The branch of withanyone.safetensors that reads face embeddings.

    state: tensors under the keys "arcface_in_arc.{0,2,3}.*" and "ipa_arc.<n>.{norm1,norm2,to_q,to_kv,to_out}.*". n
    counts the double blocks and then the single blocks. width: of one row of the picture, a token of FLUX.1.
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
        inner, self.width = state[f"{_BLOCKS}0.to_q.weight"].shape  # inner: heads * HEAD_DIM
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
        """Run every layer once, to see whether the sizes of the file's tensors fit each other.

        zeros: makes a tensor of zeros of a shape, as torch.zeros does, on the device of the network. Raises
        RuntimeError or ValueError.
        """
        for block_tokens in self.block_tokens(zeros(1, EMBEDDING)):
            read_tokens(zeros(1, self.width), block_tokens, [0])


def face_branch(state: State) -> dict[str, Tensor]:
    """The tensors of a file that WithAnyoneNet reads: those of the branch of faces."""
    return {key: tensor for key, tensor in state.items() if key.startswith((_TOKENS, _BLOCKS))}


def read_tokens(rows: Tensor, block_tokens: Sequence[Tensor], person_indices: Sequence[int]) -> Tensor:
    """What rows of the picture read of people after one block, which is added to the rows: (..., width).

    rows: (..., width). block_tokens: the fields of a BlockTokens, in their order. person_indices: which people are
    read. All tokens of these people are in one softmax.
    """
    keys_by_person, offset_by_person, values_by_person = block_tokens
    keys = _side_by_side(keys_by_person, person_indices)  # (heads, T, width), T of all these people
    offset = _side_by_side(offset_by_person, person_indices)  # (heads, T)
    values = _side_by_side(values_by_person, person_indices)  # (heads, T, width)
    normed = functional.layer_norm(rows, rows.shape[-1:])  # norm2 without its gain and bias, which the tokens have
    logits = normed @ keys.flatten(0, 1).T  # (..., heads * T)
    logits = logits.reshape(*rows.shape[:-1], *offset.shape)  # (..., heads, T)
    logits = logits + offset
    weights = logits.softmax(dim=-1).flatten(-2)  # (..., heads * T)
    return weights @ values.flatten(0, 1)


def _side_by_side(by_person: Tensor, person_indices: Sequence[int]) -> Tensor:
    """The tokens of some people, one person after the other, in each head: (heads, T of all these people, ...).

    by_person: (people, heads, T, ...), a field of a BlockTokens. person_indices: of these people, from 0.
    """
    if len(person_indices) == 1:
        return by_person[person_indices[0]]  # nearly all rows read one person: a view, no copy
    return torch.cat([by_person[person] for person in person_indices], dim=1)
