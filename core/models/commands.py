"""What to type to get a model where it belongs, in a Linux or macOS shell or in PowerShell."""

from __future__ import annotations

import os
import sys

from .manifest import File, Model
from .search import Folders, home


def fetching(model: Model, folders: Folders, system: str = os.name, resume: bool = True) -> tuple[str, ...]:
    """The commands. resume: go on with what is there, instead of beginning anew."""
    folder, (file, *others) = home(model, folders), model.fetched
    if others:
        hf = f'hf download {model.repository} --local-dir "{folder / model.name}" --include'
        return tuple(f'{hf} "{_pattern(model, file)}"' for file in model.fetched)
    target, curl = folder / file.names[0], "curl.exe" if system == "nt" else "curl"
    options = "-fL -C -" if resume else "-fL"
    fetch = f'{curl} {options} --create-dirs -o "{target}" {model.url_of(file, file.names[0])}'
    unpack = f'{program(sys.executable, system)} -m zipfile -e "{target}" "{target.with_suffix("")}"'
    return (fetch, unpack) if model.archive else (fetch,)


def _pattern(model: Model, file: File) -> str:
    """All of its published names, of which its repository has one."""
    names = [name.removeprefix(f"{model.name}/") for name in file.names]
    return f"{names[0].split('.')[0]}.*" if len(names) > 1 else names[0]


def program(path: str, system: str) -> str:
    """PowerShell calls a program whose path is quoted by an ampersand only."""
    return f'& "{path}"' if system == "nt" else f'"{path}"'
