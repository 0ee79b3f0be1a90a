"""What is arranged by hand on a host: prompts of the canvas, and prompts of versions before it."""

import csv
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prompts import node
from shared.host_server import HostError, HostServer

pytestmark = pytest.mark.both_hosts
BATCH = Path(__file__).resolve().parents[2] / "scripts" / "batch.py"
SIZE = {"width": 768, "height": 512}
LAYOUT = node("LikenessLayoutForAGroup", count=3, framing="half", rows=1, **SIZE)
MASK = {"person": 1, "extent": "body", "margin": 0.25, "feather": 32}


def placed(layout: str = "layout", **changed: Any) -> dict[str, Any]:
    """Place Cast without a cast: the people are called person 1 to 3."""
    return node("LikenessPlaceCast", **{"layout": [layout, 0], "order": "as listed", "custom_order": "", **changed})


def pictures(server: HostServer, shown: Mapping[str, Any]) -> list[Any]:
    """The pictures that a node shows of itself, (H, W, 3)."""
    return [np.array(Image.open(server.file(image))) for image in shown["images"]]


def test_prompts_with_inputs_that_went_still_run(host_server: HostServer) -> None:
    """Draw Skeletons had a socket for a layout and one for a cast, of which the cast counted; the mask of a place took
    any layout beside its cast, and left out whoever stood in the places of that."""
    prompt = {
        "layout": LAYOUT,
        "other": node("LikenessLayoutForAGroup", count=2, framing="bust", rows=2, **SIZE),
        "all": placed(),
        "of layout": node("LikenessDrawSkeletons", layout=["layout", 0], draw="skeletons"),
        "of cast": node("LikenessDrawSkeletons", layout=["other", 0], cast=["all", 0], draw="skeletons"),
        "now": node("LikenessDrawSkeletons", cast=["layout", 0], draw="skeletons"),
        "mask": node("LikenessMaskOfAPersonsPlace", cast=["all", 0], layout=["other", 0], **MASK),
        "mask now": node("LikenessMaskOfAPersonsPlace", cast=["all", 0], **MASK),
    }
    views = {f"view {name}": node("PreviewImage", images=[name, 0]) for name in ("of layout", "of cast", "now")}
    views |= {f"view {name}": node("PreviewImage", images=[name, 1]) for name in ("mask", "mask now")}
    run = host_server.run({**prompt, **views})
    shown = {name: pictures(host_server, run.outputs[f"view {name}"])[0] for name in prompt if f"view {name}" in views}
    assert shown["now"].any()
    for name in ("of layout", "of cast"):
        assert np.array_equal(shown[name], shown["now"]), name
    assert np.array_equal(shown["mask"], shown["mask now"])
    note = "Mask of a Person's Place has no input layout any more: what it was set to is not used."
    assert ("mask", note) in run.notes


def test_prompts_with_words_that_went_still_run(host_server: HostServer) -> None:
    """ComfyUI refuses a word that its menu does not have, before any node runs."""
    prompt = {"layout": LAYOUT, "placed": placed(acts_in="method's own")}
    assert host_server.run({**prompt, "view": node("PreviewAny", source=["placed", 2])}).status == "success"


def test_the_canvas_gets_places_of_a_prompt_with_a_node_of_its_own(host_server: HostServer) -> None:
    text = json.dumps({"1": {"move": [0.5, 0]}, "who": {"1": 2, "2": 1}})
    prompt = {
        "layout": LAYOUT,
        "placed": placed(arrange=text),
        "likeness": node("LikenessWhoStandsWhere", cast=["placed", 0]),
    }
    run = host_server.run(prompt)
    (data,) = run.outputs["likeness"]["likeness_places"]
    assert [place["who"] for place in data["places"]] == [1, 2, 3], "before anything is arranged"
    assert [person["name"] for person in data["people"]] == ["person 1", "person 2", "person 3"]
    assert (data["width"], data["height"], data["arrange"]) == (768, 512, text)
    assert data["castless"] and [person["face"] for person in data["people"]] == [None] * 3
    assert pictures(host_server, run.outputs["likeness"])[0].shape == (512, 768, 3)


@pytest.mark.parametrize("text", ["half {", "[" * 3000, "9" * 10_000_000, '{"1": {"scale": NaN}}'], ids=len)
def test_a_text_that_cannot_be_read_is_refused(host_server: HostServer, text: str) -> None:
    prompt = {"layout": LAYOUT, "placed": placed(arrange=text), "view": node("PreviewImage", images=["placed", 1])}
    with pytest.raises(HostError, match=r"Arranged by hand \(arrange\) cannot be read"):
        host_server.run(prompt, timeout=60)


def in_a_box() -> dict[str, Any]:
    """A workflow of the editor in which Place Cast is in a subgraph, saved before it could be arranged by hand: with a
    field *Custom order* on the box."""
    link = {"id": 1, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "LIKENESS_LAYOUT"}
    out = {"id": 2, "origin_id": 2, "origin_slot": 1, "target_id": -20, "target_slot": 0, "type": "IMAGE"}
    order = {"id": 3, "origin_id": -10, "origin_slot": 0, "target_id": 2, "target_slot": 1, "type": "STRING"}
    box = {
        "id": "7d2a8a4e-0000-4000-8000-000000000001",
        "name": "Box",
        "inputNode": {"id": -10},
        "outputNode": {"id": -20},
        "inputs": [{"id": "i", "name": "custom_order", "type": "STRING", "linkIds": [3]}],
        "outputs": [{"id": "o", "name": "IMAGE", "type": "IMAGE", "linkIds": [2]}],
        "links": [link, out, order],
        "nodes": [
            {
                "id": 1,
                "type": "LikenessLayoutForAGroup",
                "inputs": [],
                "outputs": [{"name": "layout", "type": "LIKENESS_LAYOUT", "links": [1]}],
                "widgets_values": [3, "half", 1, 768, 512],
            },
            {
                "id": 2,
                "type": "LikenessPlaceCast",
                "inputs": [
                    {"name": "layout", "type": "LIKENESS_LAYOUT", "link": 1},
                    {"name": "custom_order", "type": "STRING", "link": 3, "widget": {"name": "custom_order"}},
                ],
                "outputs": [{"name": "placed"}, {"name": "preview", "type": "IMAGE", "links": [2]}],
                "widgets_values": ["custom", ""],
            },
        ],
    }
    saved = {
        "id": 4,
        "type": "SaveImage",
        "inputs": [{"name": "images", "type": "IMAGE", "link": 9}],
        "widgets_values": ["arranged"],
    }
    outside = {
        "id": 3,
        "type": box["id"],
        "inputs": [{"name": "custom_order", "type": "STRING", "link": None, "widget": {"name": "custom_order"}}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [9]}],
        "widgets_values": ["1,2,3"],
    }
    nodes = [{"mode": 0, "properties": {}, **each} for each in (outside, saved)]
    for each in box["nodes"]:
        each.update(mode=0, properties={})
    return {"nodes": nodes, "links": [[9, 3, 0, 4, 0, "IMAGE"]], "definitions": {"subgraphs": [box]}, "version": 0.4}


@pytest.mark.parametrize("boxed", [False, True], ids=["", "in a box"])
def test_a_batch_has_a_column_for_it(host_server: HostServer, tmp_path: Path, boxed: bool) -> None:
    """Each row is the picture that the same text gives in a prompt; an empty cell that of nothing arranged."""
    text = json.dumps({"1": {"move": [0.5, 0.2], "joints": {"left wrist": [1.5, 0.5]}}, "3": {"out": True}})
    save = node("SaveImage", images=["placed", 1], filename_prefix="arranged")
    prompt = {"layout": LAYOUT, "placed": {**placed(arrange=""), "_meta": {"title": "Place Cast"}}, "save": save}
    (tmp_path / "workflow.json").write_text(json.dumps(in_a_box() if boxed else prompt))
    with (tmp_path / "jobs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("name", "Place Cast.arrange"), ("plain", ""), ("by_hand", text)])
    command = [sys.executable, BATCH, tmp_path / "jobs.csv", "--workflow", tmp_path / "workflow.json"]
    run = subprocess.run([*command, "--server", host_server.url], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    for name, arrange in (("plain", ""), ("by_hand", text)):
        view = node("PreviewImage", images=["placed", 1])
        expected = host_server.run({"layout": LAYOUT, "placed": placed(arrange=arrange), "view": view})
        made = np.array(Image.open(tmp_path / "jobs" / f"{name}.png"))
        assert np.array_equal(made, pictures(host_server, expected.outputs["view"])[0])
