"""What a method is: one record each, the method.json of its folder in nodes/. Standard library only.

Whatever lists methods reads these: model folders, what a file is, what a workflow needs, Check Model Files, the tables
of the pages, the choices of Measure Likeness, the benchmark and the tests.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from .checks import records

FOLDERS = Path(__file__).absolute().parents[1] / "nodes"
READS = ("embedding", "portrait", "photo", "keypoints", "parts")
"""What a method may read of a person."""


@dataclass(frozen=True)
class Use:
    """One way to use a method. title: in tables. template: the name of the workflow that says which files it needs."""

    title: str
    template: str


@dataclass(frozen=True)
class Format:
    """A kind of file.

    detect: rules by which such a file is recognised, see core.models.formats.
    belongs: where such a file is used, as advice.
    family: of the models it is made for, "" for any.
    host: the oldest ComfyUI in which its node runs, where it is not that of the method.
    ours: whether one of our loaders reads it, so that all of its keys are known.
    """

    id: str
    title: str
    belongs: str
    detect: Mapping[str, Any]
    family: str = ""
    host: str = ""
    ours: bool = True


@dataclass(frozen=True)
class Method:
    """The record of one method.

    folder: its own below nodes/.
    good_for: what people take it for, in a few words, by language.
    applies: id of the node that puts it into conditioning or model.
    key: the model folder of its own files, "" where it has none.
    files: ids of its files in the manifest, its ControlNet's too.
    formats: the formats that its own files may have.
    recogniser: the id of the recogniser whose embeddings it reads, "" for none.
    embedding_formats: the formats that read embeddings, each by the beginning of its id; empty where all formats do.
    measured_as: what Measure Likeness calls it, "" where nothing is measured by it.
    reads: of READS.
    families: names of core.families.
    host: the oldest ComfyUI in which it runs.
    uses: the ways to use it, the first as its title says.
    """

    folder: str
    title: str
    good_for: Mapping[str, str]
    applies: str
    key: str
    files: tuple[str, ...]
    formats: tuple[Format, ...]
    recogniser: str
    embedding_formats: tuple[str, ...]
    measured_as: str
    reads: tuple[str, ...]
    families: tuple[str, ...]
    host: str
    uses: tuple[Use, ...]

    def used_by(self, kinds: Set[str]) -> bool:
        """Whether a workflow uses this method. kinds: the node ids of all nodes of the workflow."""
        return self.applies in kinds

    def reads_embeddings_with(self, formats: Iterable[str]) -> bool:
        """Whether it reads embeddings where files of these formats are used: some methods do so with all files, others
        with those of some formats alone, as IP-Adapter with FaceID."""
        if not self.recogniser:
            return False
        return not self.embedding_formats or any(each.startswith(self.embedding_formats) for each in formats)


def read(path: Path) -> Method:
    """The method of a method.json. Raises BadRecord for missing and unknown fields, which it names."""
    record: dict[str, Any] = records.read(path)
    with records.made_of(path):
        record["formats"] = [Format(**entry) for entry in record["formats"]]
        record["uses"] = [Use(**entry) for entry in record["uses"]]
        values: dict[str, Any] = {"folder": path.parent.name}
        for name, value in record.items():  # JSON has lists where a Method has tuples
            values[name] = tuple(cast("list[Any]", value)) if isinstance(value, list) else value
        return Method(**values)


def method(folder: str) -> Method:
    """The method in a folder below nodes/. Raises BadRecord."""
    by_folder = {each.folder: each for each in methods()}
    if folder not in by_folder:
        raise records.BadRecord(FOLDERS / folder / "method.json", "there is no such file")
    return by_folder[folder]


@cache
def methods() -> tuple[Method, ...]:
    """Every method, in the order of the folders' names."""
    return tuple(read(path) for path in sorted(FOLDERS.glob("*/method.json")))


def recognisers_read() -> set[str]:
    """The ids of all recognisers whose embeddings methods read."""
    return {method.recogniser for method in methods() if method.recogniser}
