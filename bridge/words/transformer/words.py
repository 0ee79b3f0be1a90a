"""Words about single people in a transformer, each read in that person's part of the picture only.

Everybody's words are a text of their own behind the common one, with the positions that they would have alone. One
forward computes all of them; `core/attention/reads.py` says who reads whom.

Rows of one batch may have words of different lengths, or none, as the negative prompt has: these are filled up with
tokens that nobody reads. Where people have a row of the batch each, as after Crop Faces, the rows share one slot
behind the common text, and in every row the words of its person stand there.
"""

from __future__ import annotations

from dataclasses import dataclass

from comfy.model_base import BaseModel

from ...host.encode import T5Tokens
from ...networks.file_attention import tell_of_file_attention
from ...networks.forward_tokens import filled_up
from ...networks.model_family import cells_per_token, network_of, transformer_family
from ...sampling.carried import WordsOfPeople
from ...sampling.runs import Run


@dataclass(frozen=True, eq=False)
class TransformerWords(WordsOfPeople):
    """What one node adds to one side of the conditioning. names: of the people. t5: for each text, or empty where no
    text has any."""

    key = "likeness_transformer_words"
    per_person = (*WordsOfPeople.per_person, "names", "t5")
    names: tuple[str, ...] = ()
    t5: tuple[T5Tokens | None, ...] = ()

    def begin(self, run: Run) -> None:
        tell_of_file_attention(run, self)

    def cells_added(self, model: BaseModel, text_tokens: int) -> int:
        """As many as have the tokens of all people's words; with by_row a row has one person's, and room for the
        longest."""
        family = transformer_family(model)
        if family is None:
            return 0
        network = network_of(model)
        lengths: list[int] = []
        for text in self.texts:
            length = max(text.shape[1], family.left_padded_to) if text.shape[1] else 0
            lengths.append(filled_up(length, family, network))
        tokens = max(lengths, default=0) if self.by_row else sum(lengths)
        return tokens * cells_per_token(model) ** 2  # a token is a square of cells
