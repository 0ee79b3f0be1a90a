"""Whether the files of a model are there, whole, and what they should be."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from ..errors import UnsupportedCheckpoint
from ..methods import Format
from . import formats, onnx_file, packs
from .files import no_model
from .findings import DAMAGED, FOUND, MISPLACED, MISSING, WRONG, Finding
from .formats import CONTROLNET
from .manifest import File, Model, human, models
from .onnx_file import Kind
from .search import Folders, everything, listed, moved, place, renamed, target
from .tensors import shapes
from .torchscript import is_archive


def examine(model: Model, folders: Folders) -> Finding:
    """Whether a model is there, and if not, whether something like it is."""
    if model.format == "face-pack":
        return _pack(model, folders) or _missing(model, folders)
    places = {file: place(file, model, folders) for file in model.files}
    lost = [file for file, path in places.items() if path is None]
    for path in filter(None, places.values()):
        if trouble := _trouble(path, model if len(model.files) == 1 else None):
            return Finding(model.title, *trouble, fetch=_fetchable(model) if trouble[0] == DAMAGED else None)
    if not lost:
        return Finding(model.title, FOUND, str(places[model.files[0]]))
    if len(model.files) == 1:
        return _alike(model, folders) or _misplaced(model, folders) or _missing(model, folders)
    if len(lost) < len(model.files):
        names = ", ".join(file.names[0] for file in lost)
        return Finding(model.title, MISSING, f"Not complete: {names}. All of it is at {model.page}.", model)
    return _alike(model, folders) or _missing(model, folders)


def _fetchable(model: Model) -> Model | None:
    return model if model.page else None


def _trouble(path: Path, model: Model | None) -> tuple[str, str] | None:
    """State and detail of a file that is not what it should be; without a model: of one that is not whole."""
    try:
        what = no_model(path)
    except OSError as error:
        return DAMAGED, f"{path} cannot be read ({error.strerror}): look at its permissions."
    if what:
        return DAMAGED, f"{path} is {what}. Download it again."
    if path.suffix == ".json":
        return None
    if model and model.name.endswith(".torchscript"):
        return None if is_archive(path) else (DAMAGED, f"{path} is no whole TorchScript archive. Download it again.")
    try:
        state = shapes(path)
    except ValueError as error:
        return DAMAGED, f"{path} is {error}. Download it again."
    if not state:
        return DAMAGED, f"{path} holds no tensors. Download it again."
    return model and _wrong_kind(path, model, formats.identify(state), formats.family(state))


def _wrong_kind(path: Path, model: Model, found: Format | None, made_for: str | None) -> tuple[str, str] | None:
    if not model.format:
        return None
    expected = formats.known(model.format)
    if found is None and expected.ours:
        return WRONG, f"{path} is an unknown file, not {expected.title}."
    if found and found is not expected:
        return WRONG, f"{path} is {found.title}; {expected.title} is needed. {found.belongs}"
    if model.format != CONTROLNET:
        return None
    if made_for and made_for != model.family:
        return WRONG, f"{path} is a ControlNet for {made_for}; one for {model.family} is needed."
    length = path.stat().st_size
    twins = () if model.files[0].resembles(length) else (one for one in _twins(model) if one.files[0].resembles(length))
    for twin in twins:
        size = human(length)
        return WRONG, f"{path} is, by its length ({size}), the {twin.title}; {model.title} has {model.size_text}."
    return None


def _twins(model: Model) -> Iterator[Model]:
    """ControlNets of our methods that only their lengths tell from this one."""
    return (one for one in models() if one.format == model.format and one.nodes and one != model and model.size)


def _alike(model: Model, folders: Folders) -> Finding | None:
    for name, path in renamed(model, folders):
        # Our own loaders take a file under any name in their folder.
        finds_it = formats.known(model.format).ours and len(model.files) == 1
        return Finding(model.title, FOUND, str(path) if finds_it else f"{path}: choose {name} in its loader.")
    return None


def _misplaced(model: Model, folders: Folders) -> Finding | None:
    for path in moved(model, folders):
        return Finding(model.title, MISPLACED, f"{path} is it: move it to {target(model, folders)}.")
    return None


def _missing(model: Model, folders: Folders) -> Finding:
    others = f" Or {', or '.join(model.alternatives)}." if model.alternatives else ""
    place = target(model, folders)
    where = f"{place} is not there"
    if not model.page:
        return Finding(model.title, MISSING, f"{where}; choose a file that is.")
    return Finding(model.title, MISSING, f"{where} ({model.size_text}).{others}", model, place=place)


# --- Face packs


def _pack(model: Model, folders: Folders) -> Finding | None:
    """Whether detector and recogniser of a face pack are there, in any of the layouts in which people have them;
    None where there is nothing of the pack."""
    roots = folders.get(model.key, ())
    found = [
        (name, path) for root in roots for name, path in listed(root) if path.suffix == ".onnx" and os.path.isfile(path)
    ]
    here = [path for name, path in found if packs.pack_of(name) == model.name]
    if not here and len(model.files) == 1 and (other := _detector(found)):
        name, path = other
        choose = f"If the workflow has a Load Face Model, choose {packs.pack_of(name)} in it."
        return Finding(model.title, FOUND, f"Only a detector is needed, and {path.parent} has one. {choose}")
    try:
        kinds = {onnx_file.inspect(str(path)).kind for path in here}
    except UnsupportedCheckpoint as error:
        return Finding(model.title, DAMAGED, f"{error.problem} {error.advice}", model)
    lost = [file.part for file, kind in _needed(model) if kind not in kinds]
    if lost and here:
        return Finding(model.title, MISSING, f"{here[0].parent} has no {' and no '.join(lost)}.", model)
    if lost:
        return _misplaced_pack(model, folders)
    folder = here[0].parent
    if folder.parent.name == folder.name:
        return Finding(model.title, FOUND, f"{folder}: nested twice, which Likeness reads and other packs may not.")
    return Finding(model.title, FOUND, str(folder))


def _detector(found: Iterable[tuple[str, Path]]) -> tuple[str, Path] | None:
    """A whole detector of any pack: its name and path."""
    for name, path in found:
        with contextlib.suppress(UnsupportedCheckpoint):
            if onnx_file.inspect(str(path)).kind is Kind.DETECTOR:
                return name, path
    return None


def _needed(model: Model) -> Iterator[tuple[File, Kind]]:
    kinds = {"detector": Kind.DETECTOR, "recogniser": Kind.RECOGNISER}
    return ((file, kinds[file.part]) for file in model.files)


def _misplaced_pack(model: Model, folders: Folders) -> Finding | None:
    names = {PurePath(file.names[0]).name for file in model.files}
    for path in everything(folders):
        if path.name == f"{model.name}.zip":
            return Finding(model.title, MISPLACED, f"{path} is not unpacked: unpack it into {target(model, folders)}.")
        if path.name in names and path.parent.name == model.name:
            return Finding(model.title, MISPLACED, f"{path.parent} is it: move it to {target(model, folders)}.")
    return None
