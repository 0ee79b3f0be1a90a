"""The note of a template and the template itself: it is short, an app asks for what it tells people to set, and what it
says of files and faces is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pack.core.models import manifest, template_needs
from shared import workflow
from shared.workflow_files import titles

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "workflows").glob("*.json"))
TITLES: dict[str, Any] = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text("utf-8"))
MOST_WORDS = 180
"""A note says what to change, and where its files are named."""
ONLY_IN_THE_GRAPH = {
    "id_patch_prompt_per_person": {"Strength"},
    "id_patch_several_scenes": {"How many"},
    "id_patch_with_pose_canny_depth": {"How many"},
    "ip_adapter_sd15_portrait": {"Corrections"},
}
"""What the note tells people to set for another graph: where they connect a wire, or switch a node on."""
HEADINGS = {"Photos", "Boxes"}
"""Photos, which each node of a photo calls otherwise, and subgraphs; some nodes have fields of these names."""

Node = dict[str, Any]


def note_of(graph: Node) -> str:
    (note,) = (node for node in graph["nodes"] if node["type"] == "MarkdownNote")
    return note["widgets_values"][0]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_note_is_short(path: Path) -> None:
    assert len(note_of(workflow.load(path)).split()) <= MOST_WORDS


def title_of_field(node: Node, slot: Node) -> str:
    """What a node calls one of its fields."""
    named = TITLES.get(node["type"], {}).get("inputs", {}).get(slot["name"], {})
    return slot.get("label") or named.get("name") or slot["name"]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_an_app_asks_for_what_the_note_tells_people_to_set(path: Path) -> None:
    graph = workflow.load(path)
    bold = set(re.findall(r"\*\*([^*]+)\*\*", note_of(graph))) - HEADINGS - ONLY_IN_THE_GRAPH.get(path.stem, set())
    fields_of_the_app = {(number, name) for number, name, *_ in graph["extra"]["linearData"]["inputs"]}
    labels: set[str] = set()
    for node in graph["nodes"]:
        labels |= {
            title_of_field(node, slot) for slot in node["inputs"] if (node["id"], slot["name"]) in fields_of_the_app
        }
    lacking: list[tuple[str, str]] = []
    for node in graph["nodes"]:
        for slot in node["inputs"]:
            is_set_here = "widget" in slot and slot["link"] is None and node["mode"] == 0
            if (
                is_set_here
                and title_of_field(node, slot) in bold
                and (node["id"], slot["name"]) not in fields_of_the_app
            ):
                lacking.append((node.get("title", node["type"]), title_of_field(node, slot)))
        # The editor adds fields that are newer than the file.
        names_in_the_file = {slot["name"] for slot in node["inputs"]}
        for name, texts in TITLES.get(node["type"], {}).get("inputs", {}).items():
            if name not in names_in_the_file and texts["name"] in bold - labels:
                lacking.append((node.get("title", node["type"]), texts["name"]))
    assert lacking == []


STARTS = [path for path in TEMPLATES if path.stem.startswith("start_")]


@pytest.mark.parametrize("path", STARTS, ids=lambda path: path.stem)
def test_the_note_of_a_start_template_says_what_the_manifest_says(path: Path) -> None:
    """How much is to be downloaded: the figure of the toast of missing files."""
    graph = workflow.load(path)
    sizes = [model.size for model in template_needs.templates()[path.stem].models]
    total = manifest.human(sum(size for size in sizes if size is not None))
    if None in sizes:
        total = f"at least {total}"
    assert f" {total}" in note_of(graph).split("**Files**")[1].split(".  ")[0]


def test_the_note_to_start_with_says_which_face_and_what_a_drawing_needs() -> None:
    notes = {path.stem: note_of(workflow.load(path)) for path in STARTS}
    for stem in ("start_two_people", "start_portrait", "start_person_in_photo"):
        assert "**Which face** is the number of the face, counted from left to right" in notes[stem]
    for stem in ("ip_adapter_sd15_portrait", "ip_adapter_without_insightface"):
        assert f"*{titles('en')[stem]}*" in notes["start_two_people"]
