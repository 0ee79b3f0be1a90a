"""The commands that download a model, for a shell or PowerShell."""

import os
import sys

from ..text import as_typed
from . import packs
from .elsewhere import home
from .manifest import File, Model
from .searched_folders import Folders


def fetching(model: Model, folders: Folders, system: str = os.name, resume: bool = True) -> tuple[str, ...]:
    """The commands that download a model, in the order in which they are to be run.

    system: as os.name. resume: whether a download that was cut off goes on from where it ended, instead of beginning
    anew.
    """
    folder = home(model, folders)
    file, *further_files = model.fetched
    if further_files:  # a released folder: one command of Hugging Face's tool for each file
        command = f"hf download {model.repository} --local-dir {as_typed(folder / model.name, system)} --include"
        return tuple(f"{command} {as_typed(_pattern(model, file), system)}" for file in model.fetched)
    into = folder / file.names[0]
    if model.archive:
        # The zip is saved beside the folder that it is unpacked into: antelopev2.zip beside antelopev2.
        place = packs.folder_for(model.name, folders.get(model.key) or [str(folder)])
        into = place.with_name(f"{place.name}.zip")
    # In PowerShell "curl" is another command, with other options.
    curl = "curl.exe" if system == "nt" else "curl"
    options = "-fL -C -" if resume else "-fL"
    fetch = f"{curl} {options} --create-dirs -o {as_typed(into, system)} {model.url_of(file, file.names[0])}"
    if not model.archive:
        return (fetch,)
    # PowerShell takes a quoted path for a text unless a call operator stands before it.
    call = "& " if system == "nt" else ""
    python, archive, unpacked = (
        as_typed(path, system) for path in (sys.executable, into, model.unpacked_into(into.with_suffix("")))
    )
    unpack = f"{call}{python} -m zipfile -e {archive} {unpacked}"
    return (fetch, unpack)


def _pattern(model: Model, file: File) -> str:
    """The pattern by which the `hf` command finds a file in a repository.

    Where files with several endings serve, the pattern takes any ending.
    """
    name = file.names[0].removeprefix(f"{model.name}/")  # the path inside of the repository
    if len(file.names) > 1:
        return f"{name.split('.')[0]}.*"
    return name
