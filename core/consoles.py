"""Consoles, pipes and logs that take text in any script, and pipes that somebody closes. Standard library only.

A stream in an old code page (cp1252, cp932, ascii) has few letters, and writing any other one raises
UnicodeEncodeError. ComfyUI has one worker for all prompts. It logs an error and then, where the log raises as well,
writes that to sys.stderr: the worker ends if this raises, too, and every later prompt waits for ever. Its own
LogInterceptor (app/logger.py) makes both streams raise, although Python's sys.stderr never does.
"""

import errno
import io
import logging
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

ESCAPES = "backslashreplace"
"""Python's error handler that writes \\u5c0f for a letter the encoding lacks, as sys.stderr has it from the start."""

_KEEPS_BYTES = ("surrogateescape", "surrogatepass")
"""Error handlers that write bytes of file names as they were, and raise for letters that the encoding lacks."""

_EVERY_SCRIPT = "\u00e9\u5c0f\N{GRINNING FACE}\U0010fffd"
"""Letters that only an encoding for all of Unicode has together."""


def accept_any_text() -> None:
    """Make the console and the streams of every log escape the letters that they cannot write.

    What a stream can write comes out as before. A stream that another pack puts into the place of sys.stdout later is
    a new one, so this is called again before our text leaves: it costs a fraction of a millisecond where nothing is to
    be done.
    """
    handlers = list(_handlers())
    for stream in _streams(handlers):
        # A stream that is closed or detached, or whose reader has ended, raises: nobody reads what is written to it.
        with suppress(ValueError, OSError):
            _accept(stream)
    for handler in handlers:
        # A file handler has no stream before its first record (delay), and opens a new one when the file has become too
        # long (RotatingFileHandler). It opens the file with its own `errors`.
        if isinstance(handler, logging.FileHandler) and handler.errors in (None, "strict"):
            handler.errors = ESCAPES


def _streams(handlers: Iterable[logging.Handler]) -> list[Any]:
    """Streams that text may be written to, each once: hundreds of logs may write to one console.

    A program without a console (pythonw) has None in their places.
    """
    streams = [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__]
    streams += [getattr(handler, "stream", None) for handler in handlers]
    different_streams = {id(stream): stream for stream in streams if stream is not None}
    return list(different_streams.values())


def _handlers() -> Iterator[logging.Handler]:
    """The handlers of every log: other packs have added some of their own."""
    yield from list(logging.root.handlers)
    # A copy, as other threads make loggers meanwhile. Among them are placeholders, which have no handlers.
    for logger in list(logging.root.manager.loggerDict.values()):
        yield from list(getattr(logger, "handlers", ()))


def _accept(stream: Any) -> None:
    """Make one stream escape the letters that it cannot write."""
    if not _may_raise(stream):
        return
    # Python's own streams (io.TextIOWrapper) and the host's LogInterceptor have `reconfigure`. Wrappers (colorama,
    # tqdm) pass calls of methods that they lack on to the stream that they wrap.
    if callable(getattr(stream, "reconfigure", None)):
        with suppress(TypeError):
            stream.reconfigure(errors=ESCAPES)
    if _may_raise(stream):
        _guard_writing(stream)


def _may_raise(stream: Any) -> bool:
    """Whether a stream may raise UnicodeEncodeError, by what its `errors` and `encoding` say."""
    if isinstance(stream, io.StringIO):
        return False  # in memory, without an encoding
    errors = getattr(stream, "errors", None)
    if errors in _KEEPS_BYTES:
        return not _has_every_letter(getattr(stream, "encoding", None))
    return errors in (None, "strict")  # None: a class of another pack, which does not say what it does


def _has_every_letter(encoding: Any) -> bool:
    """Whether an encoding has all letters of Unicode."""
    try:
        _EVERY_SCRIPT.encode(encoding)
    except (UnicodeEncodeError, LookupError, TypeError):
        return False
    return True


class _Escaping:
    """The `write` of a stream, which escapes a text where the stream's own raises."""

    likeness_escapes = True
    """A mark by which a second copy of the pack knows the console again: its class is another one there."""

    def __init__(self, write: Callable[..., Any]) -> None:
        self._write = write

    def __call__(self, text: Any, *further_arguments: Any) -> Any:
        try:
            return self._write(text, *further_arguments)
        except UnicodeEncodeError:
            escaped = text.encode("ascii", ESCAPES).decode("ascii")
            return self._write(escaped, *further_arguments)


def _guard_writing(stream: Any) -> None:
    """Give this one object a `write` that escapes where its own raises.

    For classes of other packs, such as one that writes to a console and to a file. Such a class often says nothing of
    its encoding, or names another than that of the stream behind it (ComfyUI-Manager's logger).
    """
    write = getattr(stream, "write", None)
    if write is None or hasattr(write, "likeness_escapes"):
        return
    # An object with fixed attributes cannot be mended.
    with suppress(AttributeError, TypeError):
        stream.write = _Escaping(write)


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
