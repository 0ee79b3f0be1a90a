"""What is kept of the pictures of a run: a file beside each, and what one method has made of a benchmark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from comparison.records import DrawnMethod
from rig import whole

from .seen import Seen, as_json, from_json


@dataclass(frozen=True)
class Kept:
    """What is kept beside a picture.

    fingerprint: what the picture is made of, see comparison/kept.py. seconds: that it took, None where they are not
    known. watchers: who has looked at it, with which files. seen: what they saw, None before that.
    """

    fingerprint: str
    seconds: float | None = None
    watchers: Sequence[str] = ()
    seen: Seen | None = None


@dataclass(frozen=True)
class Failure:
    """A picture that could not be drawn or measured. public_why: without paths and names."""

    case: str
    why: str
    public_why: str


@dataclass
class Result:
    """What one method has made of a benchmark.

    note: why it was not drawn at all, "" where it was. kept: by name of the case.
    """

    method: DrawnMethod
    note: str = ""
    kept: dict[str, Kept] = field(default_factory=dict[str, Kept])
    failures: list[Failure] = field(default_factory=list[Failure])


def note_of(picture: Path) -> Path:
    """The file beside a picture."""
    return picture.with_suffix(".json")


def write_kept(path: Path, kept: Kept) -> None:
    """Write what is kept beside a picture, whole or not at all."""
    content = {**asdict(kept), "seen": None if kept.seen is None else as_json(kept.seen)}
    whole.write(path, json.dumps(content).encode())


def read_kept(path: Path) -> Kept | None:
    """What is kept beside a picture; None where there is nothing, or something else."""
    try:
        content = json.loads(path.read_bytes())
        seen = None if content["seen"] is None else from_json(content["seen"])
        return Kept(content["fingerprint"], content["seconds"], content["watchers"], seen)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
