"""Pictures of an earlier run: one is taken instead of drawn again where nothing has changed that it is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from pack.core.models import needs
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rig import whole

from .graphs import Graph

_PROMPT, _NOTE = "prompt", "compare"
"""Names of the texts in a PNG: the workflow, which the editor opens, and a Note."""
_OF_PEOPLE = {"LoadImage": "image", "LikenessAddLoRAToPerson": "file"}
"""Nodes that read a file of a person, and the input that names it."""


@dataclass(frozen=True)
class Note:
    """What a picture says of itself beside its prompt.

    fingerprint: a text that changes with anything that the picture is made of. seconds, step_seconds: see Drawn.
    """

    fingerprint: str
    seconds: float | None
    step_seconds: float | None


@dataclass(frozen=True)
class Drawn:
    """A picture that was drawn, by this run or an earlier one.

    path: of the PNG, which holds its prompt. pixels: (H, W, 3) float 0..1. seconds: of all nodes but those that load
    files, None where the host had the picture already. step_seconds: of the samplers alone, by step.
    """

    path: Path
    pixels: torch.Tensor
    seconds: float | None
    step_seconds: float | None


def fingerprint(graph: Graph, folder: Path, made_with: Mapping[str, str]) -> str:
    """A text that changes with anything that a picture is made of.

    Photos and LoRAs of people count by what is in them. Files of models, which may be large, count by size and time.
    folder: of the photos and LoRAs. made_with: whatever else the pictures or their seconds depend on.
    """
    of_people: dict[str, str] = {}
    for node in graph.prompt.values():
        name = node["inputs"].get(_OF_PEOPLE.get(node["class_type"], ""))
        if isinstance(name, str) and (folder / name).is_file():
            of_people[name] = _content(folder / name)
    of_models: dict[str, str] = {}
    for file in needs.loaded(graph.prompt):
        for key in (file.key, *file.further):
            path = folder_paths.get_full_path(key, file.name) if key in folder_paths.folder_names_and_paths else None
            if path:
                state = Path(path).stat()
                of_models[f"{key}/{file.name}"] = f"{state.st_size} {state.st_mtime_ns}"
    everything = [graph.prompt, of_people, of_models, dict(made_with)]
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:32]


def _content(path: Path) -> str:
    state = path.stat()
    return _content_of_state(path, state.st_size, state.st_mtime_ns)


@cache
def _content_of_state(path: Path, size: int, time: int) -> str:
    """A text of what is in a file. size, time: of the file, so that it is read again after a change alone."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def taken(path: Path, wanted: str) -> Drawn | None:
    """The picture of an earlier run at a path; None where there is none, a damaged one, or one of other things.

    wanted: the fingerprint that it must have.
    """
    try:
        with Image.open(path) as opened:
            note = _note_of(opened.info)
            if note is None or note.fingerprint != wanted:
                return None
            pixels = as_pixels(opened)
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for a file that is missing, cut off or no PNG
        return None
    return Drawn(path, pixels, note.seconds, note.step_seconds)


def _note_of(texts: Mapping[Any, Any]) -> Note | None:
    """The note among the texts of a PNG, None where there is none that this version can read."""
    try:
        return Note(**json.loads(texts[_NOTE]))
    except (KeyError, TypeError, ValueError):
        return None


def save(picture: Image.Image, path: Path, graph: Graph, note: Note | None) -> None:
    """Write a picture with its prompt and its note. It is there whole or not at all."""
    texts = PngInfo()
    texts.add_text(_PROMPT, json.dumps(graph.prompt))
    if note is not None:
        texts.add_text(_NOTE, json.dumps(asdict(note)))
    whole.written(path, lambda unfinished: picture.save(unfinished, "PNG", pnginfo=texts))


def as_pixels(picture: Image.Image) -> torch.Tensor:
    """(H, W, 3) float 0..1."""
    return torch.from_numpy(np.array(picture.convert("RGB"))).float() / 255
