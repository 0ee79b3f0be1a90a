"""Kinds of values on a command line."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    if not text.isdecimal() or len(text) >= 10 or not int(text):
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number from 1 to 999999999")
    return int(text)
