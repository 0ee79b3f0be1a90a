"""A prompt of ComfyUI as something that can be changed: nodes found, added, linked anew and taken away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from environment import RELEASE
from shared.links import as_link, up_to
from shared.workflow import Json, Prompt, nodes_of, specs

Output = tuple[str, int]
"""An output of a node: the id of the node, and the number of the output."""


class GraphError(Exception):
    """A graph that has not the nodes that a method needs; the text says which."""


@dataclass
class Graph:
    """A prompt as the host's API takes it.

    prompt: by id of a node its `class_type` and `inputs`. object_info: the host's description of its nodes, from which
    an added node gets the defaults of the inputs that are not named.
    """

    prompt: Prompt
    object_info: Json

    def ids(self, *class_types: str) -> list[str]:
        """The ids of the nodes of these types, in the order of the prompt."""
        return nodes_of(self.prompt, *class_types)

    def only(self, class_type: str) -> str:
        """The id of the one node of this type. Raises GraphError where there is none or more than one."""
        ids = self.ids(class_type)
        if len(ids) != 1:
            raise GraphError(f"The template has {len(ids)} nodes {class_type}, and this method needs one.")
        return ids[0]

    def inputs(self, node_id: str) -> dict[str, Any]:
        """The inputs of a node, which may be changed."""
        return self.prompt[node_id]["inputs"]

    def link(self, node_id: str, input_name: str) -> Output | None:
        """Which output is linked to an input, None for a value or nothing."""
        return as_link(self.inputs(node_id).get(input_name))

    def add(self, node_id: str, class_type: str, **inputs: Any) -> str:
        """Add a node, with the defaults of ComfyUI for what is not named. Returns its id.

        inputs: values, and an Output where an output is linked. Raises GraphError where the host has no such node.
        """
        if class_type not in self.object_info:
            raise GraphError(f"{class_type} is not known to this ComfyUI: update it to {RELEASE} or later.")
        values: dict[str, Any] = {}
        for name, spec in specs(self.object_info, class_type).items():
            if not spec.optional and spec.is_widget and name not in inputs:
                nothing = "" if spec.kind == "STRING" else 0
                values[name] = nothing if spec.default is None else spec.default
        for name, value in inputs.items():
            values[name] = list(value) if isinstance(value, tuple) else value
        self.prompt[node_id] = {"class_type": class_type, "inputs": values, "_meta": {"title": node_id}}
        return node_id

    def link_to(self, node_id: str, input_name: str, link: Output) -> None:
        """Link an output to an input of a node."""
        self.inputs(node_id)[input_name] = list(link)

    def relink(self, before: Output, after: Output) -> None:
        """Whatever reads one output reads another one from now on, except the node of the other output itself."""
        for node_id, node in self.prompt.items():
            for name, value in node["inputs"].items():
                if as_link(value) == before and node_id != after[0]:
                    node["inputs"][name] = list(after)

    def bypass(self, node_id: str, passed: Mapping[int, str]) -> None:
        """Take a node away: what reads an output of it reads what is linked to one of its inputs.

        passed: by number of the output the name of the input.
        """
        for output, input_name in passed.items():
            link = self.link(node_id, input_name)
            if link is not None:
                self.relink((node_id, output), link)
        del self.prompt[node_id]

    def before(self, node_id: str) -> set[str]:
        """The ids of all nodes that a node depends on, and its own."""
        return set(up_to(self.prompt, [node_id]))

    def keep_before(self, node_id: str) -> None:
        """Take away every node that a node does not depend on."""
        self.prompt = up_to(self.prompt, [node_id])
