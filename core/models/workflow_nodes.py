"""The nodes of a workflow as ComfyUI saves it or as its API takes it, with the texts that each has.

Standard library only: scripts use this module where there is no torch yet.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from .saved_workflow import (
    Graph,
    Output,
    SavedNode,
    Setting,
    dictionary,
    list_of,
    named_values,
    names_in_row,
    running,
)


class WorkflowNode(NamedTuple):
    """A node of a workflow that is not switched off.

    kind: its type. number: in the prompt. linked: the inputs that are linked to a node, each -> the number of that
    node. named: the texts in its inputs by their names, as far as the workflow has these names. in_row: the texts in
    its widgets in their order, where old workflows save them without names.
    """

    kind: str
    number: str
    linked: dict[str, str]
    named: dict[str, str]
    in_row: Sequence[str] = ()

    @property
    def texts(self) -> list[str]:
        """All texts in its inputs."""
        return [*self.in_row, *self.named.values()]

    def values_of(self, inputs: Sequence[str]) -> dict[str, str]:
        """The texts in these inputs by their names. An input without a text is not among them.

        Where the names are not known, the node's first text is taken for the first input, and so on.
        """
        named = {name: self.named[name] for name in inputs if name in self.named}
        if named and not self.in_row:
            return named
        return dict(zip(inputs, self.texts, strict=False)) | named


def workflow(text: str | bytes) -> dict[str, Any]:
    """The workflow in a text of JSON, as ComfyUI saves it or as its API takes it.

    text: or its bytes, in UTF-8 or UTF-16, with or without the mark in front that programs of Windows write.
    Raises ValueError, saying why, for a text that is no workflow or has no node that would run, and BadSetup for more
    than MOST_NODES nodes in the outermost level of a saved one. Only the first node is read.
    """
    graph: Any = json.loads(text)
    if not isinstance(graph, dict) or not any(True for _ in nodes(cast("dict[str, Any]", graph))):
        raise ValueError("there is no node in it that would run")
    return cast("dict[str, Any]", graph)


def nodes(graph: Graph) -> Iterator[WorkflowNode]:
    """Every node of a workflow that is not switched off, those inside of subgraphs in the place of their box.

    Raises ValueError where the lists of a saved one are damaged, and BadSetup for more than MOST_NODES in it.
    """
    # Nodes of an API prompt are looked for first: one may have the id "nodes", a key of saved workflows.
    entries = {number: dictionary(entry) for number, entry in graph.items()}
    prompt = {number: entry for number, entry in entries.items() if "class_type" in entry}
    if not prompt:
        yield from map(_read, running(graph))
        return
    for number, node in prompt.items():
        inputs = dictionary(node.get("inputs"))
        linked: dict[str, str] = {}
        for name, value in inputs.items():
            if isinstance(value, list) and value:  # a link is [node id, output]
                linked[name] = str(cast("list[Any]", value)[0])
        yield WorkflowNode(str(node["class_type"]), number, linked, _texts_by_name(inputs))


def _read(node: SavedNode) -> WorkflowNode:
    """A saved node as a WorkflowNode. The value of a widget that a link brings counts over the node's own."""
    linked: dict[str, str] = {}
    set_elsewhere: dict[str, Any] = {}
    for name, brought in node.brought.items():
        if isinstance(brought, Output):
            linked[name] = brought.node
        elif isinstance(brought, Setting) and brought.value is not None:
            set_elsewhere[name] = brought.value
    own_values = _own_values(node.saved)
    if own_values is not None:
        return WorkflowNode(node.kind, node.number, linked, _texts_by_name(own_values | set_elsewhere))
    row = [text for text in list_of(node.saved.get("widgets_values")) if isinstance(text, str)]
    return WorkflowNode(node.kind, node.number, linked, _texts_by_name(set_elsewhere), row)


def _own_values(node: Mapping[str, Any]) -> dict[str, Any] | None:
    """Name of an input -> its value, for the inputs of a node that have a widget.

    None where the workflow does not save these names, which shows in more values than names: so do workflows of old
    frontends and those inside of pictures.
    """
    named = named_values(node)
    if named is not None:
        return named
    values = list_of(node.get("widgets_values"))
    names = names_in_row(node)
    if len(values) > len(names):
        return None
    return dict(zip(names, values, strict=False))  # the last names may have no value


def _texts_by_name(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in values.items() if isinstance(value, str)}
