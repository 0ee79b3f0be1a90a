"""The process's own streams, which take names in any script, and pipes that somebody closes. Standard library only.

A stream in an old code page (cp1252, cp932, ascii) has few letters, and writing any other one raises
UnicodeEncodeError. ComfyUI has one worker for all prompts. It logs an error and then, where the log raises as well,
Python writes that to sys.stderr: the worker ends if this raises, too, and every later prompt waits for ever. The
stream that ComfyUI puts into the place of sys.stderr (app/logger.py) raises, although Python's own never does.
"""

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

_ESCAPES = "backslashreplace"
"""Python's error handler that writes \\u5c0f for a letter the encoding lacks, as sys.stderr has it from the start."""
_FILE_NAMES = ("utf-8", "surrogateescape")
"""The encoding and the error handler where no language is set (LANG=C): bytes of file names come out as they were."""


def accept_any_text() -> None:
    """Make the process's own streams escape the letters that they cannot write.

    Called once: by the pack when the host loads it, by a script when it starts. What a stream can write comes out as
    before.
    """
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        # An object of another pack need not have `reconfigure`, and without a console (pythonw) there is None. A stream
        # that is closed or detached, or whose reader has ended, raises.
        with suppress(AttributeError, TypeError, ValueError, OSError):
            console: Any = stream
            if (console.encoding, console.errors) != _FILE_NAMES:
                console.reconfigure(errors=_ESCAPES)


# --- The end of a script whose output nobody takes

READER_LEFT = 141
"""What a script ends with whose reader has left, as in `models.py list | head`: as shells have it, 128 + SIGPIPE."""
_CLOSED = (errno.EPIPE, errno.EINVAL)
"""What a system says of a pipe that its reader has closed; Windows says the second."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says of a file that its disk has no room for."""


@contextmanager
def written_out() -> Generator[None, None, None]:
    """Around all that a script does: it ends without a traceback where what it prints cannot be written.

    Where the reader of a pipe has left, the script ends with READER_LEFT and says nothing. Where there is another
    reason, such as a full disk, it names this on stderr and ends with 1.
    """
    try:
        yield
    except OSError as problem:
        # It may have come from `print`, or from a file or a connection. Only in the first case a line fails as well.
        if problem.filename is None and problem.errno in (*_CLOSED, *_FULL):
            _require_written("\n")
        raise
    finally:
        _require_written("")


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
