"""How a script ends that is told to stop: it clears up as after Ctrl-C. Standard library only."""

from __future__ import annotations

import signal
from typing import Any


class Stopped(KeyboardInterrupt):
    """The script was told to stop, and clears up as after Ctrl-C. status: what it ends with."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def stop_on_signals() -> None:
    """A script that is ended by another program, or whose terminal is closed, clears up as after Ctrl-C: `with` blocks
    end, and no unfinished file stays. Whoever starts it under nohup has a signal ignored, and it stays so."""
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):  # the last is Windows' own
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)


def _stop(number: int, _: Any) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one does not interrupt the clearing up
    raise Stopped(number)


def status_of(stop: KeyboardInterrupt) -> int:
    """The exit status after a stop, as shells have it: 130 after Ctrl-C."""
    if isinstance(stop, Stopped):
        return stop.status
    return 128 + signal.SIGINT
