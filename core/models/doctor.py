"""The models of a workflow that are there, what is wrong, and the commands that put it right.

The doctor looks at names, lengths and headers of files and writes nothing.
"""

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..methods import Format
from ..names import ending, folded, same_name
from . import formats
from .doctor_findings import DAMAGED, FOUND, MISPLACED, MISSING, NOTE, OK, RENAMED, WRONG, Diagnosis, Finding
from .elsewhere import move, moved, renamed, target
from .face_pack_places import examine_pack
from .fetch_commands import fetching
from .files import no_model, spelled_otherwise, unfinished
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
    """The reason why a file that is there cannot be used. state: DAMAGED or WRONG. details: sentences."""

    state: str
    details: tuple[str, ...]


def examine(model: Model, folders: Folders) -> Finding:
    """The finding about a model: whether it is there and usable, and if not, whether it lies under another name or in
    another folder."""
    if model.format == "face-pack":
        return examine_pack(model, folders) or nothing_there(model, folders)
    path_of = [(file, _path_of_file(file, model, folders)) for file in model.files]
    paths = [path for _, path in path_of if path]
    missing = [file for file, path in path_of if not path]
    finding = _trouble_of(model, paths)
    if finding:
        return finding
    if not missing:
        return Finding(model.title, FOUND, (_path_with_hint(paths[0], model, folders),))
    if paths:
        names = ", ".join(file.names[0] for file in missing)
        details = (f"Not complete: {names}.", f"All of it is at {model.page}.")
        return Finding(model.title, MISSING, details, model)
    # A file that nobody publishes has no page. It is known by its name alone, so it cannot be found under another name.
    if not model.page:
        return nothing_there(model, folders)
    return _elsewhere(model, folders) or nothing_there(model, folders)


def _trouble_of(model: Model, paths: Sequence[Path]) -> Finding | None:
    """The trouble with the files of a model that are there, None where they are whole and of the right kind."""
    # The format in the manifest is that of a model's only file. Files of a model of several are searched for damage
    # alone.
    expected_model = model if len(model.files) == 1 else None
    for path in paths:
        trouble = _trouble(path, expected_model)
        if trouble:
            is_downloaded_again = model.page and trouble.state == DAMAGED
            fetch = model if is_downloaded_again else None
            return Finding(model.title, trouble.state, trouble.details, fetch)
    return None


def _elsewhere(model: Model, folders: Folders) -> Finding | None:
    """The finding about a published model that lies under another name or in the folder of something else; None where
    it lies nowhere. Of several files the first one counts."""
    for name, path in renamed(model, folders):
        finding = _trouble_of(model, [path])
        if finding:
            return finding
        # Our own loaders take a file under any name in their folder.
        if formats.known(model.format).ours and len(model.files) == 1:
            return Finding(model.title, FOUND, (str(path),))
        # Where a loader has chosen the published name, the user has to choose the other name there.
        state = RENAMED if model.chosen else FOUND
        return Finding(model.title, state, (f"{path}: choose {name} in its loader.",))
    for path in moved(model, folders):
        return Finding(model.title, MISPLACED, (move(path, target(model, folders)),))
    return None


def _trouble(path: Path, model: Model | None) -> Trouble | None:
    """The trouble with a file, None where there is none.

    model: what the file should be; without it only damage is looked for.
    """
    try:
        problem = no_model(path) or unfinished(path)
    except OSError as error:
        return Trouble(DAMAGED, (f"{path} cannot be read ({error.strerror}): look at its permissions.",))
    if problem:
        return Trouble(DAMAGED, (f"{path} is {problem}.", AGAIN))
    if ending(path.name) == ".json":  # a configuration of a released folder, which holds no tensors
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


def _wrong_kind(path: Path, model: Model, file_format: Format | None, family: str | None) -> Trouble | None:
    """The trouble with a whole file that is another model, None where it is the right one.

    file_format, family: what the file is and for which family it is made, None where its tensors do not tell.
    """
    if not model.format:
        return None
    expected = formats.known(model.format)
    # Of a format that is not ours there may be files with other keys, which match no rule.
    if file_format is None and expected.ours:
        return Trouble(WRONG, (f"{path} is an unknown file, not {expected.title}.",))
    if file_format and file_format is not expected:
        problem = f"{path} is {file_format.title}; {expected.title} is needed."
        return Trouble(WRONG, (problem, file_format.belongs))
    if model.format != CONTROLNET:
        return None
    if family and family != model.family:
        return Trouble(WRONG, (f"{path} is a ControlNet for {family}; one for {model.family} is needed.",))
    return _other_control_net(path, model)


def _other_control_net(path: Path, model: Model) -> Trouble | None:
    """The trouble with a ControlNet that is published for another of our methods than the one that `model` is for; None
    where it is any other file.

    Their tensors have the same names and shapes, so the length of the file decides.
    """
    length = path.stat().st_size
    if model.files[0].resembles(length):
        return None
    for other in models():
        is_of_another_method = other.format == model.format and other.nodes and other.id != model.id
        if is_of_another_method and other.files[0].resembles(length):
            size = human(length)
            detail = f"{path} is, by its length ({size}), the {other.title}; {model.title} has {model.size_text}."
            return Trouble(WRONG, (detail,))
    return None


def _path_of_file(file: File, model: Model, folders: Folders) -> Path | None:
    """The path of a file of a model: under one of its names, or under a name that is the same in another spelling;
    None where it is not there."""
    roots = [root for key in (model.key, *model.further) for root in folders.get(key, ())]
    for root in roots:
        for name in file.names:
            for path in _paths(Path(root), name, model):
                # Not Path.is_file: for names that no file can have, such as very long ones, which workflows may hold,
                # it may raise OSError; os.path.isfile returns False.
                if os.path.isfile(path):
                    return path
    # Then names in another spelling: other capitals, accents or separators.
    for root in roots:
        path = spelled_otherwise(file.names, dict(folders.listed(root)))
        if path:
            return path
    return None


def _paths(root: Path, name: str, model: Model) -> Iterator[Path]:
    """The paths at which a file of a model may lie below one of the folders searched.

    A model of several files lies in a folder of its own: "folder/file". Where extra_model_paths.yaml names that folder
    itself as a model folder, loaders find the file directly in it.
    """
    yield root / name
    folder, _, name_in_folder = name.partition("/")
    if len(model.files) > 1 and name_in_folder and root.name.lower() == folder.lower():
        yield root / name_in_folder


def _path_with_hint(path: Path, model: Model, folders: Folders) -> str:
    """The path of a model that is there, and where a menu of the host shows the file under another name than the
    workflow has, what to choose.

    Our own loaders take a name in any spelling, so their models need no hint.
    """
    is_ours = model.format and formats.known(model.format).ours
    roots = [root for root in folders.get(model.key, ()) if path.is_relative_to(root)]
    if is_ours or not roots:
        return str(path)
    in_menu = path.relative_to(roots[0]).as_posix()
    expected = [name for file in model.files for name in file.names]
    if any(same_name(in_menu, name) for name in expected):
        return str(path)
    if any(folded(in_menu) == folded(name) for name in expected):
        return f"{path}: {in_menu} is the same name in other capitals."
    return f"{path}: choose {in_menu} in its loader."


def report(
    subject: str,
    wanted: Iterable[Model],
    known: Mapping[str, Sequence[str]],
    host_findings: Iterable[Finding] = (),
    before_each_model: Callable[[], object] = lambda: None,
    users: Callable[[Model], str] = lambda _: "",
) -> Diagnosis:
    """A diagnosis of the models that a workflow needs.

    subject: what is diagnosed, as of a Diagnosis. wanted: the models, some perhaps several times. known: model key ->
    folders, as `Folders` takes them. host_findings: findings about the host, which are part of the diagnosis.
    before_each_model: called before each model; an error that it raises, such as that the user has cancelled, ends the
    report. users: says what needs a model, see `needs.users`.
    """
    findings = list(host_findings)
    folders = Folders(known)
    for model in _without_repeats(wanted):
        before_each_model()
        findings.append(replace(examine(model, folders), needed_for=users(model), name=model.name))
    for folder in folders.crowded():
        nearest = f"It holds more than {MOST} files, and only the nearest of them were looked at."
        findings.append(Finding(folder, NOTE, (nearest,)))
    findings.sort(key=_report_order)
    commands: list[str] = []
    for finding in findings:
        if finding.fetch:
            commands += fetching(finding.fetch, folders, resume=finding.state != DAMAGED)
    return Diagnosis(subject, tuple(findings), tuple(commands))


def _report_order(finding: Finding) -> tuple[bool, bool, bool]:
    """The sort key of a report: missing models first, those of a method before those of single templates; then files
    that are to be mended, then files in place. False sorts before True."""
    return (finding.is_good, finding.state != MISSING, finding.needed_for == SINGLE)


def models_to_fetch(wanted: Iterable[Model], known: Mapping[str, Sequence[str]]) -> list[Model]:
    """The models that are missing or lie in another folder, each once. known: as of `report`."""
    folders = Folders(known)
    return [model for model in _without_repeats(wanted) if examine(model, folders).state in (MISSING, MISPLACED)]


def _without_repeats(models_of_workflows: Iterable[Model]) -> Iterable[Model]:
    """Every model once. A model comes several times where several workflows need it, and may differ: a face pack may be
    without its recogniser, and a loader may have chosen it or not. The one with the most files is taken, and it counts
    as chosen where any workflow has chosen it."""
    unique: dict[tuple[str, str], Model] = {}
    for model in models_of_workflows:
        key = (model.key, model.name)
        earlier = unique.setdefault(key, model)
        fuller = model if len(model.files) > len(earlier.files) else earlier
        unique[key] = replace(fuller, chosen=model.chosen or earlier.chosen)
    return unique.values()


def host(name: str) -> Finding:
    """A line of the report about the host itself. name: of the host, with its version."""
    return Finding(name.split()[0], OK, (f"{name}, Python {platform.python_version()} on {platform.system()}",))
