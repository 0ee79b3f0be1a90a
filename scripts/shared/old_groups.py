"""Groups of editors from before subgraphs ("workflow>people"), each as the subgraph that newer editors make of it.

Such a file has the nodes of a group once, under `extra`, with the values that they had when the group was made. What a
group is set to stands on the node for it, in a row: the values of its nodes, one node after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from core.checks.errors import BadSetup, counted

from .json_parts import dictionaries, dictionary, list_of

PREFIXES = ("workflow>", "workflow/")
"""How the types of groups begin."""
_INPUTS, _OUTPUTS = -10, -20
"""What the links inside of a subgraph begin and end at where they come from its inputs and lead to its outputs."""

Names = Callable[[str], Mapping[str, Any] | None]
"""Class of a node -> its inputs, by their names; None for one that the host does not have."""


def groups(graph: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The groups of a saved workflow by the types of the nodes that stand for them, as they are saved."""
    saved = dictionary(dictionary(graph.get("extra")).get("groupNodes"))
    return {prefix + name: dictionary(group) for prefix in PREFIXES for name, group in saved.items()}


def as_subgraph(group: Mapping[str, Any], box: Mapping[str, Any], inputs_of: Names) -> dict[str, Any]:
    """The subgraph of a group, with the values that the node for it has. box: this node.

    Raises BadSetup where its values cannot be those of its nodes.
    """
    nodes = dictionaries(group.get("nodes"))
    rows = _rows(nodes, box)
    inside = [_Inside(node, number, row) for number, (node, row) in enumerate(zip(nodes, rows, strict=True))]
    links = _Links(group)
    for source, output, target, slot in links.inner:
        if target < len(inside):
            inside[target].link(slot, links.added(source, output, target, slot))
    inputs: list[dict[str, Any]] = []
    of_box = {slot.get("name") for slot in dictionaries(box.get("inputs"))}
    for name, outer in _names_of_inputs(inside, links, group, inputs_of):
        if name not in of_box:
            continue
        inputs.append({"name": name})
        slot = inside[outer.node].slot_called(outer.input)
        inside[outer.node].link(slot, links.added(_INPUTS, len(inputs) - 1, outer.node, slot))
    for place, (number, output) in enumerate(_outputs(nodes, links, group)):
        links.added(number, output, _OUTPUTS, place)
    return {"name": box.get("type"), "nodes": [one.saved for one in inside], "links": links.all, "inputs": inputs}


def _rows(nodes: list[dict[str, Any]], box: Mapping[str, Any]) -> list[list[Any]]:
    """The values of each node of a group, as the node for the group has them."""
    own = [list_of(node.get("widgets_values")) for node in nodes]
    row = list_of(box.get("widgets_values"))
    if not row:  # it has none of its own
        return own
    count = sum(map(len, own))
    if count != len(row):
        raise BadSetup(
            f"The group {box.get('type')} (node {box.get('id')}) has {counted(len(row), 'value')}, and its nodes have "
            f"{count}: which is whose only an editor can tell.",
            "Open the workflow in ComfyUI and save it again.",
        )
    rows: list[list[Any]] = []
    for values in own:
        rows.append(row[: len(values)])
        row = row[len(values) :]
    return rows


class _Inside:
    """A node of a group. saved: as a subgraph has it, with links of the group alone."""

    def __init__(self, node: Mapping[str, Any], number: int, row: list[Any]) -> None:
        slots = [{**slot, "link": None} for slot in dictionaries(node.get("inputs"))]
        self.saved: dict[str, Any] = {**node, "id": number, "inputs": slots, "widgets_values": row}

    @property
    def kind(self) -> str:
        return str(self.saved.get("type"))

    @property
    def prefix(self) -> str:
        """What stands before the name of an input of which there is another of the same name."""
        return f"{self.saved.get('title') or self.kind} "

    def link(self, slot: int, number: int) -> None:
        if slot < len(self.saved["inputs"]):
            self.saved["inputs"][slot]["link"] = number

    def slot_called(self, name: str) -> int:
        """The place of a slot, which is added for a widget that has none."""
        names = [slot.get("name") for slot in self.saved["inputs"]]
        if name not in names:
            self.saved["inputs"].append({"name": name, "widget": {"name": name}})
            names.append(name)
        return names.index(name)


class _Links:
    """The links of a group. inner: between its nodes: (source, output, target, slot), by their places in the group.
    outward: outputs that are read from outside as well. all: as a subgraph has them."""

    def __init__(self, group: Mapping[str, Any]) -> None:
        saved = [list_of(link)[:4] for link in list_of(group.get("links"))]
        self.inner: list[list[int]] = [
            link for link in saved if len(link) == 4 and all(isinstance(one, int) for one in link)
        ]
        self.outward = [list_of(entry)[:2] for entry in list_of(group.get("external"))]
        self.all: list[list[Any]] = []

    def added(self, source: int, output: int, target: int, slot: int) -> int:
        """The number of a new link."""
        self.all.append([len(self.all), source, output, target, slot])
        return len(self.all) - 1


class _Outer(NamedTuple):
    """An input of a node of a group, that is one of the group. node: its place. input: its name."""

    node: int
    input: str


def _names_of_inputs(
    inside: list[_Inside], links: _Links, group: Mapping[str, Any], inputs_of: Names
) -> Iterator[tuple[str, _Outer]]:
    """What the editor calls each input of a group, and which input of which node it is."""
    seen: dict[str, int] = {}
    for number, node in enumerate(inside):
        slots: list[dict[str, Any]] = node.saved["inputs"]
        inner = {slots[link[3]].get("name") for link in links.inner if link[2] == number and link[3] < len(slots)}
        labels = {slot.get("name"): slot["label"] for slot in slots if slot.get("label")}
        for name in dict.fromkeys([*(inputs_of(node.kind) or ()), *(str(slot.get("name")) for slot in slots)]):
            if name in inner:
                continue
            key = called = _of_config(group, number, "input", name).get("name") or labels.get(name) or name
            if called in seen or (node.kind == "PrimitiveNode" and node.saved.get("title")):
                key = called = node.prefix + name
                if called in seen:
                    called = f"{node.prefix}{seen[called]} {name}"
            seen[key] = seen.get(key, 1) + 1
            yield called, _Outer(number, name)


def _outputs(nodes: list[dict[str, Any]], links: _Links, group: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """The outputs of a group in their order: the place of a node in it, and which of its outputs."""
    read_inside = {(source, output) for source, output, *_ in links.inner}
    for number, node in enumerate(nodes):
        for output in range(len(list_of(node.get("outputs")))):
            is_inner = (number, output) in read_inside and [number, output] not in links.outward
            if _of_config(group, number, "output", str(output)).get("visible", not is_inner):
                yield number, output


def _of_config(group: Mapping[str, Any], number: int, kind: str, name: str) -> Mapping[str, Any]:
    """What a user has set in *Manage group nodes* for an input or an output of a node of a group."""
    settings = dictionary(group.get("config"))
    for key in (str(number), kind, name):
        settings = dictionary(settings.get(key))
    return settings
