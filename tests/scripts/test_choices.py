"""What a saved workflow needs: the files that its nodes have chosen, on a node or on a box around it, at any depth."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from shared.choices import as_prompt

from core.checks.errors import BadSetup
from core.models import workflow_needs

ROOT = Path(__file__).resolve().parents[2]


def workflow(name: str):
    return json.loads((ROOT / "workflows" / f"{name}.json").read_text("utf-8"))


CHOSEN = {
    "LoraLoader": ("loras", "lora_name"), "DualCLIPLoader": ("text_encoders", "clip_name2"),
    "LikenessLoadAdapter": ("ipadapter", "file"), "LoadLoraModel": ("loras", "loras.3.lora_name"),
}  # fmt: skip
"""One menu, the second of two, one of ours, and a stack. All others: tests/host/test_check_files.py."""


def part(name, node, menu, slot=0):
    """A subgraph of one node, 2, whose input is linked to the node's by link 7."""
    link = {"id": 7, "origin_id": -10, "origin_slot": 0, "target_id": 2, "target_slot": slot}
    return {"id": name, "nodes": [node], "inputs": [{"name": menu}], "links": [link]}


@pytest.mark.parametrize("kind", CHOSEN)
def test_a_file_is_what_a_node_or_a_box_around_it_has_chosen(kind):
    """Whichever menu chose it, in a prompt, on a node, and on a box around one, at any depth."""
    key, menu = CHOSEN[kind]
    slot = {"name": menu, "widget": {"name": menu}}
    first = [] if menu != "clip_name2" else [{"name": "clip_name1", "widget": {"name": "clip_name1"}}]
    first_values = ["mine.safetensors" for _ in first]
    node = {"type": kind, "inputs": [*first, slot], "widgets_values": [*first_values, "mine.safetensors"]}
    inner = {**node, "id": 2, "inputs": [*first, {**slot, "link": 7}]}
    inner |= {"widgets_values": [*first_values, "before.safetensors"]}
    middle = {"id": 2, "type": "inner", "inputs": [{**slot, "link": 7}], "widgets_values": ["older.safetensors"]}
    box = {"type": "outer", "inputs": [slot], "widgets_values": ["mine.safetensors"]}
    parts = [part("outer", middle, menu), part("inner", inner, menu, len(first))]
    primitive = {"id": 1, "type": "PrimitiveNode", "widgets_values": ["mine.safetensors", "fixed"]}
    in_picture = {**node, "inputs": []}  # a frontend leaves out the slots of widgets that are not linked
    graphs = [
        {"1": {"class_type": kind, "inputs": {"zzz": "a text", menu: "mine.safetensors"}}},
        {"nodes": [node]},
        {"nodes": [in_picture]},
        {"nodes": [{**in_picture, "widgets_values": [], "widgets_values_named": {menu: "mine.safetensors"}}]},
        {"nodes": [box], "definitions": {"subgraphs": parts}},
        {"nodes": [primitive, inner], "links": [[7, 1, 0, 2, 0, ""]]},
    ]
    for graph in graphs:
        (file,) = workflow_needs.loaded(as_prompt(graph))
        assert file.name == "mine.safetensors" and key in (file.key, *file.further), graph


def test_a_file_of_ones_own_is_looked_for_where_the_method_of_the_workflow_has_its_own():
    """Load Adapter does not say of which method it is."""
    for apply_node, key in (("LikenessApplyInstantID", "instantid"), ("LikenessApplyPuLID", "pulid")):
        graph = {"1": {"class_type": "LikenessLoadAdapter", "inputs": {"file": "mine.safetensors"}}}
        graph["2"] = {"class_type": apply_node, "inputs": {}}
        (file,) = workflow_needs.loaded(as_prompt(graph))
        assert (file.key, file.name) == (key, "mine.safetensors")
        assert key not in file.further and "ipadapter" in file.further


def test_every_row_of_a_stack_of_loras_is_a_file():
    named = {"loras.0.lora_name": "a", "loras.0.strength": 1, "loras.1.lora_name": "none", "loras.12.lora_name": "b"}
    for node in ({"widgets_values": named}, {"widgets_values": ["a", 1, True, "a", 1, True, "none", 1, True, "b", 1]}):
        graph = {"nodes": [{"type": "LoadLoraModel", "inputs": [{"name": "model", "link": 1}], **node}]}
        assert [(file.key, file.name) for file in workflow_needs.loaded(as_prompt(graph))] == [
            ("loras", "a"),
            ("loras", "b"),
        ]


def test_two_boxes_of_one_kind_may_have_chosen_different_files():
    slot = {"name": "ckpt_name", "widget": {"name": "ckpt_name"}}
    inner = {"id": 2, "type": "CheckpointLoaderSimple", "inputs": [{**slot, "link": 7}], "widgets_values": ["a"]}
    inside = part("box", inner, "ckpt_name")
    boxes = [{"type": "box", "inputs": [slot], "widgets_values": [name]} for name in ("b.safetensors", "c.safetensors")]
    graph = {"nodes": boxes, "definitions": {"subgraphs": [inside]}}
    assert [file.name for file in workflow_needs.loaded(as_prompt(graph))] == ["b.safetensors", "c.safetensors"]
    # A box that stands inside of itself is opened once.
    inside["nodes"].append({"type": "box", "inputs": [slot], "widgets_values": ["d.safetensors"]})
    assert len(workflow_needs.loaded(as_prompt(graph))) == 2


def test_what_stands_in_a_group_of_an_older_editor_is_needed():
    """As the group is set now, and by every node for it."""
    inner = [{"type": "CheckpointLoaderSimple", "widgets_values": ["then.safetensors"]}, {"type": "LikenessOfOld"}]
    boxes = [{"id": n, "type": "workflow>people", "widgets_values": [f"{n}.safetensors"]} for n in (1, 2)]
    boxes.append({"id": 3, "type": "workflow/people"})
    prompt = as_prompt({"nodes": boxes, "extra": {"groupNodes": {"people": {"nodes": inner}}}})
    files = [file.name for file in workflow_needs.loaded(prompt)]
    assert files == ["1.safetensors", "2.safetensors", "then.safetensors"]
    assert workflow_needs.gone(prompt) == ["LikenessOfOld"]


@pytest.mark.parametrize("damaged", [[], {"people": 5}, {"people": {"nodes": 7, "links": 3, "external": "x"}}])
def test_a_damaged_group_is_none(damaged):
    graph = {"nodes": [{"id": 1, "type": "workflow>people"}], "extra": {"groupNodes": damaged}}
    assert workflow_needs.wanted(as_prompt(graph)) == ()


def test_bypassed_nodes_need_nothing():
    graph = workflow("start_two_people")
    for node in graph["nodes"]:
        node["mode"] = 4
    assert workflow_needs.wanted(as_prompt(graph)) == ()


@pytest.mark.parametrize("name", [[], {}, None, 1, ["lora_name"]])
def test_a_slot_whose_name_is_no_text_is_of_no_input(name):
    graph = workflow("start_two_people")
    for part in graph["definitions"]["subgraphs"]:
        for slot in part["inputs"]:
            slot["name"] = name
    assert workflow_needs.wanted(as_prompt(graph))


def in_boxes(inside: Sequence[dict[str, Any]], count: int, links: int = 0) -> dict[str, Any]:
    """A workflow of so many boxes of one kind, each with these nodes and so many links."""
    boxes = [{"id": number, "type": "box", "inputs": [], "outputs": []} for number in range(count)]
    link = {"id": 1, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "IMAGE"}
    box = {"id": "box", "name": "", "nodes": [*inside], "links": [link] * links, "inputs": [], "outputs": []}
    return {"nodes": boxes, "links": [], "definitions": {"subgraphs": [box]}}


def of_loras(count: int, name: str) -> dict[str, Any]:
    """A prompt of so many loaders. name: of their files."""
    return {
        str(n): {"class_type": "LoraLoader", "inputs": {"lora_name": f"{name.format(n)}.safetensors"}}
        for n in range(count)
    }


def through_a_bypassed_node(count: int) -> dict[str, Any]:
    """A workflow of so many links through a bypassed node with as many inputs."""
    outputs = [{"type": str(n)} for n in range(count)]
    bypassed = {"id": 1, "type": "X", "mode": 4, "inputs": [{"name": str(n)} for n in range(count)], "outputs": outputs}
    reader = {"id": 2, "type": "X", "inputs": [{"name": str(n), "type": "IMAGE", "link": n} for n in range(count)]}
    return {"nodes": [bypassed, reader], "links": [[n, 1, n, 2, n, "IMAGE"] for n in range(count)]}


def each_in_the_next(count: int) -> dict[str, Any]:
    def node(number: int) -> dict[str, Any]:
        return {"id": 1, "type": f"box {number}", "inputs": [], "outputs": []}

    boxes = [{"id": f"box {n}", "name": "", "nodes": [node(n + 1)], "links": []} for n in range(count)]
    return {"nodes": [node(0)], "links": [], "definitions": {"subgraphs": boxes}}


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (in_boxes([{"id": 1, "type": "Note"}] * 100, 101), "more than 10000 nodes"),
        (in_boxes([], 30, links=4000), "more than 100000 links"),
        (each_in_the_next(200), "more than 100 boxes, each in the next"),
        (through_a_bypassed_node(1100), "more than 1000000 ways through bypassed nodes"),
        (of_loras(10_001, "same"), "more than 10000 nodes"),
        (of_loras(501, "number {}"), "more than 500 model files"),
    ],
    ids=["nodes", "links", "depth", "ways", "nodes of a prompt", "files"],
)
def test_a_small_file_that_grows_without_end_is_refused_before_the_work(graph: dict[str, Any], says: str) -> None:
    with pytest.raises(BadSetup, match=says):
        workflow_needs.wanted(as_prompt(graph))
