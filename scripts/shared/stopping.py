"""How a script ends that is told to stop, or whose output nobody takes. Standard library only."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

READER_LEFT = 141
"""What a script ends with whose reader has left, as in `models.py list | head`: as shells have it, 128 + SIGPIPE."""
_CLOSED = (errno.EPIPE, errno.EINVAL)
"""What a system says of a pipe that its reader has closed; Windows says the second."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk says that is full, of which one's share is used up, or that takes no file so long (FAT32)."""


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


@contextmanager
def written_out() -> Generator[None, None, None]:
    """Around all that a script does: it ends without a traceback where what it prints cannot be written.

    Where the reader of a pipe has left, the script ends with READER_LEFT and says nothing. Where there is another
    reason, such as a full disk, it names this on stderr and ends with 1.
    """
    try:
        yield
    except OSError as problem:
        require_console(problem)
        raise
    finally:
        _require_written("")


def require_console(problem: OSError) -> None:
    """End the script, as `written_out` does, where this error is of printing, and not of a file or a connection."""
    # If it came from `print`, a line fails as well.
    if problem.filename is None and problem.errno in (*_CLOSED, *FULL):
        _require_written("\n")


def _require_written(text: str) -> None:
    """Write a text, and what is kept for writing, to stdout and stderr; where that fails, end the script."""
    for stream in (sys.stdout, sys.stderr):
        problem = _problem_of_writing(stream, text)
        if problem is not None and problem.errno in _CLOSED:
            sys.exit(READER_LEFT)
        if problem is not None:
            sys.exit(f"What this prints cannot be written: {problem.strerror}. Free its disk and run the same again.")


def _problem_of_writing(stream: Any, text: str) -> OSError | None:
    """Why a text cannot be written to a stream, after which the stream leads nowhere; None where it is written."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as problem:
        # Python writes what is left when it ends, which would raise once more.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        return problem
    except (AttributeError, ValueError):  # there is no console (pythonw), or somebody has closed the stream
        return None
    return None
