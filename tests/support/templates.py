"""Which templates every run looks at: those to start with, and of a method by images, by parts, on a transformer."""

import copy
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from browser.fixtures import once_of_each
from shared import workflow

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "workflows").glob("*.json"))
BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))


def _kinds_in(path: Path) -> set[str]:
    return {node["type"] for node in workflow.nodes_in(workflow.load(path))} - workflow.NOTES


_USED = {path: _kinds_in(path) for path in FILES + BLUEPRINTS}


def fewest(begun: Iterable[Path], *begins: str) -> set[Path]:
    """Templates that together hold every node whose id begins so; one after the other that which has most new ones."""
    kinds = dict[Path, set[str]]()
    for path in FILES:
        kinds[path] = {kind for kind in _USED[path] if kind.startswith(begins)}
    chosen = {*begun}
    kinds_left = set[str]().union(*kinds.values())
    while kinds_left := kinds_left.difference(*(kinds[path] for path in chosen)):
        chosen.add(max(FILES, key=lambda path: (len(kinds[path] & kinds_left), -len(_USED[path]), path.stem)))
    return chosen


METHODS = fewest((), "LikenessApply", "LikenessShare", "LikenessPeopleAsReferences")
"""One of every method: of those that a run tries, these in older ComfyUIs too."""
STARTS = {path for path in FILES if path.stem.startswith("start_")}
"""Opened with every kind of nodes with --all."""
WITH_VUE = {path for path in STARTS if path.stem == "start_two_people"}
"""Opened with Vue nodes in every run."""
OFTEN = {*STARTS, *fewest(STARTS, "LikenessApplyIDPatch", "LikenessApplyParts2Whole", "LikenessApplyWithAnyone")}
"""Opened and drawn in every run."""


def each(with_vue: Container[Path] = FILES, on_older: Container[Path] = METHODS) -> list[Any]:
    """Parameters: each file. with_vue: those seen with Vue nodes too. on_older: those tried in older ComfyUIs too."""
    of_vue = pytest.mark.every_run_only("classic")

    def marks(path: Path) -> list[Any]:
        marks_of_file: list[Any] = []
        if path not in OFTEN:
            marks_of_file.append(pytest.mark.thorough)
        if path not in with_vue:
            marks_of_file.append(of_vue)
        if path not in STARTS:
            marks_of_file.append(once_of_each)
        if path in on_older:
            marks_of_file.append(pytest.mark.both_hosts)
        return marks_of_file

    return [pytest.param(path, id=path.stem, marks=marks(path)) for path in FILES]


def _outside_of_templates() -> list[Any]:
    inside = set[str]()
    for file in FILES:
        inside |= {subgraph["name"] for subgraph in workflow.subgraphs(workflow.load(file)).values()}
    parameters: list[Any] = []
    for path in BLUEPRINTS:
        (blueprint,) = workflow.load(path)["nodes"]
        if blueprint["title"] not in inside:
            marks = [pytest.mark.thorough] if "SD1.5" in path.stem else []
            parameters.append(pytest.param(path, id=path.stem, marks=marks))
    return parameters


BESIDE = _outside_of_templates()
"""Blueprints that are in no template."""


def unknown(path: Path, nodes_of_the_host: Mapping[str, Any]) -> str:
    """Nodes of a template that this ComfyUI does not have. nodes_of_the_host: the host's answer to /object_info."""
    return ", ".join(sorted(_USED[path] - nodes_of_the_host.keys()))


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
