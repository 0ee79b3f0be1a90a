"""The command of a run as it is typed in any folder, so that a row can be made once more."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from environment import script_command

from core.checks.text import as_typed

from .folders import without_login

_OF_ROWS = ("jobs", "part", "only", "move_seeds")
"""The table, which comes first; and what says which of its rows are made, and by which seeds."""


def typed(options: argparse.Namespace, system: str = os.name) -> str:
    """The command of batch.py by its options, for PowerShell on Windows. It makes all rows; --only behind it chooses
    some. system: as os.name.

    Without the logins of addresses, because others may read it.
    """
    words = [_absolute(options.jobs)]
    for name, value in vars(options).items():
        if name in _OF_ROWS or value is None or value is False or value == "":
            continue
        option = f"--{name.replace('_', '-')}"
        for one in value if isinstance(value, list) else [value]:
            words.append(option if one is True else f"{option}={_AS_TYPED.get(name, str)(one)}")
    # PowerShell takes a quoted path for a text without it; cmd, which quotes otherwise, then runs nothing.
    call = "& " if system == "nt" else ""
    return " ".join([f"{call}{script_command('batch.py')}", *(as_typed(word, system) for word in words)])


def _absolute(address: object) -> str:
    text = str(address)
    return without_login(text) if "://" in text else os.path.abspath(text)


def _absolute_file(name: str) -> str:
    """A file that is there. Any other name is a template's, or one that the shell finds."""
    return os.path.abspath(name) if os.path.isfile(name) else name


def _without_token(url: str) -> str:
    return without_login(url).partition("?")[0]


_AS_TYPED: dict[str, Callable[[Any], str]] = {
    "workflow": _absolute_file,
    "python": _absolute_file,
    "output": _absolute,
    "photos": _absolute,
    "models": _absolute,
    "server": _without_token,
    "set": "=".join,
    "keep": "best-of:{}".format,
}
"""How the values of options are typed that are more than a word or a number."""
