"""What to type to get a model where it belongs, in a Linux or macOS shell or in PowerShell."""

from __future__ import annotations

import os
import sys

from .manifest import Model
from .search import Folders, home


def fetching(model: Model, folders: Folders, system: str = os.name, resume: bool = True) -> tuple[str, ...]:
    """The commands. resume: go on with what is there, instead of beginning anew."""
    curl = ("curl.exe -fL" if system == "nt" else "curl -fL") + " -C -" * resume
    python = program(sys.executable, system).replace("{", "{{").replace("}", "}}")
    return model.commands(home(model, folders), curl, python + ' -m zipfile -e "{archive}" "{folder}"')


def program(path: str, system: str) -> str:
    """PowerShell calls a program whose path is quoted by an ampersand only."""
    return f'& "{path}"' if system == "nt" else f'"{path}"'
