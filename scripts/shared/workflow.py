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
- It draws one word of `{red|blue}` in a prompt by lot, as the editor does. Here the text stays (`_as_editor_sends`).
- It does not say where a value is set, which a column of a table needs (`Place`).
- It is GPL-3.0, and brings 27 packages with it.

On the other files both give the same prompts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environment import say

from core import earlier
from core.checks.errors import BadSetup, listed
from core.checks.names import among, folded
from core.models.manifest import Model

from . import old_groups, saved_workflow
from .saved_workflow import EDITOR_NODES, Nowhere, Output, SavedNode, Setting, label, subgraphs
from .widgets import Json, Spec, WorkflowError, sent, specs, values_of

Prompt = dict[str, dict[str, Any]]

NOTES = {"Note", "MarkdownNote"}
_HOST = "comfy-core"
"""What the editor notes as the pack of ComfyUI's own nodes."""
_AT_SENDING = re.compile(r" Everywhere\b|^Random Unmuter \(rgthree\)$")
"""Nodes that link or unmute others when the editor makes a prompt."""
_OF_PYTHON = "Node name for S&R"
"""A property that the editor gives to every node that it gets from the host."""
_SUBGRAPH = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The types of nodes that stand for subgraphs."""


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def all_nodes(graph: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a saved workflow, as it is saved. After a node that stands for a subgraph come those of the
    subgraph.

    A subgraph that stands in several places comes once. Raises ValueError where a list of nodes or subgraphs is
    damaged.
    """
    subgraph_of_type = subgraphs(graph)
    waiting = saved_workflow.listed_in(graph, "nodes")[::-1]  # a stack: the next node is the last
    while waiting:
        node = waiting.pop()
        yield node
        subgraph = subgraph_of_type.pop(str(node.get("type")), None)  # taken out: it comes once, and cannot repeat
        waiting += saved_workflow.listed_in(subgraph, "nodes")[::-1]


def nodes_in(workflow: Json) -> Iterator[dict[str, Any]]:
    """Every node, those inside of subgraphs in the place of the node that stands for them."""
    return (node for node in all_nodes(workflow) if node["type"] not in subgraphs(workflow))


def offered(entry: Model) -> dict[str, str] | None:
    """How a workflow offers a model to the frontend, which fetches from few places; None where it cannot."""
    if entry.archive or not entry.url.startswith(("https://huggingface.co/", "https://civitai.com/")):
        return None
    shown = {"name": entry.name, "url": entry.url, "directory": entry.key}
    sha256 = entry.files[0].sha256
    if sha256:
        shown |= {"hash": sha256, "hash_type": "SHA256"}
    return shown


@dataclass(frozen=True)
class Place(Setting):
    """A widget that can be set. targets: the inputs of the prompt that have its value, node and name."""

    targets: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


_Places = dict[tuple[str, str], Place]
"""By node and name."""


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

    def inputs_of(kind: str) -> dict[str, Any] | None:
        if kind not in object_info:
            return None
        known = specs(object_info, kind)
        return {name: known[name].kind for name in sorted(known, key=lambda name: known[name].is_widget)}

    running: list[SavedNode] = []
    places: _Places = {}
    prompt: Prompt = {}
    try:
        for entry in saved_workflow.running(workflow, inputs_of):
            if entry.kind in object_info or entry.kind not in (*EDITOR_NODES, *replaced):
                running.append(entry)
        _require_links(workflow, running)
        for entry in _known_or_linked(running, object_info):
            prompt[entry.number] = _prompt_entry(entry, object_info, places)
    except BadSetup as error:  # it is too large, which shows while its links are followed, too
        raise WorkflowError(error.problem) from None
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
    system. web/names.js does the same where one is opened in the editor. Of an earlier version of Likeness it gets what
    means the same to the version of the host."""
    changed: Prompt = {}
    for number, node in prompt.items():
        known = specs(object_info, node["class_type"])
        inputs = {name: _as_offered(value, known.get(name)) for name, value in node["inputs"].items()}
        changed[number] = {**node, "inputs": _of_this_version(node["class_type"], inputs, known)}
    return changed


def _as_offered(value: Any, spec: Spec | None) -> Any:
    return among(value, _words(spec)) or value if isinstance(value, str) else value


def _words(spec: Spec | None) -> list[str]:
    """Those of a menu."""
    return [word for word in (spec and spec.menu) or [] if isinstance(word, str)]


def _of_this_version(kind: str, inputs: dict[str, Any], known: Mapping[str, Spec]) -> dict[str, Any]:
    """The inputs of a node, of whatever version of Likeness, as that of the host has them. known: its inputs there."""
    once = earlier.table().get(kind)
    if once is None or any(name in known and today != name for name, today in once.inputs.items()):
        return inputs  # the host has an earlier version itself
    kept = {name: value for name, value in inputs.items() if value in _words(known.get(name))}
    return once.renewed(inputs) | kept


def _require_links(workflow: Json, running: Sequence[SavedNode]) -> None:
    """Raises WorkflowError for nodes that change what is sent while the editor sends it, in ways of their own."""
    found = [f"{entry.saved['type']} (node {entry.number})" for entry in running if _AT_SENDING.search(entry.kind)]
    extra = workflow.get("extra")
    if not found and isinstance(extra, dict) and extra.get("ue_links"):
        found = ["Use Everywhere"]
    if found:
        verb = "is" if len(found) == 1 else "are"
        raise WorkflowError(f"{listed(found)} {verb} carried out by the editor when it sends the workflow.")


def _known_or_linked(running: Sequence[SavedNode], object_info: Json) -> list[SavedNode]:
    """The nodes that the host runs. Labels, and what scripts of an installed pack show, are left out, where the host
    does not know them and nothing reads them.

    Raises WorkflowError for other nodes that the host does not know, with the packs that the editor has noted for them.
    For ComfyUI's own nodes the error names the version that they were saved with.
    """
    installed = {folded(node.get("python_module", "").rpartition(".")[2]) for node in object_info.values()}
    has_likeness = any(kind.startswith("Likeness") for kind in object_info)
    unknown: list[str] = []
    of_editor: list[str] = []
    lost: list[str] = []
    gone: list[str] = []
    versions: dict[str, str] = {}
    kept: list[SavedNode] = []
    for entry in running:
        kind = entry.kind
        if kind in object_info:
            kept.append(entry)
            continue
        noted = entry.saved.get("properties")
        properties: Json = noted if isinstance(noted, dict) else {}
        pack = properties.get("cnr_id") or properties.get("aux_id")
        is_installed = folded(str(pack).rpartition("/")[2]) in installed
        is_of_script = is_installed and _OF_PYTHON not in properties
        is_unread = is_of_script and not entry.is_read
        is_label = not entry.is_linked and (is_installed or not pack)
        if kind.startswith("Likeness") and has_likeness:
            gone.append(f"{kind} (node {entry.number})")
        elif is_unread or is_label:
            say(f"{kind} (node {entry.number}) is left out: ComfyUI does not know it, and nothing reads it.")
        elif _SUBGRAPH.fullmatch(kind):
            lost.append(f"{entry.saved.get('title') or 'a subgraph'} (node {entry.number})")
        elif kind.startswith(old_groups.PREFIXES):
            lost.append(f"{kind} (node {entry.number})")
        elif pack == _HOST and properties.get("ver"):
            versions[kind] = properties["ver"]
        elif is_of_script:
            of_editor.append(f"{kind} (node {entry.number}, of {pack}, which is installed)")
        elif pack:
            unknown.append(f"{kind} (node {entry.number}, of the pack {pack})")
        else:
            unknown.append(f"{kind} (node {entry.number})")
    if gone:
        raise WorkflowError(f"{listed(gone)}: {earlier.NO_SUCH_NODE}")
    _require_none(versions, of_editor, lost, unknown)
    return kept


def _require_none(
    versions: Mapping[str, str], of_editor: Sequence[str], lost: Sequence[str], unknown: Sequence[str]
) -> None:
    """Raises WorkflowError with all nodes that the host does not know.

    versions: node type -> the version it was saved with, of ComfyUI's own. of_editor: those that scripts of the editor
    make. lost: those that stand for subgraphs. unknown: all others.
    """
    sentences: list[str] = []
    if versions:
        newest = max(versions.values(), key=_as_numbers)
        verb = "is" if len(versions) == 1 else "are"
        sentences.append(f"{listed(list(versions))} {verb} not known to this ComfyUI: update it to {newest} or later.")
    if of_editor:
        verb = "is" if len(of_editor) == 1 else "are"
        sentences.append(f"{listed(of_editor)} {verb} of the editor alone.")
    if lost:
        sentences.append(f"The file has nothing of what is in {listed(lost)}: save it again where that works.")
    if unknown:
        verb = "is" if len(unknown) == 1 else "are"
        packs = "the pack with this node" if len(unknown) == 1 else "the packs with these nodes"
        sentences.append(f"{listed(unknown)} {verb} not known to this ComfyUI: install or update {packs}.")
    if sentences:
        raise WorkflowError(" ".join(sentences))


def _as_numbers(version: str) -> tuple[int, ...]:
    """A version to be compared, so that 0.3.64 comes before 0.33.0. What is no number counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def _prompt_entry(entry: SavedNode, object_info: Json, places: _Places) -> dict[str, Any]:
    """A node of the prompt; `places` gets where its values are set."""
    node = entry.saved
    labels = {slot["name"]: label(slot, slot["name"]) for slot in node.get("inputs") or []}
    shown = node.get("title") or object_info[entry.kind].get("display_name") or entry.kind
    known = specs(object_info, entry.kind)

    def as_sent(name: str, value: Any) -> Any:
        return _as_editor_sends(value, name, known.get(name, Spec()), f"{shown} (node {entry.number})")

    inputs = values_of(node, known, is_of_others(entry.kind, object_info))
    set_at: dict[str, list[Setting]] = {}
    for name, value in inputs.items():
        if name not in entry.brought:
            inputs[name] = as_sent(name, value)
        set_at[name] = [Setting(entry.number, name, shown, labels.get(name, name))]
    for name, brought in entry.brought.items():
        if isinstance(brought, Nowhere):
            raise WorkflowError(brought.why)
        if isinstance(brought, Output):
            inputs[name] = [brought.node, brought.output]
            set_at.pop(name, None)
        elif brought.value is None:
            set_at.setdefault(name, []).append(brought)
        else:
            set_at[name] = [brought]
            inputs[name] = as_sent(name, brought.value) if brought.is_primitive else sent(brought.value)
    for name, settings in set_at.items():
        for setting in settings:
            place = places.setdefault((setting.node, setting.name), Place(**vars(setting)))
            place.targets.append((entry.number, name))
    return {"class_type": entry.kind, "inputs": inputs, "_meta": {"title": shown}}


_COMMENT = re.compile(r"//[^\n\r\u2028\u2029]*|/\*")
"""A comment up to the end of its line, or the beginning of one that ends with */."""
_CHOICE = re.compile(r"(?<!\\)(?:\\\\)*\{")
"""The beginning of {red|blue}: a brace without a backslash that means it."""
_DATE = re.compile(r"%date:[^%]*%")


def _as_editor_sends(value: Any, name: str, spec: Spec, title: str) -> Any:
    """A value of a node's own widget as the editor sends it. These are all of its steps between the file and the
    prompt; what stands in a box it sends as it is.

    - A text that may have them loses its // and /* */ comments, and the backslashes before { } and |.
    - Of {red|blue} it draws one word by lot. Here the text stays, with a line that says so: a row of a table is to
      give the same picture again.
    - In the names of files %date:yyyy-MM-dd% becomes the date. Here it becomes a word: tomorrow no row would be known
      to be done, and the scripts name pictures themselves.

    name: of the input. title: what the node is called.
    """
    if not isinstance(value, str):
        return sent(value)
    if name == "filename_prefix":
        return _DATE.sub("date", value)
    if spec.kind != "STRING" or not spec.options.get("dynamicPrompts"):
        return value
    text = _without_comments(value)
    if not _CHOICE.search(text):
        return re.sub(r"\\([{}|])", r"\1", text)
    say(
        f"{title}, {name}: braces are sent as they are written, {{red|blue}} with both words. The editor draws one of "
        "them by lot: give this input a column, and each row its word."
    )
    return text


def _without_comments(text: str) -> str:
    kept: list[str] = []
    start = place = 0
    last_end = text.rfind("*/")
    while comment := _COMMENT.search(text, place):
        place = comment.end()
        if comment[0] == "/*":
            if place > last_end:  # one that does not end is none
                continue
            place = text.index("*/", place) + 2
        kept.append(text[start : comment.start()])
        start = place
    return "".join([*kept, text[start:]])


def fill(workflow: Json, values: Mapping[str, Any], images: Sequence[str]) -> None:
    """Set widgets of a workflow as it is saved, on boxes and inside of them: older frontends send the one, newer ones
    the other.

    values: by the name of the input. images: those of its Load Image nodes, in the file's order.
    """
    waiting = iter(images)
    for node in all_nodes(workflow):
        for place, name in enumerate(saved_workflow.names_in_row(node)):
            if name == "image":
                node["widgets_values"][place] = next(waiting)
            elif name in values:
                node["widgets_values"][place] = values[name]


def nodes_of(prompt: Prompt, *classes: str) -> list[str]:
    """Ids of the nodes of these classes, in the prompt's order."""
    return [number for number, node in prompt.items() if node["class_type"] in classes]


def is_of_others(kind: str, object_info: Json) -> bool:
    """Whether a class of nodes is of another pack: neither ComfyUI's own nor one of ours."""
    is_of_host = object_info.get(kind, {}).get("python_module", "nodes").startswith(("nodes", "comfy_extras"))
    return not is_of_host and not kind.startswith("Likeness")


def title(prompt: Prompt, node: str) -> str:
    """What a node is called."""
    meta = prompt[node].get("_meta")
    if isinstance(meta, dict) and meta.get("title"):
        return meta["title"]
    return prompt[node]["class_type"]
