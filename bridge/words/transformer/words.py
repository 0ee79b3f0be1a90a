"""Words about single people in a transformer, each read in that person's part of the picture only.

Everybody's words are a text of their own behind the common one, with the positions that they would have alone. One
forward computes all of them; `core.attention.word_groups` says who reads whom.

Rows of one batch may have words of different lengths, or none, as the negative prompt has: these are filled up with
tokens that nobody reads. Where people have a row of the batch each, as after Crop Faces, the rows share one slot
behind the common text, and in every row the words of its person stand there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from typing_extensions import Self

from ...host.encode import T5Tokens
from ...sampling.model_conds import CarriedOfPeople


@dataclass(frozen=True, eq=False)
class TransformerWords(CarriedOfPeople):
    """What one node adds to one side of the conditioning.

    regions: (people, H, W), from 0, of the whole picture: where each person's words are read, and how often. With
    by_row (people, 1, 1). texts: (1, T, width) each, float32 on the CPU; T is 0 for a row without words. names: of the
    people. t5: for each text, or empty where no text has any.
    """

    key = "likeness_transformer_words"
    per_person = ("regions", "texts", "names", "t5")
    regions: Tensor
    texts: tuple[Tensor, ...]
    names: tuple[str, ...] = ()
    t5: tuple[T5Tokens | None, ...] = ()

    @property
    def words(self) -> Sequence[Tensor]:
        return [text for text in self.texts if text.shape[1]]

    def times(self, factor: float) -> Self:
        return replace(self, texts=tuple(text * factor for text in self.texts))
