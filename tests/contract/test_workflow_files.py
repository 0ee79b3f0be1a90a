"""The workflow files as data: consistent graphs that the frontend can resolve, install for and open without a gap."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "workflows").glob("*.json"))
FRONTEND_ONLY = {"MarkdownNote", "Note"}
DOWNLOADABLE = ("https://huggingface.co/", "https://civitai.com/")
FOLDERS = {"checkpoints", "controlnet", "clip_vision", "vae", "id_patch", "instantid", "parts2whole"}

Graph = dict[str, Any]


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def graph(request: pytest.FixtureRequest) -> Graph:
    return json.loads(request.param.read_text("utf-8"))


def real_nodes(graph: Graph) -> Iterator[Graph]:
    return (node for node in graph["nodes"] if node["type"] not in FRONTEND_ONLY)


def overlap(a: Graph, b: Graph) -> bool:
    """Whether two nodes cover each other, title bars (30 px above `pos`) included."""
    (ax, ay), (aw, ah), (bx, by), (bw, bh) = a["pos"], a["size"], b["pos"], b["size"]
    return ax < bx + bw and bx < ax + aw and ay - 30 < by + bh and by - 30 < ay + ah


def test_the_workflows_are_there() -> None:
    assert {path.stem for path in FILES} >= {
        "id_patch_two_people",
        "id_patch_five_people_template",
        "id_patch_six_people_group_layout",
        "id_patch_with_canny_control",
        "instant_id_few_steps",
        "instant_id_four_people",
        "instant_id_interpolation",
        "instant_id_novel_view",
        "instant_id_portrait",
        "instant_id_stylised",
        "instant_id_two_stage_group",
        "instant_id_with_canny_control",
    }


def test_each_has_a_small_picture() -> None:
    """The host shows <name>.jpg beside <name>.json."""
    sizes = {path.stem: path.with_suffix(".jpg").stat().st_size for path in FILES}
    assert all(0 < size < 200_000 for size in sizes.values()), sizes


def test_is_ui_format(graph: Graph) -> None:
    assert graph["version"] == 0.4
    assert graph["last_node_id"] >= max(node["id"] for node in graph["nodes"])
    assert graph["last_link_id"] >= max(link[0] for link in graph["links"])


def test_links_agree_at_both_ends(graph: Graph) -> None:
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert len(nodes) == len(graph["nodes"])
    for link, source, output, target, slot, kind in graph["links"]:
        assert link in nodes[source]["outputs"][output]["links"]
        assert nodes[target]["inputs"][slot]["link"] == link
        assert nodes[source]["outputs"][output]["type"] == kind
        assert nodes[target]["inputs"][slot]["type"] in (kind, "*")
    ends = [entry["link"] for node in graph["nodes"] for entry in node["inputs"] if entry["link"] is not None]
    assert sorted(ends) == sorted(link[0] for link in graph["links"])


def test_every_node_says_where_it_comes_from(graph: Graph, node_ids: set[str]) -> None:
    """By these properties the frontend offers the pack that a missing node needs."""
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version
    for node in real_nodes(graph):
        ours = node["type"].startswith("Likeness")
        assert not ours or node["type"] in node_ids
        assert node["properties"]["cnr_id"] == ("likeness" if ours else "comfy-core")
        assert not ours or node["properties"]["ver"] == version.group(1)


def test_models_offered_are_the_ones_chosen(graph: Graph) -> None:
    """The frontend ignores an entry whose name is not the widget's value, letter by letter."""
    for node in real_nodes(graph):
        for model in node["properties"].get("models", []):
            assert model["name"] in node["widgets_values"]
            assert model["url"].startswith(DOWNLOADABLE)
            assert model["directory"] in FOLDERS


def test_a_note_says_what_to_change_first(graph: Graph) -> None:
    notes = [node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "MarkdownNote"]
    assert len(notes) == 1
    assert "**Change first**" in notes[0]


def test_nodes_stand_in_groups_and_not_on_each_other(graph: Graph) -> None:
    nodes = graph["nodes"]
    piled = [(a["id"], b["id"]) for i, a in enumerate(nodes) for b in nodes[i + 1 :] if overlap(a, b)]
    assert not piled
    homeless = [node["id"] for node in nodes if sum(_within(node, group) for group in graph["groups"]) != 1]
    assert not homeless


def _within(node: Graph, group: Graph) -> bool:
    x, y, width, height = group["bounding"]
    (left, top), (wide, high) = node["pos"], node["size"]
    return x <= left and y <= top - 30 and left + wide <= x + width and top + high <= y + height
