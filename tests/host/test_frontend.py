"""The workflow files and help pages in the host's own frontend, in a real browser."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import pytest
import real_faces
from rig import workflow

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.both_hosts]
ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "workflows").glob("*.json"))
READY = "!!window.app?.graph && Object.keys(window.LiteGraph?.registered_node_types ?? {}).length > 50"
# A first visit would otherwise cover the canvas with the template gallery.
SKIP_TOUR = (
    "fetch('/api/settings/Comfy.TutorialCompleted', {method: 'POST', headers: {'Content-Type': 'application/json'},"
    " body: 'true'}).then(answer => answer.status)"
)
# What the editor made of the file: its graph saved again, the prompt it would send, sizes as drawn, unknown types.
INSPECT = """(async workflow => {
  await app.loadGraphData(workflow);
  await SETTLED();
  const nodes = app.graph._nodes;
  const drawn = node => node.flags.collapsed ? [node.size[0], 0]
    : node.size.map((side, i) => Math.max(side, node.computeSize()[i]));
  return {
    saved: app.graph.serialize(),
    prompt: JSON.parse(JSON.stringify((await app.graphToPrompt()).output)), // as it is sent
    unknown: nodes.filter(node => !LiteGraph.registered_node_types[node.type]).map(node => node.type),
    boxes: nodes.map(node => [node.title, node.pos[0], node.pos[1], ...drawn(node)]),
  };
})""".replace("SETTLED", f"({chromium.SETTLED})")

Graph = dict[str, Any]


@pytest.fixture(scope="module")
def page(host_server: Any, chrome: chromium.Browser) -> Iterator[chromium.Page]:
    with chrome.page() as page:
        page.open(host_server.url, READY)
        page.evaluate(SKIP_TOUR)
        page.open(host_server.url, READY)
        yield page


@pytest.fixture(params=FILES, ids=lambda path: path.stem, scope="module")
def opened(request: pytest.FixtureRequest, page: chromium.Page, host_server: Any) -> tuple[Graph, Graph]:
    """(the file, what the editor made of it)"""
    graph = json.loads(request.param.read_text("utf-8"))
    if lacking := {node["type"] for node in workflow.nodes_in(graph)} - set(host_server.object_info()) - workflow.NOTES:
        pytest.skip(f"this ComfyUI has no {', '.join(sorted(lacking))}")
    return graph, page.evaluate(f"{INSPECT}({json.dumps(graph)})")


def comparable(prompt: Graph, object_info: Graph) -> Graph:
    """Class and inputs by node id.

    Ids are numbers in one frontend and strings in the other; PreviewAny of frontend 1.27 sends its own text box along.
    """

    def inputs(node: Graph) -> Graph:
        known = {n for section in object_info[node["class_type"]]["input"].values() for n in section}
        return {n: [*map(str, v)] if isinstance(v, list) else v for n, v in node["inputs"].items() if n in known}

    return {str(number): {**node, "inputs": inputs(node), "_meta": None} for number, node in prompt.items()}


def links(graph: Graph) -> list[list[str]]:
    """Number, from which output of which node, to which input of which node, type.

    Inputs by name: where they stand is the schema's business, and the editor sorts those of older files.
    """
    names = {entry["link"]: entry["name"] for node in graph["nodes"] for entry in node.get("inputs", ())}
    return sorted([*map(str, link[:4]), names[link[0]], str(link[5])] for link in graph["links"])


def test_no_node_is_missing(opened: tuple[Graph, Graph]) -> None:
    assert opened[1]["unknown"] == []


def test_nodes_links_and_groups_survive(opened: tuple[Graph, Graph]) -> None:
    graph, seen = opened
    saved = seen["saved"]
    assert {str(n["id"]): n["type"] for n in saved["nodes"]} == {str(n["id"]): n["type"] for n in graph["nodes"]}
    assert links(saved) == links(graph)
    assert [group["title"] for group in saved["groups"]] == [group["title"] for group in graph["groups"]]


def test_no_two_nodes_cover_each_other_as_drawn(opened: tuple[Graph, Graph]) -> None:
    boxes = opened[1]["boxes"]
    piled = [
        (one[0], other[0])
        for number, one in enumerate(boxes)
        for other in boxes[number + 1 :]
        if one[1] < other[1] + other[3]
        and other[1] < one[1] + one[3]
        and one[2] - 30 < other[2] + other[4]
        and other[2] - 30 < one[2] + one[4]
    ]
    assert not piled


def test_the_editor_sends_what_the_scripts_send(opened: tuple[Graph, Graph], host_server: Any) -> None:
    graph, seen = opened
    known = host_server.object_info()
    assert comparable(seen["prompt"], known) == comparable(workflow.to_prompt(graph, known), known)


@pytest.mark.parametrize("mode", [2, 4], ids=["muted", "bypassed"])
def test_the_editor_sends_the_same_where_a_node_is_switched_off(
    mode: int, page: chromium.Page, host_server: Any
) -> None:
    """Each node of a workflow in turn, and boxes; with a Primitive and a Reroute before some."""
    if host_server.host.version < (0, 33):
        pytest.skip("the editor of this ComfyUI sends what is in a muted box, or behind a muted Reroute, all the same")
    graph, known = with_primitive_and_reroute(), host_server.object_info()
    for node in [node for node in graph["nodes"] if node["type"] not in workflow.NOTES]:
        node["mode"] = mode
        seen = page.evaluate(f"{INSPECT}({json.dumps(graph)})")
        assert comparable(seen["prompt"], known) == comparable(workflow.to_prompt(graph, known), known), node["type"]
        node["mode"] = 0


def with_primitive_and_reroute() -> Graph:
    """Width and height of the picture come from one Primitive, the places by a Reroute."""
    graph = json.loads((ROOT / "workflows" / "id_patch_two_people.json").read_text("utf-8"))
    (layout,) = (node for node in graph["nodes"] if node["type"] == "LikenessGroupLayout")
    sides = [number for number, slot in enumerate(layout["inputs"]) if slot["name"] in ("width", "height")]
    for link, slot in zip((91, 92), sides, strict=True):
        layout["inputs"][slot]["link"] = link
        graph["links"].append([link, 90, 0, layout["id"], slot, "INT"])
    said = {"name": "INT", "type": "INT", "links": [91, 92], "widget": {"name": "width"}}
    (first,) = (link for link in graph["links"] if link[0] == layout["outputs"][0]["links"][0])
    around = {"pos": [0, 0], "size": [200, 80], "flags": {}, "order": 0, "mode": 0}
    through = {
        "inputs": [{"name": "", "type": "*", "link": 93}],
        "outputs": [{"name": "", "type": first[5], "links": [first[0]]}],
    }
    graph["nodes"] += [
        {"id": 90, "type": "PrimitiveNode", "inputs": [], "outputs": [said], "properties": {}, **around}
        | {"widgets_values": [768, "fixed"]},
        {"id": 94, "type": "Reroute", "properties": {"showOutputText": False}, **around, **through},
    ]
    graph["links"].append([93, first[1], first[2], 94, 0, first[5]])
    layout["outputs"][0]["links"][0] = 93
    first[1:3] = [94, 0]
    return graph


def test_workflows_are_offered_as_templates_with_pictures(host_server: Any) -> None:
    assert set(host_server.get("/workflow_templates")[host_server.pack_name]) == {path.stem for path in FILES}
    for path in FILES:
        address = f"/api/workflow_templates/{urllib.parse.quote(host_server.pack_name)}/{path.stem}"
        assert json.loads(host_server.read(f"{address}.json")) == json.loads(path.read_text("utf-8"))
        assert host_server.read(f"{address}.jpg")[:3] == b"\xff\xd8\xff"


def test_help_page_is_shown_with_its_picture(page: chromium.Page, host_server: Any) -> None:
    """As the frontend asks for them: /extensions/<folder>/docs/<NodeId>.md, pictures relative to it."""
    for document in sorted((ROOT / "web" / "docs").rglob("*.*")):
        name = document.relative_to(ROOT / "web")
        address = f"/extensions/{host_server.pack_name}/{name.as_posix()}"
        assert page.evaluate(f"fetch({json.dumps(address)}).then(answer => answer.status)") == 200


LABEL = '<img src=x onerror="window.ran = true"> Anna & Ben <3 &amp; [[a|http://b.c]] __LNK0__ [b]www.d.e[/b]'


def test_a_note_shows_what_was_typed_and_runs_nothing(page: chromium.Page, tmp_path: Path) -> None:
    """In a note on the node, which both frontends read as HTML."""
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "2": {
            "class_type": "LikenessPart",
            "inputs": {"image": ["1", 0], "label": "other", "other_label": LABEL, "weight": 1.0},
        },
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 1]}},
    }
    page.evaluate(f"app.loadApiJson({json.dumps(prompt)}, 'note.json')")
    page.wait("app.graph._nodes.map(node => node.type).sort()[1] === 'LikenessPart'")
    page.evaluate("app.queuePrompt(0).then(queued => !!queued)")
    shown = f"document.body.innerText.includes({json.dumps(repr(LABEL) + ' is none of the six labels')})"
    deadline = time.monotonic() + 30
    while not page.evaluate(shown):
        assert time.monotonic() < deadline, page.evaluate("document.body.innerText")
        page.screenshot(tmp_path / "drawn.png", 1400, 900)  # nothing is drawn for nobody
    time.sleep(1)
    assert page.evaluate("window.ran") is None


def noted(page: chromium.Page, node: int, wanted: str) -> str:
    """The note under a node once the queue has run and the note begins with `wanted`, or what it is instead."""
    page.evaluate("app.queuePrompt(0, 1).then(() => 1)")
    name = "'$$node-text-preview'"
    found, give_up = "", time.monotonic() + 60
    while time.monotonic() < give_up and not found.startswith(wanted):
        time.sleep(0.2)
        found = page.evaluate(f"app.graph.getNodeById({node}).widgets.find(w => w.name == {name})?.value ?? ''")
    return found


def test_a_note_stands_under_its_node_until_its_cause_is_gone(page: chromium.Page, host_server: Any) -> None:
    def node(kind: str, **inputs: Any) -> Graph:
        return {"class_type": kind, "inputs": inputs}

    yao = {"name": "Yao", "which_face": "only", "on_no_face": "error"}
    prompt = {
        "1": node("LikenessLoadFaceModel", pack="buffalo_sc", recognisers="all found", provider="CPU"),
        "2": node("LoadImage", image=host_server.upload_image(real_faces.YAO)),
        "3": node("LikenessIdentity", face_model=["1", 0], image=["2", 0], **yao),
        "4": node("LikenessCast", person_1=["3", 0]),
        "5": node("LikenessGroupLayout", count=1, framing="full", rows=1, width=512, height=512),
        "6": node("LikenessPlaceCast", cast=["4", 0], layout=["5", 0], order="left to right", custom_order=""),
        "7": node("PreviewImage", images=["6", 1]),
    }
    page.evaluate(f"(async prompt => {{await app.loadApiJson(prompt, 'note'); return 1}})({json.dumps(prompt)})")
    assert noted(page, 6, "Faces small").startswith("Faces small: Yao 54 px; 96 needed")
    page.evaluate("app.graph.getNodeById(5).widgets.find(w => w.name == 'framing').value = 'bust'")
    assert noted(page, 6, " ") == " "
