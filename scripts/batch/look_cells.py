"""Cells that name a saved person and a look, such as "anna: red coat"."""

from __future__ import annotations

from typing import NamedTuple

from core.checks.text import COLON, pieces, unquoted


class NamedLook(NamedTuple):
    """What stands before the colon of a cell, and behind it, each "" for nothing."""

    file: str
    look: str


def look_in(cell: str) -> NamedLook | None:
    r"""The person and the look that a cell names; None where it names no look.

    A colon in quotation marks is none, nor is that of C:\people or file:///people.
    """
    end = -1
    for piece in pieces(cell, COLON)[:-1]:
        end += len(piece) + 1
        if not cell[end + 1 :].startswith(("/", "\\")):
            return NamedLook(cell[:end].strip(), unquoted(cell[end + 1 :]))
    return None
