"""The colours of all icons. Those of numbers are the ones that previews give to places."""

from __future__ import annotations

from core.previews import color_of

BACKGROUND = "#1d1e23"
START_BACKGROUND = "#1c335c"
"""Behind the icons of the templates that one begins with."""
TILE = "#475260"
PANEL = "#2d3038"
FRAME = "#757b86"
WHITE = "#f4f4f0"
PAPER = "#e2e3e8"
INK = "#15161d"
GREY = "#979ba8"
DARK_GREY = "#5a5f69"
GREEN = "#0f9d78"
RED = "#cf4c49"
MAGENTA = "#d455c8"
NO_ONE = "#8f929b"
"""Of people who are nobody yet."""
NO_ONES_HAIR = "#6d7078"
NO_ONES_CLOTHES = "#5c5e66"


def of_number(number: int) -> str:
    """The colour of a person's number, which begins at 1."""
    red, green, blue = color_of(number - 1)
    return f"#{red:02x}{green:02x}{blue:02x}"
