"""The class words of a prompt (man, woman): found before their trigger, repeated for the photos, laid out for CLIP.

By the text encoder's own tokens, as the released photomaker/pipeline.py does: the trigger is taken out, and the last
token of the word before it stands as often as there are tokens to fuse with. Unlike there, there may be several people,
and as many chunks of the text encoder as the prompt needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import LikenessError, counted, listed

Token = tuple[Any, ...]
"""As the host gives it: a number or an embedding, its weight, and 0 or the number of its part of the prompt."""
TRIGGER = "img"


class BadTrigger(LikenessError):
    """A prompt whose class words are not those of the people."""

    def __init__(self, why: str, trigger: str, people: Sequence[str]) -> None:
        example = " and ".join([f"a woman {trigger or TRIGGER}"] * max(1, len(people)))
        super().__init__(
            f"{why}. People in the cast: {listed(people, 'nobody')}.",
            f"Write for each of them, in their order, what they are (man, woman, girl) and behind it the trigger word, "
            f"such as: photo of {example}.",
        )


class TooManyPhotos(LikenessError):
    """More tokens of one person than the text encoder reads at once."""

    def __init__(self, tokens: int, room: int) -> None:
        super().__init__(
            f"The photos of one person make {tokens} tokens of the text, which reads {room} at once.",
            "Give Identity fewer photos of this person; four to eight are plenty.",
        )


def content(chunks: Sequence[Sequence[Token]]) -> list[Token]:
    """The tokens of a prompt without those that the host puts around and behind them."""
    return [token for chunk in chunks for token in chunk if token[2]]


def without_triggers(
    tokens: Sequence[Token], trigger: Sequence[Token], word: str, people: Sequence[str]
) -> tuple[list[Token], list[int]]:
    """The prompt's tokens without the trigger's, and at which of them each person's class word ends.

    word: the trigger. Raises BadTrigger unless there is one behind a word for each of `people`.
    """
    numbers, wanted = ([one[0] if isinstance(one[0], int) else None for one in each] for each in (tokens, trigger))
    left, words, n = list[Token](), list[int](), 0
    while n < len(tokens):
        if wanted and numbers[n : n + len(wanted)] == wanted:
            words.append(len(left) - 1)
            n += len(wanted)
        else:
            left.append(tokens[n])
            n += 1
    if len(words) != len(people):
        found = f"the trigger word {word!r} {counted(len(words), 'time')}" if words else f"no trigger word {word!r}"
        raise BadTrigger(f"The text has {found} for {counted(len(people), 'person', 'people')}", word, people)
    if words and (words[0] < 0 or len(set(words)) < len(words)):
        raise BadTrigger(f"A trigger word {word!r} of the text has no word of its own before it", word, people)
    return left, words


def laid_out(
    tokens: Sequence[Token], words: Sequence[int], copies: Sequence[int], empty: Sequence[Token]
) -> tuple[list[list[Token]], list[int]]:
    """Chunks as the text encoder reads them, and in all of them the place of each word's first copy.

    words: at which tokens they end, copies: how often these stand. empty: the chunk of an empty prompt. No word's
    copies are divided between two chunks. Raises TooManyPhotos where one chunk cannot hold them.
    """
    start, end, *_, pad = empty
    room, times = len(empty) - 2, dict(zip(words, copies, strict=True))
    if max(copies, default=0) > room:
        raise TooManyPhotos(max(copies), room)
    chunks, places = [list[Token]()], list[int]()
    for n, token in enumerate(tokens):
        run = [token] * times.get(n, 1)
        if len(chunks[-1]) + len(run) > room:
            chunks.append([])
        if n in times:
            places.append(len(empty) * (len(chunks) - 1) + 1 + len(chunks[-1]))
        chunks[-1] += run
    return [[start, *chunk, end, *[pad] * (room - len(chunk))] for chunk in chunks], places
