"""Files that hold a workflow, read in one way for all scripts. Standard library only.

ComfyUI saves a graph of its editor, exports a prompt of its API, and writes both into the pictures that it saves.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from environment import ROOT, SetupError

from .given_files import Unreadable, bytes_of
from .picture_texts import texts_in

Graph = dict[str, Any]
"""A workflow as the editor saves it, or as the API takes it."""
TEMPLATES = ROOT / "workflows"
_MOST = 256 * 10**6
"""Bytes of a file with a workflow: pictures are the largest."""
_EXPORT = "save it in ComfyUI with Export, or with Export (API)"
_SIGNATURES = (
    (b"\xff\xd8\xff", "a JPEG picture, which keeps no workflow: take the PNG that Save Image has written"),
    (b"GIF8", "a GIF picture, which keeps no workflow: take the PNG that Save Image has written"),
    (b"BM", "a BMP picture, which keeps no workflow: take the PNG that Save Image has written"),
    (b"PK\x03\x04", "a zip: unpack it"),
    (b"\x1f\x8b", "packed with gzip: unpack it"),
    (b"%PDF", "a PDF"),
    (b"\x1aE\xdf\xa3", f"a video: open it in ComfyUI and {_EXPORT}"),
    (b"<", f"a web page or XML: {_EXPORT}"),
)
"""The first bytes of files that people choose by mistake -> what the file is, and what to do."""


class NoWorkflow(ValueError):
    """A file that is no workflow, or one that cannot be used. The text says why; in messages the file's name stands
    before it."""


class UnknownNodes(NoWorkflow):
    """A prompt with nodes that the editor did not know when it wrote them."""


def named(name: str) -> Path:
    """The file that a script is told to take: one that is there, else a template of ours by its name, with or without
    its ending. Raises SetupError with what is near."""
    path = Path(name)
    stem = path.stem if path.name == name else name
    ours = TEMPLATES / f"{stem}.json"
    for file in (path, ours):
        if os.path.isfile(file):  # that of a path is an error for letters that no name of a file has
            return file
    if os.path.exists(path):
        return path  # a folder or a device, which is named where it is read
    templates = sorted(file.stem for file in TEMPLATES.glob("*.json"))
    near = difflib.get_close_matches(path.stem, templates, 3, 0.4) or ["start_two_people"]
    such = ", ".join(near)
    raise SetupError(f"There is no file {name}, and no template of that name in {TEMPLATES}, such as {such}.")


def read(path: Path) -> Graph:
    """The graph in a file, as the editor saves it or as the API takes it.

    Raises SetupError for what is no file, is too large, or holds no graph, and says what it is instead; for a prompt
    with nodes that the editor did not know when it was exported, by their titles.
    """
    try:
        graph = _graph(bytes_of(path, _MOST))
        _require_known(graph)
    except Unreadable as problem:
        raise SetupError(f"{path} {problem}.") from problem
    except UnknownNodes as problem:
        raise SetupError(f"{path} is not whole: {problem}.") from problem
    except NoWorkflow as problem:
        raise SetupError(f"{path} is no workflow: {problem}.") from problem
    return graph


def _graph(data: bytes) -> Graph:
    """Raises NoWorkflow."""
    texts = texts_in(data)
    return _graph_of(_parsed(data)) if texts is None else _graph_in_picture(texts)


def _graph_of(value: Any) -> Graph:
    """The graph that a value of parsed JSON is. Raises NoWorkflow."""
    graph = _object(value)
    if graph is None:
        raise NoWorkflow(f"it holds {_kind(value)} alone: {_EXPORT}")
    nodes: Any = graph.get("nodes")
    if isinstance(nodes, list):
        _require_own(graph)
    elif is_prompt(graph):
        return graph
    if not nodes:
        raise NoWorkflow(f"there are no nodes in it: {_EXPORT}")
    return graph


def _graph_in_picture(texts: Mapping[str, str]) -> Graph:
    """The graph in the texts (metadata) of a picture: the saved workflow if there is one, else the prompt. The editor
    does the same with a picture that is dropped on it. Raises NoWorkflow."""
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


def is_prompt(graph: Mapping[str, Any]) -> bool:
    """Whether a graph has the form of the API: node id -> node. Nodes of a pack that was not installed when the editor
    exported it count as well."""
    entries = _objects(graph.values())
    if any("class_type" in entry for entry in entries):
        return True
    # A node that is unknown to the editor is exported without its class.
    return bool(entries) and all(isinstance(entry.get("inputs"), dict) for entry in entries)


def _require_known(graph: Mapping[str, Any]) -> None:
    """Raise UnknownNodes for nodes of a prompt without a class, and NoWorkflow for nodes without inputs.

    A saved workflow, which is no prompt, passes.
    """
    if isinstance(graph.get("nodes"), list):
        return
    unknown: list[str] = []
    for number, value in graph.items():
        entry = _object(value)
        if entry is None:
            continue
        name = _id_with_title(number, entry)
        if not isinstance(entry.get("class_type"), str):
            unknown.append(name)
        elif not isinstance(entry.get("inputs"), dict):
            raise NoWorkflow(f"node {name} has no list of inputs: export it again")
    if len(unknown) == 1:
        raise UnknownNodes(f"node {unknown[0]} was unknown to the editor: install its pack and export again")
    if unknown:
        names = f"{', '.join(unknown[:-1])} and {unknown[-1]}"
        raise UnknownNodes(f"nodes {names} were unknown to the editor: install their packs and export again")


def _kind_of(data: bytes) -> str:
    """A sentence for a message: what a file is that is no JSON, by its first bytes."""
    start = data.lstrip()[:64]
    if not start:
        return "it is empty"
    if data[4:8] == b"ftyp":
        return f"it is a video or a picture of a phone: take the PNG that Save Image has written, or {_EXPORT}"
    for signature, what in _SIGNATURES:
        if start.startswith(signature):
            return f"it is {what}"
    return f"it is damaged, or no JSON at all: {_EXPORT}"


def _parsed(text: str | bytes) -> Any:
    """The value in a text of JSON, or in its bytes: UTF-8 with or without a mark, UTF-16 and UTF-32, as PowerShell
    writes what a program says. Raises NoWorkflow."""
    try:
        # Python writes NaN where JSON has no such number, and ComfyUI's pictures may hold it.
        return json.loads(text)
    except RecursionError:
        raise NoWorkflow("its brackets go deeper than those of any workflow") from None
    except ValueError as cause:
        data = text.encode(errors="replace") if isinstance(text, str) else text
        raise NoWorkflow(f"{_kind_of(data)} ({cause})") from cause


def _object(value: Any) -> dict[str, Any] | None:
    """A value if it is an object of JSON, else None."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _objects(values: Iterable[Any]) -> list[dict[str, Any]]:
    """The values that are objects of JSON, without all others."""
    return [cast("dict[str, Any]", value) for value in values if isinstance(value, dict)]


def _require_own(graph: Graph) -> None:
    """Raise NoWorkflow for a graph of another program, which has "edges" where ComfyUI has "links"."""
    if "links" not in graph and "edges" in graph:
        raise NoWorkflow("it is a workflow of another program, not of ComfyUI")


def _id_with_title(number: str, entry: Mapping[str, Any]) -> str:
    """The id of a node of a prompt, with its title where it has one."""
    meta = _object(entry.get("_meta"))
    title = meta.get("title") if meta else None
    return f"{number} ({title})" if title else str(number)


def _kind(value: Any) -> str:
    """The kind of a JSON value that is no object, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list):
        return "a list"
    return "a text" if isinstance(value, str) else "a number"
