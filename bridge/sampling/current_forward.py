"""What a thread knows of the forward that is on in it, for what stands in a network and is given nothing but x.

A layer is given x alone, so this is the only way by which what stands in it can find the forward that it is part of.
`forward.call_network` sees to its end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...core.attention.spans import Tokens


class CurrentForward(threading.local):
    """One for each thread: the host's MultiGPU CFG Split calls several networks at a time, and a MODEL may be sampled
    elsewhere meanwhile.

    additions: a layer_hooks.Forward, what is added to layers, with the tokens that these are given; None where nothing
    is.
    """

    def __init__(self) -> None:
        # In __init__, which runs once for each thread. A value of the class torch.compile would take for the value of
        # every thread.
        self.additions: Any = None


current = CurrentForward()


def added_to_layers() -> object:
    """What tells that which LoRAs add to the layers in this forward from what they add in others; None for nothing."""
    return None if current.additions is None else current.additions.mark


def layers_are_given(tokens: Tokens) -> None:
    """From now on layers are given these tokens."""
    if current.additions is not None:
        current.additions.begin_tokens(tokens)


@contextmanager
def called_for(tokens: Tokens) -> Iterator[None]:
    """A context in which layers are called for these tokens alone."""
    additions = current.additions
    if additions is None:
        yield
        return
    before = additions.tokens
    additions.begin_tokens(tokens)
    try:
        yield
    finally:
        additions.begin_tokens(before)
