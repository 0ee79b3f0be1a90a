"""Where a published model lies in somebody's folders: in its place, under another name, or in another folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePath

from . import formats
from .files import WEIGHTS, cut_short, files_below
from .formats import CONTROLNET, recognised
from .manifest import STANDIN, File, Model, models

MOST = 10_000
"""Files that are looked at below a folder, the nearest first: a link may lead to a whole disk."""

Folders = Mapping[str, Sequence[str]]
"""Model key -> the folders searched for it, the first being where a download goes; "" -> those that hold them all."""


def home(model: Model, folders: Folders) -> Path:
    """The folder of its key where a download goes."""
    return Path((folders.get(model.key) or (os.path.join("models", model.key),))[0])


def target(model: Model, folders: Folders) -> Path:
    """Where a model belongs."""
    below = PurePath(model.files[0].names[0]).parent if model.format == "face-pack" else model.name
    return home(model, folders) / below


def place(file: File, model: Model, folders: Folders) -> Path | None:
    """The file under one of its published names."""
    paths = (Path(root) / name for root in folders.get(model.key, ()) for name in file.names)
    return next((path for path in paths if os.path.isfile(path)), None)  # also of names that no file can have


def elsewhere(model: Model, folders: Folders) -> Path | None:
    """A model of one file that is not in its place: under another name, else in the folder of something else."""
    under_another_name = (path for _, path in renamed(model, folders))
    return next(chain(under_another_name, moved(model, folders)), None)


def renamed(model: Model, folders: Folders) -> Iterator[tuple[str, Path]]:
    """Name for the loader and path of the same thing under another name in its folders."""
    for root in folders.get(model.key, ()):
        yield from ((name, path) for name, path in listed(root) if _is(path, model))


def moved(model: Model, folders: Folders) -> Iterator[Path]:
    """The file under its own name in the folder of something else."""
    name = PurePath(model.files[0].names[0]).name
    return (path for path in everything(folders) if path.name == name and _is(path, model))


def listed(root: str) -> Iterator[tuple[str, Path]]:
    """Relative name and path of the nearest files below a folder."""
    return ((name, Path(path)) for name, path in files_below(root, MOST))


def crowded(folders: Folders) -> list[str]:
    """Folders with more files than have been looked at."""
    return [root for root in dict.fromkeys(chain.from_iterable(folders.values())) if cut_short(root, MOST)]


def everything(folders: Folders) -> Iterator[Path]:
    """Every file in any of the folders, once."""
    roots = {os.path.realpath(root): root for root in chain.from_iterable(folders.values())}
    inner = {root for root in roots for other in roots if root != other and root.startswith(other + os.sep)}
    return (path for real, root in roots.items() if real not in inner for _, path in listed(root))


def _is(path: Path, model: Model) -> bool:
    """Whether a file of any name is certainly this model, or does as well."""
    if path.suffix not in (*WEIGHTS, ".ckpt") or not model.format or _standin(path):
        return False
    known, family = recognised(path)
    if known is None or known.id != model.format:
        return False
    if not _alone(model) and path.stem != PurePath(model.name).stem:
        return False
    # Only lengths tell one ControlNet of a family from another, and many have that of a plain one.
    return model.format != CONTROLNET or (
        bool(model.nodes) and family in (None, model.family) and bool(model.files[0].fits(path.stat().st_size))
    )


def _alone(model: Model) -> bool:
    """Whether its shapes tell it from all others of its family that we load: IP-Adapter Plus and Plus Face differ in
    their numbers alone."""
    return not formats.known(model.format).ours or all(one.format != model.format or one == model for one in models())


def _standin(path: Path) -> bool:
    """Whether the demo's miniature put it there: it has the shapes of the real file, and only its name tells."""
    return any(part.startswith(STANDIN) for part in (path.name, path.parent.name))
