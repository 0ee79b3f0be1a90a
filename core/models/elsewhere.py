"""Where a model belongs, and where else it lies: under another name, or in the folder of something else."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from ..names import ending, folded
from . import packs
from .files import WEIGHTS
from .formats import CONTROLNET, recognised
from .manifest import STANDIN, Model, models
from .searched_folders import Folders


def home(model: Model, folders: Folders) -> Path:
    """The folder that downloads of this kind go to."""
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
    """A sentence that says what to do with a file or folder that is not where it belongs. Nothing is moved into
    itself."""
    real_source = os.path.realpath(source)
    real_target = os.path.realpath(into)
    is_inside = real_target.startswith(os.path.join(real_source, ""))
    if is_inside or real_target == real_source:
        around = source.parent
        return f"{source} is it, but it is searched one folder too deep: name {around} in extra_model_paths.yaml."
    return f"{source} is it: move it to {into}."


def elsewhere(model: Model, known: Mapping[str, Sequence[str]]) -> Path | None:
    """A model of one file that is not in its place: under another name, else in the folder of something else.

    known: as `Folders`.
    """
    folders = Folders(known)
    for _, path in renamed(model, folders):
        return path
    for path in moved(model, folders):
        return path
    return None


def renamed(model: Model, folders: Folders) -> Iterator[tuple[str, Path]]:
    """Files that are a model and lie in its folders under another name: the name for the loader, and the path."""
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
    """Whether a file of any name is certainly this model, or serves as well."""
    # The demo's miniature has the shapes of the real files, and only its names tell.
    is_standin = path.name.startswith(STANDIN) or path.parent.name.startswith(STANDIN)
    if is_standin or not model.format or ending(path.name) not in (*WEIGHTS, ".ckpt"):
        return False
    file_format, family = recognised(path)
    if file_format is None or file_format.id != model.format:
        return False
    # Some files that we load differ in their numbers alone, as IP-Adapter Plus and Plus Face do.
    twins = [other for other in models() if other.format == model.format and other.id != model.id]
    if file_format.ours and twins and folded(path.stem) != folded(PurePath(model.name).stem):
        return False
    if model.format != CONTROLNET:
        return True
    # Only lengths tell one ControlNet of a family from another, and many have that of a plain one.
    fits = bool(model.files[0].fits(path.stat().st_size))
    return bool(model.nodes) and family in (None, model.family) and fits
