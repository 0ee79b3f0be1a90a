"""What of a workflow's models is there, what is wrong, and the commands that put it right, for a shell or PowerShell.

Looks at names, lengths and headers; writes nothing.
"""

import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from .examine import MOST, Folders, examine, home
from .findings import DAMAGED, GOOD, MISPLACED, MISSING, NOTE, OK, SINGLE, Diagnosis, Finding
from .manifest import File, Model


def report(
    subject: str,
    wanted: Iterable[Model],
    known: Mapping[str, Sequence[str]],
    around: Iterable[Finding] = (),
    between: Callable[[], object] = lambda: None,
    users: Callable[[Model], str] = lambda _: "",
) -> Diagnosis:
    """Examine `wanted` models. known: as `Folders`; around: what is known of the host; between: called before each
    model, what it raises ends the report; users: what needs a model, see `needs.users`."""
    found, folders = list(around), Folders(known)
    for model in _once(wanted):
        between()
        found.append(replace(examine(model, folders), needed_for=users(model)))
    nearest = f"It holds more than {MOST} files, and only the nearest of them were looked at."
    found += [Finding(folder, NOTE, nearest) for folder in folders.crowded()]
    # What is missing first, and of that what a method needs; then what is to be mended, then what is in place.
    found.sort(key=lambda one: (one.state in GOOD, one.state != MISSING, one.needed_for == SINGLE))
    fetch = [fetching(one.fetch, folders, resume=one.state != DAMAGED) for one in found if one.fetch]
    return Diagnosis(subject, tuple(found), tuple(command for commands in fetch for command in commands))


def absent(wanted: Iterable[Model], known: Mapping[str, Sequence[str]]) -> list[Model]:
    """Those of which nothing is in its place."""
    folders = Folders(known)
    return [model for model in _once(wanted) if examine(model, folders).state in (MISSING, MISPLACED)]


def _once(wanted: Iterable[Model]) -> Iterable[Model]:
    """Every model once, with as much of it as anybody needs."""
    kept: dict[tuple[str, str], Model] = {}
    for model in wanted:
        known = kept.setdefault((model.key, model.name), model)
        if len(model.files) > len(known.files):
            kept[model.key, model.name] = model
    return kept.values()


def host(name: str) -> Finding:
    return Finding(name.split()[0], OK, f"{name}, Python {platform.python_version()} on {platform.system()}")


def fetching(model: Model, folders: Folders, system: str = os.name, resume: bool = True) -> tuple[str, ...]:
    """The commands. resume: go on with what is there, instead of beginning anew."""
    folder, (file, *others) = home(model, folders), model.fetched
    if others:
        hf = f'hf download {model.repository} --local-dir "{folder / model.name}" --include'
        return tuple(f'{hf} "{_pattern(model, file)}"' for file in model.fetched)
    target, curl = folder / file.names[0], "curl.exe" if system == "nt" else "curl"
    options = "-fL -C -" if resume else "-fL"
    fetch = f'{curl} {options} --create-dirs -o "{target}" {model.url_of(file, file.names[0])}'
    call = "& " if system == "nt" else ""  # without which PowerShell takes a quoted path for a text
    unpack = f'{call}"{sys.executable}" -m zipfile -e "{target}" "{target.with_suffix("")}"'
    return (fetch, unpack) if model.archive else (fetch,)


def _pattern(model: Model, file: File) -> str:
    names = [name.removeprefix(f"{model.name}/") for name in file.names]
    return f"{names[0].split('.')[0]}.*" if len(names) > 1 else names[0]
