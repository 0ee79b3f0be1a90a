"""The words of people in the forward that is on in a thread, for what stands in a layer and is given x alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class CurrentTexts:
    """The words of people in the forward that is on in this thread, for what stands in a layer and is given x alone.

    names: of the people, in the order of their words; "" where each row has the words of another person. lengths:
    tokens of each. alone: where the network is called for one text alone, its number: 0 for the common one, n + 1 for
    the words of person n. rows: where it is called for some rows of the batch alone, their numbers.
    """

    names: tuple[str, ...]
    lengths: tuple[int, ...]
    alone: int | None = None
    rows: tuple[int, ...] | None = None


class _Thread(threading.local):
    """One for each thread, as lora_readers has it: the host's MultiGPU CFG Split calls several networks at a time."""

    def __init__(self) -> None:
        self.texts: CurrentTexts | None = None


_thread = _Thread()


def current_texts() -> CurrentTexts | None:
    """The words of people in the forward of this thread; None where nobody has words."""
    return _thread.texts


@contextmanager
def called_alone(text: int, rows: Sequence[int] | None = None) -> Iterator[None]:
    """While this context is open, the network is called for one text alone, in some rows of the batch or in all.

    text: its number, as CurrentTexts counts. rows: their numbers; None for all rows.
    """
    before = _thread.texts
    assert before is not None
    _thread.texts = replace(before, alone=text, rows=None if rows is None else tuple(rows))
    try:
        yield
    finally:
        _thread.texts = before


def begin_texts(texts: CurrentTexts) -> None:
    """From now on these are the words in the forward of this thread."""
    _thread.texts = texts


def end_texts() -> None:
    """From now on nobody has words in the forward of this thread. It may be called twice."""
    _thread.texts = None
