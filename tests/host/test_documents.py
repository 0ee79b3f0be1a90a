"""What the host sees of our nodes: ids that saved workflows use, and help pages and notes against the schemas."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from comfy_api.latest import io
from pack.nodes.extension import NODES, OLD

ROOT = Path(__file__).resolve().parents[2]
WHOLE = pytest.mark.skipif(not hasattr(io, "BoundingBoxes"), reason="a node has an editor less in this ComfyUI")
SCHEMAS = {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in NODES)}
CORE_TITLES = {
    "Upscale Image", "Load Image", "Load ControlNet Model", "KSampler", "Load Checkpoint", "Load LoRA",
    "Empty Latent Image", "Batch Images", "Batch Masks", "Invert Mask", "Detect Face Landmarks (MediaPipe)",
    "Load Face Detection Model (MediaPipe)", "ModelSamplingDiscrete",
}  # fmt: skip


@WHOLE
def test_ids_choices_and_defaults_are_the_ones_saved_workflows_use() -> None:
    """A new input at the end, a new choice or a new node is added to saved_ids.json; nothing else in it ever changes.

    A changed default is one of the method, or one that users should read of.
    """
    found: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for schema in (*SCHEMAS.values(), *(node.GET_SCHEMA() for node in OLD)):
        listed = [one for one in schema.inputs if one.id not in ("file", "folder", "pack", "recognisers")]  # not files
        choices = {one.id: list(one.options) for one in listed if hasattr(one, "options")}
        inputs, outputs = ([one.id for one in some] for some in (schema.inputs, schema.outputs))
        found[schema.node_id] = {"inputs": inputs, "outputs": outputs, "choices": choices}
        known = {one.id: getattr(one, "default", None) for one in schema.inputs}
        defaults |= {f"{schema.node_id}.{name}": value for name, value in known.items() if value is not None}
    golden = ROOT / "tests" / "golden"
    assert found == json.loads((golden / "saved_ids.json").read_text("utf-8"))
    assert defaults == json.loads((golden / "defaults.json").read_text("utf-8"))


def part(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


def named(text: str) -> set[str]:
    """Names in backticks; `person_1` ... `person_8` stands for the ones between as well."""
    names = set(re.findall(r"`(\w+)`", text))
    for stem, first, last in re.findall(r"`([a-z_]+?)(\d+)` (?:\.\.\.|…|to) `\1(\d+)`", text):
        names |= {f"{stem}{number}" for number in range(int(first), int(last) + 1)}
    return names


def test_pages_name_the_node_its_inputs_and_its_outputs() -> None:
    """Outputs as the node shows them."""
    for schema in SCHEMAS.values():
        page = (ROOT / "web" / "docs" / f"{schema.node_id}.md").read_text("utf-8")
        assert page.splitlines()[0] == f"# {schema.display_name}"
        assert {entry.id for entry in schema.inputs} - named(part(page, "Inputs")) == set(), schema.node_id
        assert {entry.display_name for entry in schema.outputs} - named(part(page, "Outputs")) == set(), schema.node_id


@pytest.mark.both_hosts
def test_nodes_explain_themselves() -> None:
    for schema in SCHEMAS.values():
        assert len(schema.description) > 40 and len(schema.search_aliases) >= 3, schema.node_id
        assert schema.category.startswith("likeness/"), schema.node_id
        silent = [entry.id for entry in schema.inputs if hasattr(entry, "default") and not entry.tooltip]
        assert silent == [], schema.node_id


MERGED = {"LikenessBindIDTokens", "LikenessCastFromPhotos"}
"""Nodes that others replace: their texts are those that saved workflows were made with."""


def test_tooltips_of_numbers_end_with_range_and_default() -> None:
    """In English and Chinese, as the schema has them; of a seed the default alone."""
    texts = {
        language: json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text("utf-8"))
        for language in ("en", "zh")
    }
    numbers = [
        (name, entry)
        for name, schema in SCHEMAS.items()
        for entry in schema.inputs
        if isinstance(entry, (io.Int.Input, io.Float.Input)) and name not in MERGED
    ]
    assert len(numbers) > 100
    for name, entry in numbers:
        spans = {"en": rf"{entry.min:g} to {entry.max:g}\W+default", "zh": rf"{entry.min:g} 到 {entry.max:g}\W+默认"}
        if entry.max > 1e9:
            spans = {"en": "Default", "zh": "默认"}
        for language, span in spans.items():
            said = texts[language][name]["inputs"][entry.id]["tooltip"]
            assert re.search(rf"{span} {entry.default:g}\W$", said), (name, entry.id, said)


WORDS = {
    "LikenessApplyInstantID": {"portrait", "pulid", "faceid", "face swap", "换脸"},
    "LikenessIdentity": {"portrait", "character", "same person"}, "LikenessPart": {"dress", "wardrobe"},
    "LikenessSharePartsAttention": {"wardrobe", "换装"}, "LikenessPlaceCast": {"swap"}, "LikenessCast": {"two people"},
    "LikenessPeopleFromPhotos": {"two people", "双人", "合影"}, "LikenessGroupLayout": {"group photo"},
}  # fmt: skip


def test_what_people_type_is_a_search_word_of_its_own() -> None:
    """As a whole: the frontend ranks nodes whose word merely begins like it behind. ComfyUI 0.3.64's frontend searches
    names only: those that say little say more in brackets."""
    assert {name: words - {*SCHEMAS[name].search_aliases} for name, words in WORDS.items()} == {
        name: set() for name in WORDS
    }
    assert {"Cast (people)", "Part (clothes, face, hair)"} <= {schema.display_name for schema in SCHEMAS.values()}


def test_notes_name_nodes_by_their_titles() -> None:
    """*Emphasis with a capital* in a note is a title: of a node there, of one of ours to add, or of a template."""
    ours = {name for s in SCHEMAS.values() for name in (s.display_name, s.display_name.split(" (")[0])}
    texts = json.loads((ROOT / "locales" / "en" / "main.json").read_text("utf-8"))["templateWorkflows"]
    known = CORE_TITLES | ours | {*texts["template"]["likeness"].values(), "Two people (miniature)", "Workflows"}
    for path in sorted((ROOT / "workflows").glob("*.json")):
        nodes = json.loads(path.read_text("utf-8"))["nodes"]
        (note,) = (node["widgets_values"][0] for node in nodes if node["type"] == "MarkdownNote")
        here = {node["title"] for node in nodes if "title" in node}
        kinds = {re.split("[:,]| of ", title)[0] for title in here}  # Photo of Anna and Photo of Ben: each *Photo*
        titles = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", note))
        assert titles - here - kinds - known - {"Open in Mask Editor"} == set(), path.stem
