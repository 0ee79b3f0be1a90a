"""The note of a template and the template itself: the table of files has what the workflow chooses, and an app asks for
what the note tells people to set."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pack.core.models import needs
from rig import workflow

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "workflows").glob("*.json"))
TITLES: dict[str, Any] = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text("utf-8"))
ROW = re.compile(r"^\| (?P<file>[^|]+) \| models/(?P<folder>[^|]+) \| (?P<source>[^|]+) \|$", re.MULTILINE)
"""A row of the table of files."""
OWN = "your own"
"""What stands in a table for files that nobody publishes: the LoRAs of the people."""
IN_A_FILE_NAME = re.compile(r"[\w.-]+")
OWN_WORDS = {"ControlNetModel", "any", "two", "IR-SE50", "Canny", "depth", "OpenPose"}
"""With these begin the rows that name no file: what several files are called, or what a file is for."""
BESIDE = {"people_saved_from_photos": Counter({"facexlib": 1})}
"""Files by their folder that a note recommends and no node chooses: the recogniser that more methods can use."""
ONLY_IN_THE_GRAPH = {
    "id_patch_prompt_per_person": {"Strength"},
    "id_patch_several_scenes": {"How many"},
    "id_patch_with_pose_canny_depth": {"How many"},
    "infinite_you_portrait": {"How many"},
    "instant_id_portrait": {"Framing", "Width", "Height"},
    "ip_adapter_sd15_portrait": {"Corrections"},
}
"""What the note tells people to set for another graph: where they connect a wire, or switch a node on."""
HEADINGS = {"Photos", "Boxes"}
"""Photos, which each node of a photo calls otherwise, and subgraphs; some nodes have fields of these names."""

Node = dict[str, Any]


def note_of(graph: Node) -> str:
    (note,) = (node for node in graph["nodes"] if node["type"] == "MarkdownNote")
    return note["widgets_values"][0]


WITH_TABLE = [path for path in TEMPLATES if ROW.search(note_of(workflow.load(path)))]


@pytest.mark.parametrize("path", WITH_TABLE, ids=lambda path: path.stem)
def test_the_table_of_files_has_every_file_that_the_workflow_chooses_and_no_other(path: Path) -> None:
    graph = workflow.load(path)
    rows = list(ROW.finditer(note_of(graph)))
    folders = Counter(row["folder"].split("/")[0] for row in rows if row["source"].strip() != OWN)
    models = [model for model in needs.wanted(graph) if model.id]
    assert folders == Counter(model.key for model in models) + BESIDE.get(path.stem, Counter())
    names: list[str] = []
    for model in models:
        for file in model.files:
            names += [*file.names, model.name]
    for row in rows:
        beginning = IN_A_FILE_NAME.match(row["file"])
        assert beginning, row[0]
        is_beside = row["folder"].split("/")[0] in BESIDE.get(path.stem, Counter())
        if beginning[0] not in OWN_WORDS and not is_beside:
            assert any(beginning[0].rstrip(".") in name for name in names), row[0]


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
