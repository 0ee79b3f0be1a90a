"""The folders that loaders search for model files: who lies where, where each model belongs, and how it gets there."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePath

from ..checks.names import ending, folded
from ..checks.text import as_typed
from . import packs
from .files import WEIGHTS, files_below
from .formats import CONTROLNET, recognised
from .manifest import File, Model, is_standin, models

MOST = 10_000
"""The most files that are looked at below a folder, those of the upper levels first: a link may lead to a whole
disk."""


@dataclass(frozen=True)
class FileThere:
    """A file below a model folder. root: the folder. name: relative to it, as a menu shows it."""

    root: str
    name: str
    path: Path


class Folders(dict[str, Sequence[str]]):
    """Model key -> the folders searched for it, of which the first is where a download goes.

    The key "" has the folders that hold all models. The files below a folder are looked up once and then remembered.
    """

    def __init__(self, folders: Mapping[str, Sequence[str]]) -> None:
        super().__init__(folders)
        self._files: dict[str, list[FileThere]] = {}

    def below(self, *roots: str) -> Iterator[FileThere]:
        """The first MOST files below each of these folders. A folder is looked up the first time it is asked for."""
        for root in roots:
            if root not in self._files:
                # Path objects are made once: every model of a report goes through them, and making one takes longer
                # than comparing its name. One file more than MOST is looked up: it tells `crowded` that there are more.
                files = files_below(root, MOST + 1)
                self._files[root] = [FileThere(root, name, Path(path)) for name, path in files]
            yield from self._files[root][:MOST]

    def of(self, key: str) -> Iterator[FileThere]:
        """The files below the folders of a key."""
        return self.below(*self.get(key, ()))

    def everything(self) -> Iterator[FileThere]:
        """Every file below any of the folders, once, also where one folder lies inside another."""
        # Real path -> the folder as it is configured: several keys may name one folder.
        roots = {os.path.realpath(root): root for searched in self.values() for root in searched}
        for real, root in roots.items():
            # A folder inside of another one is left out: the files of the outer folder include its files.
            if roots.keys().isdisjoint(map(str, Path(real).parents)):
                yield from self.below(root)

    def crowded(self) -> list[str]:
        """Of the folders that have been looked up, those with more than MOST files."""
        return [root for root, files in self._files.items() if len(files) > MOST]


# Where a model belongs


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


def fetching(model: Model, folders: Folders, system: str = os.name, resume: bool = True) -> tuple[str, ...]:
    """The commands that download a model, in the order in which they are to be run in a shell or PowerShell.

    system: as os.name. resume: whether a download that was cut off goes on from where it ended, instead of beginning
    anew.
    """
    folder = home(model, folders)
    file, *further_files = model.fetched  # one at least: the archive, or files
    if further_files:  # a released folder: one command of Hugging Face's tool for each file
        command = f"hf download {model.repository} --local-dir {as_typed(folder / model.name, system)} --include"
        return tuple(f"{command} {as_typed(_pattern(model, file), system)}" for file in model.fetched)
    if model.archive:
        # The zip is saved beside the folder that it is unpacked into: antelopev2.zip beside antelopev2.
        place = target(model, folders)
        archive = place.with_name(f"{place.name}.zip")
        fetch = _fetching_file(model, model.archive, archive, system, resume)
        return (fetch, _unpacking(archive, model.unpacked_into(archive.with_suffix("")), system))
    return (_fetching_file(model, file, folder / file.names[0], system, resume),)


def _fetching_file(model: Model, file: File, saved_as: Path, system: str, resume: bool) -> str:
    """The command that downloads one file of a model. system, resume: as of `fetching`."""
    # In the PowerShell of Windows "curl" alone is another command, with other options.
    curl = "curl.exe" if system == "nt" else "curl"
    options = "-fL -C -" if resume else "-fL"
    return f"{curl} {options} --create-dirs -o {as_typed(saved_as, system)} {model.url_of(file, file.names[0])}"


def _unpacking(archive: Path, into: Path, system: str) -> str:
    """The command that unpacks a zip into a folder. system: as os.name."""
    # PowerShell takes a quoted path for a text unless a call operator stands before it.
    call = "& " if system == "nt" else ""
    python = as_typed(sys.executable, system)
    return f"{call}{python} -m zipfile -e {as_typed(archive, system)} {as_typed(into, system)}"


def _pattern(model: Model, file: File) -> str:
    """The pattern by which the `hf` command finds a file in a repository.

    Where files with several endings serve, the pattern takes any ending.
    """
    name = file.names[0].removeprefix(f"{model.name}/")  # the path inside of the repository
    if len(file.names) > 1:
        return f"{name.split('.')[0]}.*"
    return name


# Where else it lies


def elsewhere(model: Model, known: Mapping[str, Sequence[str]]) -> Path | None:
    """The path of a model of one file that is not in its place.

    It is looked for under any name in the model's own folders, then under its own name in all folders. None where it is
    in none of them.
    known: model key -> folders, as `Folders` takes them.
    """
    folders = Folders(known)
    files = chain(renamed(model, folders), moved(model, folders))  # both lazy: the search ends at the first file
    return next((file.path for file in files), None)


def renamed(model: Model, folders: Folders) -> Iterator[FileThere]:
    """The files in a model's folders that are, by their contents, this model."""
    return (file for file in folders.of(model.key) if _is(file.path, model))


def moved(model: Model, folders: Folders) -> Iterator[FileThere]:
    """The files in any folder that have the name of a model's first file and are this model by their contents."""
    name = folded(PurePath(model.files[0].names[0]).name)
    return (file for file in folders.everything() if folded(file.path.name) == name and _is(file.path, model))


def _is(path: Path, model: Model) -> bool:
    """Whether a file is certainly this model, or can be used in its place, by its contents.

    The name counts only where several models of one format cannot be told apart by anything else.
    """
    if is_standin(str(path)) or not model.format or ending(path.name) not in (*WEIGHTS, ".ckpt"):
        return False
    file_format, family = recognised(path)
    if file_format is None or file_format.id != model.format:
        return False
    if model.format == CONTROLNET:
        # Those of one family are told apart by their lengths alone. One that no node of ours needs never is: many have
        # the length of any plain ControlNet.
        has_length_of_model = bool(model.files[0].fits(path.stat().st_size))
        return bool(model.nodes) and family in (None, model.family) and has_length_of_model
    if not file_format.ours:  # as of checkpoints, of which one can be used in the place of another
        return True
    # Some models of one format, such as IP-Adapter Plus and Plus Face, differ in the values of their weights alone,
    # which are not read here. Of these the name decides.
    has_twins = any(other.format == model.format and other.id != model.id for other in models())
    return not has_twins or folded(path.stem) == folded(PurePath(model.name).stem)
