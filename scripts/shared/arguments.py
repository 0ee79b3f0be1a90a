"""Kinds of values on a command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from .given_files import plain_path


def positive(text: str) -> int:
    if not text.isdecimal() or len(text) >= 10 or not int(text):
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number from 1 to 999999999")
    return int(text)


def path_or_url(text: str) -> str:
    """A path as people copy it, or a URL."""
    plain = plain_path(text)
    if not plain:
        raise argparse.ArgumentTypeError("it is empty")
    return plain


def path_of(text: str) -> Path:
    return Path(path_or_url(text))
