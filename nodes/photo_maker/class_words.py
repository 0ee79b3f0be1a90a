"""Class words (man, woman) of a prompt: found before their triggers, repeated for each token that is fused with them.

They are laid out by the text encoder's own tokens, as in the released photomaker/pipeline.py (Apache-2.0): the trigger
is taken out, and the last token of the word before it stands as often as there are tokens to fuse with. Unlike there,
there may be several people, and as many chunks of the text encoder as the prompt needs.

    text               photo of a woman img and a man img
    two and one photos photo of a woman woman and a man           positions 4 and 8, with the token at the start
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.errors import BadCast, LikenessError, counted, listed

Token = tuple[Any, ...]
"""A token as the host's tokenizer gives it: a number or an embedding, its weight, and the number of its word in the
prompt, or 0 for a token of no word."""
Prompt = Mapping[str, Sequence[Sequence[Token]]]
"""Name of a text encoder -> the chunks of tokens that it reads, as the host's tokenize gives them with
return_word_ids."""
TRIGGER = "img"


class BadTrigger(LikenessError):
    """A prompt whose class words are not those of the people."""

    def __init__(self, why: str, trigger: str, names: Sequence[str]) -> None:
        example = " and ".join([f"a woman {trigger or TRIGGER}"] * max(1, len(names)))
        super().__init__(
            f"{why}. People in the cast: {listed(names, 'no people')}.",
            f"Write for each of them, in their order, what they are (man, woman, girl) and behind it the trigger word, "
            f"such as: photo of {example}.",
        )


@dataclass(frozen=True)
class PromptLayout:
    """A prompt without its triggers, with class words repeated.

    prompt: as the text encoders read it. positions: per person the index of the first copy of the class word, in all
    chunks of the prompt one after the other, with the tokens around them.
    """

    prompt: Prompt
    positions: list[int]


def lay_out_class_words(
    prompt: Prompt,
    trigger: Prompt,
    empty: Prompt,
    word: str,
    names: Sequence[str],
    copy_counts: Sequence[int],
) -> PromptLayout:
    """A prompt without its triggers, and with the class word of each of `names` as often as `copy_counts` says.

    prompt, trigger, empty: the text, the trigger and a text without a word, as the text encoders read them. word: the
    trigger, for messages. names: their names, in the order of the triggers. copy_counts: one number per person.
    A word's copies are never divided between two chunks.
    Raises BadTrigger unless there is one trigger behind a word for each person, at the same position for every text
    encoder; BadCast where one chunk cannot hold the copies.
    """
    prompt_with_copies: dict[str, Sequence[Sequence[Token]]] = {}
    positions_by_encoder: list[list[int]] = []
    for encoder in prompt:
        tokens = _tokens_of_words(prompt[encoder])
        trigger_tokens = _tokens_of_words(trigger[encoder])
        starts = _trigger_starts(tokens, trigger_tokens)
        class_words = _class_words(starts, len(trigger_tokens))
        _check_class_words(class_words, word, names)
        without_triggers = _without_triggers(tokens, starts, len(trigger_tokens))
        copies_of_token = dict(zip(class_words, copy_counts, strict=True))
        chunks = _in_chunks(without_triggers, copies_of_token, empty[encoder][0])
        prompt_with_copies[encoder] = chunks.chunks
        positions_by_encoder.append(chunks.positions)
    if any(positions != positions_by_encoder[0] for positions in positions_by_encoder):
        why = "An embedding before a class word has not as many tokens for each of the two text encoders"
        raise BadTrigger(why, word, names)
    return PromptLayout(prompt_with_copies, positions_by_encoder[0])


def _tokens_of_words(chunks: Sequence[Sequence[Token]]) -> list[Token]:
    """The tokens of all chunks, without those that the host puts around and behind the words, whose word is 0."""
    tokens: list[Token] = []
    for chunk in chunks:
        tokens += [token for token in chunk if token[2]]
    return tokens


def _numbers(tokens: Sequence[Token]) -> list[int | None]:
    """The number of each token; None for an embedding of the user's, a tensor, which cannot be compared."""
    return [token[0] if isinstance(token[0], int) else None for token in tokens]


def _trigger_starts(tokens: Sequence[Token], trigger: Sequence[Token]) -> list[int]:
    """The index of the first token of every trigger. trigger: one or more tokens; none for an empty trigger word."""
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
    """The index of the token before each trigger, once all triggers are taken out; -1 where there is none.

    starts: of the triggers. length: tokens of one trigger.
    """
    return [start - 1 - length * triggers_before for triggers_before, start in enumerate(starts)]


def _check_class_words(class_words: Sequence[int], word: str, names: Sequence[str]) -> None:
    """Raise BadTrigger unless there is one class word for each person, and no two triggers share one."""
    if len(class_words) != len(names):
        triggers = f"no trigger word {word!r}"
        if class_words:
            triggers = f"the trigger word {word!r} {counted(len(class_words), 'time')}"
        raise BadTrigger(f"The text has {triggers} for {counted(len(names), 'person', 'people')}", word, names)
    at_the_start = min(class_words, default=0) < 0
    if at_the_start or len(set(class_words)) < len(class_words):
        raise BadTrigger(f"A trigger word {word!r} of the text has no word of its own before it", word, names)


def _without_triggers(tokens: Sequence[Token], starts: Sequence[int], length: int) -> list[Token]:
    """A text's tokens without those of its triggers. starts: of the triggers. length: tokens of one trigger."""
    trigger_indices: set[int] = set()
    for start in starts:
        trigger_indices.update(range(start, start + length))
    return [token for index, token in enumerate(tokens) if index not in trigger_indices]


@dataclass(frozen=True)
class _Chunks:
    """A prompt as the chunks of one text encoder. positions: of each class word's first copy, as in PromptLayout."""

    chunks: list[list[Token]]
    positions: list[int]


def _in_chunks(tokens: Sequence[Token], copies: Mapping[int, int], empty: Sequence[Token]) -> _Chunks:
    """A text's tokens, class words repeated, in chunks of the length that the text encoder reads at once.

    copies: index of a class word -> how often it stands. empty: the chunk of a text without a word: the token at the
    start, the one at the end, and the token that fills the rest. Raises BadCast where a chunk cannot hold the copies.
    """
    start, end, *_, pad = empty
    length = len(empty)
    room = length - 2  # without start and end
    most = max(copies.values(), default=0)
    if most > room:
        raise BadCast(
            f"The photos of one person make {most} tokens of the text, which reads {room} at once.",
            "Give Person fewer photos of this person; four to eight are plenty.",
        )
    chunks: list[list[Token]] = [[]]
    positions: list[int] = []
    for index, token in enumerate(tokens):
        repeated = [token] * copies.get(index, 1)
        if len(chunks[-1]) + len(repeated) > room:
            chunks.append([])
        if index in copies:
            chunks_before = len(chunks) - 1
            positions.append(length * chunks_before + 1 + len(chunks[-1]))  # 1: the token at the start
        chunks[-1] += repeated
    filled_chunks: list[list[Token]] = []
    for chunk in chunks:
        padding = [pad] * (room - len(chunk))
        filled_chunks.append([start, *chunk, end, *padding])
    return _Chunks(filled_chunks, positions)
