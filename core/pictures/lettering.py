"""Letters of previews: fonts, and texts broken into lines or cut where they are too long. Widths are pixels."""

import math
from bisect import bisect_right
from collections.abc import Sequence
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
    words: list[str] = plain(text).split(" ")
    lines: list[str] = []
    while words:
        if len(lines) + 1 >= most_lines:  # no line may follow this one
            return [*lines, cut_to(" ".join(words), font, width)]
        count = _count_that_fits(words, " ", font, width)
        if count:
            lines.append(" ".join(words[:count]))
            words = words[count:]
            continue
        # The first word is longer than a line: its beginning, at least a letter, fills this line.
        letter_count = max(1, _count_that_fits(words[0], "", font, width))
        lines.append(words[0][:letter_count])
        rest = words[0][letter_count:]
        words = [rest, *words[1:]] if rest else words[1:]
    return lines


def _count_that_fits(pieces: Sequence[str], between: str, font: Any, width: float, end: str = "") -> int:
    """How many of the first pieces of a text fit into a line of `width` pixels, 0 to all.

    pieces: words or letters. between: what stands between two of them. end: what stands behind the last one.
    """

    def width_of(count: int) -> float:
        return font.getlength(between.join(pieces[:count]) + end)

    # Bisected, because texts grow with every piece: of the counts 1, 2, ... as many fit as the largest that does.
    return bisect_right(range(1, len(pieces) + 1), width, key=width_of)


def cut_to(text: str, font: Any, width: float) -> str:
    """A text in one line: all of it where it fits into `width` pixels, else as much of its beginning as fits with dots
    after it, "" where not even one letter fits.
    """
    text = plain(text[:_MOST_LETTERS])
    if font.getlength(text) <= width:
        return text
    letter_count = _count_that_fits(text[:-1], "", font, width, end=DOTS)
    return text[:letter_count] + DOTS if letter_count else ""
