"""Text that people typed or files brought, as it may stand in a name, a message, a command or a line of the log."""

import logging
import os
import re
import shlex
import sys
from collections.abc import Sequence
from unicodedata import category, name

# Line breaks and what steers a terminal, the order of letters on the screen, and halves of letters (surrogates), which
# no encoding has. What a console cannot write of the rest is escaped: see `writable`.
_UNFIT = re.compile("[\\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")

MOST_NAME_LETTERS = 100
"""Letters of a person's name that are kept."""
UNNAMED = "person"
"""Stands for the name of somebody without one."""
UNSEEN = "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
"""Letters without a width: programs leave them before what is copied from them."""
_BLANK_CATEGORIES = ("Zs", "Zl", "Zp", "Cc")
"""Unicode's: spaces, ends of lines, and what steers a device, such as the end of a file in DOS."""
BLANKS = "".join(letter for letter in map(chr, range(0x3001)) if category(letter) in _BLANK_CATEGORIES) + UNSEEN
"""What is no part of a text, before it and behind it."""
COMMA, COLON, BLANK = ",", ":", r"\s+"
"""Where `pieces` cuts a text: at the commas and semicolons, at the colons, or at the blanks of all scripts."""
COLONS = str.maketrans(dict.fromkeys("\uff1a\ufe13\ufe55", ":"))
_SINGLE_QUOTES = "['\u2018-\u201b\u2039\u203a\uff07]"
_DOUBLE_QUOTES = '["\u201c-\u201f\u00ab\u00bb\u2e42\u300c-\u300f\u301d-\u301f\ufe41-\ufe44\uff02\uff62\uff63]'
_LETTER = f"[^,:{re.escape(BLANKS)}]"
_QUOTED = re.compile(
    "|".join(f"(?<!{_LETTER}){mark}.{{0,255}}?{mark}(?!{_LETTER})" for mark in (_SINGLE_QUOTES, _DOUBLE_QUOTES))
)
"""Quotation marks of one kind and what is between them, up to the longest name of a file. The apostrophe of O'Neil is
none, because a letter stands before it."""
_AT_AN_END = re.compile(f"^{_SINGLE_QUOTES}|{_SINGLE_QUOTES}$")
"""An apostrophe with which a name begins or ends: in a list two such would be quotation marks."""
_MINUS = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2e3a\ufe31\ufe32\ufe58\ufe63\uff0d\u30fc\uff70"
_SIGNS = str.maketrans({
    **dict.fromkeys(_MINUS, "-"),
    "\uff0b": "+",
    "\uff0c": ",",
    **dict.fromkeys("\uff0e\u066b", "."),
    **dict.fromkeys("\uff5e\u301c\u223c", "~"),
    **dict.fromkeys("\uff5b\ufe5b\ufe37", "{"),
    **dict.fromkeys("\uff5d\ufe5c\ufe38", "}"),
    "\uff5c": "|",
    "\uff02": '"',
    **dict.fromkeys(map(chr, COLONS), ":"),
})  # fmt: skip


def with_plain_signs(text: str) -> str:
    """A text, as long as before, with the signs of programs for those of typesetting and of other keyboards.

    For the small languages that people write: numbers, ranges, - for none, names in braces. Dashes of all lengths are
    minus signs. Commas between items are read by `pieces`, as one may stand in a number.
    """
    return text.translate(_SIGNS)


def plain(text: object, most_letters: int | None = None) -> str:
    """A value as a text of one line, without control characters, of at most `most_letters` letters.

    text: anything; None, which a link may bring, gives "".
    """
    if text is None:
        return ""
    line = _UNFIT.sub(" ", str(text)).strip(BLANKS)
    if most_letters is not None and len(line) > most_letters:
        return f"{line[: most_letters - 3]}..."
    return line


def writable(text: str) -> str:
    """A text as sys.stderr can write it: letters that its encoding (cp1252, cp932, ascii) lacks become \\u5c0f.

    Python's own sys.stderr escapes them itself. The stream that ComfyUI puts in its place raises, also while Python
    reports that the log has raised. That ends ComfyUI's one worker, and every later prompt would wait for ever.
    """
    stream = sys.stderr
    # Any other error handler than "strict" does not raise. Without a console (pythonw) the stream is None.
    if getattr(stream, "errors", None) != "strict":
        return text
    return text.encode(stream.encoding, "backslashreplace").decode(stream.encoding)


# For commands on Windows, see `as_typed`. A single quote within single quotes is written twice.
_PLAIN_WORD = re.compile(r"[\w./:\\~+=-]+")
_ACTS_IN_DOUBLE_QUOTES = re.compile('["$`%\u201c-\u201e]')
_SINGLE_QUOTE = re.compile("['\u2018-\u201b]")


def as_typed(word: object, system: str = os.name) -> str:
    """A path or another word of a command that is printed, in quotes where the shell needs them. system: as os.name.

    On Windows double quotes are used, which both cmd and PowerShell know. A word with a letter that acts within double
    quotes gets single ones, which PowerShell alone knows. PowerShell takes curly quotes for straight ones.
    """
    text = str(word)
    if system != "nt":
        return shlex.quote(text)
    if _PLAIN_WORD.fullmatch(text):
        return text
    if not _ACTS_IN_DOUBLE_QUOTES.search(text):
        return f'"{text}"'
    doubled = _SINGLE_QUOTE.sub(r"\g<0>\g<0>", text)
    return f"'{doubled}'"


def items_in(text: str) -> list[str]:
    """The items of a list: what stands between separators or in lines, "" where nothing stands between two separators.

    Empty lines are left out. A separator at the end of a line and the line's end count as one separator. A text without
    items gives [""]. Quotation marks around an item are no part of it.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    items: list[str] = []
    for line in lines:
        if items and not items[-1]:  # the line before has ended with a separator
            items.pop()
        items += map(unquoted, pieces(line, COMMA))
    return items or [""]


def pieces(text: str, sign: str, most_cuts: int | None = None) -> list[str]:
    """The pieces of a text between signs of one kind, COMMA, COLON or BLANK: of all of them, or of the first few.

    What is in quotation marks is not cut, so "Lee, Jo" is one name.
    """
    outside = _QUOTED.sub(lambda quoted: "_" * len(quoted[0]), _with_plain_signs(text))  # as long as the text
    cuts = [cut.span() for cut in re.finditer(sign, outside)][:most_cuts]
    starts = [0, *(end for _, end in cuts)]
    ends = [*(start for start, _ in cuts), len(text)]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def _with_plain_signs(text: str) -> str:
    return with_commas(text).translate(COLONS)


def unquoted(text: str) -> str:
    """A plain text without the quotation marks around it."""
    line = plain(text)
    quoted = _QUOTED.match(_with_plain_signs(line))
    return plain(line[1:-1]) if quoted and quoted.end() == len(line) else line


def number_in(text: str) -> int | None:
    """The whole number that a text is, in the digits of any script; None for another text and for ten digits or more,
    of which Python reads no more than some thousands."""
    return int(text) if text.isdecimal() and len(text) < 10 else None


def with_commas(text: str) -> str:
    """A text with "," in the place of all that people write between the items of a list: the commas and semicolons of
    all scripts, such as Chinese and Arabic."""
    return "".join("," if _is_separator(letter) else letter for letter in text)


def _is_separator(letter: str) -> bool:
    # By its name: Unicode adds commas with every script. Accents have them in their names too, and are no punctuation.
    return category(letter) == "Po" and not {"COMMA", "SEMICOLON"}.isdisjoint(name(letter, "").split())


def names_in(text: str) -> list[str]:
    """The names of a list, "" for an empty one."""
    return [plain(item, MOST_NAME_LETTERS) for item in items_in(text)]


def list_of(names: Sequence[str]) -> str:
    """Names as the list that `names_in` reads."""
    return ", ".join(map(_as_item, names))


def _as_item(name: str) -> str:
    """A name as an item of a list: in quotation marks where it would be read as another one without them."""
    if items_in(name) == [name] and not _AT_AN_END.search(name):
        return name
    quoted = (f'"{name}"', f"'{name}'")
    return next((item for item in quoted if items_in(item) == [name]), name)


def plain_lines(text: str) -> str:
    """A text of several lines, each line made plain, see `plain`."""
    return "\n".join(map(plain, text.split("\n")))


def in_one_line(error: Exception) -> str:
    """The start of an error's text, or its type where it has none, to be quoted inside a message of ours."""
    if isinstance(error, RecursionError):  # Python's text is about itself
        return "one thing lies in another too often"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _in_plain_lines(record: logging.LogRecord) -> bool:
    """A filter of our log: the message of every record is made plain and writable before it is written."""
    record.msg = writable(plain_lines(record.getMessage()))
    record.args = ()
    return True


logger = logging.getLogger("likeness")
logger.addFilter(_in_plain_lines)
