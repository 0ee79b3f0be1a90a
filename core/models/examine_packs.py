"""Whether the detector and the recogniser of a face pack are there, in any of the layouts in which people have them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from ..errors import UnsupportedCheckpoint
from . import onnx_file, packs
from .findings import DAMAGED, FOUND, MISPLACED, MISSING, Finding
from .manifest import File, Model
from .onnx_file import Kind
from .search import Folders, everything, listed, target


def examine(model: Model, folders: Folders) -> Finding | None:
    """None where there is nothing of the pack."""
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
        return _misplaced(model, folders)
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


def _misplaced(model: Model, folders: Folders) -> Finding | None:
    names = {PurePath(file.names[0]).name for file in model.files}
    for path in everything(folders):
        if path.name == f"{model.name}.zip":
            return Finding(model.title, MISPLACED, f"{path} is not unpacked: unpack it into {target(model, folders)}.")
        if path.name in names and path.parent.name == model.name:
            return Finding(model.title, MISPLACED, f"{path.parent} is it: move it to {target(model, folders)}.")
    return None
