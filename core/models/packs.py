"""How people store face packs, read from file names only: this runs each time the page is loaded.

What a file really is decides onnx_file when it is loaded.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import PurePath

from .manifest import Model, model, models

LOOSE = "loose files"
"""The pack of files that lie directly in the model folder."""
NONE_FOUND = "none found"
"""The only entry of a menu of files where there are none."""
NO_DETECTOR = "none (faces from landmarks)"
"""In the menu of packs: nothing that finds faces."""

ANTELOPE, IR_SE50, BUFFALO = ASKED_FOR = ("antelopev2", "arcface-ir-se50", "w600k_r50")
"""The recognisers that InstantID and WithAnyone, ID-Patch, and FaceID, StoryMaker and PhotoMaker v2 were trained
with."""

# Files that other packages and the release zips put beside the two kinds we load.
_DETECTORS = ("det_", "scrfd", "retinaface")
_RECOGNISERS = ("glintr", "w600k_", "arcface", "auraface")
_OTHERS = ("1k3d68", "2d106det", "genderage", "inswapper", "reswapper", "hyperswap", "simswap", "ghost_")

# AuraFace's file is called glintr100.onnx as well, but is another network; only the length tells them apart.
_AURAFACE = 260694151


def published(key: str) -> Model:
    """Where the files of a pack or recogniser id are found; those of antelopev2 for one that nobody publishes."""
    found = (one for one in models() if key in (one.id, *(_id_of(file.names[0]) for file in one.files)))
    return next(found, model(ANTELOPE))


def folder_and_names(files_of: Model) -> tuple[list[str], list[str]]:
    """The folder that the files of a pack or recogniser belong into, below its model key's, and their names in it."""
    names = [file.names[0] for file in files_of.files]
    below = ["models"] if names[0].startswith("models/") else []
    return below, [name.removeprefix("models/") for name in names]


def where(key: str) -> str:
    """Which files of a pack or recogniser id belong into which folder, and where they come from."""
    found = published(key)
    below, names = folder_and_names(found)
    folder = "/".join(["models", found.key, *below])
    return f"{', '.join(names)} in {folder}, from {found.url} ({found.size_text})"


def pack_of(name: str) -> str:
    """The pack a file belongs to, from its name relative to the model folder.

    insightface's own layout (models/antelopev2/x.onnx) and what unpacking the release zip into a folder of its
    own makes (antelopev2/antelopev2/x.onnx) are the pack antelopev2 as well.
    """
    folders = list(PurePath(name).parts[:-1])
    if folders[:1] == ["models"]:
        del folders[0]
    single = [folder for n, folder in enumerate(folders) if n == 0 or folder != folders[n - 1]]
    return "/".join(single) or LOOSE


def maybe_detector(name: str) -> bool:
    """Whether a file of this name may be a detector; unknown names may be anything."""
    return not PurePath(name).stem.lower().startswith((*_RECOGNISERS, *_OTHERS))


def maybe_recogniser(name: str) -> bool:
    """Whether a file of this name may be a recogniser; unknown names may be anything."""
    return not PurePath(name).stem.lower().startswith((*_DETECTORS, *_OTHERS))


def recogniser_id(name: str, length: int) -> str:
    """The id that travels with embeddings. length: of the file in bytes, the publishers never changed theirs."""
    return _by_length().get(length) or _id_of(name)


def _id_of(name: str) -> str:
    """The name of the file; of antelopev2's, which InstantID asks for, that of the pack."""
    stem = PurePath(name).stem
    return ANTELOPE if stem == "glintr100" else stem


@cache
def _by_length() -> dict[int, str]:
    """Of the published recognisers, which people rename."""
    files = (file for one in models() for file in one.files if file.part == "recogniser")
    return {file.size or 0: _id_of(file.names[0]) for file in files} | {_AURAFACE: "auraface"}


def packs(names: Iterable[str]) -> dict[str, list[str]]:
    """pack -> its files that may be detectors, for the .onnx files among these names; packs sorted by name."""
    found: dict[str, list[str]] = {}
    for name in names:
        if name.lower().endswith(".onnx") and maybe_detector(name):
            found.setdefault(pack_of(name), []).append(name)
    return dict(sorted(found.items(), key=lambda item: (item[0] == LOOSE, item[0])))
