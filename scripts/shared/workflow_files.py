"""Files that hold a workflow, read in one way for all scripts. A picture needs Pillow, all others nothing.

ComfyUI saves a graph of its editor, exports a prompt of its API, and writes both into the pictures that it saves.
"""

from __future__ import annotations

import difflib
import io
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from environment import ROOT, SetupError

from core.checks.errors import listed
from core.checks.limits import WORKFLOW_BRACKETS, WORKFLOW_BYTES, TooMuch, json_in

from .given_files import Unreadable, bytes_of, plain_path

Graph = dict[str, Any]
"""A workflow as the editor saves it, or as the API takes it."""
TEMPLATES = ROOT / "workflows"
_MOST = 256 * 10**6
"""Bytes of a file with a workflow: pictures are the largest."""
_EXPORT = "save it in ComfyUI with Export, or with Export (API)"


class NoWorkflow(ValueError):
    """A file that is no workflow, or one that cannot be used. The text says why; in messages the file's name stands
    before it."""


def titles(language: str) -> dict[str, str]:
    """Template -> its title, in the order of the gallery."""
    texts = json.loads((ROOT / "locales" / language / "main.json").read_text("utf-8"))
    return texts["templateWorkflows"]["template"]["likeness"]


def named(name: str) -> Path:
    """The file that a script is told to take: one that is there, else a template of ours by its title or the name of
    its file, with or without its ending. Raises SetupError with what is near."""
    name = plain_path(name)
    path = Path(name)
    stem = path.stem if path.name == name else name
    for file in (path, TEMPLATES / f"{stem}.json"):
        if os.path.isfile(file):  # that of a path is an error for letters that no name of a file has
            return file
    if os.path.exists(path):
        return path  # a folder or a device, which is named where it is read
    by_title = {
        title.casefold(): (title, file) for language in ("en", "zh") for file, title in titles(language).items()
    }
    if called := by_title.get(name.strip().casefold()):
        return TEMPLATES / f"{called[1]}.json"
    known = {file.stem: file.stem for file in sorted(TEMPLATES.glob("*.json"))}
    known |= {folded: title for folded, (title, _) in by_title.items()}
    near = difflib.get_close_matches(path.name.strip().removesuffix(".json").casefold(), known, cutoff=0.4)
    such = ", ".join(known[one] for one in near or ["start_two_people"])
    raise SetupError(f"There is no file {name}, and no template of that name in {TEMPLATES}, such as {such}.")


def read(path: Path) -> Graph:
    """The graph in a file, as the editor saves it or as the API takes it.

    Raises SetupError for what is no file, is too large, or holds no graph; for a prompt with nodes that the editor did
    not know when it was exported, by their titles.
    """
    try:
        graph = _graph(bytes_of(path, _MOST))
        _require_known(graph)
    except Unreadable as problem:
        raise SetupError(f"{path} {problem}.") from problem
    except NoWorkflow as problem:
        raise SetupError(f"{path} is no workflow: {problem}.") from problem
    return graph


def _graph(data: bytes) -> Graph:
    """Raises NoWorkflow."""
    try:
        value = _parsed(data)
    except NoWorkflow:
        texts = _texts_in_picture(data)
        if texts is None:
            raise
        return _graph_in(texts)
    return _graph_of(value)


def _parsed(text: str | bytes) -> Any:
    """The value in a text of JSON, or in its bytes: UTF-8 with or without a mark, UTF-16 and UTF-32, as PowerShell
    writes what a program says. Raises NoWorkflow."""
    try:
        # Python writes NaN where JSON has no such number, and ComfyUI's pictures may hold it.
        return json_in(text, WORKFLOW_BYTES, WORKFLOW_BRACKETS)
    except TooMuch as cause:
        raise NoWorkflow(str(cause)) from None
    except ValueError as cause:
        raise NoWorkflow(f"it is neither JSON ({cause}) nor a picture that can be read: {_EXPORT}") from cause


def _texts_in_picture(data: bytes) -> dict[str, str] | None:
    """What is written into a picture, such as "workflow" and "prompt"; None for what is no picture. Raises NoWorkflow
    without Pillow."""
    try:
        from PIL import Image
    except ImportError as error:
        raise NoWorkflow(
            "it is no JSON, and pictures need Pillow: run this with the Python that runs ComfyUI"
        ) from error
    from core.pictures import opening

    starts = opening.directory_starts(data)
    if opening.names_too_much(lambda place, size: data[place : place + size], len(data), starts):
        return None
    try:
        with Image.open(io.BytesIO(data)) as picture:
            texts = {str(name): text for name, text in picture.info.items() if isinstance(text, str)}
            # Into a WebP ComfyUI writes "name:text", in the places of the camera's maker, model and so on.
            with suppress(Exception):  # damaged EXIF makes Pillow raise nearly anything
                for text in picture.getexif().values():
                    name, _, words = str(text).partition(":")
                    texts[name.lower()] = words
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return texts


def _graph_in(texts: Mapping[str, str]) -> Graph:
    """The graph in the texts of a picture: the saved workflow if there is one, else the prompt. The editor does the
    same with a picture that is dropped on it. Raises NoWorkflow."""
    problem: NoWorkflow | None = None
    for name in ("workflow", "prompt"):
        if not texts.get(name):
            continue
        try:
            return _graph_of(_parsed(texts[name]))
        except NoWorkflow as found:
            # Either may be empty or damaged; where both are, the message names the first.
            problem = problem or found
    other = " but the settings of another program" if "parameters" in texts else ""
    raise problem or NoWorkflow(f"it is a picture without a workflow of ComfyUI's{other}: {_EXPORT}")


def _graph_of(value: Any) -> Graph:
    """The graph that a value of parsed JSON is. Raises NoWorkflow."""
    if not isinstance(value, dict) or not value:
        raise NoWorkflow(f"there are no nodes in it: {_EXPORT}")
    graph: Graph = value
    if "edges" in graph and "links" not in graph:
        raise NoWorkflow("it is a workflow of another program, not of ComfyUI")
    nodes: Any = graph.get("nodes")
    if not nodes and (isinstance(nodes, list) or not is_prompt(graph)):
        raise NoWorkflow(f"there are no nodes in it: {_EXPORT}")
    return graph


def is_prompt(graph: Mapping[str, Any]) -> bool:
    """Whether a graph has the form of the API: node id -> node. Nodes of a pack that was not installed when the editor
    exported it count as well."""
    entries = [entry for entry in graph.values() if isinstance(entry, dict)]
    if any("class_type" in entry for entry in entries):
        return True
    # A node that is unknown to the editor is exported without its class.
    return bool(entries) and all(isinstance(entry.get("inputs"), dict) for entry in entries)


def _require_known(graph: Mapping[str, Any]) -> None:
    """Raise NoWorkflow for nodes of a prompt without a class, and for nodes without inputs.

    A saved workflow, which is no prompt, passes.
    """
    if isinstance(graph.get("nodes"), list):
        return
    unknown: list[str] = []
    for number, entry in graph.items():
        if not isinstance(entry, dict):
            continue
        meta = entry.get("_meta")
        title = meta.get("title") if isinstance(meta, dict) else None
        name = f"{number} ({title})" if title else str(number)
        if not isinstance(entry.get("class_type"), str):
            unknown.append(name)
        elif not isinstance(entry.get("inputs"), dict):
            raise NoWorkflow(f"node {name} has no list of inputs: export it again")
    if unknown:
        raise NoWorkflow(
            f"the editor that exported it did not know node {listed(unknown)}: install what is missing and export again"
        )
