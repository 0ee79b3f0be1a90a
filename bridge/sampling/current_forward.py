"""What a thread knows of the forward that is on in it, for what stands in a network and is given nothing but x.

A layer is given x alone, so this is the only way by which what stands in it can find the forward that it is part of.
`forward.call_network` lets the batches of a forward say what is known here, and sees to its end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple


@dataclass(frozen=True)
class CurrentTexts:
    """The words of people in a forward.

    names: of the people, in the order of their words; "" where each row has the words of another person. lengths:
    tokens of each. alone: where the network is called for one text alone, its number: 0 for the common one, n + 1 for
    the words of person n. rows: where it is called for some rows of the batch alone, their numbers.
    """

    names: tuple[str, ...]
    lengths: tuple[int, ...]
    alone: int | None = None
    rows: tuple[int, ...] | None = None


@dataclass(frozen=True)
class CurrentReferences:
    """The owners of the references of a forward. names: for each reference the name of its person, or None for one of
    no person."""

    names: tuple[str | None, ...]


class Known(NamedTuple):
    """What is known of a forward, under the names of CurrentForward."""

    texts: CurrentTexts | None
    references: CurrentReferences | None
    additions: Any


class CurrentForward(threading.local):
    """One for each thread: the host's MultiGPU CFG Split calls several networks at a time, and a MODEL may be sampled
    elsewhere meanwhile.

    texts: the words of people; None where nobody has words.
    references: whose the references are; None where no reference is a person's alone.
    additions: a layer_hooks.Forward, what is added to layers; None where nothing is.
    """

    def __init__(self) -> None:
        # In __init__, which runs once for each thread. A value of the class torch.compile would take for the value of
        # every thread.
        self.texts: CurrentTexts | None = None
        self.references: CurrentReferences | None = None
        self.additions: Any = None

    def known(self) -> Known:
        """What is known now of the forward, to be given to `know_again`."""
        # Attribute by attribute: torch.compile traces this, and does not follow the dictionary of a threading.local.
        return Known(self.texts, self.references, self.additions)

    def know_again(self, known: Known) -> None:
        """Know what `known` has given, and no more."""
        self.texts = known.texts
        self.references = known.references
        self.additions = known.additions


current = CurrentForward()


def added_to_layers() -> object:
    """What tells that which LoRAs add to the layers in this forward from what they add in others; None for nothing."""
    return None if current.additions is None else current.additions.mark


@contextmanager
def called_for(texts: CurrentTexts) -> Iterator[None]:
    """A context in which current.texts is `texts`."""
    before = current.texts
    current.texts = texts
    try:
        yield
    finally:
        current.texts = before


@contextmanager
def called_alone(text: int, rows: Sequence[int] | None = None) -> Iterator[None]:
    """A context in which current.texts says that the network is called for one text alone.

    text: its number, as CurrentTexts.alone counts. rows: the numbers of the rows of the batch for which it is called;
    None for all rows. There have to be words of people in the forward.
    """
    assert current.texts is not None
    with called_for(replace(current.texts, alone=text, rows=None if rows is None else tuple(rows))):
        yield
