"""The nodes of a workflow as ComfyUI saves it or as its API takes it, those inside of subgraphs too.

Standard library only: scripts use this module where there is no torch yet.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from ..errors import BadSetup

Graph = Mapping[str, Any]
"""A workflow as ComfyUI saves it, or as its API takes it."""
MOST_NODES = 10_000
"""Nodes of a workflow that are gone through, those of each box counted for each time that it stands there: workflows
come from strangers."""
_SWITCHED_OFF = (2, 4)
"""Modes of a node in a saved workflow: muted, bypassed."""


class WorkflowNode(NamedTuple):
    """A node of a workflow that is not switched off.

    kind: its type. texts: the texts in its inputs, in their order. linked: names of the inputs that are linked.
    named: the texts by the names of their inputs, as far as the workflow has these names.
    """

    kind: str
    texts: list[str]
    linked: set[str]
    named: dict[str, str]

    def values_of(self, inputs: Iterable[str]) -> list[str | None]:
        """The text in each of these inputs, None where there is none.

        Old workflows save values without names. Where the node has none of these names, its first text is taken for the
        first input, and so on.
        """
        names = list(inputs)
        if any(name in self.named for name in names):
            return [self.named.get(name) for name in names]
        return [*self.texts[: len(names)], *[None] * (len(names) - len(self.texts))]


def workflow(text: str | bytes) -> dict[str, Any]:
    """The workflow in a text of JSON, as ComfyUI saves it or as its API takes it.

    text: or its bytes, in UTF-8 or UTF-16, with or without the mark in front that programs of Windows write. Raises
    ValueError, saying why, for anything else.
    """
    try:
        graph: Any = json.loads(text)
    except RecursionError:
        raise ValueError("its brackets go deeper than those of any workflow") from None
    if not isinstance(graph, dict) or not any(True for _ in nodes(cast("dict[str, Any]", graph))):
        raise ValueError("there is no node in it that would run")
    return cast("dict[str, Any]", graph)


def nodes(graph: Graph) -> Iterator[WorkflowNode]:
    """Every node of a workflow that is not switched off, those inside of subgraphs too.

    Raises ValueError where its lists are damaged, and BadSetup for more than MOST_NODES.
    """
    # They are looked for first: the id of a node of an API prompt may be "nodes", the key of a saved workflow's list.
    prompt = [node for node in map(_dictionary, graph.values()) if "class_type" in node]
    if not prompt:
        yield from _saved_nodes(graph)
        return
    _require_few(len(prompt))
    for node in prompt:
        inputs = _dictionary(node.get("inputs"))
        linked = {name for name, value in inputs.items() if isinstance(value, list)}  # a link is [node id, output]
        named = _texts_by_name(inputs)
        yield WorkflowNode(str(node["class_type"]), [*named.values()], linked, named)


class _SavedNode(NamedTuple):
    """A node as it is saved, and where it stands.

    brought: id of a link -> the value that it brings, of a box or a Primitive node. boxes: types of the boxes around.
    """

    node: dict[str, Any]
    brought: dict[Any, Any]
    boxes: tuple[str, ...]


def _saved_nodes(graph: Graph) -> Iterator[WorkflowNode]:
    """The nodes of a saved workflow that are not switched off.

    A box is the node that stands for a subgraph. After a box come the nodes of its subgraph, with the values that the
    box gives them: newer frontends save a value that was changed on a box in the box alone, and the subgraph still has
    the value with which it was made.
    """
    inside = subgraphs(graph)
    opened: set[str] = set()  # boxes with their texts: the same is not gone through again
    level = _listed(graph, "nodes")
    count = len(level)
    _require_few(count)
    waiting = _stacked(level, brought=_of_primitives(level), boxes=())
    while waiting:
        node, brought, boxes = waiting.pop()
        if node.get("mode", 0) in _SWITCHED_OFF:
            continue
        kind = str(node.get("type", ""))
        values = _values(node, brought)
        named = _texts_by_name(values)
        linked = {str(slot.get("name")) for slot in _slots(node) if slot.get("link") is not None}
        yield WorkflowNode(kind, [*named.values()] if values else _texts(node.get("widgets_values")), linked, named)
        key = f"{kind} {sorted(named.items())}"
        if kind not in inside or kind in boxes or key in opened:
            continue
        opened.add(key)
        level = _listed(inside[kind], "nodes")
        count += len(level)
        _require_few(count)
        brought_inside = {**_of_box(inside[kind], values), **_of_primitives(level)}
        waiting += _stacked(level, brought_inside, (*boxes, kind))


def _stacked(level: list[dict[str, Any]], brought: dict[Any, Any], boxes: tuple[str, ...]) -> list[_SavedNode]:
    """The nodes of a workflow or subgraph as a stack, from which the first is taken first. brought, boxes: of all."""
    return [_SavedNode(node, brought, boxes) for node in reversed(level)]


def _require_few(count: int) -> None:
    if count > MOST_NODES:
        raise BadSetup(
            f"The workflow has more than {MOST_NODES} nodes, and its files are not looked for.",
            "Look for the files of a part of it.",
        )


def _values(node: Mapping[str, Any], brought: Mapping[Any, Any]) -> dict[str, Any]:
    """Name of an input -> its value, of the inputs of a node that have a widget.

    {} where the workflow does not save these names, as those of old frontends. An input with a widget may be linked
    to a box's value or a Primitive node: then the value of the link counts. brought: id of a link -> value.
    """
    saved: Any = node.get("widgets_values")
    if not isinstance(saved, list):
        return _dictionary(saved)
    saved_values = cast("list[Any]", saved)
    slots = [slot for slot in _slots(node) if "widget" in slot]
    names = [str(slot.get("name")) for slot in slots]
    for seed in ("seed", "noise_seed"):
        # After the value of a seed, frontends save what becomes of it after a run ("randomize"), which is no input: the
        # name "" takes it. Where there is no value too many, it was not saved.
        if seed in names and len(saved_values) > len(names):
            names.insert(names.index(seed) + 1, "")
    values = dict(zip(names, saved_values, strict=False))
    for slot in slots:
        link: Any = slot.get("link")
        if isinstance(link, int) and link in brought:
            values[str(slot.get("name"))] = brought[link]
    return values


def _of_primitives(level: list[dict[str, Any]]) -> dict[Any, Any]:
    """Id of a link -> the value that a Primitive node gives over it to the inputs that are linked to it."""
    brought: dict[Any, Any] = {}
    for node in level:
        values = _list(node.get("widgets_values"))
        if node.get("type") == "PrimitiveNode" and values:
            for output in _list(node.get("outputs")):
                brought |= _over(_dictionary(output).get("links"), values[0])
    return brought


def _of_box(subgraph: Mapping[str, Any], values: Mapping[str, Any]) -> dict[Any, Any]:
    """Id of a link inside of a subgraph -> the value that its box gives over it. values: those of the box."""
    brought: dict[Any, Any] = {}
    for slot in _slots(subgraph):
        name: Any = slot.get("name")
        if isinstance(name, str) and name in values:
            brought |= _over(slot.get("linkIds"), values[name])
    return brought


def _over(links: Any, value: Any) -> dict[Any, Any]:
    """A value by the ids of the links that bring it. links: as saved, perhaps damaged."""
    return {link: value for link in _list(links) if isinstance(link, int)}


def _slots(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_dictionary(slot) for slot in _list(node.get("inputs"))]


def _texts_by_name(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _texts(values: Any) -> list[str]:
    return [value for value in _list(values) if isinstance(value, str)]


def _dictionary(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def subgraphs(graph: Graph) -> dict[str, dict[str, Any]]:
    """The subgraphs of a saved workflow, by the type of the nodes that stand for them.

    Raises ValueError where the list is damaged.
    """
    return {str(subgraph.get("id")): subgraph for subgraph in _listed(graph.get("definitions"), "subgraphs")}


def nodes_in(graph: Graph) -> Iterator[dict[str, Any]]:
    """Every node of a saved workflow, as it is saved. After a node that stands for a subgraph come those of the
    subgraph.

    A subgraph that stands in several places comes once. Raises ValueError where a list of nodes or subgraphs is
    damaged.
    """
    inside = subgraphs(graph)
    waiting = _listed(graph, "nodes")[::-1]  # a stack: the next node is the last
    while waiting:
        node = waiting.pop()
        yield node
        subgraph = inside.pop(str(node.get("type")), None)
        waiting += _listed(subgraph, "nodes")[::-1]


def _listed(holder: Any, name: str) -> list[dict[str, Any]]:
    """The nodes or subgraphs that stand under a name in a part of a saved workflow; [] where there is nothing.

    Raises ValueError where it is no list of dictionaries.
    """
    if not holder:
        return []
    entries: Any = None
    if isinstance(holder, dict):
        entries = cast("dict[str, Any]", holder).get(name) or []
    is_whole = isinstance(entries, list) and all(isinstance(entry, dict) for entry in cast("list[Any]", entries))
    if not is_whole:
        raise ValueError(f"its list of {name} is damaged")
    return cast("list[dict[str, Any]]", entries)
