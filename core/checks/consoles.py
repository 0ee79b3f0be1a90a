"""The streams of a script take names in any script. Standard library only.

A stream in an old code page (cp1252, cp932, ascii) has few letters, and writing any other one raises
UnicodeEncodeError.
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

    A script calls it once, when it starts. What a stream can write comes out as before. A stream that is set to
    _FILE_NAMES is left as it is, so that file names still come out byte for byte.
    """
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        # An object of another pack need not have `reconfigure`, and without a console (pythonw) there is None. A stream
        # that is closed or detached, or whose reader has ended, raises.
        with suppress(AttributeError, TypeError, ValueError, OSError):
            console: Any = stream
            if (console.encoding, console.errors) != _FILE_NAMES:
                console.reconfigure(errors=_ESCAPES)
