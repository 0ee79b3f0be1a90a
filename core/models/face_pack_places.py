"""Whether the files of a face pack are there, in any of the layouts in which people have them."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from ..errors import UnsupportedCheckpoint, listed
from ..names import among, ending, folded
from . import onnx_file, packs
from .doctor_findings import DAMAGED, FOUND, MISPLACED, MISSING, RENAMED, Finding
from .elsewhere import move, target
from .manifest import Model, is_standin
from .missing import nothing_there
from .onnx_file import Kind
from .searched_folders import Folders


@dataclass(frozen=True)
class PackFile:
    """An .onnx file of any face pack. name: relative to its model folder, as the loader's menu has it."""

    name: str
    path: Path

    @property
    def pack(self) -> str:
        """The pack that the file belongs to."""
        return packs.pack_of(self.name)


def examine_pack(model: Model, folders: Folders) -> Finding | None:
    """The finding about a face pack: about its own files, else about a detector that will do, else about files in the
    wrong place, else about a detector to choose instead. None where there is nothing of these."""
    files = list(_pack_files(model, folders))
    pack = _chosen(model, files, folders)
    files_of_pack = [file for file in files if file.pack == pack]
    if files_of_pack:
        return _finding_about_files(model, files_of_pack)
    # Another pack may do where a detector alone is needed: then `needs` has left the recogniser out of the files.
    detector = _first_detector(files) if len(model.files) == 1 else None
    if detector and not model.chosen:
        enough = f"Only a detector is needed, and {detector.path.parent} has one."
        choose = f"If the workflow has a Load Face Embedder, choose {detector.pack} in it."
        return Finding(model.title, FOUND, (enough, choose))
    misplaced = _misplaced(model, files, folders)
    if misplaced:
        return misplaced
    if not detector:
        return None
    alternative = f"choose the face pack {detector.pack}, which is there"
    return nothing_there(replace(model, alternatives=(alternative,)), folders)


def _pack_files(model: Model, folders: Folders) -> Iterator[PackFile]:
    for root in folders.get(model.key, ()):
        for name, path in folders.listed(root):
            if ending(name) == ".onnx" and os.path.isfile(path):
                yield PackFile(packs.name_in(root, name), path)


def _chosen(model: Model, files: Iterable[PackFile], folders: Folders) -> str | None:
    """The name, among the packs of `files`, of the pack that Load Face Embedder would load for the model's name, in any
    spelling; None where it would find none."""
    available = list(dict.fromkeys(file.pack for file in files))
    name = among(model.name, available) or model.name
    return packs.chosen(name, available, folders.get(model.key, ()))


def _finding_about_files(model: Model, files: list[PackFile]) -> Finding:
    """The finding about a pack of which there are files, at least one: they may be all, too few or damaged."""
    kinds: set[str] = set()  # of the networks, by the names of onnx_file.Kind, which the manifest uses for `File.part`
    for file in files:
        try:
            kinds.add(onnx_file.inspect(str(file.path)).kind.name.lower())
        except UnsupportedCheckpoint as error:
            return Finding(model.title, DAMAGED, (error.problem, error.advice), model)
    lost = [file.part for file in model.files if file.part not in kinds]
    folder = files[0].path.parent
    if lost:
        return Finding(model.title, MISSING, (f"{folder} has no {' and no '.join(lost)}.",), model)
    if folder.parent.name.lower() == folder.name.lower():
        nested = f"{folder}: nested twice, which Likeness reads and other packs may not."
        return Finding(model.title, FOUND, (nested,))
    return Finding(model.title, FOUND, (str(folder),))


def _first_detector(files: Iterable[PackFile]) -> PackFile | None:
    """The first of these files that is a detector with keypoints; None where none is. Damaged files are passed over.
    The demo's stand-in comes last."""
    for file in sorted(files, key=lambda file: is_standin(file.pack)):
        with contextlib.suppress(UnsupportedCheckpoint):
            if onnx_file.inspect(str(file.path)).kind is Kind.DETECTOR:
                return file
    return None


def _misplaced(model: Model, files: Iterable[PackFile], folders: Folders) -> Finding | None:
    """The finding about a pack that lies in another folder than its own, as the zip that it comes in or unpacked; None
    where it lies nowhere. files: the .onnx files in the folders of face packs."""
    into = target(model, folders)
    needed = {folded(PurePath(file.names[0]).name) for file in model.files}
    archive = f"{folded(model.name)}.zip"
    for path in folders.everything():
        name = folded(path.name)
        # A link that leads nowhere is no file.
        if name not in (archive, *needed) or not os.path.isfile(path):
            continue
        if name == archive:
            return Finding(
                model.title, MISPLACED, (f"{path} is not unpacked: unpack it into {model.unpacked_into(into)}.",)
            )
        if folded(path.parent.name) == folded(model.name):
            return Finding(model.title, MISPLACED, (_moving(model, path.parent, folders),))
    return _under_another_name(model, files, folders)


def _under_another_name(model: Model, files: Iterable[PackFile], folders: Folders) -> Finding | None:
    """The finding about a folder of any name that holds all files of the pack, such as "antelopev2 (1)", as browsers
    name a second download; None where there is none. files: the .onnx files in the folders of face packs."""
    pack_of_folder = {file.path.parent: file.pack for file in files}
    for folder in _folders_with_all(model, folders):
        pack = pack_of_folder.get(folder)
        if pack is None:  # not in the folders of face packs
            return Finding(model.title, MISPLACED, (_moving(model, folder, folders),))
        return Finding(model.title, RENAMED, (f"{folder}: choose {pack} in Load Face Embedder.",))
    return None


def _moving(model: Model, folder: Path, folders: Folders) -> str:
    """A sentence that says what to do with a folder in the wrong place that holds files of the pack: to move all of it,
    or these files alone where the folder is a model folder or holds anything else."""
    into = target(model, folders)
    names = sorted(os.listdir(folder))
    of_pack = [name for name in names if packs.comes_with(model, name)]
    if of_pack == names and not _is_model_folder(folder, model, folders):
        return move(folder, into)
    return f"Move {listed(of_pack)} from {folder} into {into}."


def _is_model_folder(folder: Path, model: Model, folders: Folders) -> bool:
    """Whether a folder is searched for models, or lies directly in the folder of all models under another name than
    that of the pack."""
    roots = {os.path.realpath(root) for searched in folders.values() for root in searched}
    if os.path.realpath(folder) in roots:
        return True
    of_all = {os.path.realpath(root) for root in folders.get("", ())}
    return os.path.realpath(folder.parent) in of_all and folded(folder.name) != folded(model.name)


def _folders_with_all(model: Model, folders: Folders) -> Iterator[Path]:
    """Every folder that holds all files of the pack, each with its published name and length."""
    file_of_name = {folded(PurePath(file.names[0]).name): file for file in model.files}
    names_in: dict[Path, set[str]] = {}  # folder -> the names of the pack's files in it
    for path in folders.everything():
        name = folded(path.name)
        if name not in file_of_name or not os.path.isfile(path):
            continue
        # Other networks have the same names: glintr100.onnx is one of AuraFace's files too.
        if file_of_name[name].fits(path.stat().st_size):
            names_in.setdefault(path.parent, set()).add(name)
    for folder, names in names_in.items():
        if len(names) == len(file_of_name):
            yield folder
