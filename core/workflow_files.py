"""Workflows as ComfyUI saves them: every node, those inside of subgraphs too.

Standard library only: scripts read it where there is no torch yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

_OFF = (2, 4)
"""The modes of nodes that are muted or bypassed."""


def subgraphs(graph: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What stands inside of the nodes of these types. Raises ValueError where the list is damaged."""
    return {str(part.get("id")): part for part in _listed(graph.get("definitions"), "subgraphs")}


def nodes_in(graph: Mapping[str, Any], running: bool = False) -> Iterator[dict[str, Any]]:
    """Every node; behind one that stands for a subgraph those inside of it, once.

    running: without those that are switched off. Raises ValueError where a list of nodes or subgraphs is damaged.
    """
    inside, waiting = subgraphs(graph), _listed(graph, "nodes")[::-1]
    while waiting:
        node = waiting.pop()
        if running and node.get("mode", 0) in _OFF:
            continue
        yield node
        waiting += _listed(inside.pop(str(node.get("type")), None), "nodes")[::-1]


def _listed(part: Any, name: str) -> list[dict[str, Any]]:
    """The nodes or subgraphs of a part of a workflow."""
    known: Any = part or {}
    found: Any = cast("dict[str, Any]", known).get(name) or [] if isinstance(known, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in cast("list[Any]", found)):
        raise ValueError(f"its list of {name} is damaged")
    return cast("list[dict[str, Any]]", found)
