"""Which face packs there are, decided by the names of their files alone: menus are made each time the page is loaded.

The contents of a file are looked at when it is loaded, by onnx_file. A pack is called by its folder, such as
antelopev2.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path, PurePath
from typing import NamedTuple

from ..checks.names import ending
from .manifest import File, Model, model, models

LOOSE = "loose files"
"""The pack of files that lie directly in the model folder."""
NONE_FOUND = "none found"
"""The only entry of a menu of files where there are none."""
NO_DETECTOR = "none (faces from landmarks)"
"""An entry in the menu of packs: no detector is loaded, faces come from linked landmarks."""

ANTELOPE = "antelopev2"
"""The id of a recogniser, and the name of the pack that it comes in."""
IR_SE50 = "arcface-ir-se50"
"""The id of the recogniser whose file is a state dict, and in no pack."""

_AROUND_PACKS = ("models", "insightface")
"""Folders in which packs lie; they are no packs themselves."""
_NOT_FETCHED = ("buffalo_m", "buffalo_sc", "auraface")
"""Packs that people have, and that nothing here needs."""

# How names of files begin, without their folders: detectors, recognisers, and networks that are neither, which other
# packages and the release zips put beside them.
_DETECTORS = ("det_", "scrfd", "retinaface")
_RECOGNISERS = ("glintr", "w600k_", "arcface", "auraface")
_OTHERS = ("1k3d68", "2d106det", "genderage", "inswapper", "reswapper", "hyperswap", "simswap", "ghost_")

# Bytes of AuraFace's recogniser. Its file is called glintr100.onnx like that of antelopev2, but is another network.
_AURAFACE = 260694151


def published_model(key: str) -> Model:
    """The model of the manifest that is a pack or has a recogniser.

    key: the id of the pack, or the id of the recogniser. For one that is not in the manifest the model of antelopev2 is
    returned, as what a message can recommend.
    """
    for entry in models():
        recognisers = [_id_of(file.names[0]) for file in entry.files if file.part == "recogniser"]
        if key == entry.id or key in recognisers:
            return entry
    return model(ANTELOPE)


class PlaceOfFiles(NamedTuple):
    """Where the files of a pack or recogniser belong. folders: below that of the model key, the outer one first. names:
    of the files, below the last of these folders."""

    folders: list[str]
    names: list[str]


def place_of_files(entry: Model) -> PlaceOfFiles:
    """Where the files of a published pack or recogniser belong."""
    names = [file.names[0] for file in entry.files]
    folders = ["models"] if names[0].startswith("models/") else []
    return PlaceOfFiles(folders, [name.removeprefix("models/") for name in names])


def where(key: str) -> str:
    """Part of a sentence: which files of a pack or recogniser belong into which folder, and where they are published.

    key: the id of the pack or recogniser.
    """
    entry = published_model(key)
    place = place_of_files(entry)
    folder = "/".join(["models", entry.key, *place.folders])
    return f"{', '.join(place.names)} in {folder}, from {entry.url} ({entry.size_text})"


def pack_of(name: str) -> str:
    """The pack that a file belongs to. name: of the file, relative to the model folder.

    People have antelopev2 in several ways, which all give the name of its publisher:
    models/antelopev2/x.onnx is insightface's own layout, insightface/models/antelopev2/x.onnx the same below the folder
    of all models, and antelopev2/antelopev2/x.onnx comes of unpacking the release into a folder of its own. Capitals do
    not matter.
    """
    folders = list(PurePath(name).parts[:-1])
    while folders and folders[0].lower() in _AROUND_PACKS:
        del folders[0]
    path: list[str] = []  # the folders without those that have the name of the folder around them
    for folder in folders:
        if not path or folder.lower() != path[-1].lower():
            path.append(folder)
    pack = "/".join(path)
    return _known_names().get(pack.lower(), pack) or LOOSE


def pack_called(name: str) -> str:
    """The name of a pack as `pack_of` gives it for each of its files, from a name that a workflow has for the pack."""
    return pack_of(f"{name}/any file")


@cache
def _known_names() -> dict[str, str]:
    """The names of packs that are published, in small letters -> as their publisher writes them. Those of the manifest,
    and others that people have."""
    names = [entry.name for entry in models() if entry.format == "face-pack"]
    names += _NOT_FETCHED
    return {name.lower(): name for name in names}


def pack_of_root(root: str) -> str:
    """The name of the pack that a model folder is itself, as extra_model_paths.yaml may name one; "" for a folder in
    which packs lie.

    A folder is a pack where it has the name of a known pack, or lies where insightface keeps its packs: directly in
    insightface or in insightface/models.
    """
    path = PurePath(root)
    known_name = _known_names().get(path.name.lower())
    if known_name:
        return known_name
    parents = [folder.lower() for folder in path.parts[:-1]]
    in_insightface = parents[-1:] == ["insightface"] or parents[-2:] == ["insightface", "models"]
    if in_insightface and path.name.lower() not in _AROUND_PACKS:
        return path.name
    return ""


def name_in(root: str, name: str) -> str:
    """The name by which a file goes in our menus, from which `pack_of` tells its pack.

    root: a model folder. name: of the file, relative to `root`. Where the folder is a pack itself, a file directly in
    it gets the pack's name in front; any other name stays.
    """
    pack = pack_of_root(root)
    lies_directly_in_root = PurePath(name).parent == PurePath()
    if pack and lies_directly_in_root:
        return f"{pack}/{name}"
    return name


def chosen(pack: str, available: Sequence[str], roots: Sequence[str]) -> str | None:
    """The available pack that a workflow means by the name `pack`; None where no pack fits, or several fit alike.

    The workflow may have been saved on another computer, with other folders or capitals. So the same name counts first;
    then, without the folders in which other packs keep theirs, the same name in any capitals; then a pack with the same
    published name, because it is the same in any folder: mine/antelopev2 is antelopev2.
    roots: the folders searched. A root that is a pack itself stands for files that lay loose on the other computer.
    """
    if pack in available:
        return pack
    if pack == LOOSE:
        # All roots of the host are for face packs, so the first one that is a pack will do.
        packs_of_roots = map(pack_of_root, roots)
        return next((name for name in packs_of_roots if name in available), None)
    small_name = pack_called(pack).lower()
    for other in available:
        if other.lower() == small_name:
            return other
    same_pack = of_one_name(small_name, available)
    # Of several nobody knows which one is meant, and one of them may be the rest of a download that was cut off.
    return same_pack[0] if len(same_pack) == 1 else None


def of_one_name(pack: str, available: Iterable[str]) -> list[str]:
    """The available packs that have the published name of this pack, in whatever folder each of them lies.

    [] for a pack that nobody publishes.
    """
    published_name = _published_name(pack)
    if not published_name:
        return []
    return [name for name in available if _published_name(name) == published_name]


def _published_name(pack: str) -> str:
    """The published name of a pack, whatever folder it lies in: antelopev2 for mine/AntelopeV2; "" for a pack that
    nobody publishes."""
    return _known_names().get(PurePath(pack).name.lower(), "")


def folder_for(pack: str, roots: Sequence[str]) -> Path:
    """The folder into which the files of a published pack belong.

    roots: the folders searched, one at least; the first is where downloads go.
    """
    for root in roots:
        if pack_of_root(root) == pack:
            return Path(root)
    # The first folder that is no pack itself; where all of them are packs, the first.
    holders = [root for root in roots if not pack_of_root(root)] or list(roots)
    holder = Path(holders[0])
    if holder.name.lower() != "models":
        return holder / "models" / pack
    # A folder called models is insightface's folder of packs, or ComfyUI's folder of all models, in which there is a
    # folder insightface.
    inner = holder / "insightface"
    return inner / "models" / pack if inner.is_dir() else holder / pack


def maybe_detector(name: str) -> bool:
    """Whether a file of this name may be a detector: names of known recognisers and of other networks cannot."""
    return not PurePath(name).stem.lower().startswith((*_RECOGNISERS, *_OTHERS))


def maybe_recogniser(name: str) -> bool:
    """Whether a file of this name may be a recogniser: names of known detectors and of other networks cannot."""
    return not PurePath(name).stem.lower().startswith((*_DETECTORS, *_OTHERS))


def recogniser_id(name: str, length: int) -> str:
    """The id of the recogniser in a file, which travels with its embeddings.

    name, length: of the file; the length in bytes decides where it is that of a published file, because people rename
    files. Of any other file the name is the id.
    """
    return _by_length().get(length) or _id_of(name)


def _id_of(name: str) -> str:
    """The id of a recogniser by the name of its file, without the ending.

    The file glintr100.onnx has the id of its pack, antelopev2: by that name people know it as InstantID's recogniser.
    """
    stem = PurePath(name).stem
    small = stem.lower()  # from some disks names come in capitals
    if small == "glintr100":
        return ANTELOPE
    return small if small in _published_stems() else stem


def _published_recognisers() -> list[File]:
    return [file for entry in models() for file in entry.files if file.part == "recogniser"]


@cache
def _published_stems() -> frozenset[str]:
    return frozenset(PurePath(file.names[0]).stem for file in _published_recognisers())


@cache
def _by_length() -> dict[int, str]:
    """Length in bytes -> id, of the published recognisers."""
    ids = {file.size: _id_of(file.names[0]) for file in _published_recognisers() if file.size}
    ids[_AURAFACE] = "auraface"
    return ids


def packs(names: Iterable[str]) -> dict[str, list[str]]:
    """Name of a face pack -> the names of those of its files that may be detectors. A folder without such a file is no
    pack.

    names: of files, relative to the model folder; only those that end in .onnx count. The packs are sorted by name, the
    pack of loose files last.
    """
    detectors: dict[str, list[str]] = {}
    for name in names:
        if ending(name) == ".onnx" and maybe_detector(name):
            detectors.setdefault(pack_of(name), []).append(name)
    return {pack: detectors[pack] for pack in sorted(detectors, key=lambda pack: (pack == LOOSE, pack))}
