"""Workflows as people meet them: opened from the gallery at 1920x1080, whole, readable and in view."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import templates
from browser.canvas import Graph
from browser.visit import WINDOW, Visit
from rig import workflow

pytestmark = pytest.mark.xdist_group("browser")
SCREEN = (1920, 1080)


@pytest.fixture(scope="module")
def gallery(visit: Visit) -> Iterator[Visit]:
    """A large window in which nothing is open from before."""
    visit.resize(*SCREEN)
    visit.set("Comfy.Workflow.Persist", False)
    visit.open()
    yield visit
    visit.resize(*WINDOW)
    visit.set("Comfy.Workflow.Persist", True)
    visit.open()


def comparable(prompt: Graph, object_info: Graph) -> Graph:
    """Class and inputs by node id, of what leads to an output: frontend 1.27 sends the inside of bypassed boxes along.

    Ids are numbers in one frontend and strings in the other; PreviewAny of frontend 1.27 sends its own text box along.
    """

    def inputs(node: Graph) -> Graph:
        input_names = set()
        for section in object_info[node["class_type"]]["input"].values():
            input_names |= section.keys()
        return {
            name: [*map(str, value)] if isinstance(value, list) else value
            for name, value in node["inputs"].items()
            if name in input_names
        }

    nodes = {str(number): {**node, "inputs": inputs(node), "_meta": None} for number, node in prompt.items()}
    runs = [number for number, node in nodes.items() if object_info[node["class_type"]]["output_node"]]
    for number in runs:
        links = [value for value in nodes[number]["inputs"].values() if isinstance(value, list)]
        runs += {source for source, *_ in links if source in nodes} - {*runs}
    return {number: nodes[number] for number in runs}


def links(graph: Graph) -> list[list[str]]:
    """Number, from which output of which node, to which input of which node, type.

    Inputs by name: where they stand is the schema's business, and the editor sorts those of older files.
    """
    names = {entry["link"]: entry["name"] for node in graph["nodes"] for entry in node.get("inputs", ())}
    return sorted([*map(str, link[:4]), names[link[0]], str(link[5])] for link in graph["links"])


@pytest.mark.parametrize("path", templates.each(templates.WITH_VUE, templates.WITH_VUE))
def test_opens_whole_readable_and_in_view(gallery: Visit, path: Path) -> None:
    """And what the editor sends is what the scripts send."""
    templates.skip_unless_known(path, gallery.server.object_info())
    graph = workflow.load(path)
    object_info = gallery.server.object_info()
    gallery.red()
    file = gallery.open_file(graph)
    saved = file.saved
    # The frontend of 0.3.64 asks for the sizes of missing models, in vain where there is no network.
    assert [text for text in gallery.red() if not re.search("Error fetching file size|Failed to load", text)] == []
    assert {str(n["id"]): n["type"] for n in saved["nodes"]} == {str(n["id"]): n["type"] for n in graph["nodes"]}
    assert links(saved) == links(graph)
    assert [group["title"] for group in saved["groups"]] == [group["title"] for group in graph["groups"]]
    assert comparable(file.prompt, object_info) == comparable(workflow.to_prompt(graph, object_info), object_info)

    view = gallery.canvas.view()
    assert view.scale >= 8 / 14
    assert not view.is_without_text
    assert view.unknown_types == []
    width, height = SCREEN
    for node in view.nodes:
        assert min(node.left, node.top) >= 0, node.title
        assert node.right <= width, node.title
        assert node.bottom <= height, node.title
    for node, next_node in itertools.combinations(view.nodes, 2):
        assert not node.overlaps(next_node), (node.title, next_node.title)
    if not gallery.vue:
        assert gallery.canvas.out_of_groups() == []
        assert gallery.canvas.cut_texts() == []


@pytest.mark.both_hosts
@pytest.mark.thorough_with("newest")
def test_the_editor_sends_the_same_where_a_node_is_switched_off(gallery: Visit) -> None:
    """Each node of a workflow in turn, and boxes; with a Primitive and a Reroute before some."""
    if gallery.server.host.version < (0, 33):
        pytest.skip("the editor of this ComfyUI sends what is in a muted box, or behind a muted Reroute, all the same")
    gallery.open_file(workflow.load(templates.ROOT / "workflows" / "id_patch_two_people.json"))
    graph = gallery.canvas.add_primitive_and_reroute()
    object_info = gallery.server.object_info()
    nodes = [node for node in graph["nodes"] if node["type"] not in workflow.NOTES]
    for node, mode in itertools.product(nodes, (2, 4)):
        prompt = gallery.canvas.prompt_with_mode(node["id"], mode)
        node["mode"] = mode
        expected = comparable(workflow.to_prompt(graph, object_info), object_info)
        assert comparable(prompt, object_info) == expected, (node["type"], mode)
        node["mode"] = 0
