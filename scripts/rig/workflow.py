"""A workflow as the editor saves it (workflows/*.json) -> the prompt that ComfyUI's HTTP interface takes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core import workflow_files
from core.workflow_files import subgraphs

Prompt = dict[str, dict[str, Any]]

NOTES = {"Note", "MarkdownNote"}
_ON = 0
_DYNAMIC = "COMFY_DYNAMICCOMBO_V3"
"""A menu whose choice brings inputs of its own, each named <menu>.<input>."""
_BOXES = "BOUNDING_BOXES"
"""The editor of boxes, which older hosts do not have: its values, lists at the end of a node's, are not for them."""
_WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", _DYNAMIC, _BOXES}
_UPLOADS = ("image_upload", "video_upload", "audio_upload")


class WorkflowError(Exception):
    """A workflow that cannot be turned into a prompt; the text says which node and why."""


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def nodes_in(workflow: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node, those inside of subgraphs in the place of the node that stands for them."""
    return (node for node in workflow_files.nodes_in(workflow) if node["type"] not in subgraphs(workflow))


def to_prompt(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> Prompt:
    """The API prompt of a workflow: subgraphs opened, no muted or bypassed nodes, no reroutes.

    object_info: the host's answer to /object_info. Optional widgets that are newer than the file have their defaults,
    as in the editor. Raises WorkflowError for a node the host does not know and for widget values that do not fit.
    """
    return _Level(workflow, subgraphs(workflow)).prompt(object_info)


class _Level:
    """The nodes of a workflow, or of a subgraph that stands in one: `node` of the level `around`."""

    _BEFORE, _BEHIND = -10, -20
    """What the ends of a subgraph's links at its own inputs and outputs are numbered with."""

    def __init__(
        self,
        graph: Mapping[str, Any],
        subgraphs: Mapping[str, Mapping[str, Any]],
        around: _Level | None = None,
        node: Mapping[str, Any] | None = None,
    ) -> None:
        self.nodes = {node["id"]: node for node in graph["nodes"]}
        self.links = {link[0]: link[1:5] for link in map(_as_list, graph["links"])}
        self.path = f"{around.path}{node['id']}:" if around and node else ""
        self.around, self.node = around, node
        self.inside = {
            number: _Level(subgraphs[one["type"]], subgraphs, self, one)
            for number, one in self.nodes.items()
            if one["type"] in subgraphs
        }

    def prompt(self, object_info: Mapping[str, Any]) -> Prompt:
        found: Prompt = {}
        for number, node in self.nodes.items():
            if number in self.inside:
                if node.get("mode", _ON) != _ON:
                    raise WorkflowError(f"{node['title']} (node {number}) is muted or bypassed.")
                found |= self.inside[number].prompt(object_info)
            elif node["type"] not in NOTES:
                found[f"{self.path}{number}"] = _node(node, object_info, self.input)
        return found

    def input(self, link: int) -> Any:
        """What a link brings: [node, output], the value of a widget of the node that stands for this level, or None
        where nothing is linked to that node."""
        source, output, *_ = self.links[link]
        if source in self.inside:
            return self.inside[source].output(output)
        if source != self._BEFORE or not (self.around and self.node):
            return [f"{self.path}{source}", output]
        slot = self.node["inputs"][output]
        if slot.get("link") is not None:
            return self.around.input(slot["link"])
        widgets = [entry["name"] for entry in self.node["inputs"] if "widget" in entry]
        return self.node["widgets_values"][widgets.index(slot["name"])] if slot["name"] in widgets else None

    def output(self, number: int) -> Any:
        ends = (link for link, (_, _, target, slot) in self.links.items() if (target, slot) == (self._BEHIND, number))
        return self.input(next(ends))


def _as_list(link: Any) -> list[Any]:
    """Links are lists in a workflow and have names in a subgraph."""
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
    return [link[name] for name in names] if isinstance(link, dict) else link


def _node(node: Mapping[str, Any], object_info: Mapping[str, Any], brought: Callable[[int], Any]) -> dict[str, Any]:
    title = f"{node['type']} (node {node['id']})"
    if node["type"] not in object_info:
        raise WorkflowError(f"{title} is not known to this ComfyUI.")
    if node.get("mode", _ON) != _ON:
        raise WorkflowError(f"{title} is muted or bypassed.")
    names = list(_widgets(object_info[node["type"]], node))
    values = list(node.get("widgets_values") or [])
    while len(values) > len(names) and isinstance(values[-1], list):
        values.pop()
    optional = object_info[node["type"]]["input"].get("optional", {})
    values += [optional[name][1]["default"] for name in names[len(values) :] if name in optional]
    if len(names) != len(values):
        raise WorkflowError(f"{title} has {len(values)} widget values for {len(names)} widgets: {names}.")
    inputs = {name: _sent(value) for name, value in zip(names, values, strict=True) if name}
    linked = {slot["name"]: brought(slot["link"]) for slot in node.get("inputs", []) if slot.get("link") is not None}
    inputs |= {name: value for name, value in linked.items() if value is not None}
    shown = node.get("title") or object_info[node["type"]]["display_name"]
    return {"class_type": node["type"], "inputs": inputs, "_meta": {"title": shown}}


def _sent(value: Any) -> Any:
    """As the frontend sends it: a list alone would be taken for a link."""
    return {"__value__": value} if isinstance(value, list) else value


def _widgets(definition: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[str]:
    """Input names in the order of the saved widget values; "" for what the editor adds and the host does not take."""
    for section in ("required", "optional"):
        specs: Mapping[str, Sequence[Any]] = definition["input"].get(section, {})
        options = {name: spec[1] if len(spec) > 1 else {} for name, spec in specs.items()}
        for name, spec in specs.items():
            if not _is_widget(spec[0], options[name]):
                continue
            yield name
            if spec[0] == _DYNAMIC:
                yield from (slot["name"] for slot in node["inputs"] if slot["name"].startswith(f"{name}."))
            seed = spec[0] == "INT" and name in ("seed", "noise_seed")
            if options[name].get("control_after_generate", seed):
                yield ""
        yield from ("" for option in options.values() if any(option.get(upload) for upload in _UPLOADS))


def _is_widget(kind: Any, options: Mapping[str, Any]) -> bool:
    return (isinstance(kind, list) or kind in _WIDGET_TYPES) and not options.get("forceInput")


def fill(workflow: Mapping[str, Any], values: Mapping[str, Any], images: Sequence[str]) -> None:
    """Set widgets of a workflow as it is saved, on boxes and inside of them: older frontends send the one, newer ones
    the other.

    values: by the name of the input. images: those of its Load Image nodes, in the file's order.
    """
    waiting = iter(images)
    for node in workflow_files.nodes_in(workflow):
        names = [slot["name"] for slot in node.get("inputs", []) if "widget" in slot]
        if "seed" in names and len(node["widgets_values"]) > len(names):
            names.insert(names.index("seed") + 1, "")  # what the editor adds
        for place, name in enumerate(names):
            if name == "image":
                node["widgets_values"][place] = next(waiting)
            elif name in values:
                node["widgets_values"][place] = values[name]


def substitute(prompt: Prompt, values: Mapping[str, Any]) -> Prompt:
    """A copy of `prompt` with inputs replaced.

    values: "NodeClass.input" -> new value, linked or not; "*.input" -> new value wherever no link is.
    """
    changed = copy.deepcopy(prompt)
    for node in changed.values():
        for name, value in node["inputs"].items():
            if not isinstance(value, list):
                node["inputs"][name] = values.get(f"*.{name}", value)
            node["inputs"][name] = values.get(f"{node['class_type']}.{name}", node["inputs"][name])
    return changed


def options(object_info: Mapping[str, Any], node_class: str, name: str) -> list[str]:
    """What a menu offers."""
    kind, *rest = object_info[node_class]["input"]["required"][name]
    return kind if isinstance(kind, list) else rest[0]["options"]


def nodes_of(prompt: Prompt, *classes: str) -> list[str]:
    """Ids of the nodes of these classes, in the prompt's order."""
    return [number for number, node in prompt.items() if node["class_type"] in classes]


def title(prompt: Prompt, node: str) -> str:
    """What a node is called."""
    return prompt[node].get("_meta", {}).get("title", prompt[node]["class_type"])
