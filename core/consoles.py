"""The process's own streams take names in any script. Standard library only.

A stream in an old code page (cp1252, cp932, ascii) has few letters, and writing any other one raises
UnicodeEncodeError. ComfyUI has one worker for all prompts. It logs an error and then, where the log raises as well,
Python writes that to sys.stderr: the worker ends if this raises, too, and every later prompt waits for ever. The
stream that ComfyUI puts into the place of sys.stderr (app/logger.py) raises, although Python's own never does.
"""

import sys
from contextlib import suppress
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
