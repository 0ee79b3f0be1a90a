"""What the nodes of a saved workflow have chosen, as an API prompt, without a host that says which inputs they have.

So `models.py` looks for the files of a workflow where no ComfyUI runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.models.workflow_needs import FIRST_TEXTS

from .json_parts import list_of
from .saved_workflow import Graph, Output, SavedNode, Setting, named_values, names_in_row, running


def as_prompt(graph: Graph) -> Mapping[str, Any]:
    """The nodes of a workflow that are not switched off, with links and texts alone; an API prompt as it is.

    Raises ValueError where the lists of a saved one are damaged, and BadSetup for one that is too large.
    """
    # Nodes of an API prompt are looked for first: one may have the id "nodes", a key of saved workflows.
    if any(isinstance(entry, dict) and "class_type" in entry for entry in graph.values()):
        return graph
    prompt: dict[str, Any] = {}
    for node in running(graph):
        number = f"{node.number}/{len(prompt)}" if node.number in prompt else node.number  # damaged: one number twice
        prompt[number] = {"class_type": node.kind, "inputs": _inputs(node)}
    return prompt


def _inputs(node: SavedNode) -> dict[str, Any]:
    """A value that a link brings counts over the node's own."""
    inputs = _own_texts(node)
    for name, brought in node.brought.items():
        if isinstance(brought, Output):
            inputs[name] = [brought.node, brought.output]
        elif isinstance(brought, Setting) and isinstance(brought.value, str):
            inputs[name] = brought.value
    return inputs


def _own_texts(node: SavedNode) -> dict[str, Any]:
    """The texts in a node's widgets by the names of their inputs.

    Workflows of old frontends and those inside of pictures do not save these names, which shows in more values than
    names. There a node's first texts are taken for those that decide about files, the others have numbers.
    """
    values = named_values(node.saved)
    if values is None:
        row, names = list_of(node.saved.get("widgets_values")), names_in_row(node.saved)
        if len(row) > len(names):
            row = [text for text in row if isinstance(text, str)]
            names = _names_of_first_texts(node.kind, len(row))
        values = dict(zip(names, row, strict=False))  # the last names may have no value
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _names_of_first_texts(kind: str, count: int) -> list[str]:
    names = FIRST_TEXTS.get(kind, ())
    if any("*" in name for name in names):  # a stack: each text is that of a row
        return [names[0].replace("*", str(number)) for number in range(count)]
    return [*names, *map(str, range(count))]
