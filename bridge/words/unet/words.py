"""Tokens of a text that belong to people: words about one person, ID tokens of ID-Patch. What the conditioning carries.

Each person's tokens are read in that person's region only; the rest of the text is read everywhere. The tokens are in
one of two places:

    appended   the node has them, and the UNet reads them after the text            Prompt per Person, PhotoMaker
    inline     another node has put them into the text itself, where they stay      ID tokens, PhotoMaker

run.py says how they are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from ...host.schedule import WHOLE_SCHEDULE
from ...sampling.conditioning import ID_TOKENS, Entry, IDTokens, SamplerInputs
from ...sampling.model_conds import CarriedOfPeople, carry
from ...sampling.node_of_run import NodeOfRun


@dataclass(frozen=True, eq=False)
class UnetWords(CarriedOfPeople):
    """The tokens of people in one side of the conditioning, from one node, and in which regions they are read.

    regions: (people, H, W) of the whole picture; how strongly each person's tokens are read there: 0 not at all, 1 as
    the text that everybody reads, 2 as if they were there twice.
    counts: tokens per person.
    tokens: (B, sum of counts, width) float32 CPU, appended to the text; None for inline tokens.
    start: where inline tokens begin in the text.
    was_inline: whether the appended tokens were taken out of the text, see `appended_instead`.
    by_row: appended tokens are then read in all of their person's row, and regions, (people, 1, 1), say how strongly.
    The UnetWords of one row has counts, tokens and regions of that person alone.

    Known once a run has begun, see `in_entry`: text_length, the tokens of the entry's text; and inline_tokens, those of
    them that belong to people, (B, sum of counts, width).
    """

    key = "likeness_unet_words"
    per_person = ("regions", "counts")
    regions: Tensor
    counts: tuple[int, ...]
    tokens: Tensor | None = None
    start: int = 0
    text_length: int = 0
    inline_tokens: Tensor | None = None
    was_inline: bool = False

    @property
    def words(self) -> Sequence[Tensor]:
        return () if self.tokens is None or not self.appended_count else (self.tokens,)

    def times(self, factor: float) -> Self:
        """A copy with other appended tokens. Those in the text are multiplied with it."""
        assert self.tokens is not None  # there are words
        return replace(self, tokens=self.tokens * factor)

    @property
    def appended_count(self) -> int:
        """How many tokens are read after the text."""
        return 0 if self.tokens is None else self.tokens.shape[1]

    @property
    def inline_count(self) -> int:
        """How many tokens of people stand in the text."""
        return sum(self.counts) if self.tokens is None else 0

    def can_join_batch(self, other: Any) -> bool:
        return True  # a row with fewer tokens than another is filled up with tokens that no pixel reads

    @property
    def different_pictures(self) -> int:
        """Also one for each row of a text whose rows have different inline tokens."""
        of_people = super().different_pictures
        row_count = 1 if self.inline_tokens is None else len(self.inline_tokens)
        return row_count if row_count > 1 and not of_people else of_people

    def of_picture(self, number: int) -> Self:
        """The words of one row: with by_row the tokens of its person, else those of everybody."""
        if super().different_pictures:  # people have rows
            return self._of_person(number)
        assert self.inline_tokens is not None
        return replace(self, inline_tokens=self.inline_tokens[number : number + 1])

    def _of_person(self, number: int) -> Self:
        """The words of one person, whose row of the batch it is. number: of the person, from 0."""
        assert self.tokens is not None  # inline tokens have regions, and no rows
        start = sum(self.counts[:number])
        tokens = self.tokens[:, start : start + self.counts[number]]
        # There are no inline tokens, (B, 0, width). Of one row they count as equal for all rows.
        inline_tokens = None if self.inline_tokens is None else self.inline_tokens[:1]
        return replace(super().of_picture(number), tokens=tokens, inline_tokens=inline_tokens)

    def without_people(self) -> Self:
        tokens = None if self.tokens is None else self.tokens[:, :0]
        return replace(super().without_people(), tokens=tokens)

    def in_entry(self, context: Tensor) -> UnetWords:
        """These words with text_length and inline_tokens, which are known once a run has begun.

        context: the text of the entry that carries them, (B, T, width).
        """
        inline_tokens = context[:, self.start : self.start + self.inline_count]
        return replace(self, text_length=context.shape[1], inline_tokens=inline_tokens)

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

    def appended_instead(self, text_length: int) -> UnetWords:
        """These words with their inline tokens appended, for a text out of which they have been taken.

        text_length: how many tokens are left of the entry's text.
        """
        was_inline = self.tokens is None
        tokens = self.inline_tokens if was_inline else self.tokens
        key = "appended instead", text_length
        return self.made_once(key, lambda: replace(self, tokens=tokens, text_length=text_length, was_inline=was_inline))

    def owners(self, first_number: int) -> Tensor:
        """The number of the person of each token, (sum of counts,). first_number: of the first person."""
        counts = torch.tensor(self.counts, dtype=torch.long)
        numbers = torch.arange(first_number, first_number + len(counts))  # of the people
        return numbers.repeat_interleave(counts)


def id_tokens_by_region(given: SamplerInputs, regions: Tensor, canvas_node: NodeOfRun) -> SamplerInputs:
    """The same MODEL, and both sides with the ID tokens of each entry read by region. An entry without ID tokens stays
    as it is.

    given: as Apply ID-Patch has made it. regions: (people, H, W). canvas_node: see Carried.
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
            counts=counts,
            start=id_tokens.start,
            canvas_node=canvas_node,
        )
        return carry([entry], words)[0]

    positive = [with_words(entry) for entry in given.positive]
    return SamplerInputs(given.model, positive, [with_words(entry) for entry in given.negative])


def id_tokens_read_everywhere(id_tokens: IDTokens | None, context: Tensor) -> UnetWords:
    """A UnetWords for ID tokens that the whole picture reads.

    All of them count as tokens of one person, whose region is the whole picture. context: the text of the entry,
    (B, T, width). Without ID tokens, or where the text is too short to hold them, the UnetWords has no people.
    """
    counts: tuple[int, ...] = ()
    start = 0
    if id_tokens is not None:
        token_count = id_tokens.people_count * id_tokens.tokens_per_person
        if id_tokens.start + token_count <= context.shape[1]:
            counts = (token_count,)
            start = id_tokens.start
    everywhere = torch.ones(len(counts), 1, 1, dtype=torch.float32)  # (1 or 0 people, 1, 1)
    source = object()  # a new one: these tokens belong to no other UnetWords
    words = UnetWords(source=source, schedule=WHOLE_SCHEDULE, regions=everywhere, counts=counts, start=start)
    return words.in_entry(context)


WordsByChunk = tuple[tuple[UnetWords, ...], ...]
"""What the chunks of a batch carry: for each chunk, a UnetWords per node."""


def has_inline_tokens(words_by_chunk: Iterable[tuple[UnetWords, ...]]) -> bool:
    return any(words.inline_count for words_of_nodes in words_by_chunk for words in words_of_nodes)


def guessed_repeats(context: Tensor) -> Tensor:
    """How often the text of each row repeats itself, by its tokens alone: (B,). context: the text, (B, T, width).

    It is for texts whose length before the repeats is unknown: those of another pack, and those of entries that have no
    UnetWords. Where the length is known, UnetWords.repeats_in needs no guess. A text in which no part is repeated over
    its whole length counts 1, and so does one in which all tokens are the same.
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
