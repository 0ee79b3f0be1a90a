"""Which method or which workflow a model is needed for. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import listed
from ..methods import methods
from .findings import SINGLE
from .manifest import Model
from .needs import nodes, published

Graph = Mapping[str, Any]


def users(workflows: Mapping[str, Graph], template: Callable[[str], Graph]) -> Callable[[Model], str]:
    """Gives of a model the methods in these workflows that cannot do without it; else the workflow, or SINGLE of many.

    workflows: by their names. template: reads one of the pack by its name.
    """
    kinds = {node.kind for graph in workflows.values() for node in nodes(graph)}
    uses = [use for method in methods() if method.used_by(kinds) for use in method.uses]
    needed = {use.title: _ids(template(use.template)) for use in uses}
    other = SINGLE if len(workflows) > 1 else listed([*workflows])
    return lambda model: listed([title for title, ids in needed.items() if model.id in ids], other)


def _ids(graph: Graph) -> set[str]:
    return {model.id for model in published(graph)}
