"""What is fetched from where: models_manifest.json, the one source of files, addresses, sizes and licences.

Standard library only: the scripts read it where there is no torch yet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import LikenessError
from ..text import in_one_line

PATH = Path(__file__).absolute().parents[2] / "models_manifest.json"

_NAME = re.compile(r"(?!.*\.\.)[\w+.-][\w+. -]*(/[\w+.-][\w+. -]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_ROUNDED = 0.03
"""Sizes on download pages are rounded by less than this part of them."""

COMMERCIAL = ("yes", "no", "contradictory", "not stated")
"""Whether the licences allow commercial use. contradictory: their publishers say one thing here and another there."""

STANDIN = "standin-miniature"
"""What the name of each of the demo's stand-ins starts with, relative to its model folder."""


class DamagedManifest(LikenessError):
    """models_manifest.json is not as it came with the pack."""

    def __init__(self, why: object) -> None:
        super().__init__(f"{PATH} is damaged: {why}.", "Get the pack anew.")


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


@dataclass(frozen=True)
class Model:
    """Something a loader loads.

    key: the host's name of the folder. name: what the loader's menu shows. format: its id in formats.formats, or
    face-pack; "" where only its name tells it. family: of the models it is made for, "" for any. archive: the zip its
    files come in. alternatives: what does as well, in words. nodes: those that cannot do without it.
    """

    id: str
    title: str
    key: str
    name: str
    format: str
    family: str
    page: str
    archive: File | None
    files: tuple[File, ...]
    licences: tuple[Licence, ...]
    commercial: str
    alternatives: tuple[str, ...]
    nodes: tuple[str, ...]

    @property
    def fetched(self) -> tuple[File, ...]:
        """What has to be downloaded."""
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
        """The address of `file` under one of its names."""
        return (file.url or "").replace("{name}", name.removeprefix(f"{self.name}/"))


def human(size: int | None) -> str:
    """Bytes for people, as download pages give them."""
    if size is None:
        return "size not stated"
    for unit, digits in ((10**9, 1), (10**6, 0), (10**3, 0)):
        if size >= unit * 0.9995:
            number = f"{size / unit:.{digits}f}".removesuffix(".0")
            return f"{number} {({10**9: 'GB', 10**6: 'MB', 10**3: 'kB'})[unit]}"
    return f"{size} bytes"


def together(listed: Sequence[Model]) -> str:
    """The size of all of them, as far as their publishers say."""
    unknown = [model.title for model in listed if model.size is None]
    known = sum(model.size or 0 for model in listed)
    sizes = [human(known)] * bool(known) + [f"{' and '.join(unknown)} ({human(None)})"] * bool(unknown)
    return " and ".join(sizes)


@cache
def models() -> tuple[Model, ...]:
    """All models, in the order of the manifest."""
    return parsed(PATH.read_bytes())


def model(identifier: str) -> Model:
    """Raises KeyError."""
    return {one.id: one for one in models()}[identifier]


def parsed(text: str | bytes) -> tuple[Model, ...]:
    """Raises DamagedManifest for another form than `written` gives, and for names and addresses that lead astray."""
    try:
        found = tuple(_model(entry) for entry in json.loads(text)["models"])
        wrong = next((model.id for model in found if not _sound(model)), None)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise DamagedManifest(in_one_line(error)) from error
    if wrong is not None:
        raise DamagedManifest(f"a name, address, length or hash of {wrong}")
    return found


def _sound(model: Model) -> bool:
    """Names stay below the folder of their key, addresses are of the web, and no text steers a terminal."""
    files = (*model.fetched, *model.files)
    names = (model.key, model.name, *(name for file in files for name in file.names))
    urls = (model.page, *(file.url for file in model.fetched))
    texts = (model.id, model.title, *names, *urls, *(text for one in model.licences for text in astuple(one)))
    sizes = (file.size for file in files)
    return (
        all(isinstance(text, str) and text.isprintable() for text in texts)
        and all(_NAME.fullmatch(name) for name in names)
        and all(url and url.startswith("https://") for url in urls)
        and all(size is None or (type(size) is int and 0 < size < 1 << 50) for size in sizes)
        and all(file.sha256 is None or _SHA256.fullmatch(file.sha256) for file in files)
        and all(file.names for file in files)
        and bool(model.files)
    )


def written(entries: Iterable[Model]) -> str:
    """The text of the manifest: the same for the same models, byte for byte."""
    return json.dumps({"models": [asdict(entry) for entry in entries]}, indent=2, ensure_ascii=False) + "\n"


def _model(entry: Mapping[str, Any]) -> Model:
    lists: dict[str, Any] = {name: tuple(entry[name]) for name in ("alternatives", "nodes")}
    parts: dict[str, Any] = {
        "archive": entry["archive"] and _file(entry["archive"]),
        "files": tuple(_file(file) for file in entry["files"]),
        "licences": tuple(Licence(**licence) for licence in entry["licences"]),
    }
    return Model(**{**entry, **lists, **parts})


def _file(entry: Mapping[str, Any]) -> File:
    names: Any = tuple(entry["names"])
    return File(**{**entry, "names": names, "sha256": entry["sha256"] and entry["sha256"].lower()})


def offered(entry: Model) -> dict[str, str] | None:
    """How a workflow offers a model to the frontend, which fetches from few places; None where it cannot."""
    if entry.archive or not entry.url.startswith(("https://huggingface.co/", "https://civitai.com/")):
        return None
    shown = {"name": entry.name, "url": entry.url, "directory": entry.key}
    sha256 = entry.files[0].sha256
    return shown | ({"hash": sha256, "hash_type": "SHA256"} if sha256 else {})
