"""What of a workflow's models is there, what is wrong, and the commands that put it right, for a shell or PowerShell.

Looks at names, lengths and headers; writes nothing.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from .examine import MOST, Folders, examine, home
from .findings import CLASH, DAMAGED, MISPLACED, MISSING, NOTE, OK, Diagnosis, Finding, by_urgency
from .manifest import File, Model, human


def report(
    subject: str,
    wanted: Iterable[Model],
    known: Mapping[str, Sequence[str]],
    around: Iterable[Finding] = (),
    between: Callable[[], object] = lambda: None,
    users: Callable[[Model], str] = lambda _: "",
) -> Diagnosis:
    """Examine `wanted` models. known: as `Folders`; around: what is known of the host and its packages; between: called
    before each model, what it raises ends the report; users: what needs a model, see `needs.users`."""
    found, folders = list(around), Folders(known)
    for model in _once(wanted):
        between()
        found.append(replace(examine(model, folders), needed_for=users(model)))
    nearest = f"It holds more than {MOST} files, and only the nearest of them were looked at."
    found += [Finding(folder, NOTE, nearest) for folder in folders.crowded()]
    findings = by_urgency(found)
    mend = [one.mend for one in findings if one.mend]
    fetch = [fetching(one.fetch, folders, resume=one.state != DAMAGED) for one in findings if one.fetch]
    return Diagnosis(subject, findings, (*mend, *(command for commands in fetch for command in commands)))


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


def machine(torch_version: str, device: str, free: int | None) -> Finding:
    """free: bytes of the device's memory, None where that cannot be asked."""
    memory = f", {human(free)} of its memory free" if free else ""
    return Finding("torch", OK, f"{torch_version} on {device}{memory}")


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
    unpack = f'{program(sys.executable, system)} -m zipfile -e "{target}" "{target.with_suffix("")}"'
    return (fetch, unpack) if model.archive else (fetch,)


def _pattern(model: Model, file: File) -> str:
    names = [name.removeprefix(f"{model.name}/") for name in file.names]
    return f"{names[0].split('.')[0]}.*" if len(names) > 1 else names[0]


def program(path: str, system: str) -> str:
    """PowerShell calls a program whose path is quoted by an ampersand only."""
    return f'& "{path}"' if system == "nt" else f'"{path}"'


# The one to keep of several first.
_BUILDS = {
    "onnxruntime": [f"onnxruntime{kind}" for kind in ("-gpu", "-directml", "-openvino", "-rocm", "")],
    "cv2": [f"opencv-{kind}" for kind in ("contrib-python", "python", "contrib-python-headless", "python-headless")],
}


def packages(installed: Mapping[str, str], python: str = sys.executable, system: str = os.name) -> tuple[Finding, ...]:
    """Which builds of onnxruntime and OpenCV are installed: several of one write into the same folder, and the last
    one that was installed has overwritten parts of the others. installed: name -> version."""
    pip, then = f"{program(python, system)} -m pip", ";" if system == "nt" else " &&"
    found: list[Finding] = []
    for module, builds in _BUILDS.items():
        here = [name for name in builds if name in installed]
        named = ", ".join(f"{name} {installed[name]}" for name in here)
        if len(here) < 2:
            found.append(
                Finding(module, OK if here else NOTE, named or "not installed; the node that needs it says so.")
            )
            continue
        keep = f"{here[0]}=={installed[here[0]]}"
        mend = f'{pip} uninstall -y {" ".join(here)}{then} {pip} install --no-deps "{keep}"'
        found.append(Finding(module, CLASH, f"{named} overwrite each other. Fix it with: {mend}", mend=mend))
    return tuple(found)
