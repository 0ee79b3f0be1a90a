"""What a method is: one record each, the method.json of its folder in nodes/. Standard library only.

Whatever lists methods reads these: model folders, what a file is, what a workflow needs, the doctor, the tables of the
pages, the choices of Measure Likeness, the benchmark and the tests.
"""

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, cast

from .errors import LikenessError

FOLDERS = Path(__file__).absolute().parents[1] / "nodes"
READS = ("embedding", "portrait", "photo", "keypoints", "body", "parts", "pictures")
"""What a method may read of a person."""
ACTS = (
    "cross-attention", "text", "ControlNet", "transformer blocks", "joint attention", "self-attention", "LoRA",
)  # fmt: skip
"""Where it may act."""
PROMISES = (
    "parity", "off", "a_b_a", "masks", "people", "rows", "odd_sizes", "half", "compiled", "cancel", "partial_loading",
    "other_packs", "leaks", "wrong_values", "wrong_files", "template", "doctor", "help_page", "old_workflows",
)  # fmt: skip
"""What every method promises, unless its record says why not.

The tests of parity are a file of tests/parity for each method. Those of every other promise are a file of
tests/promises."""


class BadRecord(LikenessError):
    """A method.json that lacks something, or holds what nobody knows."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is no record of a method: {why}.", "core/methods.py says what each field means.")


@dataclass(frozen=True)
class Use:
    """One way to use a method. title: in tables. template: the workflow that says which files it needs."""

    title: str
    template: str


@dataclass(frozen=True)
class Format:
    """A kind of file. detect: how it is told, see core.models.formats.

    belongs: where such a file is used, as advice. family: of the models it is made for, "" for any. ours: whether a
    loader of ours reads it, so that all of its keys are known.
    """

    id: str
    title: str
    belongs: str
    detect: Mapping[str, Any]
    family: str = ""
    ours: bool = True


@dataclass(frozen=True)
class Method:
    """One method. folder: its own below nodes/. rank: its turn in lists.

    paper: where it is published. good_for: what people take it for, in a few words, by language. node: the node of its
    own that its workflows have beside `applies`, "" where Load Adapter loads its files. applies: nodes that put it into
    conditioning or model. key: the model folder of its own files,
    "" without. files: ids of these in the manifest, its ControlNet's too. formats: what these files may be. recogniser:
    the id of the one whose embeddings it reads, "" for none; embedding_formats: formats that do, all where none is
    named. measured_as: what Measure Likeness calls it, "" where nothing is measured by it. reads, acts: of READS and
    ACTS. families: names of core.families. people: the most in one picture, None for any number. host: the oldest
    ComfyUI that can. uses: how it is used, the first as its title says. not_promised: of PROMISES those that it does
    not keep, each with a reason.
    """

    folder: str
    rank: int
    title: str
    paper: str
    good_for: Mapping[str, str]
    node: str
    applies: tuple[str, ...]
    key: str
    files: tuple[str, ...]
    formats: tuple[Format, ...]
    recogniser: str
    embedding_formats: tuple[str, ...]
    measured_as: str
    reads: tuple[str, ...]
    acts: tuple[str, ...]
    families: tuple[str, ...]
    people: int | None
    host: str
    experimental: bool
    uses: tuple[Use, ...]
    not_promised: Mapping[str, str]

    def used_by(self, kinds: Set[str]) -> bool:
        """Whether a workflow with nodes of these types uses it."""
        return not kinds.isdisjoint({self.node, *self.applies})


def read(path: Path) -> Method:
    """The record in a method.json. Raises BadRecord."""
    given: dict[str, Any] = json.loads(path.read_bytes())
    wanted = {field.name for field in fields(Method)} - {"folder"}
    if given.keys() != wanted:
        raise BadRecord(path, f"missing {sorted(wanted - given.keys())}, unknown {sorted(given.keys() - wanted)}")
    for name, known in (("reads", READS), ("acts", ACTS), ("not_promised", PROMISES)):
        if unknown := {str(one) for one in given[name]} - set(known):
            raise BadRecord(path, f"{name} knows no {sorted(unknown)}; it may be {', '.join(known)}")
    given["formats"], given["uses"] = [Format(**one) for one in given["formats"]], [Use(**one) for one in given["uses"]]
    lists = {name: tuple(cast("list[Any]", value)) for name, value in given.items() if isinstance(value, list)}
    made: dict[str, Any] = {**given, **lists, "folder": path.parent.name}
    return Method(**made)


def method(folder: str) -> Method:
    """The one in this folder. Raises KeyError."""
    return {one.folder: one for one in methods()}[folder]


@cache
def methods() -> tuple[Method, ...]:
    """Every method, in the order of their ranks."""
    found = [read(path) for path in FOLDERS.glob("*/method.json")]
    if not found:
        raise BadRecord(FOLDERS, "no folder in it has a method.json")
    return tuple(sorted(found, key=lambda method: (method.rank, method.folder)))
