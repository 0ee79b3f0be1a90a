"""A workflow as the editor saves it (workflows/*.json) -> the prompt that ComfyUI's HTTP interface takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import listed
from core.models import needs
from core.models.manifest import Model
from core.models.needs import subgraphs
from core.names import among

Prompt = dict[str, dict[str, Any]]
Json = Mapping[str, Any]
"""A workflow as the editor saves it, a node of it, or what the host says of one."""

NOTES = {"Note", "MarkdownNote"}
PRIMITIVE, REROUTE = "PrimitiveNode", "Reroute"
"""Nodes of the editor alone: a widget for the widgets it is linked to, and a corner of a link."""
_MUTED, BYPASSED = 2, 4
_ANY = ("*", "", None)
_DYNAMIC = "COMFY_DYNAMICCOMBO_V3"
"""A menu whose choice brings inputs of its own, each named <menu>.<input>."""
_BOXES = "BOUNDING_BOXES"
"""The editor of boxes, which older hosts do not have: its values, lists at the end of a node's, are not for them."""
_WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", _DYNAMIC, _BOXES}
_UPLOADS = ("image_upload", "video_upload", "audio_upload")


@dataclass(frozen=True)
class Spec:
    """An input as /object_info has it. kind: None for one that is not there."""

    kind: Any = None
    options: Json = field(default_factory=dict)
    optional: bool = False

    @property
    def menu(self) -> list[Any] | None:
        """Words, or entries whose choice brings inputs; None where there is no menu."""
        return self.kind if isinstance(self.kind, list) else self.options.get("options")

    @property
    def takes_files(self) -> bool:
        """Whether it is a menu of files that are uploaded."""
        return any(self.options.get(upload) for upload in (*_UPLOADS, "file_upload"))

    @property
    def is_widget(self) -> bool:
        return (isinstance(self.kind, list) or self.kind in _WIDGET_TYPES) and not self.options.get("forceInput")


def specs(object_info: Json, kind: str) -> dict[str, Spec]:
    """Of every input of a class of nodes."""
    sections = object_info.get(kind, {}).get("input", {})
    return {
        name: Spec(spec[0], spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}, section == "optional")
        for section in ("required", "optional")
        for name, spec in sections.get(section, {}).items()
    }


class WorkflowError(Exception):
    """A workflow that cannot be turned into a prompt; the text says which node and why."""


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def nodes_in(workflow: Json) -> Iterator[dict[str, Any]]:
    """Every node, those inside of subgraphs in the place of the node that stands for them."""
    return (node for node in needs.nodes_in(workflow) if node["type"] not in subgraphs(workflow))


def offered(entry: Model) -> dict[str, str] | None:
    """How a workflow offers a model to the frontend, which fetches from few places; None where it cannot."""
    if entry.archive or not entry.url.startswith(("https://huggingface.co/", "https://civitai.com/")):
        return None
    shown = {"name": entry.name, "url": entry.url, "directory": entry.key}
    sha256 = entry.files[0].sha256
    return shown | ({"hash": sha256, "hash_type": "SHA256"} if sha256 else {})


@dataclass
class Place:
    """A widget that can be set: of which node (in a subgraph "box:node"), its name and what it is shown as, and which
    inputs of the prompt have its value. value: what a link brings of it, None where that is left to the widget behind
    the link."""

    node: str
    name: str
    title: str
    label: str
    targets: list[tuple[str, str]] = field(default_factory=list)
    value: Any = None


_Places = dict[tuple[str, str], Place]
"""By node and name."""


def to_prompt(workflow: Json, object_info: Json) -> Prompt:
    """The API prompt of a workflow, as the editor makes it: subgraphs opened, no muted nodes, no reroutes; what goes
    into a bypassed node comes out of it by its type, and a Primitive's value stands where it is linked to.

    object_info: the host's answer to /object_info. Optional widgets that are newer than the file have their defaults,
    as in the editor. Raises WorkflowError for a node the host does not know and for widget values that do not fit.
    """
    return opened(workflow, object_info)[0]


def opened(workflow: Json, object_info: Json) -> tuple[Prompt, list[Place]]:
    """`to_prompt`, and where each of its values is set."""
    places: _Places = {}
    running = list(_Level(workflow, subgraphs(workflow), object_info).running())
    _require_nodes(running, object_info)
    prompt = {
        number: _entry(number, node, brought, object_info, places)
        for number, node, brought in running
        if node["type"] not in (*NOTES, PRIMITIVE, REROUTE)
    }
    for node in prompt.values():
        # Without links to what does not run.
        node["inputs"] = {key: x for key, x in node["inputs"].items() if not isinstance(x, list) or x[0] in prompt}
    return as_offered(prompt, object_info), list(places.values())


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


def _require_nodes(running: Sequence[tuple[str, Json, Any]], object_info: Json) -> None:
    """Raises WorkflowError for nodes that the host does not know, with the packs that the editor has noted for them."""
    unknown: list[str] = []
    for number, node, _ in running:
        kind = node["type"]
        if kind in object_info or kind in (*NOTES, PRIMITIVE, REROUTE):
            continue
        about = [f"node {number}"]
        properties = node.get("properties")
        pack = properties.get("cnr_id") or properties.get("aux_id") if isinstance(properties, dict) else None
        if pack:
            about.append(f"of the pack {pack}")
        unknown.append(f"{kind} ({', '.join(about)})")
    if unknown:
        verb = "is" if len(unknown) == 1 else "are"
        raise WorkflowError(f"{listed(unknown)} {verb} not known to this ComfyUI: install the pack with this node.")


class _Level:
    """The nodes of a workflow, or of a subgraph that stands in one: `node` of the level `around`."""

    _BEFORE, _BEHIND = -10, -20
    """What the ends of a subgraph's links at its own inputs and outputs are numbered with."""

    def __init__(
        self, graph: Json, subgraphs: Mapping[str, Json], object_info: Json, around: _Level | None = None,
        node: Json | None = None,
    ) -> None:  # fmt: skip
        self.nodes = {node["id"]: node for node in graph["nodes"]}
        self.links = {link[0]: link[1:5] for link in map(_as_list, graph["links"])}
        self.path = f"{around.path}{node['id']}:" if around and node else ""
        self.around, self.node, self.object_info = around, node, object_info
        self.inside = {
            number: _Level(subgraphs[one["type"]], subgraphs, object_info, self, one)
            for number, one in self.nodes.items()
            if one["type"] in subgraphs
        }
        self.names = {number: subgraphs[self.nodes[number]["type"]].get("name", "") for number in self.inside}

    def running(self) -> Iterator[tuple[str, Mapping[str, Any], dict[str, list[Any] | Place]]]:
        """Every node that is not switched off, those inside of subgraphs in their place: its number, itself, and what
        links bring to its inputs."""
        for number, node in self.nodes.items():
            if node.get("mode", 0) in (_MUTED, BYPASSED):
                continue
            if number in self.inside:
                yield from self.inside[number].running()
                continue
            slots = [slot for slot in node.get("inputs") or [] if slot.get("link") is not None]
            brought = {slot["name"]: self.input(slot["link"], slot.get("type")) for slot in slots}
            yield f"{self.path}{number}", node, {name: value for name, value in brought.items() if value is not None}

    def input(self, link: int, wanted: Any = None) -> list[Any] | Place | None:
        """What a link brings to an input of the type `wanted`: [node, output], the value of a widget of the node that
        stands for this level or of a Primitive, or None where there is nothing in the end."""
        source, output, *_ = self.links[link]
        if source != self._BEFORE or not (self.around and self.node):
            return self.output(source, output, wanted)
        slot = self.node["inputs"][output]
        if slot.get("link") is not None:
            return self.around.input(slot["link"], wanted)
        widgets = [entry["name"] for entry in self.node["inputs"] if "widget" in entry]
        if slot["name"] not in widgets:
            return None
        values, place = self.node.get("widgets_values") or [], widgets.index(slot["name"])
        title = self.node.get("title") or self.around.names[self.node["id"]]
        value = values[place] if place < len(values) else None
        return Place(self.path[:-1], slot["name"], title, label(slot, slot["name"]), value=value)

    def output(self, number: int, output: int, wanted: Any) -> list[Any] | Place | None:
        node = self.nodes[number]
        if node["type"] == PRIMITIVE:
            title, values = node.get("title") or "Primitive", node.get("widgets_values") or [None]
            return Place(f"{self.path}{number}", "value", title, "value", value=values[0])
        if node.get("mode", 0) == _MUTED:
            return None
        if node["type"] == REROUTE or node.get("mode", 0) == BYPASSED:
            slots = _slots(node, specs(self.object_info, node["type"]))
            place = (
                0 if node["type"] == REROUTE else _through(slots, node["outputs"][output].get("type"), output, wanted)
            )
            link = slots[place].get("link") if place is not None and place < len(slots) else None
            return self.input(link, wanted) if link is not None else None
        if number not in self.inside:
            return [f"{self.path}{number}", output]
        level = self.inside[number]
        ends = (link for link, (_, _, target, slot) in level.links.items() if (target, slot) == (self._BEHIND, output))
        link = next(ends, None)
        return level.input(link, wanted) if link is not None else None


def _entry(
    number: str, node: Json, brought: Mapping[str, list[Any] | Place], object_info: Json, places: _Places
) -> dict[str, Any]:
    """A node of the prompt; `places` gets where its values are set."""
    slots = {slot["name"]: slot for slot in node.get("inputs") or []}
    shown = node.get("title") or object_info[node["type"]].get("display_name") or node["type"]
    inputs = _values(node, specs(object_info, node["type"]))
    set_at = {name: [Place(number, name, shown, label(slots.get(name, {}), name))] for name in inputs}
    for name, value in brought.items():
        if isinstance(value, list):
            inputs[name] = value
            set_at.pop(name, None)
        elif value.value is None:
            set_at.setdefault(name, []).append(value)
        else:
            set_at[name], inputs[name] = [value], sent(value.value)
    for name, place in ((name, place) for name, each in set_at.items() for place in each):
        places.setdefault((place.node, place.name), place).targets.append((number, name))
    return {"class_type": node["type"], "inputs": inputs, "_meta": {"title": shown}}


def _slots(node: Json, known: Mapping[str, Spec]) -> list[Json]:
    """A node's inputs as the editor has them once it has opened a file: those that are known today in today's order,
    widgets last; an input that grows as those that it has grown to; behind them what only the file has."""
    saved, today = {slot["name"]: slot for slot in node.get("inputs") or []}, list[Json]()
    for name in sorted(known, key=lambda name: known[name].is_widget):
        grown = [saved.pop(one) for one in list(saved) if one.startswith(f"{name}.")]
        today += grown or [saved.pop(name, {"name": name, "type": known[name].kind})]
    return [*today, *saved.values()]


def _through(slots: Sequence[Json], made: Any, output: int, wanted: Any) -> int | None:
    """Which input of a bypassed node stands for one of its outputs, of the type `made`, as the editor chooses it."""
    types = [slot.get("type") for slot in slots]
    if wanted in _ANY:
        return output if len(types) > output else 0
    fitting = [number for number, kind in enumerate(types) if _fits(kind, made) and _fits(kind, wanted)]
    if output in fitting:
        return output
    return types.index(wanted) if wanted in types else next(iter(fitting), None)


def _fits(one: Any, other: Any) -> bool:
    """Whether types, or lists of them ("A,B"), may be linked."""
    if one in _ANY or other in _ANY:
        return True
    return bool({*str(one).lower().split(",")} & {*str(other).lower().split(",")})


def label(slot: Mapping[str, Any], name: str) -> str:
    """What the editor shows for an input."""
    return slot.get("label") or slot.get("localized_name") or name


def _as_list(link: Any) -> list[Any]:
    """Links are lists in a workflow and have names in a subgraph."""
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
    return [link[name] for name in names] if isinstance(link, dict) else link


def _values(node: Json, known: Mapping[str, Spec]) -> dict[str, Any]:
    """What a node's own widgets say, by the name of the input."""
    names = list(_widgets(known, node))
    saved = node.get("widgets_values") or []
    if isinstance(saved, dict):
        return {name: sent(saved[name]) for name in names if name in saved}
    values = list(saved)
    while len(values) > len(names) and isinstance(values[-1], list):
        values.pop()
    values += [
        known[name].options["default"] for name in names[len(values) :] if name in known and known[name].optional
    ]
    if len(names) != len(values):
        raise WorkflowError(
            f"{node['type']} (node {node['id']}) has {len(values)} widget values for {len(names)} widgets: {names}."
        )
    return {name: sent(value) for name, value in zip(names, values, strict=True) if name}


def sent(value: Any) -> Any:
    """As the frontend sends it: a list alone would be taken for a link."""
    return {"__value__": value} if isinstance(value, list) else value


def _names(node: Json) -> list[str]:
    """Of a node's widgets, in the order of its values; "" is what the editor adds to a seed."""
    names = [slot["name"] for slot in node.get("inputs", []) if "widget" in slot]
    if "seed" in names and len(node.get("widgets_values") or []) > len(names):
        names.insert(names.index("seed") + 1, "")
    return names


def _widgets(known: Mapping[str, Spec], node: Json) -> Iterator[str]:
    """Input names in the order of the saved widget values; "" for what the editor adds and the host does not take."""
    for optional in (False, True):
        section = {name: spec for name, spec in known.items() if spec.optional == optional}
        for name, spec in section.items():
            if not spec.is_widget:
                continue
            yield name
            if spec.kind == _DYNAMIC:
                yield from (slot["name"] for slot in node["inputs"] if slot["name"].startswith(f"{name}."))
            seed = spec.kind == "INT" and name in ("seed", "noise_seed")
            if spec.options.get("control_after_generate", seed):
                yield ""
        yield from ("" for spec in section.values() if any(spec.options.get(upload) for upload in _UPLOADS))


def fill(workflow: Json, values: Mapping[str, Any], images: Sequence[str]) -> None:
    """Set widgets of a workflow as it is saved, on boxes and inside of them: older frontends send the one, newer ones
    the other.

    values: by the name of the input. images: those of its Load Image nodes, in the file's order.
    """
    waiting = iter(images)
    for node in needs.nodes_in(workflow):
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
    return (meta.get("title") if isinstance(meta, dict) else None) or prompt[node]["class_type"]
