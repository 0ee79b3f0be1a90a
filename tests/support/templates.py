"""The templates and blueprints, and which of them every run looks at."""

import copy
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from shared import workflow

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "workflows").glob("*.json"))
BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))


STARTS = ("start_outfit", "start_person_in_photo", "start_portrait", "start_two_people")
OFTEN = (*STARTS, "parts2whole_with_pose", "references_klein_two_people", "Outfit on a person")
"""Opened and drawn in every run: those to start with, of a method by parts, on a transformer, and a blueprint."""
ON_OLDER = ("start_outfit", "parts2whole_with_pose")
"""Of these, in older ComfyUIs too: no template on a transformer opens there."""


def each(
    paths: Iterable[Path] = FILES, often: Container[str] = OFTEN, on_older: Container[str] = ON_OLDER
) -> list[Any]:
    """Parameters: each file. often: those tried in every run. on_older: those tried in older ComfyUIs too."""
    parameters: list[Any] = []
    for path in paths:
        marks = [] if path.stem in often else [pytest.mark.thorough]
        if path.stem in on_older:
            marks.append(pytest.mark.both_hosts)
        parameters.append(pytest.param(path, id=path.stem, marks=marks))
    return parameters


def _outside_of_templates() -> list[Path]:
    """Blueprints that are in no template."""
    inside = set[str]()
    for file in FILES:
        inside |= {subgraph["name"] for subgraph in workflow.subgraphs(workflow.load(file)).values()}
    return [path for path in BLUEPRINTS if workflow.load(path)["nodes"][0]["title"] not in inside]


OUTSIDE = _outside_of_templates()


def unknown(path: Path, nodes_of_the_host: Mapping[str, Any]) -> str:
    """Nodes and kinds of text encoders of a template that this ComfyUI does not have. nodes_of_the_host: the host's
    answer to /object_info."""
    nodes = list(workflow.nodes_in(workflow.load(path)))
    used = {node["type"] for node in nodes} - workflow.NOTES
    # The second widget, in the order of a file; the host lists its words, or says them as an option.
    encoders = {node["widgets_values"][1] for node in nodes if node["type"] == "CLIPLoader"}
    menu, *options = nodes_of_the_host["CLIPLoader"]["input"]["required"]["type"]
    known_encoders = menu if isinstance(menu, list) else options[0]["options"]
    return ", ".join(sorted((used - nodes_of_the_host.keys()) | (encoders - set(known_encoders))))


def skip_unless_known(path: Path, nodes_of_the_host: Mapping[str, Any]) -> None:
    if lacking := unknown(path, nodes_of_the_host):
        pytest.skip(f"this ComfyUI has no {lacking}")


def substitute(prompt: workflow.Prompt, values: Mapping[str, Any]) -> workflow.Prompt:
    """A copy of `prompt` with inputs replaced.

    values: "NodeClass.input" -> new value, linked or not; "NodeClass.input=value" -> the new one of this value;
    "*.input" -> new value wherever no link is.
    """
    changed = copy.deepcopy(prompt)
    for node in changed.values():
        for name, value in node["inputs"].items():
            if not isinstance(value, list):
                node["inputs"][name] = values.get(f"*.{name}", value)
            of_node = f"{node['class_type']}.{name}"
            node["inputs"][name] = values.get(f"{of_node}={value}", values.get(of_node, node["inputs"][name]))
    return changed
