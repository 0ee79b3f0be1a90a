"""What of a workflow's models is there, what is wrong, and the commands that put it right.

Looks at names, lengths and headers; writes nothing. What is found is said in findings.py, which folders are looked
through in searched_folders.py, what is not there in missing.py, where else a model lies in elsewhere.py, face packs in
face_pack_places.py, and the commands in fetch_commands.py.
"""

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from ..methods import Format
from ..names import among, ending, folded, spelled
from . import formats
from .elsewhere import move, moved, renamed, target
from .face_pack_places import examine_pack
from .fetch_commands import fetching
from .files import no_model
from .findings import DAMAGED, FOUND, MISPLACED, MISSING, NOTE, OK, RENAMED, WRONG, Diagnosis, Finding
from .formats import CONTROLNET
from .manifest import File, Model, human, models
from .missing import nothing_there
from .needs import SINGLE
from .searched_folders import MOST, Folders
from .tensors import NotTensors, described_tensors
from .torchscript import is_archive

AGAIN = "Download it again."


@dataclass(frozen=True)
class Trouble:
    """Why a file that is there cannot be used. details: sentences."""

    state: str
    details: tuple[str, ...]


def examine(model: Model, folders: Folders) -> Finding:
    """Whether a model is there, and if not, whether something like it is."""
    if model.format == "face-pack":
        return examine_pack(model, folders) or nothing_there(model, folders)
    places = {file: _place(file, model, folders) for file in model.files}
    lost = [file for file, path in places.items() if path is None]
    finding = _trouble_of(model, [path for path in places.values() if path])
    if finding:
        return finding
    if not lost:
        return Finding(model.title, FOUND, (_where(model, places[model.files[0]], folders),))
    if len(lost) < len(model.files):
        names = ", ".join(file.names[0] for file in lost)
        details = (f"Not complete: {names}.", f"All of it is at {model.page}.")
        return Finding(model.title, MISSING, details, model)
    # Of a file of the user's own nothing but its name tells which one is meant.
    if not model.page:
        return nothing_there(model, folders)
    return _elsewhere(model, folders) or nothing_there(model, folders)


def _trouble_of(model: Model, paths: Sequence[Path]) -> Finding | None:
    """The trouble with the files of a model that are there, None where they are whole and of the right kind."""
    # Which kind of model each of several files is, the model does not say.
    of_kind = model if len(model.files) == 1 else None
    for path in paths:
        trouble = _trouble(path, of_kind)
        if trouble:
            is_fetched_anew = model.page and trouble.state == DAMAGED
            return Finding(model.title, trouble.state, trouble.details, model if is_fetched_anew else None)
    return None


def _elsewhere(model: Model, folders: Folders) -> Finding | None:
    """A published model under another name, or in the folder of something else."""
    for name, path in renamed(model, folders):
        # Our own loaders take a file under any name in their folder.
        if formats.known(model.format).ours and len(model.files) == 1:
            return Finding(model.title, FOUND, (str(path),))
        state = RENAMED if model.chosen else FOUND
        return Finding(model.title, state, (f"{path}: choose {name} in its loader.",))
    for path in moved(model, folders):
        return Finding(model.title, MISPLACED, (move(path, target(model, folders)),))
    return None


def _trouble(path: Path, model: Model | None) -> Trouble | None:
    """The trouble with a file, None where there is none. Without a model only damage is looked for."""
    try:
        what = no_model(path)
    except OSError as error:
        return Trouble(DAMAGED, (f"{path} cannot be read ({error.strerror}): look at its permissions.",))
    if what:
        return Trouble(DAMAGED, (f"{path} is {what}.", AGAIN))
    if ending(path.name) == ".json":
        return None
    if model and model.name.endswith(".torchscript"):
        if is_archive(path):
            return None
        return Trouble(DAMAGED, (f"{path} is no whole TorchScript archive.", AGAIN))
    try:
        state = described_tensors(path)
    except NotTensors as error:
        return Trouble(DAMAGED, (f"{path} is {error}.", AGAIN))
    if not state:
        return Trouble(DAMAGED, (f"{path} holds no tensors.", AGAIN))
    if model is None:
        return None
    return _wrong_kind(path, model, formats.identify(state), formats.family(state))


def _wrong_kind(path: Path, model: Model, found: Format | None, made_for: str | None) -> Trouble | None:
    """Whether a whole file is another model. found, made_for: its format and family, None where nobody can say."""
    if not model.format:
        return None
    expected = formats.known(model.format)
    if found is None and expected.ours:
        return Trouble(WRONG, (f"{path} is an unknown file, not {expected.title}.",))
    if found and found is not expected:
        return Trouble(WRONG, (f"{path} is {found.title}; {expected.title} is needed.", found.belongs))
    if model.format != CONTROLNET:
        return None
    if made_for and made_for != model.family:
        return Trouble(WRONG, (f"{path} is a ControlNet for {made_for}; one for {model.family} is needed.",))
    return _other_control_net(path, model)


def _other_control_net(path: Path, model: Model) -> Trouble | None:
    """A ControlNet of one of our methods where that of another is needed: only their lengths tell."""
    length = path.stat().st_size
    if model.files[0].resembles(length):
        return None
    for other in models():
        is_of_a_method = other.format == model.format and other.nodes and other.id != model.id and other.size
        if is_of_a_method and other.files[0].resembles(length):
            size = human(length)
            detail = f"{path} is, by its length ({size}), the {other.title}; {model.title} has {model.size_text}."
            return Trouble(WRONG, (detail,))
    return None


def _place(file: File, model: Model, folders: Folders) -> Path | None:
    """The path of a file of a model: under one of its names, or under a name that is the same in another spelling; None
    where it is not there."""
    roots: list[str] = []
    for key in (model.key, *model.further):
        roots += folders.get(key, ())
    for root in roots:
        for name in file.names:
            for path in _paths(Path(root), name, model):
                if os.path.isfile(path):  # also of names that no file can have
                    return path
    for root in roots:
        there = dict(folders.listed(root))
        for name in file.names:
            entry = among(name, there)
            if entry and os.path.isfile(there[entry]):
                return there[entry]
    return None


def _paths(root: Path, name: str, model: Model) -> Iterator[Path]:
    """Where a file of this name may lie below a folder searched.

    Of a model of several files the folder searched may be its own, as its loader takes it, too.
    """
    yield root / name
    folder, _, inside = name.partition("/")
    if len(model.files) > 1 and inside and root.name.lower() == folder.lower():
        yield root / inside


def _where(model: Model, path: Path | None, folders: Folders) -> str:
    """The path of a model that is there, and what has to be known of its name: a loader of the host's offers it under
    the name that it has on the disk."""
    is_ours = model.format and formats.known(model.format).ours
    roots = [Path(root) for root in folders.get(model.key, ()) if path and path.is_relative_to(root)]
    if is_ours or not roots or not path:
        return str(path)
    name = path.relative_to(roots[0]).as_posix()
    written: list[str] = []
    for file in model.files:
        written += [PurePath(other).as_posix() for other in file.names]
    if spelled(name) in [spelled(other) for other in written]:
        return str(path)
    if folded(name) in [folded(other) for other in written]:
        return f"{path}: {name} is the same name in other capitals."
    return f"{path}: choose {name} in its loader."


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
    findings = list(around)
    folders = Folders(known)
    for model in _once(wanted):
        between()
        findings.append(replace(examine(model, folders), needed_for=users(model), name=model.name))
    for folder in folders.crowded():
        nearest = f"It holds more than {MOST} files, and only the nearest of them were looked at."
        findings.append(Finding(folder, NOTE, (nearest,)))
    findings.sort(key=_rank)
    commands: list[str] = []
    for finding in findings:
        if finding.fetch:
            commands += fetching(finding.fetch, folders, resume=finding.state != DAMAGED)
    return Diagnosis(subject, tuple(findings), tuple(commands))


def _rank(finding: Finding) -> tuple[bool, bool, bool]:
    """The order of a report: missing models first, those of a method before those of single templates; then files that
    are to be mended, then those in place."""
    return (finding.is_good, finding.state != MISSING, finding.needed_for == SINGLE)


def absent(wanted: Iterable[Model], known: Mapping[str, Sequence[str]]) -> list[Model]:
    """Those of which nothing is in its place."""
    folders = Folders(known)
    return [model for model in _once(wanted) if examine(model, folders).state in (MISSING, MISPLACED)]


def to_fix(wanted: Iterable[Model], known: Mapping[str, Sequence[str]]) -> list[Finding]:
    """The findings for which the host would refuse to run a workflow with these models: all that `report` has to fix,
    in its order."""
    return [finding for finding in report("", wanted, known).findings if not finding.is_good]


def _once(wanted: Iterable[Model]) -> Iterable[Model]:
    """Every model once, with as much of it as anybody needs, and chosen where anybody has chosen it."""
    kept: dict[tuple[str, str], Model] = {}
    for model in wanted:
        known = kept.setdefault((model.key, model.name), model)
        most = model if len(model.files) > len(known.files) else known
        kept[model.key, model.name] = replace(most, chosen=model.chosen or known.chosen)
    return kept.values()


def host(name: str) -> Finding:
    """The host itself. name: of it, and its version."""
    return Finding(name.split()[0], OK, (f"{name}, Python {platform.python_version()} on {platform.system()}",))
