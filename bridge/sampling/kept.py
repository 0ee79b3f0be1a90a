"""What a run keeps of what it has made: in one way, with each of the lives that such things have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

from .forward import Network

T = TypeVar("T")


class _Made(NamedTuple):
    """until: as it was given when the value was made."""

    value: Any
    until: Hashable


class Kept:
    """What one run has made, once under each key.

    By the key alone it is kept until the run ends. With a network, whose own modules have made it: at most until its
    hooks have other strengths. With `until`: as long as that stays the same, such as the number of a recording.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[Network | None, Hashable], _Made] = {}
        self._making = threading.RLock()
        """Held while something is made, for which the host may be asked for memory: MultiGPU CFG Split asks from
        several threads at once, and the host counts what is loaded for all of them."""

    def __call__(
        self, key: Hashable, make: Callable[[], T], *, network: Network | None = None, until: Hashable = None
    ) -> T:
        """What `make` gives. key: what tells it from all else that is kept in the run."""
        place = network, key
        with self._making:
            made = self._made.get(place)
            if made is None or made.until != until:
                # What was there goes first: both at once may be large.
                self._made.pop(place, None)
                if network is not None:
                    self._forget_before(network)
                made = self._made[place] = _Made(make(), until)
            return made.value

    def _forget_before(self, now: Network) -> None:
        """Forget what the same network has made with earlier strengths of its hooks."""
        for network, key in list(self._made):
            if network is not None and network.is_before(now):
                del self._made[network, key]

    def forget_all(self) -> None:
        """At the end of the run: what is kept may hold the run, which would then wait for the garbage collector."""
        self._made.clear()
