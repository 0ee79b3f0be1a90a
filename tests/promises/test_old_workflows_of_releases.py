"""Workflows of every release open as they were saved, and give the pictures that they gave then.

tests/support/releases.py says what is kept of a release, and when it may be taken anew.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import releases
from pack.core.methods import methods
from releases import Release
from rig import workflow
from rig.host_server import HostServer, Prompt
from standin_server import refused
from standins_made import Standins

KEPT = releases.releases()
SLOW = ("second_pass", "interpolation", "references_klein", "try_on")
"""Workflows that take longer than others of their method, by words of their names."""


def kinds_of(release: Release, name: str) -> set[str]:
    """The classes of the nodes of a workflow."""
    return {node["type"] for node in workflow.nodes_in(workflow.load(release.workflow(name)))}


def method_of(release: Release, name: str) -> str:
    """The folder of the first method of a workflow, "any" where it has none."""
    kinds = kinds_of(release, name)
    return next((method.folder for method in methods() if method.used_by(kinds)), "any")


def every_run() -> list[Any]:
    """A case per workflow that makes pictures; its name begins with the method. Every run of the tests has a workflow
    of each method."""
    cases: list[Any] = []
    methods_in_every_run: set[tuple[str, str]] = set()
    for release in KEPT:
        for name in release.runs:
            method = method_of(release, name)
            marks: list[Any] = []
            if (release.version, method) in methods_in_every_run or any(word in name for word in SLOW):
                marks.append(pytest.mark.thorough)
            else:
                methods_in_every_run.add((release.version, method))
            cases.append(pytest.param(release, name, id=f"{method}, {name} of {release.version}", marks=marks))
    return cases


RUNS = every_run()


@pytest.fixture(scope="module")
def object_info(host_server: HostServer, standin_models: Standins) -> dict[str, Any]:
    """The host's answer to /object_info, with the files of every release in place."""
    for release in KEPT:
        releases.install(host_server, release, standin_models)
    return host_server.object_info()


def lacking_here(release: Release, name: str, object_info: dict[str, Any]) -> str:
    """Nodes of other authors in a workflow that this ComfyUI does not have."""
    boxes = workflow.subgraphs(workflow.load(release.workflow(name))).keys()
    kinds = kinds_of(release, name) - workflow.NOTES - boxes - object_info.keys()
    return ", ".join(sorted(kind for kind in kinds if not kind.startswith("Likeness")))


def prompt_of(release: Release, name: str, object_info: dict[str, Any]) -> Prompt:
    """A workflow as it runs here."""
    lacking = lacking_here(release, name, object_info)
    if lacking:
        pytest.skip(f"this ComfyUI has no {lacking}")
    return release.prompt(name, object_info)


def test_a_release_is_kept() -> None:
    assert [release.version for release in KEPT][:1] == ["0.1.0"]
    assert len(KEPT[0].workflows) >= 30
    assert len(KEPT[0].runs) >= 25


@pytest.mark.parametrize("release", KEPT, ids=lambda release: release.version)
def test_every_node_of_a_release_is_there_with_its_inputs_and_outputs(
    release: Release, object_info: dict[str, Any], host_server: HostServer
) -> None:
    if host_server.host.version < (0, 33):
        pytest.skip("a node has an editor less in this ComfyUI")
    assert release.nodes.keys() >= {"LikenessApplyIDPatch", "LikenessApplyInstantID", "LikenessApplyParts2Whole"}
    assert releases.losses(release.nodes, releases.described(object_info)) == []


def renamed(nodes: dict[str, Any]) -> None:
    nodes["LikenessPutPatches"] = nodes.pop("LikenessApplyIDPatch")


def without_input(nodes: dict[str, Any]) -> None:
    del nodes["LikenessApplyIDPatch"]["inputs"]["end_percent"]


def other_default(nodes: dict[str, Any]) -> None:
    nodes["LikenessApplyIDPatch"]["inputs"]["strength"]["default"] = 0.7


def without_choice(nodes: dict[str, Any]) -> None:
    nodes["LikenessApplyIDPatch"]["inputs"]["photos"]["choices"].remove("weighted mean")


def smaller_range(nodes: dict[str, Any]) -> None:
    nodes["LikenessApplyIDPatch"]["inputs"]["strength"]["max"] = 1.0


def other_socket(nodes: dict[str, Any]) -> None:
    nodes["LikenessApplyIDPatch"]["inputs"]["cast"]["type"] = "LIKENESS_PEOPLE"


def new_required_input(nodes: dict[str, Any]) -> None:
    entry = {"type": "MODEL", "required": True, "widget": False}
    nodes["LikenessApplyIDPatch"]["inputs"]["another_model"] = entry


def widget_in_front(nodes: dict[str, Any]) -> None:
    entry = {"type": "FLOAT", "required": False, "default": 1.0, "widget": True}
    inputs = nodes["LikenessApplyIDPatch"]["inputs"]
    nodes["LikenessApplyIDPatch"]["inputs"] = {"sharpness": entry, **inputs}


def other_output(nodes: dict[str, Any]) -> None:
    nodes["LikenessApplyIDPatch"]["outputs"].insert(0, "MODEL")


def new_optional_input(nodes: dict[str, Any]) -> None:
    entry = {"type": "FLOAT", "required": False, "default": 1.0, "widget": True}
    nodes["LikenessApplyIDPatch"]["inputs"]["sharpness"] = entry


def wider_range(nodes: dict[str, Any]) -> None:
    nodes["LikenessApplyIDPatch"]["inputs"]["strength"]["max"] = 100.0
    nodes["LikenessApplyIDPatch"]["inputs"]["photos"]["choices"].append("median")


BREAKS = {
    renamed: "LikenessApplyIDPatch is not there.",
    without_input: "LikenessApplyIDPatch.end_percent is not there.",
    other_default: "LikenessApplyIDPatch.strength has the default 0.7 in the place of 0.8.",
    without_choice: "LikenessApplyIDPatch.photos has no longer the choice 'weighted mean'.",
    smaller_range: "LikenessApplyIDPatch.strength ends at 1.0, no longer at 10.0.",
    other_socket: "LikenessApplyIDPatch.cast takes LIKENESS_PEOPLE and no longer LIKENESS_CAST.",
    new_required_input: "LikenessApplyIDPatch.another_model is new and required.",
    widget_in_front: "LikenessApplyIDPatch has its widgets in another order",
    other_output: "LikenessApplyIDPatch has the outputs ['MODEL', 'CONDITIONING', 'CONDITIONING']",
}
"""What a later version may not do to a node, and how it is named."""


@pytest.mark.parametrize("planted", BREAKS, ids=lambda change: change.__name__)
def test_a_change_that_breaks_saved_workflows_is_named(planted: Callable[[dict[str, Any]], None]) -> None:
    before = KEPT[0].nodes
    now = copy.deepcopy(before)
    planted(now)
    (loss,) = releases.losses(before, now)
    assert loss.startswith(BREAKS[planted])


@pytest.mark.parametrize("planted", [new_optional_input, wider_range], ids=lambda change: change.__name__)
def test_a_change_that_saved_workflows_do_not_notice_is_free(planted: Callable[[dict[str, Any]], None]) -> None:
    before = KEPT[0].nodes
    now = copy.deepcopy(before)
    planted(now)
    assert now != before
    assert releases.losses(before, now) == []


@pytest.mark.both_hosts
@pytest.mark.parametrize("release", KEPT, ids=lambda release: release.version)
def test_every_workflow_of_a_release_opens_and_is_accepted(
    release: Release, object_info: dict[str, Any], host_server: HostServer
) -> None:
    """Those of nodes that this ComfyUI has: their widgets, inputs, outputs and choices are known."""
    runnable = [file.stem for file in release.workflows if not lacking_here(release, file.stem, object_info)]
    assert len(runnable) >= 25
    problems: dict[str, Any] = {}
    for name in runnable:
        graph = workflow.load(release.workflow(name))
        problems_of_workflow = [workflow.to_prompt(graph, object_info) and ""]
        if host_server.host.version >= (0, 33):
            problems_of_workflow += releases.unknown_slots(graph, object_info)
        if name in release.runs:
            problems_of_workflow.append(refused(host_server, release.prompt(name, object_info)))
        problems[name] = [problem for problem in problems_of_workflow if problem]
    assert {name: problems_of_one for name, problems_of_one in problems.items() if problems_of_one} == {}


@pytest.mark.parametrize(("release", "name"), RUNS)
def test_a_workflow_of_a_release_gives_the_same_picture(
    release: Release, name: str, object_info: dict[str, Any], host_server: HostServer
) -> None:
    before = {key: picture for key, picture in release.pictures().items() if key.startswith(f"{name}/")}
    now = releases.pictures_of(host_server, name, prompt_of(release, name, object_info))
    assert before
    distances = releases.distances(before, now)
    differing = {key: distance for key, distance in distances.items() if distance > releases.TOLERANCE}
    assert differing == {}, "tests/support/releases.py says when pictures may be taken anew"


def weaker(prompt: Prompt) -> None:
    """Of 0.8."""
    (apply,) = workflow.nodes_of(prompt, "LikenessApplyIDPatch")
    prompt[apply]["inputs"]["strength"] = 0.7


def another_seed(prompt: Prompt) -> None:
    (sampler,) = workflow.nodes_of(prompt, "KSampler")
    prompt[sampler]["inputs"]["seed"] += 1


def people_exchanged(prompt: Prompt) -> None:
    (place_cast,) = workflow.nodes_of(prompt, "LikenessPlaceCast")
    prompt[place_cast]["inputs"] |= {"order": "custom", "custom_order": "2, 1"}


def another_word(prompt: Prompt) -> None:
    (positive,) = (number for number, node in prompt.items() if node["_meta"]["title"] == "Prompt")
    prompt[positive]["inputs"]["text"] = prompt[positive]["inputs"]["text"].replace("woman", "girl", 1)


@pytest.mark.parametrize("planted", [weaker, another_seed, people_exchanged, another_word], ids=lambda x: x.__name__)
def test_the_tolerance_notices_another_picture(
    planted: Callable[[Prompt], None], object_info: dict[str, Any], host_server: HostServer
) -> None:
    release, name = KEPT[0], "id_patch_two_people"
    prompt = prompt_of(release, name, object_info)
    planted(prompt)
    assert prompt != release.prompt(name, object_info)
    before = {key: picture for key, picture in release.pictures().items() if key.startswith(f"{name}/")}
    now = releases.pictures_of(host_server, name, prompt)
    assert max(releases.distances(before, now).values()) > 2 * releases.TOLERANCE
