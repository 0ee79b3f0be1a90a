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
import torch
from pack.bridge.people import face_model
from pack.core.models import workflow_needs
from pack.core.pictures.previews import as_tensor
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from shared import whole

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


def fingerprint(graph: Graph, folder: Path, made_with: Mapping[str, str], recogniser: str) -> str:
    """A text that changes with anything that a picture is made of.

    The prompt counts, which has the text, the size, the steps and the seed. Photos and LoRAs of people count by what is
    in them. Files of models, which may be large, count by size and time: those that the prompt names, the detectors of
    its face pack, and the recogniser that its method reads. Another recogniser beside that one changes no picture.

    folder: of the photos and LoRAs. made_with: whatever else the pictures or their seconds depend on. recogniser: the
    id of the one whose embeddings the method reads, "" for none.
    """
    everything = [graph.prompt, _people_files(graph, folder), _model_files(graph, recogniser), dict(made_with)]
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:32]


def _people_files(graph: Graph, folder: Path) -> dict[str, str]:
    """By name what is in each photo and LoRA of people that a prompt reads."""
    files: dict[str, str] = {}
    for node in graph.prompt.values():
        name = node["inputs"].get(_OF_PEOPLE.get(node["class_type"], ""))
        if isinstance(name, str) and (folder / name).is_file():
            files[name] = content_of(folder / name)
    return files


def _model_files(graph: Graph, recogniser: str) -> dict[str, str]:
    """By name the state of each model file that a prompt reads. recogniser: as in `fingerprint`."""
    files: dict[str, str] = {}
    for file in workflow_needs.loaded(graph.prompt):
        for key in (file.key, *file.further):
            path = folder_paths.get_full_path(key, file.name)
            if path:
                files[f"{key}/{file.name}"] = state_of(Path(path))
    for node_id in graph.ids("LikenessLoadFaceEmbedder"):
        for path in face_model.paths_of(graph.inputs(node_id)["pack"], recogniser):
            files[f"faces/{Path(path).name}"] = state_of(Path(path))
    return files


def state_of(path: Path) -> str:
    """Size and time of a file, as a text that changes where another file takes its place."""
    state = path.stat()
    return f"{state.st_size} {state.st_mtime_ns}"


def content_of(path: Path) -> str:
    """A text of what is in a file. It is read again only after a change."""
    return _content_in_state(path, state_of(path))


@cache
def _content_in_state(path: Path, state: str) -> str:
    """A text of what is in a file while its state is this one."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


_NO_PICTURE = (OSError, SyntaxError, ValueError)
"""What Pillow raises for a file that is missing, cut off or no PNG."""


def taken(path: Path, expected: str) -> Drawn | None:
    """The picture of an earlier run at a path; None where there is none, a damaged one, or one of other things.

    expected: the fingerprint that it must have.
    """
    try:
        with Image.open(path) as opened:
            note = _note_of(opened.info)
            if note is None or note.fingerprint != expected:
                return None
            pixels = as_pixels(opened)
    except _NO_PICTURE:
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
    return as_tensor(picture.convert("RGB"))
