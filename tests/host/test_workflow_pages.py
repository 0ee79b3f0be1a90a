"""Every workflow as people meet it: opened from the gallery at 1920x1080, classic and Vue nodes, and run as an app."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
from environment import Host
from PIL import Image
from rig import photos, workflow
from rig.host_server import HostServer
from rig.standins import Standins

pytestmark = pytest.mark.xdist_group("browser")
ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "workflows").glob("*.json"))
WINDOW = (1920, 1080)
READY = "!!window.app?.graph && Object.keys(window.LiteGraph?.registered_node_types ?? {}).length > 50"
OPEN = """(async (workflow, name) => {
  window.complaints = [];
  console.error = (...words) => window.complaints.push(words.join(' '));
  await app.loadGraphData(workflow, true, true, name, {openSource: 'template'});
  await SETTLED();
  const {scale, offset} = app.canvas.ds;
  const box = (node, rendered) => rendered
    ? {left: rendered.left / scale - offset[0], top: rendered.top / scale - offset[1],
       right: rendered.right / scale - offset[0], bottom: rendered.bottom / scale - offset[1]}
    : {left: node.pos[0], top: node.pos[1] - 30, right: node.pos[0] + node.size[0],
       bottom: node.pos[1] + (node.flags.collapsed ? 0 : node.size[1])};
  return {
    scale, offset: [...offset], blank: !!app.canvas.low_quality, complaints: window.complaints,
    boxes: app.graph._nodes.map(node =>
      [node.title, box(node, document.querySelector(`[data-node-id="${node.id}"]`)?.getBoundingClientRect())]),
  };
})""".replace("SETTLED", f"({chromium.SETTLED})")

Graph = dict[str, Any]


@pytest.fixture(scope="module")
def browser(host_server: HostServer, chrome: chromium.Browser) -> Iterator[chromium.Page]:
    with chrome.page() as page:
        page.call(
            "Emulation.setDeviceMetricsOverride", width=WINDOW[0], height=WINDOW[1], deviceScaleFactor=1, mobile=False
        )
        yield page


def visit(page: chromium.Page, server: HostServer, **settings: Any) -> None:
    """The frontend with these settings, without the tour of a first visit and what was open before."""
    quiet = {"Comfy.TutorialCompleted": True, "Comfy.Workflow.Persist": False}
    for name, value in {**quiet, **settings}.items():
        body = json.dumps(value).encode()
        server.read(f"/api/settings/{name}", body, **{"Content-Type": "application/json"})
    page.open(server.url, READY, 240)


@pytest.fixture(params=[False, True], ids=["classic", "vue"], scope="module")
def page(request: pytest.FixtureRequest, browser: chromium.Page, host_server: HostServer) -> chromium.Page:
    if request.param and host_server.host.version < (0, 33):
        pytest.skip("the frontend of this host draws its nodes on the canvas only")
    visit(browser, host_server, **{"Comfy.VueNodes.Enabled": request.param})
    return browser


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_opens_readable_and_in_view(page: chromium.Page, host_server: HostServer, path: Path) -> None:
    used = {node["type"] for node in workflow.nodes_in(workflow.load(path))}
    if lacking := used - set(host_server.object_info()) - workflow.NOTES:
        pytest.skip(f"this ComfyUI has no {', '.join(sorted(lacking))}")
    seen = page.evaluate(f"{OPEN}({path.read_text('utf-8')}, {json.dumps(path.stem)})")
    # The frontend of 0.3.64 asks for the sizes of missing models, in vain where there is no network.
    assert [text for text in seen["complaints"] if "Error fetching file size" not in text] == []
    assert seen["scale"] >= 8 / 14 and not seen["blank"]
    for title, box in seen["boxes"]:
        left, right = ((box[side] + seen["offset"][0]) * seen["scale"] for side in ("left", "right"))
        top, bottom = ((box[side] + seen["offset"][1]) * seen["scale"] for side in ("top", "bottom"))
        assert left >= 0 and top >= 0 and right <= WINDOW[0] and bottom <= WINDOW[1], f"{title} is out of view"
    piled = [
        (one, other)
        for number, (one, a) in enumerate(seen["boxes"])
        for other, b in seen["boxes"][number + 1 :]
        if a["left"] < b["right"] and b["left"] < a["right"] and a["top"] < b["bottom"] and b["top"] < a["bottom"]
    ]
    assert not piled


def test_no_node_is_deprecated(host_server: HostServer) -> None:
    known = host_server.object_info()
    used = {node["type"] for path in FILES for node in workflow.nodes_in(workflow.load(path))} & set(known)
    assert {name for name in used if known[name].get("deprecated")} == set()


@pytest.fixture
def two_people(host_server: HostServer, standin_models: Standins, tmp_path: Path) -> Graph:
    """The workflow to start with, small and with stand-ins."""
    graph = workflow.load(ROOT / "workflows" / "start_two_people.json")
    people = [host_server.upload_image(path) for path in photos.people(tmp_path)]
    changed = {
        "ckpt_name": standin_models.checkpoint.name,
        "control_net_name": standin_models.control_net.name,
        "file": standin_models.id_patch.name,
        "pack": standin_models.face_pack.name,
        "width": 160,
        "height": 216,
        "steps": 2,
        "scheduler": "normal",
    }
    workflow.fill(graph, changed, people)
    return graph


def test_runs_as_an_app(
    browser: chromium.Page, host: Host, host_server: HostServer, two_people: Graph, tmp_path: Path
) -> None:
    """Photos, words and Run, no graph in sight."""
    if host.version < (0, 33):
        pytest.skip("the frontend of this host has no apps")
    visit(browser, host_server, **{"Comfy.VueNodes.Enabled": True})
    two_people["extra"]["linearMode"] = True
    browser.evaluate(f"{OPEN}({json.dumps(two_people)}, 'two people').then(() => 1)")
    nodes = {node["id"]: node for node in two_people["nodes"]}
    asked = [
        next(slot["label"] for slot in nodes[number]["inputs"] if slot["name"] == name)
        for number, name, *_ in two_people["extra"]["linearData"]["inputs"]
    ]
    labels = "[...document.querySelectorAll('[data-testid=builder-widget-label]')].map(label => label.innerText.trim())"
    browser.wait(f"JSON.stringify({labels}) === JSON.stringify({json.dumps(asked)})")
    pressed = (
        "[...document.querySelectorAll('[data-testid=linear-run-button] button')]"
        ".filter(button => button.innerText.trim() === 'Run').map(button => button.click()).length"
    )
    saved = picture_of(browser, host_server, pressed, two_people, tmp_path)
    browser.wait(f"[...document.images].some(image => image.src.includes({json.dumps(saved['filename'])}))")


def picture_of(
    page: chromium.Page, server: HostServer, press: str, graph: Graph, folder: Path, seconds: float = 120
) -> dict[str, str]:
    """What the graph saves after the script `press`, which gives how many buttons it found."""
    done = set(server.get("/history"))
    assert page.evaluate(press) == 1
    give_up = time.monotonic() + seconds
    while not (new := {n: run for n, run in server.get("/history").items() if n not in done}):
        assert time.monotonic() < give_up, page.evaluate("document.body.innerText")
        time.sleep(0.5)
        page.screenshot(folder / "running.png", *WINDOW)  # nothing is drawn for nobody
    (run,) = new.values()
    (saved,) = run["outputs"][str(graph["extra"]["linearData"]["outputs"][0])]["images"]
    assert run["status"]["status_str"] == "success"
    assert np.asarray(Image.open(server.file(saved))).std() > 5
    return saved


@pytest.mark.both_hosts
def test_runs_from_the_graph(page: chromium.Page, host_server: HostServer, two_people: Graph, tmp_path: Path) -> None:
    """Run above the nodes, and the picture in the last of them."""
    page.evaluate(f"{OPEN}({json.dumps(two_people)}, 'two people').then(() => 1)")
    buttons = "[...document.querySelectorAll('[data-testid=queue-button]')]"
    press = f"{buttons}.map(found => (found.querySelector('button') ?? found).click()).length"
    saved = picture_of(page, host_server, press, two_people, tmp_path)
    number = two_people["extra"]["linearData"]["outputs"][0]
    page.wait(f"JSON.stringify(app.nodeOutputs[{number}] ?? {{}}).includes({json.dumps(saved['filename'])})")


BLUEPRINTS = [
    pytest.param(path, id=path.stem, marks=pytest.mark.thorough if "SD1.5" in path.stem else ())
    for path in sorted((ROOT / "subgraphs").glob("*.json"))
]


def in_a_graph(blueprint: Graph, pictures: list[str]) -> Graph:
    """The blueprint's one node with a Load Image at each input for pictures and masks, and a Save Image."""
    (node,) = blueprint["nodes"]
    nodes, links = [node], []

    def link(source: int, output: int, target: int, slot: int, kind: str) -> int:
        links.append([len(links) + 1, source, output, target, slot, kind])
        return len(links)

    for slot, entry in enumerate(node["inputs"]):
        if entry["type"] not in ("IMAGE", "MASK") or (entry["type"] == "IMAGE" and not pictures):
            continue
        if entry["type"] == "IMAGE":
            nodes.append(added(1000 + len(nodes), "LoadImage", ["IMAGE", "MASK"], [pictures.pop(0), "image"]))
        entry["link"] = link(nodes[-1]["id"], ["IMAGE", "MASK"].index(entry["type"]), node["id"], slot, entry["type"])
        nodes[-1]["outputs"][["IMAGE", "MASK"].index(entry["type"])]["links"] = [entry["link"]]
    saver = added(999, "SaveImage", [], ["blueprint"])
    node["outputs"][0]["links"] = [link(node["id"], 0, 999, 0, "IMAGE")]
    saver["inputs"] = [{"name": "images", "type": "IMAGE", "link": node["outputs"][0]["links"][0]}]
    return {**blueprint, "nodes": [*nodes, saver], "links": links, "last_node_id": 2000, "last_link_id": len(links)}


def added(number: int, kind: str, outputs: list[str], values: list[Any]) -> Graph:
    ports = [{"name": name, "type": name, "links": None} for name in outputs]
    places = {"pos": [-600, 40 * number], "size": [300, 300], "flags": {}, "order": 0, "mode": 0, "properties": {}}
    return {"id": number, "type": kind, **places, "inputs": [], "outputs": ports, "widgets_values": values}


@pytest.mark.parametrize("path", BLUEPRINTS)
def test_a_blueprint_runs_as_one_node(
    path: Path, browser: chromium.Page, host: Host, host_server: HostServer, standin_models: Standins, tmp_path: Path
) -> None:
    if host.version < (0, 33):
        pytest.skip("this host reads no blueprints")
    offered = host_server.get("/global_subgraphs").values()
    assert path.stem in [entry["name"] for entry in offered if host_server.pack_name in entry["info"]["node_pack"]]
    painted = np.full((96, 96, 4), 200, np.uint8)
    painted[24:72, 24:72, 3] = 0
    Image.fromarray(painted).save(tmp_path / "garment.png")
    garment = host_server.upload_image(tmp_path / "garment.png")
    people = [host_server.upload_image(photo) for photo in photos.people(tmp_path)][:2]
    sd15 = "SD1.5" in path.stem
    pictures = people if sd15 or path.stem in ("Group photo", "Person in a photo") else [people[0], garment, garment]

    visit(browser, host_server, **{"Comfy.VueNodes.Enabled": True})
    seen = browser.evaluate(f"{OPEN}({json.dumps(in_a_graph(workflow.load(path), pictures))}, 'blueprint')")
    assert seen["complaints"] == []
    prompt = browser.evaluate("app.graphToPrompt().then(made => made.output)")
    models = {
        "CheckpointLoaderSimple.ckpt_name": (standin_models.sd15 if sd15 else standin_models.checkpoint).name,
        "CLIPVisionLoader.clip_name": standin_models.clip_vision_h.name,
        "ControlNetLoader.control_net_name": standin_models.control_net.name,
        "LikenessLoadIPAdapter.file": standin_models.ip_adapter("ip-adapter-faceid-plusv2_sd15").name,
        "LikenessLoadIDPatch.file": standin_models.id_patch.name,
        "LikenessLoadInstantID.file": standin_models.instant_id.name,
        "LikenessLoadFaceModel.pack": standin_models.face_pack.name,
    }
    small = {"*.width": 160, "*.height": 216, "*.longer_side": 256, "*.size": 256, "*.steps": 1}
    run = host_server.run(workflow.substitute(prompt, {**models, **small}))
    (saved,) = run.outputs["999"]["images"]
    size = (216, 160)
    if path.stem == "Person in a photo":
        size = (256, 176)
        assert [text for node, text in run.notes if node == "117"], "what is said inside stands under the box"
    assert np.asarray(Image.open(host_server.file(saved))).shape == (*size, 3)
