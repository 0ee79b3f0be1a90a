"""Words about single people in a transformer, each read in that person's part of the picture only.

Everybody's words are a text of their own behind the common one, with the positions that they would have alone. One
forward computes all of them; `core.attention.word_groups` says who reads whom.

Rows of one batch may have words of different lengths, or none, as the negative prompt has: these are filled up with
tokens that nobody reads. Where people have a row of the batch each, as after Crop Faces, the rows share one slot
behind the common text, and in every row the words of its person stand there.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...host.encode import T5Tokens
from ...sampling.model_conds import WordsOfPeople


@dataclass(frozen=True, eq=False)
class TransformerWords(WordsOfPeople):
    """What one node adds to one side of the conditioning. names: of the people. t5: for each text, or empty where no
    text has any."""

    key = "likeness_transformer_words"
    per_person = (*WordsOfPeople.per_person, "names", "t5")
    names: tuple[str, ...] = ()
    t5: tuple[T5Tokens | None, ...] = ()
