"""Tokens of a text that belong to people: words about one person, ID tokens of ID-Patch. What the conditioning carries.

Each person's tokens are read in that person's region only; the rest of the text is read everywhere. The tokens are in
one of two places:

    appended   the node has them, and the UNet reads them after the text            Prompt per Person, PhotoMaker
    inline     another node has put them into the text itself, where they stay      ID tokens, PhotoMaker

run.py says how they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from ....core.checks.errors import BadSetup
from ...host.schedule import WHOLE_SCHEDULE
from ...networks.file_attention import tell_of_file_attention
from ...sampling.carried import WordsOfPeople, carry
from ...sampling.conditioning import ID_TOKENS, Entry, IDTokens, RunEntry, SamplerInputs
from ...sampling.node_of_run import Canvas, NodeOfRun
from ...sampling.runs import Run


@dataclass(frozen=True, eq=False)
class UnetWords(WordsOfPeople):
    """The tokens of people in one side of the conditioning, from one node, and in which regions they are read.

    texts: each person's tokens, appended to the text of the entry; () for inline tokens.
    inline_counts: tokens per person that stand in the text; () for appended tokens.
    start: where inline tokens begin in the text.
    text_length: how many tokens the entry's text has, once a run has begun.
    """

    key = "likeness_unet_words"
    per_person = (*WordsOfPeople.per_person, "inline_counts")
    texts: tuple[Tensor, ...] = ()
    inline_counts: tuple[int, ...] = ()
    start: int = 0
    text_length: int = 0

    @property
    def appended_count(self) -> int:
        """How many tokens are read after the text."""
        return sum(text.shape[1] for text in self.texts)

    @property
    def inline_count(self) -> int:
        """How many tokens of people stand in the text."""
        return sum(self.inline_counts)

    def can_join_batch(self, other: Any) -> bool:
        return True  # a row with fewer tokens than another is filled up with tokens that no pixel reads

    def begin(self, run: Run) -> None:
        tell_of_file_attention(run, self, "attn2")

    def in_entry(self, entry: RunEntry) -> Self:
        """These words with text_length. Raises BadSetup where the text of the entry ends before the inline tokens."""
        context: Tensor = entry["cross_attn"]  # (B, T, width)
        end = self.start + self.inline_count
        if context.shape[1] < end:
            raise BadSetup(
                f"Another node has cut a prompt to {context.shape[1]} of the {end} tokens that the people need.",
                "Connect that node before the node that puts the people into the prompt.",
            )
        return replace(self, text_length=context.shape[1])

    def repeats_in(self, token_count: int) -> int:
        """How often the entry's text stands in a text of this many tokens.

        The host repeats the texts of a batch until all are equally long.
        """
        return token_count // self.text_length

    def inline_positions(self, token_count: int) -> Tensor:
        """Where the inline tokens stand in a text of this many tokens: (inline_count * repeats,), in order."""
        first_positions = torch.arange(self.start, self.start + self.inline_count)
        repeats = range(self.repeats_in(token_count))
        return torch.cat([first_positions + repeat * self.text_length for repeat in repeats])

    def owners(self, first_number: int) -> Tensor:
        """The number of the person of each token, in order. first_number: of the first person."""
        counts = self.inline_counts or [text.shape[1] for text in self.texts]
        numbers = torch.arange(first_number, first_number + len(counts))  # of the people
        return numbers.repeat_interleave(torch.tensor(counts, dtype=torch.long))


def id_tokens_by_region(given: SamplerInputs, regions: Tensor, node: NodeOfRun) -> SamplerInputs:
    """The same MODEL, and both sides with the ID tokens of each entry read by region. An entry without ID tokens stays
    as it is.

    given: as Apply ID-Patch has made it. regions: (people, H, W), on the canvas of `node`.
    """
    # One object for both sides: by it nodes and runs know that they belong together, see Carried.
    source = object()

    def with_words(entry: Entry) -> Entry:
        """The entry with a UnetWords for its ID tokens, if it has any."""
        id_tokens: IDTokens | None = entry[1].get(ID_TOKENS)
        if id_tokens is None:
            return entry
        counts = (id_tokens.tokens_per_person,) * id_tokens.people_count
        words = UnetWords(
            source=source,
            schedule=WHOLE_SCHEDULE,
            regions=regions,
            inline_counts=counts,
            start=id_tokens.start,
            canvas=Canvas.of_regions(node, regions),
        )
        return carry([entry], words)[0]

    positive = [with_words(entry) for entry in given.positive]
    return SamplerInputs(given.model, positive, [with_words(entry) for entry in given.negative])


WordsByChunk = tuple[tuple[UnetWords, ...], ...]
"""What the chunks of a batch carry: for each chunk, a UnetWords per node."""


def guessed_repeats(context: Tensor) -> Tensor:
    """How often the text of each row repeats itself, by its tokens alone: (B,). context: the text, (B, T, width).

    It is for texts whose length before the repeats is unknown: those of entries that have no UnetWords. Where it is
    known, UnetWords.repeats_in needs no guess. A text in which no part is repeated over its whole length counts 1, and
    so does one in which all tokens are the same.
    """
    # One channel of every token is enough to tell whether two tokens are the same.
    channel = context[..., 0]  # (B, T)
    times = torch.ones(len(context), device=context.device, dtype=torch.float32)
    differs = (channel != channel[:, :1]).any(dim=1)  # (B,), whether not all tokens of a text are the same
    token_count = context.shape[1]
    # From the longest part to the shortest, so that the shortest that fits is what remains.
    for length in range(token_count // 2, 1, -1):  # not 1: then all tokens would be the same
        if token_count % length == 0:
            parts = channel.unflatten(1, (-1, length))  # (B, times, length)
            is_repeated = (parts == parts[:, :1]).flatten(1).all(dim=1) & differs
            times = torch.where(is_repeated, token_count // length, times)
    return times
