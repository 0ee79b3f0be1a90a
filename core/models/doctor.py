"""What of a workflow's models is there, and what is wrong. Looks at names, lengths and headers; writes nothing."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from dataclasses import replace

from .commands import fetching
from .examine import examine
from .findings import DAMAGED, MISPLACED, MISSING, NOTE, OK, Diagnosis, Finding, by_urgency
from .manifest import Model, human
from .search import MOST, Folders, crowded


def report(
    subject: str,
    wanted: Iterable[Model],
    folders: Folders,
    around: Iterable[Finding] = (),
    between: Callable[[], object] = lambda: None,
    users: Callable[[Model], str] = lambda _: "",
) -> Diagnosis:
    """Examine `wanted` models; around: what is known of the host and its packages; between: called before each model,
    what it raises ends the report; users: what needs a model, see `uses.users`."""
    found = list(around)
    for model in _once(wanted):
        between()
        found.append(replace(examine(model, folders), needed_for=users(model)))
    found += map(_crowded, crowded(folders))
    findings = by_urgency(found)
    mend = [one.mend for one in findings if one.mend]
    fetch = [fetching(one.fetch, folders, resume=one.state != DAMAGED) for one in findings if one.fetch]
    return Diagnosis(subject, findings, (*mend, *(command for commands in fetch for command in commands)))


def absent(wanted: Iterable[Model], folders: Folders) -> list[Model]:
    """Those of which nothing is in its place."""
    return [model for model in _once(wanted) if examine(model, folders).state in (MISSING, MISPLACED)]


def _crowded(folder: str) -> Finding:
    return Finding(folder, NOTE, f"It holds more than {MOST} files, and only the nearest of them were looked at.")


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
