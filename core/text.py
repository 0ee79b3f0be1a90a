"""Text that people typed or files brought, as it may stand in a name, a message or a line of the log."""

import logging
import re

# Line breaks and what steers a terminal, the order of letters on the screen, and halves of letters (surrogates), which
# no encoding has. What a console cannot write of the rest is escaped there: see consoles.py.
_UNFIT = re.compile("[\\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")

MOST_NAME_LETTERS = 100
"""Letters of a person's name that are kept."""
COMMAS = ",\uff0c\u3001"
"""Chinese keyboards have commas of their own."""


def plain(text: object, most_letters: int | None = None) -> str:
    """A value as a text of one line, without control characters, of at most `most_letters` letters.

    text: anything; None, which a link may bring, gives "".
    """
    if text is None:
        return ""
    line = _UNFIT.sub(" ", str(text)).strip()
    if most_letters is not None and len(line) > most_letters:
        return f"{line[: most_letters - 3]}..."
    return line


def names_in(text: str) -> list[str]:
    """Names with commas between them, "" for an empty one."""
    return [plain(part, MOST_NAME_LETTERS) for part in re.split(f"[{COMMAS}]", text)]


def plain_lines(text: str) -> str:
    """A text of several lines, each line made plain, see `plain`."""
    return "\n".join(map(plain, text.split("\n")))


def in_one_line(error: Exception) -> str:
    """The start of an error's text, or its type where it has none, to be quoted inside a message of ours."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _in_plain_lines(record: logging.LogRecord) -> bool:
    """A filter of our log: the message of every record is made plain before it is written."""
    record.msg = plain_lines(record.getMessage())
    record.args = ()
    return True


logger = logging.getLogger("likeness")
logger.addFilter(_in_plain_lines)
