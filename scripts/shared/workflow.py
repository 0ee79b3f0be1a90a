"""A workflow as the editor saves it (workflows/*.json) -> the prompt that ComfyUI's HTTP interface takes.

comfy-cli 1.23 has a converter of the same kind, `comfy_cli.workflow_to_api`. It was tried on all templates, on all
blueprints of ComfyUI 0.33 and on the 507 public workflow files of comfyui-workflow-templates. It is not used here:

- Where a node is bypassed, it passes on an input of another type: *LoRA per Person, two people* and *Parts,
  other clothes in a photo* have links that the editor does not send.
- An input that only takes links gets its default as a value (`SAM3_Detect.bboxes`), or a number of another widget
  (`WanVaceToVideo.control_masks`).
- A value that stands inside of a box, and for which the box has none, becomes None (`CLIPLoader.clip_name` in ten of
  ComfyUI's own blueprints).
- A curve (`CurveEditor`) loses what was drawn.
- A node that the host does not know goes on without its values, with a line in the log. Here it is named.
- It draws one word of `{red|blue}` in a prompt by lot, as the editor does. Here the text stays, so that a row of a
  table gives the same picture again.
- It does not say where a value is set, which a column of a table needs (`Place`).
- It is GPL-3.0, and brings 27 packages with it.

On the other files both give the same prompts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import listed
from core.models import workflow_nodes
from core.models.manifest import Model
from core.models.workflow_nodes import subgraphs
from core.names import among

from .widgets import Json, Spec, WorkflowError, sent, specs, values_of

Prompt = dict[str, dict[str, Any]]

NOTES = {"Note", "MarkdownNote"}
PRIMITIVE = "PrimitiveNode"
"""A node of the editor alone: a widget for the widgets it is linked to."""
REROUTE = "Reroute"
"""A node of the editor alone: a corner of a link."""
_OF_THE_EDITOR = (*NOTES, PRIMITIVE, REROUTE)
_HOST = "comfy-core"
"""What the editor notes as the pack of ComfyUI's own nodes."""
_MUTED = 2
BYPASSED = 4
_ANY = ("*", "", None)
"""Types that fit every type."""


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def nodes_in(workflow: Json) -> Iterator[dict[str, Any]]:
    """Every node, those inside of subgraphs in the place of the node that stands for them."""
    return (node for node in workflow_nodes.nodes_in(workflow) if node["type"] not in subgraphs(workflow))


def offered(entry: Model) -> dict[str, str] | None:
    """How a workflow offers a model to the frontend, which fetches from few places; None where it cannot."""
    if entry.archive or not entry.url.startswith(("https://huggingface.co/", "https://civitai.com/")):
        return None
    shown = {"name": entry.name, "url": entry.url, "directory": entry.key}
    sha256 = entry.files[0].sha256
    if sha256:
        shown |= {"hash": sha256, "hash_type": "SHA256"}
    return shown


@dataclass
class Place:
    """A widget that can be set.

    node: its number, in a subgraph "box:node". name: of the widget. title: what the node is called. label: what the
    editor shows for the widget. targets: the inputs of the prompt that have its value, node and name. value: what a
    link brings of it, None where that is left to the widget behind the link.
    """

    node: str
    name: str
    title: str
    label: str
    targets: list[tuple[str, str]] = field(default_factory=list)
    value: Any = None


_Places = dict[tuple[str, str], Place]
"""By node and name."""
_Brought = list[Any] | Place
"""What a link brings: [node, output], or the value of a widget."""


class _Running(NamedTuple):
    """A node that is not switched off. brought: what links bring to its inputs, by their names."""

    number: str
    node: Json
    brought: dict[str, _Brought]


def to_prompt(workflow: Json, object_info: Json, replaced: Collection[str] = ()) -> Prompt:
    """The API prompt of a workflow, as the editor makes it.

    Subgraphs are opened. There are no muted nodes and no reroutes. What goes into a bypassed node comes out of it by
    its type, and a Primitive's value stands where it is linked to. Widgets that are newer than the file have their
    defaults.

    object_info: the host's answer to /object_info. replaced: types of nodes in whose place the caller puts others.
    Where the host does not know one, it is left out, and its links with it. Raises WorkflowError for any other node the
    host does not know and for widget values that do not fit.
    """
    return opened(workflow, object_info, replaced)[0]


def opened(workflow: Json, object_info: Json, replaced: Collection[str] = ()) -> tuple[Prompt, list[Place]]:
    """`to_prompt`, and where each of its values is set."""
    places: _Places = {}
    running: list[_Running] = []
    for entry in _Level(workflow, subgraphs(workflow), object_info).running():
        kind = entry.node["type"]
        if kind in object_info or kind not in replaced:
            running.append(entry)
    _require_nodes(running, object_info)
    prompt: Prompt = {}
    for entry in running:
        if entry.node["type"] not in _OF_THE_EDITOR:
            prompt[entry.number] = _prompt_entry(entry, object_info, places)
    for node in prompt.values():
        node["inputs"] = _without_dead_links(node["inputs"], prompt)
    return as_offered(prompt, object_info), list(places.values())


def _without_dead_links(inputs: Mapping[str, Any], prompt: Prompt) -> dict[str, Any]:
    """Inputs without links to nodes that do not run."""
    kept: dict[str, Any] = {}
    for name, value in inputs.items():
        is_link = isinstance(value, list)
        if not is_link or value[0] in prompt:
            kept[name] = value
    return kept


def as_offered(prompt: Prompt, object_info: Json) -> Prompt:
    """A prompt in whose menus the names of files are spelled as the menus have them: the workflow may come from another
    system. web/names.js does the same where one is opened in the editor."""
    changed: Prompt = {}
    for number, node in prompt.items():
        known = specs(object_info, node["class_type"])
        inputs = {name: _as_offered(value, known.get(name)) for name, value in node["inputs"].items()}
        changed[number] = {**node, "inputs": inputs}
    return changed


def _as_offered(value: Any, spec: Spec | None) -> Any:
    if not isinstance(value, str) or spec is None or spec.menu is None:
        return value
    words = [word for word in spec.menu if isinstance(word, str)]
    return among(value, words) or value


def _require_nodes(running: Sequence[_Running], object_info: Json) -> None:
    """Raises WorkflowError for nodes that the host does not know, with the packs that the editor has noted for them.

    For ComfyUI's own nodes the error names the version that they were saved with.
    """
    unknown: list[str] = []
    versions: dict[str, str] = {}
    for entry in running:
        kind = entry.node["type"]
        if kind in object_info or kind in _OF_THE_EDITOR:
            continue
        noted = entry.node.get("properties")
        properties: Json = noted if isinstance(noted, dict) else {}
        pack = properties.get("cnr_id") or properties.get("aux_id")
        if pack == _HOST and properties.get("ver"):
            versions[kind] = properties["ver"]
        elif pack:
            unknown.append(f"{kind} (node {entry.number}, of the pack {pack})")
        else:
            unknown.append(f"{kind} (node {entry.number})")
    sentences: list[str] = []
    if versions:
        newest = max(versions.values(), key=_as_numbers)
        verb = "is" if len(versions) == 1 else "are"
        sentences.append(f"{listed(list(versions))} {verb} not known to this ComfyUI: update it to {newest} or later.")
    if len(unknown) == 1:
        sentences.append(f"{unknown[0]} is not known to this ComfyUI: install the pack with this node.")
    elif unknown:
        sentences.append(f"{listed(unknown)} are not known to this ComfyUI: install the packs with these nodes.")
    if sentences:
        raise WorkflowError(" ".join(sentences))


def _as_numbers(version: str) -> tuple[int, ...]:
    """A version to be compared, so that 0.3.64 comes before 0.33.0. What is no number counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


class _Link(NamedTuple):
    """From an output of the node `source` to an input of the node `target`."""

    source: int
    output: int
    target: int
    input: int


def _links(graph: Json) -> dict[int, _Link]:
    """By number. Links are lists in a workflow and have names in a subgraph."""
    links: dict[int, _Link] = {}
    for link in graph["links"]:
        if isinstance(link, dict):
            entry = _Link(link["origin_id"], link["origin_slot"], link["target_id"], link["target_slot"])
            links[link["id"]] = entry
        else:
            links[link[0]] = _Link(*link[1:5])
    return links


class _Level:
    """The nodes of a workflow, or of a subgraph that stands in one.

    box: the node of the level `around` that the subgraph is behind; both None for the workflow itself.
    """

    _INPUTS = -10
    """What a subgraph's links come from that begin at its own inputs."""
    _OUTPUTS = -20
    """What a subgraph's links go to that end at its own outputs."""

    def __init__(
        self,
        graph: Json,
        subgraphs: Mapping[str, Json],
        object_info: Json,
        around: _Level | None = None,
        box: Json | None = None,
    ) -> None:
        self.graph = graph
        self.around = around
        self.box = box
        self.object_info = object_info
        self.nodes = {node["id"]: node for node in graph["nodes"]}
        self.links = _links(graph)
        self.path = ""
        """What the numbers of these nodes begin with in a prompt."""
        if around and box:
            self.path = f"{around.path}{box['id']}:"
        self.inside: dict[int, _Level] = {}
        for number, node in self.nodes.items():
            if node["type"] in subgraphs:
                self.inside[number] = _Level(subgraphs[node["type"]], subgraphs, object_info, self, node)

    def running(self) -> Iterator[_Running]:
        """Every node that is not switched off, those inside of subgraphs in their place."""
        for number, node in self.nodes.items():
            if node.get("mode", 0) in (_MUTED, BYPASSED):
                continue
            if number in self.inside:
                yield from self.inside[number].running()
                continue
            brought: dict[str, _Brought] = {}
            for slot in node.get("inputs") or []:
                if slot.get("link") is None:
                    continue
                value = self.brought_by(slot["link"], slot.get("type"))
                if value is not None:
                    brought[slot["name"]] = value
            yield _Running(f"{self.path}{number}", node, brought)

    def brought_by(self, number: int, wanted: Any = None) -> _Brought | None:
        """What a link of this level brings to an input of the type `wanted`, None where there is nothing in the end.

        The link is followed back to where it begins: at a node of this level, or at an input of the subgraph. Such an
        input is linked around the box in turn, or has its value in a widget of the box.
        """
        link = self.links[number]
        if link.source != self._INPUTS or self.around is None or self.box is None:
            return self.given_by(link.source, link.output, wanted)
        slot = self._slot_of_box(link.output)
        if slot.get("link") is not None:
            return self.around.brought_by(slot["link"], wanted)
        return self._widget_of_box(self.box, link.output, slot["name"], label(slot, slot["name"]))

    def _widget_of_box(self, box: Json, number: int, name: str, shown: str) -> Place | None:
        """The widget of the box that has the value of an input of the subgraph; None where none has.

        number: of the input. name, shown: of the box's slot, and what the editor shows for it.
        """
        with_value = self._widgets_of_box()
        if number not in with_value:
            return None
        values = box.get("widgets_values") or []
        index = with_value.index(number)
        value = values[index] if index < len(values) else None
        title = box.get("title") or self.graph.get("name", "")
        return Place(self.path.removesuffix(":"), name, title, shown, value=value)

    def _slots_of_box(self) -> list[Json]:
        return (self.box or {}).get("inputs") or []

    def _slot_of_box(self, number: int) -> Json:
        """The box's own slot for an input of its subgraph.

        A box may lack slots, and then their numbers differ from those of the subgraph. What the subgraph says of the
        input stands in the place of a slot that is not there.
        """
        declared = self.graph.get("inputs") or []
        if number >= len(declared):
            return self._slots_of_box()[number]
        for slot in self._slots_of_box():
            if slot["name"] == declared[number]["name"]:
                return slot
        return {"name": declared[number]["name"], "label": declared[number].get("label")}

    def _widgets_of_box(self) -> list[int]:
        """Numbers of the subgraph's inputs that have a value among those of the box, in the order of these values.

        Newer editors keep a value for each input that leads to a widget, also where the box has no slot for it, older
        ones for each slot with a widget.
        """
        slots_with_widget: set[str] = set()
        for slot in self._slots_of_box():
            if "widget" in slot:
                slots_with_widget.add(slot["name"])
        by_slot: list[int] = []
        by_widget: list[int] = []
        for number, declared in enumerate(self.graph.get("inputs") or []):
            if declared["name"] in slots_with_widget:
                by_slot.append(number)
            if declared["name"] in slots_with_widget or self._leads_to_widget(number):
                by_widget.append(number)
        values = (self.box or {}).get("widgets_values") or []
        if len(values) == len(by_slot):
            return by_slot
        return by_widget

    def _leads_to_widget(self, number: int) -> bool:
        """Whether an input of the subgraph is linked to a widget of a node in it, or of a box in it."""
        for link in self.links.values():
            if link.source != self._INPUTS or link.output != number:
                continue
            slots = self.nodes[link.target].get("inputs") or []
            if link.input < len(slots) and "widget" in slots[link.input]:
                return True
        return False

    def given_by(self, number: int, output: int, wanted: Any) -> _Brought | None:
        """What an output of a node gives to an input of the type `wanted`, as `brought_by` has it."""
        node = self.nodes[number]
        if node["type"] == PRIMITIVE:
            title = node.get("title") or "Primitive"
            values = node.get("widgets_values") or [None]
            return Place(f"{self.path}{number}", "value", title, "value", value=values[0])
        if node.get("mode", 0) == _MUTED:
            return None
        if node["type"] == REROUTE or node.get("mode", 0) == BYPASSED:
            link = self._link_through(node, output, wanted)
            return None if link is None else self.brought_by(link, wanted)
        if number not in self.inside:
            return [f"{self.path}{number}", output]
        level = self.inside[number]
        for end, link in level.links.items():
            if link.target == self._OUTPUTS and link.input == output:
                return level.brought_by(end, wanted)
        return None

    def _link_through(self, node: Json, output: int, wanted: Any) -> int | None:
        """The link into a reroute or a bypassed node that comes out of its output; None where there is none."""
        slots = _slots(node, specs(self.object_info, node["type"]))
        place: int | None = 0
        if node["type"] != REROUTE:
            place = _through(slots, node["outputs"][output].get("type"), output, wanted)
        if place is None or place >= len(slots):
            return None
        return slots[place].get("link")


def _prompt_entry(entry: _Running, object_info: Json, places: _Places) -> dict[str, Any]:
    """A node of the prompt; `places` gets where its values are set."""
    node = entry.node
    slots = {slot["name"]: slot for slot in node.get("inputs") or []}
    shown = node.get("title") or object_info[node["type"]].get("display_name") or node["type"]
    inputs = values_of(node, specs(object_info, node["type"]))
    set_at: dict[str, list[Place]] = {}
    for name in inputs:
        set_at[name] = [Place(entry.number, name, shown, label(slots.get(name, {}), name))]
    for name, value in entry.brought.items():
        if isinstance(value, list):
            inputs[name] = value
            set_at.pop(name, None)
        elif value.value is None:
            set_at.setdefault(name, []).append(value)
        else:
            set_at[name] = [value]
            inputs[name] = sent(value.value)
    for name, of_input in set_at.items():
        for place in of_input:
            known = places.setdefault((place.node, place.name), place)
            known.targets.append((entry.number, name))
    return {"class_type": node["type"], "inputs": inputs, "_meta": {"title": shown}}


def _slots(node: Json, known: Mapping[str, Spec]) -> list[Json]:
    """A node's inputs as the editor has them once it has opened a file.

    Those that are known today come in today's order, widgets last; an input that grows as those that it has grown to;
    behind them what only the file has.
    """
    saved = {slot["name"]: slot for slot in node.get("inputs") or []}
    today: list[Json] = []
    for name in sorted(known, key=lambda name: known[name].is_widget):
        grown = [key for key in saved if key.startswith(f"{name}.")]
        for key in grown:
            today.append(saved.pop(key))
        if not grown:
            today.append(saved.pop(name, {"name": name, "type": known[name].kind}))
    return [*today, *saved.values()]


def _through(slots: Sequence[Json], output_type: Any, output: int, wanted: Any) -> int | None:
    """Which input of a bypassed node stands for one of its outputs, as the editor chooses it."""
    types = [slot.get("type") for slot in slots]
    if wanted in _ANY:
        return output if len(types) > output else 0
    fitting: list[int] = []
    for number, kind in enumerate(types):
        if _fits(kind, output_type) and _fits(kind, wanted):
            fitting.append(number)
    if output in fitting:
        return output
    if wanted in types:
        return types.index(wanted)
    if fitting:
        return fitting[0]
    return None


def _fits(first: Any, second: Any) -> bool:
    """Whether types, or lists of them ("A,B"), may be linked."""
    if first in _ANY or second in _ANY:
        return True
    return not set(str(first).lower().split(",")).isdisjoint(str(second).lower().split(","))


def label(slot: Mapping[str, Any], name: str) -> str:
    """What the editor shows for an input."""
    return slot.get("label") or slot.get("localized_name") or name


def _names(node: Json) -> list[str]:
    """Of a node's widgets, in the order of its values; "" is what the editor adds to a seed."""
    names = [slot["name"] for slot in node.get("inputs", []) if "widget" in slot]
    if "seed" in names and len(node.get("widgets_values") or []) > len(names):
        names.insert(names.index("seed") + 1, "")
    return names


def fill(workflow: Json, values: Mapping[str, Any], images: Sequence[str]) -> None:
    """Set widgets of a workflow as it is saved, on boxes and inside of them: older frontends send the one, newer ones
    the other.

    values: by the name of the input. images: those of its Load Image nodes, in the file's order.
    """
    waiting = iter(images)
    for node in workflow_nodes.nodes_in(workflow):
        for place, name in enumerate(_names(node)):
            if name == "image":
                node["widgets_values"][place] = next(waiting)
            elif name in values:
                node["widgets_values"][place] = values[name]


def nodes_of(prompt: Prompt, *classes: str) -> list[str]:
    """Ids of the nodes of these classes, in the prompt's order."""
    return [number for number, node in prompt.items() if node["class_type"] in classes]


def title(prompt: Prompt, node: str) -> str:
    """What a node is called."""
    meta = prompt[node].get("_meta")
    if isinstance(meta, dict) and meta.get("title"):
        return meta["title"]
    return prompt[node]["class_type"]
