"""Files that hold a workflow, read in one way for all scripts. Standard library only."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path

from environment import ROOT, SetupError
from readable import Unreadable, bytes_of

from core.models.workflow_forms import (
    Graph,
    NoWorkflow,
    UnknownNodes,
    graph_in_picture,
    graph_of,
    kind_of,
    require_known,
)

from .picture_texts import texts_in

TEMPLATES = ROOT / "workflows"
_MOST = 256 * 10**6
"""Bytes of a file with a workflow: pictures are the largest."""


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
        require_known(graph)
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
    if texts is not None:
        return graph_in_picture(texts)
    try:
        # UTF-8 with or without a mark, UTF-16 and UTF-32: PowerShell writes what a program says as UTF-16.
        value = json.loads(data)
    except RecursionError:
        raise NoWorkflow("its brackets go deeper than those of any workflow") from None
    except ValueError as cause:
        raise NoWorkflow(f"{kind_of(data)} ({cause})") from cause
    return graph_of(value)
