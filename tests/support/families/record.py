"""What a family of transformers is for the tests: `krea_2.py` and its neighbours hold a record each.

Its tiny network is in scripts/tiny/tiny_networks.json, with which the bench measures too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tiny_vaes
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from pack.bridge.networks.transformer_families import TransformerFamily
from tiny import tiny_dits
from torch import Tensor


@dataclass(frozen=True)
class NameInFiles:
    """What a trainer's LoRA files call a layer.

    rows: which of the layer's outputs it is, where it is not all of them. all_kinds: whether LoHa and LoKr are tried
    in it.
    """

    name: str
    layer: str
    rows: tuple[int, int] | None = None
    all_kinds: bool = False


@dataclass(frozen=True, kw_only=True)
class FamilyRecord:
    described: TransformerFamily
    """Its description in the pack."""
    often: bool = False
    """Whether every run tries it: its people reach the network in another way than those of the families before it."""

    # --- Its text encoder
    clip: Callable[[], CLIP]
    """Makes it as the host does, tiny and random."""
    reads_clip: Mapping[str, Any]
    """Sizes of the tiny network with which it reads the texts of this encoder."""

    # --- Texts in the network
    left_padded_to: int = 0
    """Tokens of a text that is shorter: the host puts zeros in front of it."""
    multiple: int = 1
    """Of so many tokens is a text, which the network fills up at its end."""
    count_positions: Callable[[Tensor, Tensor], None] | None = None
    """Writes into the positions (1, T, axes) that a `post_input` patch is given the number of each token, (T,)."""
    several_texts: Callable[[Any, Sequence[int]], tuple[str, Callable[..., Any]]] | None = None
    """Of a network without such a patch and the lengths of several texts that come as one: the name of a method, and
    what stands in for it, so that every text has the positions that it has alone."""

    # --- LoRAs
    without_place: str
    """A pattern in the names of layers that are given neither text nor picture: a LoRA there is not one person's."""
    of_the_time: Mapping[str, tuple[int, int]]
    """Of such layers, names in files and (out, in): refused by name."""
    names: Sequence[NameInFiles]
    """How the trainers name its layers."""
    beside_references: str = ""
    """A pattern in the names of layers in which one person's LoRA is refused beside reference pictures."""

    @property
    def family(self) -> str:
        return self.described.name

    @property
    def reads_apart(self) -> bool:
        """Whether the picture reads the text in an attention of its own."""
        return bool(self.described.text_reader)

    def model(self, **changes: Any) -> ModelPatcher:
        """A tiny MODEL that reads what its text encoder gives. changes: of its network's configuration."""
        return tiny_dits.model(self.family, **{**self.reads_clip, **changes})

    def vae(self) -> VAE:
        """Tiny and random, of a family that takes reference pictures."""
        return tiny_vaes.OF_LATENT[tiny_dits.REFERENCES[self.family].latent]()

    def left_padded(self, tokens: int) -> int:
        """How many tokens the network is given of a text of so many."""
        return max(tokens, self.left_padded_to)

    def filled_up(self, tokens: int) -> int:
        """How many tokens of a text of so many are in the blocks."""
        return -(-self.left_padded(tokens) // self.multiple) * self.multiple

    def one_text(self, texts: Sequence[Tensor]) -> Tensor:
        """Texts (1, T, C) one behind the other, each as the network is given it."""
        padded = [
            torch.nn.functional.pad(text, (0, 0, self.left_padded(text.shape[1]) - text.shape[1], 0)) for text in texts
        ]
        return torch.cat(padded, dim=1)


def counts(lengths: Sequence[int], like: Tensor) -> Tensor:
    """The numbers of the tokens of several texts, each from its own beginning."""
    return torch.cat([torch.arange(length) for length in lengths]).to(like)
