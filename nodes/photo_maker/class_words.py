"""The class words (man, woman) of a prompt, repeated so that photos can be fused with them.

A class word is the word before a trigger word ("img"). The trigger is taken out of the prompt, and the last token of
the class word is repeated: there are as many copies as tokens of the person's photos, one for each to be fused with. It
is done on the text encoder's own tokens, as in the released photomaker/pipeline.py (Apache-2.0). Unlike there, there
may be several people, and as many chunks of the text encoder as the prompt needs.

    prompt                                  photo of a woman img and a man img
    with two photos of the woman, one of    photo of a woman woman and a man
    the man, and one token a photo

The token at the start of the text has index 0, so the first copies are at the positions 4 and 8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.checks.errors import BadCast, LikenessError, counted, listed

Token = tuple[Any, ...]
"""A token as the host's tokenizer gives it: a number or an embedding, its weight, and the number of its word in the
prompt, or 0 for a token of no word."""
TokenizedPrompt = Mapping[str, Sequence[Sequence[Token]]]
"""Name of a text encoder, "g" or "l" -> the chunks of tokens that it reads, as the host's tokenize gives them with
return_word_ids."""
TRIGGER = "img"
"""The trigger word of the release, the default of the node."""


class BadTrigger(LikenessError):
    """A prompt that has not one class word with a trigger for each person."""

    def __init__(self, why: str, trigger: str, names: Sequence[str]) -> None:
        """why: what is wrong, a sentence without a full stop. trigger: the user's trigger word. names: the people's."""
        example = " and ".join([f"a woman {trigger or TRIGGER}"] * max(1, len(names)))
        advice = (
            f"Write for each of them, in their order, what they are (man, woman, girl) and behind it the trigger word, "
            f"such as: photo of {example}."
        )
        if not names:
            advice = "Give somebody a place in Place Cast, or take the trigger word out of the prompt."
        super().__init__(f"{why}. People in the cast: {listed(names, 'no people')}.", advice)


@dataclass(frozen=True)
class PromptLayout:
    """A prompt without its triggers, with class words repeated.

    prompt: as the text encoders read it. positions: for each person the index of the first copy of the class word. It
    counts the tokens of all chunks one after the other, with the tokens that the host puts around and behind the words.
    """

    prompt: TokenizedPrompt
    positions: list[int]


@dataclass(frozen=True)
class TriggeredPrompt:
    """A prompt with its triggers.

    text, trigger, empty: the prompt, the trigger word and an empty text, as the host tokenizes them. trigger_word: as
    it is written, for messages. names: of the people, in the order of their triggers in the text.
    """

    text: TokenizedPrompt
    trigger: TokenizedPrompt
    empty: TokenizedPrompt
    trigger_word: str
    names: Sequence[str]

    def laid_out(self, copy_counts: Sequence[int]) -> PromptLayout:
        """The prompt without its triggers, in which the class word of each person stands as often as copy_counts says.

        The copies of a word are never divided between two chunks. Raises BadTrigger unless there is one trigger behind
        a word for each person, at the same position for every text encoder; BadCast where one chunk cannot hold the
        copies.
        """
        by_encoder = {encoder: self._in_chunks(encoder, copy_counts) for encoder in self.text}
        first, *others = by_encoder.values()
        if any(other.positions != first.positions for other in others):
            # The texts of both encoders are joined token by token, so a class word must have one position in both.
            why = "An embedding before a class word has not as many tokens for each of the two text encoders"
            raise BadTrigger(why, self.trigger_word, self.names)
        return PromptLayout({encoder: read.chunks for encoder, read in by_encoder.items()}, first.positions)

    def _in_chunks(self, encoder: str, copy_counts: Sequence[int]) -> "_Chunks":
        """The prompt as one text encoder reads it. Arguments and errors are those of laid_out."""
        tokens = _tokens_of_words(self.text[encoder])
        trigger_tokens = _tokens_of_words(self.trigger[encoder])
        starts = _trigger_starts(tokens, trigger_tokens)
        class_words = _class_words(starts, len(trigger_tokens))
        _check_class_words(class_words, self.trigger_word, self.names)
        without_triggers = _without_triggers(tokens, starts, len(trigger_tokens))
        copies_of_token = dict(zip(class_words, copy_counts, strict=True))  # index of a class word -> its copies
        return _in_chunks(without_triggers, copies_of_token, self.empty[encoder][0])


def _tokens_of_words(chunks: Sequence[Sequence[Token]]) -> list[Token]:
    """The tokens of the words of all chunks.

    The tokens that the host puts around and behind the words are left out: they have the word number 0.
    """
    return [token for chunk in chunks for token in chunk if token[2]]  # token[2]: the number of the word, see Token


def _numbers(tokens: Sequence[Token]) -> list[int | None]:
    """The number of each token in the vocabulary; None for a textual-inversion embedding, a tensor, which == cannot
    compare."""
    return [token[0] if isinstance(token[0], int) else None for token in tokens]


def _trigger_starts(tokens: Sequence[Token], trigger: Sequence[Token]) -> list[int]:
    """The index of the first token of every trigger in a text.

    tokens: those of the text. trigger: those of the trigger word, one or more; none for an empty trigger word.
    """
    if not trigger:
        return []
    numbers = _numbers(tokens)
    trigger_numbers = _numbers(trigger)
    starts: list[int] = []
    for start in range(len(tokens)):
        if numbers[start : start + len(trigger_numbers)] == trigger_numbers:
            starts.append(start)
    return starts


def _class_words(starts: Sequence[int], length: int) -> list[int]:
    """For each trigger the index of the last token of its class word, in the text without triggers.

    A trigger at the very start of the text gives -1. starts: of the triggers, in the text with all of them. length: the
    number of tokens of one trigger.
    """
    # The class word ends just before its trigger. Each trigger before it takes `length` tokens away.
    return [start - 1 - length * triggers_before for triggers_before, start in enumerate(starts)]


def _check_class_words(class_words: Sequence[int], trigger_word: str, names: Sequence[str]) -> None:
    """Raise BadTrigger where the triggers of a text do not give one class word for each person.

    It is raised in three cases: the number of triggers is not that of the people; a trigger has no word before it; two
    triggers follow each other, and so share a class word.
    class_words: from _class_words. trigger_word: for messages. names: of the people.
    """
    if len(class_words) != len(names):
        triggers = f"no trigger word {trigger_word!r}"
        if class_words:
            triggers = f"the trigger word {trigger_word!r} {counted(len(class_words), 'time')}"
        raise BadTrigger(f"The text has {triggers} for {counted(len(names), 'person', 'people')}", trigger_word, names)
    at_the_start = min(class_words, default=0) < 0
    if at_the_start or len(set(class_words)) < len(class_words):
        raise BadTrigger(
            f"A trigger word {trigger_word!r} of the text has no word of its own before it", trigger_word, names
        )


def _without_triggers(tokens: Sequence[Token], starts: Sequence[int], length: int) -> list[Token]:
    """The tokens of a text without those of its triggers.

    starts: the index of the first token of each trigger. length: the number of tokens of one trigger.
    """
    trigger_indices: set[int] = set()
    for start in starts:
        trigger_indices.update(range(start, start + length))
    return [token for index, token in enumerate(tokens) if index not in trigger_indices]


@dataclass(frozen=True)
class _Chunks:
    """A prompt as one text encoder reads it: chunks of tokens. positions: as in PromptLayout."""

    chunks: list[list[Token]]
    positions: list[int]


def _in_chunks(tokens: Sequence[Token], copies: Mapping[int, int], empty: Sequence[Token]) -> _Chunks:
    """The tokens of a text with class words repeated, in chunks as long as the text encoder reads at once.

    copies: index of a class word in `tokens` -> how often it stands. empty: the only chunk of an empty text: the token
    at the start, the token at the end, and then the token that fills the rest. Raises BadCast where a chunk cannot hold
    the copies of a word.
    """
    start, end, *_, pad = empty  # tokens
    chunk_length = len(empty)
    room = chunk_length - 2  # without start and end
    most = max(copies.values(), default=0)
    if most > room:
        raise BadCast(
            f"The photos of one person make {most} tokens of the text, which reads {room} at once.",
            "Give Person fewer photos of this person; four to eight are plenty.",
        )
    chunks: list[list[Token]] = [[]]
    positions: list[int] = []
    for index, token in enumerate(tokens):
        repeated = [token] * copies.get(index, 1)  # a token that is no class word stands once
        if len(chunks[-1]) + len(repeated) > room:  # copies of a word are never divided
            chunks.append([])
        if index in copies:
            # Before the word there are whole chunks, the start token of this chunk, and the words in it so far.
            positions.append((len(chunks) - 1) * chunk_length + 1 + len(chunks[-1]))
        chunks[-1] += repeated
    filled_chunks = [[start, *chunk, end, *[pad] * (room - len(chunk))] for chunk in chunks]
    return _Chunks(filled_chunks, positions)
