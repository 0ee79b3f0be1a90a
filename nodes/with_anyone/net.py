"""WithAnyone: a face embedding becomes 8 tokens, which the picture reads inside of the face box after every block.

It is for FLUX.1. The file has two branches; this is the one that reads face embeddings. The tokens of a person are the
same at every step, so what the layers make of them is made once per person, see `BlockTokens`.
Source: "WithAnyone: Towards Controllable and ID-Consistent Image Generation" (arXiv 2510.14975) and its released
withanyone/flux/model.py and modules/layers.py (Apache-2.0).
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ...core.attention.block_tokens import BlockAttention, BlockTokens, read_tokens
from ...core.attention.projections import HEAD_DIM
from ...core.cast import EMBEDDING
from ...core.models.tensors import State

_TOKENS = "arcface_in_arc."
"""The prefix of the keys of the layers that make tokens of an embedding."""
_BLOCKS = "ipa_arc."
"""The prefix of the keys of the attentions that stand after the blocks of FLUX.1."""


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
        block_numbers = {key.split(".")[1] for key in state if key.startswith(_BLOCKS)}  # "0", "1" and so on
        inner, self.width = state[f"{_BLOCKS}0.to_q.weight"].shape  # inner: heads * HEAD_DIM
        self.ipa_arc = nn.ModuleList()
        for _ in block_numbers:
            self.ipa_arc.append(BlockAttention(self.width, self.width, inner, HEAD_DIM, ops=ops, **factory))

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
        for block_tokens in self.block_tokens(zeros(1, EMBEDDING)):
            read_tokens(zeros(1, self.width), block_tokens, [0])


def face_branch(state: State) -> dict[str, Tensor]:
    """The tensors of a file that WithAnyoneNet reads: those of the branch of faces."""
    return {key: tensor for key, tensor in state.items() if key.startswith((_TOKENS, _BLOCKS))}
