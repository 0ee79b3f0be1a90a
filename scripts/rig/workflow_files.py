"""Files that hold a workflow, read in one way for all scripts. Standard library only."""

from __future__ import annotations

import json
from pathlib import Path

from environment import SetupError
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

_MOST = 256 * 10**6
"""Bytes of a file with a workflow: pictures are the largest."""


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
