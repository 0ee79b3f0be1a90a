"""Where a model belongs, and where else it lies: under another name, or in the folder of something else."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePath

from ..names import ending, folded
from . import packs
from .files import WEIGHTS
from .formats import CONTROLNET, recognised
from .manifest import Model, is_standin, models
from .searched_folders import Folders


def home(model: Model, folders: Folders) -> Path:
    """The folder that downloads of models of this key go to: the first that is searched, else models/<key>."""
    searched = folders.get(model.key)
    if searched:
        return Path(searched[0])
    return Path("models", model.key)


def target(model: Model, folders: Folders) -> Path:
    """The path where a model belongs: of its file, or of the folder of its files."""
    if model.format == "face-pack":
        return packs.folder_for(model.name, folders.get(model.key) or [str(home(model, folders))])
    return home(model, folders) / model.name


def move(source: Path, into: Path) -> str:
    """A sentence that says what to do with a file or folder that is not where it belongs.

    source: where it lies. into: where it belongs. That may be inside of `source`, or be `source`: then nothing can be
    moved, and the folder around it has to be searched.
    """
    real_source = os.path.realpath(source)
    real_target = os.path.realpath(into)
    is_inside = real_target.startswith(os.path.join(real_source, ""))
    if is_inside or real_target == real_source:
        around = source.parent
        return f"{source} is it, but it is searched one folder too deep: name {around} in extra_model_paths.yaml."
    return f"{source} is it: move it to {into}."


def elsewhere(model: Model, known: Mapping[str, Sequence[str]]) -> Path | None:
    """The path of a model of one file that is not in its place: under another name in its folders, else under its name
    in the folder of something else; None where it lies nowhere.

    known: model key -> folders, as `Folders` takes them.
    """
    folders = Folders(known)
    under_other_names = (path for _, path in renamed(model, folders))
    return next(chain(under_other_names, moved(model, folders)), None)


def renamed(model: Model, folders: Folders) -> Iterator[tuple[str, Path]]:
    """The files in a model's folders that are, by their contents, this model: of each the name for the loader and the
    path."""
    for root in folders.get(model.key, ()):
        for name, path in folders.listed(root):
            if _is(path, model):
                yield name, path


def moved(model: Model, folders: Folders) -> Iterator[Path]:
    """Files that are a model, have its name, and lie in the folder of something else."""
    file_name = folded(PurePath(model.files[0].names[0]).name)
    for path in folders.everything():
        if folded(path.name) == file_name and _is(path, model):
            yield path


def _is(path: Path, model: Model) -> bool:
    """Whether a file, whatever its name, is certainly this model or can be used in its place."""
    if is_standin(str(path)) or not model.format or ending(path.name) not in (*WEIGHTS, ".ckpt"):
        return False
    file_format, family = recognised(path)
    if file_format is None or file_format.id != model.format:
        return False
    # Some models of one format, such as IP-Adapter Plus and Plus Face, differ in the values of their weights alone,
    # which are not read here. Of these the name decides. Where our own loaders do not read the format, as that of
    # checkpoints, one file of it can be used in the place of another; ControlNets are looked at below.
    twins = [other for other in models() if other.format == model.format and other.id != model.id]
    if file_format.ours and twins and folded(path.stem) != folded(PurePath(model.name).stem):
        return False
    if model.format != CONTROLNET:
        return True
    # ControlNets of one family are told apart by their lengths alone. Those that no node of ours needs are not: many
    # have the length of any plain ControlNet.
    has_length_of_model = bool(model.files[0].fits(path.stat().st_size))
    return bool(model.nodes) and family in (None, model.family) and has_length_of_model
