"""What is fetched from where: models_manifest.json, the one source of files, addresses, sizes and licences.

A model may be released as a folder of several files. Standard library only: scripts read it where there is no torch.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from ..errors import BadSetup, ModelMissing, UnsupportedCheckpoint
from ..families import of_text
from ..names import among
from ..text import in_one_line
from .files import listing

PATH = Path(__file__).absolute().parents[2] / "models_manifest.json"

_NAME = re.compile(r"(?!.*\.\.)[\w+.-][\w+. -]*(/[\w+.-][\w+. -]*)*")

_ROUNDED = 0.03
"""Sizes on download pages are rounded by less than this part of them."""

STANDIN = "standin-miniature"
"""What the name of each of the demo's stand-ins starts with, relative to its model folder."""


@dataclass(frozen=True)
class Licence:
    """What one source says, in its words."""

    source: str
    licence: str


@dataclass(frozen=True)
class File:
    """One file. names: relative to the folder of the model key; the first is what is fetched, any of them is found.

    url: None where it comes out of the model's archive; {name} stands for the part of a name behind the model's own.
    size: in bytes, None where nobody says; exact where it is that of the published file to the byte. part: what it is
    among the files of one model.
    """

    names: tuple[str, ...]
    url: str | None
    size: int | None
    exact: bool = False
    sha256: str | None = None
    part: str = ""

    def fits(self, length: int) -> bool | None:
        """Whether a file of so many bytes may be this one; None where nobody says how long it is."""
        return length == self.size if self.exact else self.resembles(length)

    def resembles(self, length: int) -> bool | None:
        """The same of this file as somebody else may have saved it: what is written around its tensors differs."""
        return None if self.size is None else abs(length - self.size) <= _ROUNDED * self.size


@dataclass(frozen=True, kw_only=True)
class Model:
    """Something a loader loads.

    key: the host's name of the folder. name: what the loader's menu shows. format: its id in formats.formats, or
    face-pack; "" where only its name tells it. family: of the models it is made for, "" for any. archive: the zip its
    files come in. commercial: whether licences allow it: yes, no, not stated, or unclear, ask the authors:
    where they say yes here and no there. alternatives: what does as well, in words. nodes: those that cannot do
    without it.

    Of a workflow, not of the manifest: chosen: whether a loader has chosen it by its name, so that nothing else does in
    its place. further: keys of other folders where its loader looks as well.
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
        return (self.archive,) if self.archive else self.files

    @property
    def repository(self) -> str:
        """Owner and name of the repository whose page this is."""
        return "/".join(self.page.split("/")[3:5])

    @property
    def url(self) -> str:
        """The address of its only download, the page of several."""
        return self.fetched[0].url or self.page if len(self.fetched) == 1 else self.page

    @property
    def size(self) -> int | None:
        """Bytes to be downloaded, None where nobody says."""
        sizes = [file.size for file in self.fetched]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def size_text(self) -> str:
        return human(self.size) + (", to be unpacked" if self.archive else "")

    def url_of(self, file: File, name: str) -> str:
        return (file.url or "").replace("{name}", name.removeprefix(f"{self.name}/"))


def human(size: int | None) -> str:
    """Bytes for people, as download pages give them."""
    if size is None:
        return "size not stated"
    for unit, digits, name in ((10**9, 1, "GB"), (10**6, 0, "MB"), (10**3, 0, "kB")):
        if size >= unit * 0.9995:
            return f"{size / unit:.{digits}f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"


def together(listed: Sequence[Model]) -> str:
    """The size of all of them: at least so much where some publishers do not say theirs."""
    unknown = [model.title for model in listed if model.size is None]
    known = sum(model.size or 0 for model in listed)
    if not unknown:
        return human(known) if listed else ""
    names = " and ".join(unknown)
    return f"at least {human(known)} ({names}: {human(None)})" if known else f"{names} ({human(None)})"


@cache
def models() -> tuple[Model, ...]:
    return parsed(PATH.read_bytes())


def model(identifier: str) -> Model:
    """Raises KeyError."""
    return {one.id: one for one in models()}[identifier]


def parsed(text: str | bytes) -> tuple[Model, ...]:
    """Raises BadSetup for another form than the manifest has, and for names that lead out of their folder."""
    try:
        return tuple(map(_model, json.loads(text)["models"]))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise BadSetup(f"{PATH} is damaged: {in_one_line(error)}.", "Get the pack anew.") from error


def _model(entry: Mapping[str, Any]) -> Model:
    made: dict[str, Any] = {name: tuple(entry[name]) for name in ("alternatives", "nodes")}
    made["archive"] = entry["archive"] and _file(entry["archive"])
    made["files"] = tuple(map(_file, entry["files"]))
    made["licences"] = tuple(Licence(**licence) for licence in entry["licences"])
    if not made["files"]:
        raise ValueError(f"{entry['id']} has no files")
    return Model(**{**entry, **made})


def _file(entry: Mapping[str, Any]) -> File:
    names: Any = tuple(entry["names"])
    if not names or not all(_NAME.fullmatch(name) for name in names):
        raise ValueError(f"{entry['names']} are no names of files below a folder")
    return File(**{**entry, "names": names})


SCHEDULER = "scheduler"
"""The part that is no network."""
_OF_ANY = ("unet", "vae", "text_encoder", "denoiser", SCHEDULER)
"""Parts that the folder of any diffusers model has as well."""


def networks_of(model: Model) -> tuple[str, ...]:
    """Of one that is released as a folder: the prefixes of the keys in a single file."""
    return tuple(file.part for file in model.files if file.part != SCHEDULER)


def release_expected(model: Model) -> str:
    return f"the released folder of {model.title}, or a .safetensors file that scripts/to_safetensors.py made of it"


def release_advice(model: Model) -> str:
    return f"Get all of {model.page} ({model.size_text}) and put it into a folder below models/{model.key}."


def folder_of(name: str) -> str | None:
    """The diffusers folder that a file lies in, complete or not, "." for none above it; name: its relative path."""
    folders = PurePath(name).parts[:-1]
    unets = ("unet", "reference_unet")
    found = next((number for number, folder in enumerate(folders) if folder.lower() in unets), None)
    return None if found is None else str(PurePath(*folders[:found]))


def locate(model: Model, folder: Path) -> dict[str, Path]:
    """The file of every part. Raises ModelMissing with the names and sizes of what is not there, UnsupportedCheckpoint
    for another model's diffusers folder."""
    paths = {file.part: [folder / name.removeprefix(f"{model.name}/") for name in file.names] for file in model.files}
    found = {part: _there(folder, names) for part, names in paths.items()}
    missing = [file for file in model.files if not found[file.part]]
    own = [file for file in model.files if file.part not in _OF_ANY]
    if all(file in missing for file in own):
        parts = " or ".join([", ".join(file.part for file in own[:-1]), own[-1].part])
        what = f"a plain {_family(folder)} diffusers folder (no {parts})"
        raise UnsupportedCheckpoint(str(folder), what, release_expected(model), release_advice(model))
    if missing:
        names = [paths[file.part][0].relative_to(folder).as_posix() for file in missing]
        sizes = ", ".join(human(file.size) for file in missing)
        raise ModelMissing(f"Something of the {model.title} release", names, [str(folder)], model.page, sizes)
    return {part: path for part, path in found.items() if path}


def _there(folder: Path, paths: Sequence[Path]) -> Path | None:
    """The first of these paths that is a file, else a file below `folder` whose name is the same in another spelling:
    some disks and archives write names in capitals."""
    for path in paths:
        if path.is_file():
            return path
    below = {name: Path(file) for name, file in listing(str(folder)).files}
    for path in paths:
        entry = among(path.relative_to(folder).as_posix(), below)
        if entry and below[entry].is_file():
            return below[entry]
    return None


def _family(folder: Path) -> str:
    try:
        found = of_text(json.loads((folder / "unet" / "config.json").read_bytes())["cross_attention_dim"])
    except (OSError, ValueError, LookupError, TypeError):
        found = None
    return found.name if found else "Stable Diffusion"
