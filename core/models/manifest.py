"""What is fetched from where: models_manifest.json, the one source of files, addresses, sizes and licences.

A model may be released as a folder of several files. Standard library only: scripts read it where there is no torch.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from ..checks import records
from ..checks.errors import ModelMissing, UnsupportedCheckpoint, joined
from ..checks.names import folded, spelled
from ..families import family_of_text_width
from .files import listing, spelled_otherwise

PATH = Path(__file__).absolute().parents[2] / "models_manifest.json"

# A relative path with slashes, without ".." and a slash at its beginning: it stays below the model folder.
_NAME = re.compile(r"(?!.*\.\.)[\w+.-][\w+. -]*(/[\w+.-][\w+. -]*)*")

_ROUNDED = 0.03
"""The part of its size by which a file may be longer or shorter and still pass for the published one: sizes on download
pages are rounded by less."""

STANDIN = "standin-toy"
"""The start of the name of each of the demo's stand-ins, relative to its model folder."""


def is_standin(path: str) -> bool:
    """Whether a file is one of the demo's stand-ins, by its name or its folder's: their tensors have the shapes of real
    models. path: whole or relative, if it holds both names."""
    return any(part.startswith(STANDIN) for part in PurePath(path).parts[-2:])


@dataclass(frozen=True)
class Licence:
    """The licence of a model, as one source states it. source: where. licence: in the words of the source."""

    source: str
    licence: str


@dataclass(frozen=True)
class File:
    """One file of a model.

    names: relative to the folder of the model key. The first is the name of the download; a file of any of the names is
    taken.
    url: where it is fetched from, None where it comes out of the model's archive. {name} in it stands for one of
    `names` without the folder of the model at its beginning, see Model.url_of.
    size: in bytes, None where nobody states it. exact: whether the size is that of the published file to the byte.
    part: its role among the files of the model, such as "detector", "recogniser" or "unet"; of an archive "folder"
    where its files lie in a folder of the model's name.
    """

    names: tuple[str, ...]
    url: str | None
    size: int | None
    exact: bool = False
    sha256: str | None = None
    part: str = ""

    def fits(self, length: int) -> bool | None:
        """Whether a file of so many bytes may be this file: to the byte where the size is `exact`, else as `resembles`.
        None where nobody states its size."""
        return length == self.size if self.exact else self.resembles(length)

    def resembles(self, length: int) -> bool | None:
        """Whether a file of this length may hold the same tensors, perhaps saved by another program, whose header has
        another length. None where nobody states the size."""
        if self.size is None:
            return None
        return abs(length - self.size) <= _ROUNDED * self.size


@dataclass(frozen=True, kw_only=True)
class Model:
    """Something a loader loads: one file, or several.

    key: the host's name of its folder, such as "checkpoints". name: its entry in the loader's menu.
    format: its id in formats.formats, or "face-pack"; "" where only its name tells what it is.
    family: of the models it is made for, "" for any.
    page: the address of the page that describes it, "" where nobody publishes it. archive: the zip its files come in.
    commercial: whether the licences allow commercial use: "yes", "no", "under conditions", "not stated", or "unclear,
    ask the authors" where one licence says yes and another no.
    alternatives: what can be used in its place, as ends of sentences. nodes: ids of the nodes that need it.

    Two fields are set for a workflow and not in the manifest. chosen: whether a loader has chosen it by its name, so
    that no other file can take its place. further: keys of other folders where its loader looks as well.
    """

    id: str
    title: str
    key: str
    name: str
    format: str
    family: str
    page: str = ""
    archive: File | None = None
    files: tuple[File, ...]
    licences: tuple[Licence, ...] = ()
    commercial: str
    alternatives: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    chosen: bool = False
    further: tuple[str, ...] = ()

    @property
    def fetched(self) -> tuple[File, ...]:
        """The files that are downloaded: the archive, or the files themselves."""
        return (self.archive,) if self.archive else self.files

    @property
    def repository(self) -> str:
        """Owner and name of the repository whose page this is."""
        return "/".join(self.page.split("/")[3:5])  # of https://host/owner/name/...

    @property
    def url(self) -> str:
        """The address of the download where there is only one, else the page of all."""
        if len(self.fetched) == 1:
            return self.fetched[0].url or self.page
        return self.page

    @property
    def size(self) -> int | None:
        """Bytes to be downloaded, None where nobody says."""
        sizes = [file.size for file in self.fetched if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.fetched) else None

    @property
    def size_text(self) -> str:
        """The size in words, for messages."""
        text = human(self.size)
        if self.archive:
            text += ", to be unpacked"
        return text

    def url_of(self, file: File, name: str) -> str:
        """The address of one of its files under one of the file's names; "" where it comes out of an archive."""
        return (file.url or "").replace("{name}", name.removeprefix(f"{self.name}/"))

    def unpacked_into(self, folder: Path) -> Path:
        """Where the archive is to be unpacked so that its files lie in this folder or below it."""
        has_folder = self.archive is not None and self.archive.part == "folder"  # of the model's name, in these letters
        if has_folder and folder.name == self.name:
            return folder.parent  # unpacking makes the folder
        return folder


def human(size: int | None) -> str:
    """A number of bytes for people, as download pages give them: 1.2 GB, 340 MB."""
    if size is None:
        return "size not stated"
    for unit, digits, name in ((10**9, 1, "GB"), (10**6, 0, "MB"), (10**3, 0, "kB")):
        if size >= unit * 0.9995:  # from here on it is rounded to a whole unit
            number = f"{size / unit:.{digits}f}".removesuffix(".0")
            return f"{number} {name}"
    return f"{size} bytes"


def together(listed: Sequence[Model]) -> str:
    """The size of all these models in words; "" for no model. Models without a stated size are named in it."""
    if not listed:
        return ""
    unknown = [model.title for model in listed if model.size is None]
    total = sum(model.size or 0 for model in listed)
    if not unknown:
        return human(total)
    names = joined(unknown)
    if not total:
        return f"{names} ({human(None)})"
    return f"at least {human(total)} ({names}: {human(None)})"


@cache
def models() -> tuple[Model, ...]:
    """The models of the manifest, in its order."""
    entries: Any = records.read(PATH)
    with records.made_of(PATH):
        entries = list(entries["models"])
    return tuple(_model(entry) for entry in entries)


def model(identifier: str) -> Model:
    """The model with this id in the manifest. Raises BadRecord where a record names one that is not there."""
    by_id = {each.id: each for each in models()}
    if identifier not in by_id:
        raise records.BadRecord(PATH, f"it has no entry {identifier}, which a node or a method.json names")
    return by_id[identifier]


def publication(name: str, keys: Sequence[str]) -> Model | None:
    """The published model that a file of this name is; None where no model, or more than one, has the name.

    Only models of a single file in the folders of these keys are compared. They are compared in each of _WAYS, and the
    first way in which any model has the name decides. People keep files in folders of their own, and workflows come
    from disks that do not tell capitals apart, so the last way is the last part of the name, in any capitals.
    """
    for known_as in _WAYS:
        models_of_name = _models_by_name(known_as, tuple(keys)).get(known_as(name))
        if models_of_name:
            return models_of_name[0] if len(models_of_name) == 1 else None
    return None


@cache
def _models_by_name(known_as: Callable[[str], str], keys: tuple[str, ...]) -> dict[str, list[Model]]:
    """The published models of one file in the folders of these keys, by their names as one of _WAYS gives them.

    It is kept, because a workflow may choose thousands of files.
    """
    models_of_name: dict[str, list[Model]] = {}
    for model in models():
        if model.key in keys and len(model.files) == 1 and not model.archive:
            models_of_name.setdefault(known_as(model.name), []).append(model)
    return models_of_name


def _last_part(name: str) -> str:
    return folded(name).rpartition("/")[2]


_WAYS = (spelled, folded, _last_part)
"""The ways in which a file is known by its name, the surest first."""


def _model(entry: Mapping[str, Any]) -> Model:
    """A model from its entry."""
    with records.made_of(PATH, f"the entry {entry.get('id')}"):
        values = dict(entry)
        values["alternatives"] = tuple(entry["alternatives"])
        values["nodes"] = tuple(entry["nodes"])
        values["archive"] = _file(entry["archive"]) if entry["archive"] else None
        values["files"] = tuple(_file(file) for file in entry["files"])
        values["licences"] = tuple(Licence(**licence) for licence in entry["licences"])
        return Model(**values)


def is_plain_name(name: str) -> bool:
    """Whether a name is a relative path with slashes that stays below its folder, in letters that a shell leaves
    alone."""
    return _NAME.fullmatch(name) is not None


def _file(entry: Mapping[str, Any]) -> File:
    """A file from its entry."""
    values = dict(entry)
    values["names"] = tuple(entry["names"])
    return File(**values)


SCHEDULER = "scheduler"
"""The part of a released folder that is no network, but a configuration."""
_OF_ANY = ("unet", "vae", "text_encoder", "denoiser", SCHEDULER)
"""Parts that the folder of any diffusers model may have, so that they do not tell whose folder it is."""


def networks_of(model: Model) -> tuple[str, ...]:
    """The parts of a model that is released as a folder, without the scheduler, which is no network.

    A model may also lie in one file as a whole: there the keys of a network's tensors begin with the name of its part.
    """
    return tuple(file.part for file in model.files if file.part != SCHEDULER)


def release_expected(model: Model) -> str:
    """What a loader of a released folder needs, for a message."""
    return f"the released folder of {model.title}, or a .safetensors file that scripts/to_safetensors.py made of it"


def release_advice(model: Model) -> str:
    """Where a released folder is fetched and where it belongs, for a message."""
    return f"Get all of {model.page} ({model.size_text}) and put it into a folder below models/{model.key}."


def locate(model: Model, folder: Path) -> dict[str, Path]:
    """The files of a released folder: part of the model -> path.

    Raises ModelMissing with the names and sizes of the files that are not there, and UnsupportedCheckpoint for the
    diffusers folder of another model.
    """
    paths: dict[str, Path] = {}  # part -> the path of its file, for files that are there
    for file in model.files:
        path = _existing(folder, [name.removeprefix(f"{model.name}/") for name in file.names])
        if path:
            paths[file.part] = path
    # A folder without any part that this model alone has is that of another diffusers model.
    own_parts = [file.part for file in model.files if file.part not in _OF_ANY]
    if paths.keys().isdisjoint(own_parts):
        *first_parts, last_part = own_parts  # each released folder has several
        parts = f"{', '.join(first_parts)} or {last_part}"
        problem = f"a plain {_family(folder)} diffusers folder (no {parts})"
        raise UnsupportedCheckpoint(str(folder), problem, release_expected(model), release_advice(model))
    missing = [file for file in model.files if file.part not in paths]
    if missing:
        names = [file.names[0].removeprefix(f"{model.name}/") for file in missing]
        sizes = ", ".join(human(file.size) for file in missing)
        raise ModelMissing(
            f"Something of the {model.title} release", names, [str(folder)], model.page, sizes, "Folder (folder)"
        )
    return paths


def _existing(folder: Path, names: Sequence[str]) -> Path | None:
    """The path of the first of these names that is a file in a folder; None where there is none.

    Names in another spelling count after them: some disks and archives write names in capitals.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    path = spelled_otherwise(names, dict(listing(str(folder)).files))
    return Path(path) if path else None


def _family(folder: Path) -> str:
    """The model family of a diffusers folder by the configuration of its UNet, for a message."""
    try:
        config = json.loads((folder / "unet" / "config.json").read_bytes())
        family = family_of_text_width(config["cross_attention_dim"])
    except (OSError, ValueError, LookupError, TypeError):
        family = None
    return family.name if family else "Stable Diffusion"
