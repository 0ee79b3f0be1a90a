"""Workflows from another system, opened in the page: our menus, and those of the loaders beside our nodes, take the
names of files in their own spelling."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import windows_names
from browser import launch
from browser.canvas import Graph
from browser.fixtures import opened
from browser.visit import Visit
from environment import Host
from prompts import node
from shared import workflow
from standins_made import Standins
from windows_names import ID_PATCH, INSTANT_ID

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.browser

FOLDED = unicodedata.normalize("NFC", "people/José.safetensors")
"""As keyboards write it, and on a Mac's disk the letter and its accent are two."""


def windows(name: str) -> str:
    return name.replace("/", "\\")


@pytest.fixture(scope="module", params=[pytest.param("its own", marks=pytest.mark.thorough), "the newest"])
def visit(
    request: pytest.FixtureRequest, browser: launch.Browser, host: Host, standin_models: Standins,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Visit]:  # fmt: skip
    """A page of a ComfyUI whose own menus are those of Windows, and those of the pack are not."""
    with ExitStack() as stack:
        if request.param == "its own":
            folder = tmp_path_factory.mktemp("windows")
            server = stack.enter_context(windows_names.server(host, standin_models, folder))
        else:
            server = request.getfixturevalue("windows_server")
            if not server.frontend:
                pytest.skip("NOT TRIED in the newest frontend: it cannot be had, or is not for this ComfyUI")
        visit = opened(Visit(browser, server, vue=request.param == "the newest"))
        yield visit
        visit.close()


def chosen(prompt: Graph, kind: str, name: str) -> list[str]:
    """What the nodes of a class are sent for an input."""
    return [node["inputs"][name] for node in prompt.values() if node["class_type"] == kind]


TEMPLATES = {
    "id_patch_several_scenes": ID_PATCH,  # in a box that loads more than models
    "id_patch_prompt_per_person": ID_PATCH,  # inside of a box
    "start_portrait": INSTANT_ID,  # a value that a box shows
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_sent_with_the_names_of_the_menu(visit: Visit, template: str) -> None:
    """What is shown is what is sent and saved, and the tab is not marked as changed."""
    visit.close_dialogs()
    file = visit.open_file(workflow.load(ROOT / "workflows" / f"{template}.json"))
    written = TEMPLATES[template]
    offered = windows(TEMPLATES[template])
    assert chosen(file.prompt, "ControlNetLoader", "control_net_name") == [offered]
    values: list[Any] = []
    for graph in graphs(file.saved):
        values += [node.get("widgets_values") for node in graph["nodes"]]
    assert json.dumps(offered)[1:-1] in json.dumps(values)
    assert visit.page.evaluate("app.extensionManager.workflow.activeWorkflow.isModified") is False
    for box in visit.subgraph_nodes():
        for value in box.values(file.prompt).values():
            shown_and_sent = [value.shown, *value.sent]
            if written in shown_and_sent or offered in shown_and_sent:
                assert {*shown_and_sent} == {offered}
    visit.open_details_of_errors()
    visit.canvas.settle()
    assert written not in visit.text(), "the editor does not miss it"


def graphs(saved: Graph) -> list[Graph]:
    return [saved, *saved.get("definitions", {}).get("subgraphs", [])]


def test_as_an_app(visit: Visit) -> None:
    with visit.as_app(workflow.load(ROOT / "workflows" / "start_portrait.json")):
        prompt = visit.canvas.prompt()
    assert chosen(prompt, "ControlNetLoader", "control_net_name") == [windows(INSTANT_ID)]


def test_a_blueprint_that_is_put_down(visit: Visit) -> None:
    """As pasted nodes are: the whole graph is not opened anew."""
    visit.canvas.clear()
    visit.canvas.put_down_blueprint(workflow.load(next((ROOT / "subgraphs").glob("Group photo*.json"))))
    visit.canvas.settle()
    prompt = visit.canvas.prompt()
    assert chosen(prompt, "ControlNetLoader", "control_net_name") == [windows(ID_PATCH)]


OURS = {"ours": node("LikenessCast")}


def loaders(*names: str) -> Graph:
    """The host's own node."""
    return {f"net {name}": node("ControlNetLoader", control_net_name=name) for name in names}


def names_in(visit: Visit, kind: str = "ControlNetLoader") -> list[str]:
    """The files that the nodes of a class have chosen."""
    nodes = zip(visit.canvas.kinds(), visit.canvas.values(), strict=True)
    return [values[0] for kind_of_node, values in nodes if kind_of_node == kind]


def test_a_graph_of_other_nodes_alone_is_left_as_it_is(visit: Visit) -> None:
    visit.load(loaders(ID_PATCH))
    assert names_in(visit) == [ID_PATCH]
    visit.load(OURS | loaders(ID_PATCH))
    assert names_in(visit) == [windows(ID_PATCH)]


def test_an_api_export_and_nodes_that_are_pasted(visit: Visit) -> None:
    """Also accents of a Mac, and endings in capitals; never another file."""
    decomposed = unicodedata.normalize("NFD", FOLDED)
    dotted = (".\\people//anna.safetensors", "./people/./anna.safetensors")
    others = (FOLDED, "PLAIN.safetensors", "twice/NET.safetensors", "none.pt")
    visit.load(OURS | loaders("people/anna.safetensors", *dotted, *others))
    names_here = [
        "people\\anna.safetensors",
        "people\\anna.safetensors",
        "people\\anna.safetensors",
        windows(decomposed),
        "plain.SAFETENSORS",
        "twice/NET.safetensors",
        "none.pt",
    ]
    assert names_in(visit) == names_here
    visit.load(OURS)
    pasted = {"id": 1, "type": "ControlNetLoader", "pos": [0, 0], "size": [300, 80], "flags": {}, "mode": 0}
    pasted |= {"order": 0, "inputs": [], "outputs": [], "properties": {}, "widgets_values": [FOLDED]}
    visit.canvas.paste([pasted])
    visit.canvas.settle()
    assert names_in(visit) == [windows(decomposed)]


def test_the_other_way_round(visit: Visit) -> None:
    """A name from Windows, in a menu with slashes: the one of saved people is not the host's."""
    visit.load({"saved": node("LikenessLoadPerson", file="family\\anna.safetensors")})
    assert names_in(visit, "LikenessLoadPerson") == ["family/anna.safetensors"]


def test_files_that_come_later(visit: Visit, host: Host) -> None:
    """R has been pressed."""
    visit.load(OURS | loaders("later/maria.safetensors"))
    assert names_in(visit) == ["later/maria.safetensors"]
    (root,) = visit.server._models[1:]
    (root / "controlnet" / "later").mkdir()
    (root / "controlnet" / "later" / "maria.safetensors").touch()
    visit.page.evaluate("app.refreshComboInNodes().then(() => true)")
    visit.await_true(lambda: names_in(visit) == ["later\\maria.safetensors"])
