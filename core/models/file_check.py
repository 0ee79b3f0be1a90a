"""The models of a workflow that are there, what is wrong, and the commands that put it right.

It looks at names, lengths and headers of files and writes nothing.
"""

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path, PurePath
from typing import NamedTuple

from ..checks.errors import UnsupportedCheckpoint, listed
from ..checks.names import among, ending, folded
from ..checks.text import MOST_NAME_LETTERS, plain
from ..earlier import NO_SUCH_NODE
from ..methods import Format
from . import formats, onnx_file, packs
from .file_findings import DAMAGED, FOUND, GONE, MISPLACED, MISSING, NOTE, OK, RENAMED, WRONG, Diagnosis, Finding
from .files import dead_link, no_model, spelled_otherwise, unfinished
from .formats import CONTROLNET
from .manifest import File, Model, human, is_standin, models
from .model_folders import MOST, Folders, fetching, moved, renamed, target
from .onnx_file import Kind
from .template_needs import SINGLE
from .tensors import NotTensors, described_tensors
from .workflow_needs import Chosen

AGAIN = "Download it again."


@dataclass(frozen=True)
class Trouble:
    """The reason why a file that is there cannot be used. state: DAMAGED or WRONG. details: sentences."""

    state: str
    details: tuple[str, ...]


def examine(model: Model, folders: Folders) -> Finding:
    """The finding about a model.

    Trouble with one of its files that are there comes first; then whether all, some or none of its files are there. Of
    a published model of which none is there, files under other names and in other folders are looked for.
    """
    if model.format == "face-pack":
        return _pack(model, folders)
    path_of = {file.names[0]: _path_of_file(file, model, folders) for file in model.files}
    paths = [path for path in path_of.values() if path]
    missing = [name for name, path in path_of.items() if not path]
    bad_finding = _trouble_of(model, paths)
    if bad_finding:
        return bad_finding
    if not missing:
        details = (_path_with_hint(paths[0], model, folders), *_tensors_where_no_size_is_published(paths[0], model))
        return Finding(model.title, FOUND, details)
    if paths:
        details = (f"Not complete: {listed(missing)}.", f"All of it is at {model.page}.")
        return Finding(model.title, MISSING, details, model)
    # A file that nobody publishes has no page. It is known by its name alone, so it cannot be found under another name.
    finding_elsewhere = _elsewhere(model, folders) if model.page else None
    return finding_elsewhere or _nothing(model, folders)


def _trouble_of(model: Model, paths: Sequence[Path]) -> Finding | None:
    """The finding about the first of these files that is damaged or of the wrong kind; None where all are right.

    paths: of the model's files that are there.
    """
    # The format in the manifest is that of a model's only file. Files of a model of several are searched for damage
    # alone.
    expected_model = model if len(model.files) == 1 else None
    for path in paths:
        trouble = _trouble(path, expected_model)
        if trouble:
            # A file of the wrong kind is whole: another one has to be chosen. Without a page nothing can be downloaded.
            helps_to_download = model.page and trouble.state == DAMAGED
            fetch = model if helps_to_download else None
            return Finding(model.title, trouble.state, trouble.details, fetch)
    return None


def why_not_loaded(file: Chosen, folders: Folders) -> str:
    """What is wrong with a file that a loader could not read: sentences, of one that is damaged or belongs into another
    folder; "" where the file does not tell, or is not there."""
    for root in [root for key in (file.key, *file.further) for root in folders.get(key, ())]:
        path = Path(root) / file.name
        if not path.is_relative_to(root) or ".." in path.parts or not os.path.isfile(path):
            continue
        trouble = _trouble(path, None)
        if trouble:
            return " ".join(trouble.details)
        file_format, _ = formats.recognised(path)
        if file_format is None or f"models/{file.key}" in file_format.belongs:
            return ""
        return f"{path} is {file_format.title}. {file_format.belongs}"
    return ""


def _elsewhere(model: Model, folders: Folders) -> Finding | None:
    """The finding about a published model that lies under another name, else about one that lies in the folder of
    something else; None where it lies nowhere. Of several files that may be it the first one counts."""
    for file in renamed(model, folders):  # returns at the first one, if there is any
        bad_finding = _trouble_of(model, [file.path])
        if bad_finding:
            return bad_finding
        # Our own loaders take a file under any name in their folder.
        if formats.known(model.format).ours and len(model.files) == 1:
            return Finding(model.title, FOUND, (str(file.path), *_tensors_where_no_size_is_published(file.path, model)))
        # Where a loader has chosen the published name, the user has to choose the other name there.
        state = RENAMED if model.chosen else FOUND
        return Finding(model.title, state, (f"{file.path}: choose {file.name} in its loader.",))
    for file in moved(model, folders):  # returns at the first one, if there is any
        moving = f"{file.path} is it: move it to {target(model, folders)}."
        return Finding(model.title, MISPLACED, (moving,))
    return None


def _tensors_where_no_size_is_published(path: Path, model: Model) -> list[str]:
    """Where a model's page states no size to compare with, a sentence that says how many tensors the file has.

    [] where a size is stated, and for a model that nobody publishes. path: of a file that is known to be whole.
    """
    if model.size is not None or not model.page:
        return []
    tensors = described_tensors(path)
    size = human(path.stat().st_size)
    return [f"No size is published to compare with; all {len(tensors)} tensors that it lists are in it ({size})."]


def _nothing(model: Model, folders: Folders) -> Finding:
    """The finding about a model of which no file is found: where it belongs, and what can be used instead."""
    place = target(model, folders)
    in_the_way = _in_the_way(model, folders)
    if in_the_way:
        return Finding(model.title, MISSING, (in_the_way,), model if model.page else None, place=place)
    if not model.page:
        kind = "a face pack" if model.format == "face-pack" else "a file"
        return Finding(model.title, MISSING, (f"{place} is not there; choose {kind} that is.",))
    details = [f"{place} is not there ({model.size_text})."]
    if model.alternatives:
        details.append(f"Or {', or '.join(model.alternatives)}.")
    return Finding(model.title, MISSING, tuple(details), model, place=place)


def _in_the_way(model: Model, folders: Folders) -> str:
    """A sentence about a link to nowhere or a folder that has the name of one of the model's files; "" for neither."""
    names = [name for file in model.files for name in file.names]
    for root, name in product(folders.get(model.key, ()), names):
        path = os.path.join(root, name)
        leads_to = dead_link(path)
        if leads_to is not None:
            return f"{path} is a link to {leads_to}, and there is no file: its disk may not be connected."
        if os.path.isdir(path):
            return f"{path} is a folder, and a file is needed there."
    return ""


def _trouble(path: Path, model: Model | None) -> Trouble | None:
    """The trouble with a file, None where there is none.

    model: what the file should be; without it only damage is looked for.
    """
    # First what can be told without the list of tensors.
    try:
        problem = no_model(path) or unfinished(path)
    except OSError as error:
        return Trouble(DAMAGED, (f"{path} cannot be read ({error.strerror}): look at its permissions.",))
    if problem:
        return Trouble(DAMAGED, (f"{path} is {problem}.", AGAIN))
    if ending(path.name) == ".json":  # a configuration of a released folder, which holds no tensors
        return None
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
    """The trouble with a file that is whole but of another format or family than `model`; None where it is right.

    file_format, family: what the file is and for which family it is made, None where its tensors do not tell.
    """
    if not model.format:
        return None
    expected = formats.known(model.format)
    # A file that matches no rule is refused only where all keys of the expected format are known.
    if file_format is None and expected.ours:
        return Trouble(WRONG, (f"{path} is an unknown file, not {expected.title}.",))
    if file_format and file_format is not expected:
        problem = f"{path} is {file_format.title}; {expected.title} is needed."
        return Trouble(WRONG, (problem, file_format.belongs))
    if model.format != CONTROLNET:  # ControlNets of several families and methods have this one format
        return None
    if family and family != model.family:
        return Trouble(WRONG, (f"{path} is a ControlNet for {family}; one for {model.family} is needed.",))
    return _other_control_net(path, model)


def _other_control_net(path: Path, model: Model) -> Trouble | None:
    """The trouble with a ControlNet that is published for another method than `model`; None for any other file.

    Their tensors have the same names and shapes, so the length of the file decides.
    """
    length = path.stat().st_size
    if model.files[0].resembles(length):
        return None
    for other in models():
        # A published ControlNet that nodes of ours need is a method's own.
        is_of_another_method = other.format == model.format and other.nodes and other.id != model.id
        if is_of_another_method and other.files[0].resembles(length):
            size = human(length)
            detail = f"{path} is, by its length ({size}), the {other.title}; {model.title} has {model.size_text}."
            return Trouble(WRONG, (detail,))
    return None


def _path_of_file(file: File, model: Model, folders: Folders) -> Path | None:
    """The path of a file of a model in the model's own folders; None where it is not there.

    A file under one of its names in any folder comes before a file whose name is the same in another spelling.
    """
    roots = [root for key in (model.key, *model.further) for root in folders.get(key, ())]
    for root, name in product(roots, file.names):
        for path in _paths(Path(root), name, model):
            # Not Path.is_file: for names that no file can have, such as very long ones, which workflows may hold, it
            # may raise OSError; os.path.isfile returns False.
            if os.path.isfile(path):
                return path
    # Then names in another spelling: other capitals, accents or separators.
    for root in roots:
        path = spelled_otherwise(file.names, {there.name: there.path for there in folders.below(root)})
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
    """The path of a model that is there, as a text; with a hint where the host's menu shows another name than the
    workflow has.

    There is none where the names differ in their spelling alone, for models of our own loaders, which take a name in
    any spelling, and for files outside of the model's own folders.
    """
    is_ours = model.format and formats.known(model.format).ours
    roots = [root for root in folders.get(model.key, ()) if path.is_relative_to(root)]
    if is_ours or not roots:
        return str(path)
    in_menu = path.relative_to(roots[0]).as_posix()
    expected = {folded(name) for file in model.files for name in file.names}
    if folded(in_menu) in expected:
        return str(path)
    return f"{path}: choose {in_menu} in its loader."


# Face packs, in any of the layouts in which people have them

_Packs = Mapping[str, Sequence[Path]]
"""Name of a pack, as its loader's menu has it -> the .onnx files in it."""


def _pack(model: Model, folders: Folders) -> Finding:
    """The finding about a face pack: about its own files, else about a detector that will do, else about files in the
    wrong place, else that nothing is there, perhaps with a detector to choose instead."""
    there = _packs_there(model, folders)
    # The pack that Load Face Embedder would load for the model's name, in any spelling.
    name = among(model.name, there) or model.name
    own_pack = packs.chosen(name, available=[*there], roots=folders.get(model.key, ()))
    if own_pack:
        return _pack_there(model, there[own_pack])
    # Another pack may do where a detector alone is needed: then `needs` has left the recogniser out of the files.
    detector = _first_detector(there) if len(model.files) == 1 else None
    if detector and not model.chosen:  # where a loader has chosen the pack, no other one is loaded in its place
        enough = f"Only a detector is needed, and {detector.folder} has one."
        choose = f"If the workflow has a Load Face Embedder, choose {detector.pack} in it."
        return Finding(model.title, FOUND, (enough, choose))
    misplaced = _misplaced_pack(model, there, folders)
    if misplaced:
        return misplaced
    if detector:
        model = replace(model, alternatives=(f"choose the face pack {detector.pack}, which is there",))
    return _nothing(model, folders)


def _packs_there(model: Model, folders: Folders) -> _Packs:
    """The packs in the folders of face packs."""
    there: dict[str, list[Path]] = {}
    for file in folders.of(model.key):
        if ending(file.name) == ".onnx" and os.path.isfile(file.path):
            there.setdefault(packs.pack_of(packs.name_in(file.root, file.name)), []).append(file.path)
    return there


def _pack_there(model: Model, paths: Sequence[Path]) -> Finding:
    """The finding about a pack of which there are files, at least one: they may be all, too few or damaged."""
    kinds: set[str] = set()  # of the networks, by the names of onnx_file.Kind, which the manifest uses for `File.part`
    for path in paths:
        try:
            kinds.add(onnx_file.inspect(str(path)).kind.name.lower())
        except UnsupportedCheckpoint as error:
            return Finding(model.title, DAMAGED, (error.problem, error.advice), model)
    lost = [file.part for file in model.files if file.part not in kinds]
    folder = paths[0].parent
    if lost:
        return Finding(model.title, MISSING, (f"{folder} has no {' and no '.join(lost)}.",), model)
    return Finding(model.title, FOUND, (str(folder),))


class _DetectorThere(NamedTuple):
    """A detector with keypoints that is there: its pack, and the folder in which its file lies."""

    pack: str
    folder: Path


def _first_detector(there: _Packs) -> _DetectorThere | None:
    """The detector of the first pack that has one with keypoints; None where none has. Damaged files are passed over.
    The demo's stand-in comes last."""
    for pack in sorted(there, key=is_standin):
        for path in there[pack]:
            with suppress(UnsupportedCheckpoint):
                if onnx_file.inspect(str(path)).kind is Kind.DETECTOR:
                    return _DetectorThere(pack, path.parent)
    return None


def _misplaced_pack(model: Model, there: _Packs, folders: Folders) -> Finding | None:
    """The finding about a pack that lies somewhere else than it should; None where it lies nowhere.

    RENAMED where the loader's menu shows it under another name, such as "antelopev2 (1)", as browsers name a second
    download. MISPLACED where it is unpacked in any other wrong folder, and where only its zip is there.
    """
    found = _files_of_pack(model, folders)
    pack_of_folder = {path.parent: pack for pack, paths in there.items() for path in paths}
    for folder, names in found.names_in.items():
        if not _is_called(model, folder):
            if len(names) < len(model.files):  # in a folder of another name all of the files make this pack, not some
                continue
            if folder in pack_of_folder:  # the loader's menu shows it, under that name
                choose = f"{folder}: choose {pack_of_folder[folder]} in Load Face Embedder."
                return Finding(model.title, RENAMED, (choose,))
        moving = f"Move {listed(sorted(names))} from {folder} into {target(model, folders)}."
        return Finding(model.title, MISPLACED, (moving,))
    if found.archives:
        into = model.unpacked_into(target(model, folders))
        unpack = f"{found.archives[0]} is not unpacked: unpack it into {into}."
        return Finding(model.title, MISPLACED, (unpack,))
    return None


class _PackFiles(NamedTuple):
    """Files of a pack, wherever they lie. names_in: folder -> the names of those in it. archives: its zip."""

    names_in: dict[Path, set[str]]
    archives: list[Path]


def _files_of_pack(model: Model, folders: Folders) -> _PackFiles:
    """The files in any model folder that belong to a pack.

    Its zip is known by its name. Any other file must have the name of a file of the pack and, besides, lie in a folder
    of the pack's name or have the length of that file.
    """
    file_of_name = {folded(PurePath(file.names[0]).name): file for file in model.files}
    archive_name = f"{folded(model.name)}.zip"
    found = _PackFiles({}, [])
    for there in folders.everything():
        path = there.path
        name = folded(path.name)
        has_its_name = name == archive_name or name in file_of_name
        if not has_its_name or not os.path.isfile(path):  # a link may lead nowhere
            continue
        if name == archive_name:
            found.archives.append(path)
        # The name alone is not enough: glintr100.onnx is one of AuraFace's files too.
        elif _is_called(model, path.parent) or file_of_name[name].fits(path.stat().st_size):
            found.names_in.setdefault(path.parent, set()).add(path.name)
    return found


def _is_called(model: Model, folder: Path) -> bool:
    return folded(folder.name) == folded(model.name)


# The report


def report(
    subject: str,
    wanted: Iterable[Model],
    known: Mapping[str, Sequence[str]],
    other_findings: Iterable[Finding] = (),
    before_each_model: Callable[[], object] = lambda: None,
    users: Callable[[Model], str] = lambda _: "",
) -> Diagnosis:
    """A diagnosis of the models that a workflow needs.

    subject: what is diagnosed, as of a Diagnosis. wanted: the models, some perhaps several times. known: model key ->
    folders, as `Folders` takes them. other_findings: findings about the host and about nodes, which are part of
    the diagnosis.
    before_each_model: called before each model; an error that it raises, such as that the user has cancelled, ends the
    report. users: says what needs a model, see `needs.users`.
    """
    findings = list(other_findings)
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
            commands += fetching(finding.fetch, folders, resume=finding.state != DAMAGED)  # else the damage would stay
    return Diagnosis(subject, tuple(findings), tuple(commands))


def _report_order(finding: Finding) -> tuple[bool, bool, bool]:
    """The sort key of a report: missing models first, those of a method before those of single templates; then files
    that are to be mended, then files in place. False sorts before True."""
    is_of_single_templates = finding.needed_for == SINGLE
    return (finding.is_good, finding.state != MISSING, is_of_single_templates)


def models_to_fetch(wanted: Iterable[Model], known: Mapping[str, Sequence[str]]) -> list[Model]:
    """The models that are missing or lie in another folder, each once. known: as of `report`."""
    folders = Folders(known)
    return [model for model in _without_repeats(wanted) if examine(model, folders).state in (MISSING, MISPLACED)]


def _without_repeats(models_of_workflows: Iterable[Model]) -> Iterable[Model]:
    """Every model once, in the order of first appearance.

    A model that several workflows need comes several times, and may differ: a face pack may be without its recogniser,
    and a loader may have chosen it or not. The one with the most files is taken. It counts as chosen if any workflow
    has chosen it.
    """
    unique: dict[tuple[str, str], Model] = {}
    for model in models_of_workflows:
        key = (model.key, model.name)
        earlier = unique.setdefault(key, model)  # the model itself where it comes for the first time
        fuller = model if len(model.files) > len(earlier.files) else earlier
        unique[key] = replace(fuller, chosen=model.chosen or earlier.chosen)
    return unique.values()


def gone(kinds: Iterable[str]) -> list[Finding]:
    """Lines of the report about nodes that the pack no longer has. kinds: their types."""
    return [Finding(plain(kind, MOST_NAME_LETTERS), GONE, (NO_SUCH_NODE,)) for kind in kinds]


def host(name: str) -> Finding:
    """A line of the report about the host itself. name: of the host, with its version."""
    return Finding(name.split()[0], OK, (f"{name}, Python {platform.python_version()} on {platform.system()}",))
