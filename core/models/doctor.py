"""What of a workflow's models is there, and what is wrong. Looks at names, lengths and headers; writes nothing."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable

from .commands import fetching
from .examine import examine
from .findings import DAMAGED, NOTE, OK, Diagnosis, Finding
from .manifest import Model, human
from .search import MOST, Folders, crowded


def report(
    subject: str,
    wanted: Iterable[Model],
    folders: Folders,
    around: Iterable[Finding] = (),
    between: Callable[[], object] = lambda: None,
) -> Diagnosis:
    """Examine `wanted` models; around: what is known of the host and its packages; between: called before each model,
    what it raises ends the report."""
    findings = list(around)
    for model in _once(wanted):
        between()
        findings.append(examine(model, folders))
    findings += map(_crowded, crowded(folders))
    mend = [one.mend for one in findings if one.mend]
    fetch = [fetching(one.fetch, folders, resume=one.state != DAMAGED) for one in findings if one.fetch]
    return Diagnosis(subject, tuple(findings), (*mend, *(command for commands in fetch for command in commands)))


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
