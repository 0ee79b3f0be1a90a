"""How people store face packs, read from file names only: this runs each time the page is loaded.

What a file really is decides onnx_file when it is loaded.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path, PurePath

from ..names import ending
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

_AROUND_PACKS = ("models", "insightface")
"""Folders around packs, which are none."""
_NOT_FETCHED = ("buffalo_m", "buffalo_sc", "auraface")
"""Packs that people have, and that nothing here needs."""

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

    insightface's own layout (models/antelopev2/x.onnx), the same below the folder of all models
    (insightface/models/antelopev2/x.onnx), what unpacking the release zip into a folder of its own makes
    (antelopev2/antelopev2/x.onnx), and names in capitals are the pack antelopev2 as well.
    """
    folders = list(PurePath(name).parts[:-1])
    while folders and folders[0].lower() in _AROUND_PACKS:
        del folders[0]
    single: list[str] = []
    for folder in folders:
        if not single or folder.lower() != single[-1].lower():
            single.append(folder)
    return _as_published("/".join(single)) or LOOSE


def _as_published(pack: str) -> str:
    """The name of a pack that people know, in the letters of its publisher; any other as it is."""
    return _known_names().get(pack.lower(), pack)


@cache
def _known_names() -> dict[str, str]:
    """In small letters -> as published."""
    names = [one.name for one in models() if one.format == "face-pack"]
    return {name.lower(): name for name in (*names, *_NOT_FETCHED)}


def pack_of_root(root: str) -> str:
    """The pack that a folder is itself which extra_model_paths.yaml names for models; "" for a folder of packs.

    By the name of a known pack, or by insightface's own layout around it.
    """
    path = PurePath(root)
    known = _known_names().get(path.name.lower())
    if known:
        return known
    around = [folder.lower() for folder in path.parts[:-1]]
    in_a_home = around[-1:] == ["insightface"] or around[-2:] == ["insightface", "models"]
    return path.name if in_a_home and path.name.lower() not in _AROUND_PACKS else ""


def name_in(root: str, name: str) -> str:
    """The name of a file in a model folder, relative to it, behind that of the pack which the folder is itself."""
    pack = pack_of_root(root)
    return f"{pack}/{name}" if pack and PurePath(name).parent == PurePath() else name


def chosen(pack: str, known: Sequence[str], roots: Sequence[str]) -> str | None:
    """Which of the `known` packs a saved workflow means; None for none of them.

    It may have been saved where the folders, their letters or the words were others: files in a folder that is a pack
    itself were the pack of loose files. A published pack is meant in any folder, as mine/antelopev2 is antelopev2.
    roots: the folders searched.
    """
    if pack in known:
        return pack
    of_roots = [pack_of_root(root) for root in roots]
    if pack == LOOSE:
        return next((name for name in of_roots if name in known), None)
    meant = pack_of(f"{pack}/x").lower()
    for name in known:
        if name.lower() == meant:
            return name
    published_name = _published_name(meant)
    if not published_name:
        return None
    same_pack = [name for name in known if _published_name(name) == published_name]
    # Of several nobody can say which one is meant, or whether one of them is half of a download.
    return same_pack[0] if len(same_pack) == 1 else None


def _published_name(pack: str) -> str:
    """The name of a published pack that lies in any folder, antelopev2 of mine/AntelopeV2; "" for any other."""
    return _known_names().get(PurePath(pack).name.lower(), "")


def folder_for(pack: str, roots: Sequence[str]) -> Path:
    """Where the files of a published pack belong. roots: the folders searched, the first being where downloads go."""
    for root in roots:
        if pack_of_root(root) == pack:
            return Path(root)
    # Not into the folder of another pack, if there is any other.
    holders = [root for root in roots if not pack_of_root(root)]
    holder = Path((holders or list(roots))[0])
    if holder.name.lower() != "models":
        return holder / "models" / pack
    inner = holder / "insightface"
    # The folder of insightface's packs, or one too high: that of all models.
    return inner / "models" / pack if inner.is_dir() else holder / pack


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
    small = stem.lower()  # from some disks names come in capitals
    if small == "glintr100":
        return ANTELOPE
    return small if small in _published_stems() else stem


@cache
def _published_stems() -> frozenset[str]:
    """Names of the published recognisers without their ending."""
    files = (file for one in models() for file in one.files if file.part == "recogniser")
    return frozenset(PurePath(file.names[0]).stem for file in files)


@cache
def _by_length() -> dict[int, str]:
    """Of the published recognisers, which people rename."""
    files = (file for one in models() for file in one.files if file.part == "recogniser")
    return {file.size or 0: _id_of(file.names[0]) for file in files} | {_AURAFACE: "auraface"}


def packs(names: Iterable[str]) -> dict[str, list[str]]:
    """pack -> its files that may be detectors, for the .onnx files among these names; packs sorted by name."""
    found: dict[str, list[str]] = {}
    for name in names:
        if ending(name) == ".onnx" and maybe_detector(name):
            found.setdefault(pack_of(name), []).append(name)
    return dict(sorted(found.items(), key=lambda item: (item[0] == LOOSE, item[0])))
