"""Letters of previews: fonts, and texts broken into lines or cut where they are too long. Widths are pixels."""

import math
from bisect import bisect_right
from functools import cache
from typing import Any

import PIL
from PIL import ImageFont

from ..checks.errors import BadSetup
from ..checks.text import plain

# Pillow's own font has ASCII alone. Of these fonts most systems have one; it has the letters of the system's language.
_SYSTEM_FONTS = ("msyh.ttc", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "arial.ttf")
DOTS = "..."
"""The end of a text that was cut."""
_MOST_LETTERS = 1000
"""Letters of a caption after which it is cut: more fit into no picture, and Pillow refuses very long texts."""


def font_for(text: str, size: int) -> Any:
    """A Pillow font that has the letters of a text. size: pixels."""
    return _font(from_system=not text.isascii(), size=size)


@cache
def _font(from_system: bool, size: int) -> Any:
    """A Pillow font of this size in pixels: the first of the system's fonts that is there, or Pillow's own.

    Raises BadSetup for a Pillow below 10.1, whose own font has one size.
    """
    if from_system:
        for name in _SYSTEM_FONTS:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    try:
        return ImageFont.load_default(size)
    except TypeError as error:
        why = f"Pillow is {PIL.__version__}; previews are written with the font of Pillow 10.1 or newer."
        advice = "With the Python that runs ComfyUI: python -m pip install -U pillow"
        raise BadSetup(why, advice) from error


def in_lines(text: str, font: Any, width: float, most_lines: float = math.inf) -> list[str]:
    """A text in up to `most_lines` lines of `width` pixels, the last one cut where it is too long.

    Lines are broken between words, and inside of words that are longer than a line.
    """
    if most_lines != math.inf:  # without a limit all of the text is wanted
        text = text[:_MOST_LETTERS]
    words = plain(text).split(" ")
    lines: list[str] = []
    while words and len(lines) < most_lines - 1:  # all lines that may be followed by another one
        count = _words_that_fit(words, font, width)
        if not count:  # the first word is longer than a line: its first piece fills this line
            words = [*_broken_word(words[0], font, width), *words[1:]]
            count = 1
        lines.append(" ".join(words[:count]))
        words = words[count:]
    if words:
        lines.append(cut_to(" ".join(words), font, width))
    return lines


def _words_that_fit(words: list[str], font: Any, width: float) -> int:
    """How many of the first words fit into a line of `width` pixels, 0 to all."""
    # Found by bisection, because texts grow with every word. bisect_right gives how many of the counts 1, 2, ... have
    # texts that fit, and so the largest count that fits, 0 for none.
    counts = range(1, len(words) + 1)
    return bisect_right(counts, width, key=lambda count: font.getlength(" ".join(words[:count])))


def _broken_word(word: str, font: Any, width: float) -> list[str]:
    """A word that is longer than a line, in two pieces: the letters that fit into the line, at least one, and the rest.

    A word of one letter stays one piece, and "" gives [].
    """
    counts = range(1, len(word))  # bisected as in _words_that_fit
    letter_count = bisect_right(counts, width, key=lambda letters_tried: font.getlength(word[:letters_tried])) or 1
    pieces = [word[:letter_count], word[letter_count:]]
    return [piece for piece in pieces if piece]


def cut_to(text: str, font: Any, width: float) -> str:
    """A text in one line: all of it where it fits into `width` pixels, else as much of its beginning as fits with dots
    after it, "" where not even one letter fits.
    """
    text = plain(text[:_MOST_LETTERS])
    if font.getlength(text) <= width:
        return text
    counts = range(1, len(text))  # bisected as in _words_that_fit
    letter_count = bisect_right(counts, width, key=lambda letters_tried: font.getlength(text[:letters_tried] + DOTS))
    return text[:letter_count] + DOTS if letter_count else ""
