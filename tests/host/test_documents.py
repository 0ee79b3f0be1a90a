"""Help pages and workflow notes against the schemas the host sees."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from comfy_api.latest import io
from pack.nodes.extension import Likeness

ROOT = Path(__file__).resolve().parents[2]
WHOLE = pytest.mark.skipif(not hasattr(io, "BoundingBoxes"), reason="a node has an editor less in this ComfyUI")
SCHEMAS = {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in asyncio.run(Likeness().get_node_list()))}
CORE_TITLES = {
    "Upscale Image", "Load Image", "Load ControlNet Model", "KSampler", "Load Checkpoint", "Load LoRA",
    "Empty Latent Image", "Batch Images", "Batch Masks", "Invert Mask", "Detect Face Landmarks (MediaPipe)",
    "Load Face Detection Model (MediaPipe)", "ModelSamplingDiscrete",
}  # fmt: skip


@WHOLE
def test_defaults_are_those_that_people_have_read_about() -> None:
    """What a new node begins with. A change is one of the method, or one that users should hear of."""
    found = {
        f"{name}.{entry.id}": entry.default
        for name, schema in SCHEMAS.items()
        for entry in schema.inputs
        if getattr(entry, "default", None) is not None
    }
    assert found == json.loads((ROOT / "tests" / "golden" / "defaults.json").read_text("utf-8"))


@pytest.fixture(params=sorted(SCHEMAS))
def schema(request: pytest.FixtureRequest) -> Any:
    return SCHEMAS[request.param]


def page(schema: Any) -> str:
    return (ROOT / "web" / "docs" / f"{schema.node_id}.md").read_text("utf-8")


def part(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


def named(text: str) -> set[str]:
    """Names in backticks; `person_1` ... `person_8` stands for the ones between as well."""
    names = set(re.findall(r"`(\w+)`", text))
    for stem, first, last in re.findall(r"`([a-z_]+?)(\d+)` (?:\.\.\.|…|to) `\1(\d+)`", text):
        names |= {f"{stem}{number}" for number in range(int(first), int(last) + 1)}
    return names


def test_page_begins_with_the_name_of_the_node(schema: Any) -> None:
    assert page(schema).splitlines()[0] == f"# {schema.display_name}"


def test_page_names_every_input(schema: Any) -> None:
    assert {entry.id for entry in schema.inputs} - named(part(page(schema), "Inputs")) == set()


def test_page_names_every_output_as_the_node_shows_it(schema: Any) -> None:
    assert {entry.display_name for entry in schema.outputs} - named(part(page(schema), "Outputs")) == set()


def test_node_explains_itself(schema: Any) -> None:
    assert len(schema.description) > 40
    assert schema.category.startswith("likeness/")
    assert len(schema.search_aliases) >= 3
    widgets = [entry for entry in schema.inputs if hasattr(entry, "default") and not entry.tooltip]
    assert not [entry.id for entry in widgets]


@pytest.mark.parametrize(
    ("word", "node"),
    [
        ("portrait", "LikenessApplyInstantID"),
        ("portrait", "LikenessIdentity"),
        ("character", "LikenessIdentity"),
        ("same person", "LikenessIdentity"),
        ("dress", "LikenessPart"),
        ("wardrobe", "LikenessPart"),
        ("wardrobe", "LikenessSharePartsAttention"),
        ("swap", "LikenessPlaceCast"),
        ("two people", "LikenessPeopleFromPhotos"),
        ("two people", "LikenessCast"),
        ("group photo", "LikenessGroupLayout"),
        ("pulid", "LikenessApplyInstantID"),
        ("faceid", "LikenessApplyInstantID"),
        ("face swap", "LikenessApplyInstantID"),
        ("换脸", "LikenessApplyInstantID"),
        ("换装", "LikenessSharePartsAttention"),
        ("双人", "LikenessPeopleFromPhotos"),
        ("合影", "LikenessPeopleFromPhotos"),
    ],
)
def test_what_people_type_is_a_search_word_of_its_own(word: str, node: str) -> None:
    """As a whole: the frontend ranks nodes whose word merely begins like it behind."""
    assert word in SCHEMAS[node].search_aliases


def test_names_that_say_little_say_more_in_brackets() -> None:
    """ComfyUI 0.3.64's frontend searches names only."""
    assert {"Cast (people)", "Part (clothes, face, hair)"} <= {schema.display_name for schema in SCHEMAS.values()}


@pytest.mark.parametrize("path", sorted((ROOT / "workflows").glob("*.json")), ids=lambda path: path.stem)
def test_note_names_nodes_by_their_titles(path: Path) -> None:
    """*Emphasis with a capital* in a note is a title: of a node here, of one of ours to add, or of a template."""
    nodes = json.loads(path.read_text("utf-8"))["nodes"]
    (note,) = (node["widgets_values"][0] for node in nodes if node["type"] == "MarkdownNote")
    ours = {name for s in SCHEMAS.values() for name in (s.display_name, s.display_name.split(" (")[0])}
    texts = json.loads((ROOT / "locales" / "en" / "main.json").read_text("utf-8"))["templateWorkflows"]
    templates = {*texts["template"]["likeness"].values(), "Two people (miniature)"}
    here = {node["title"] for node in nodes if "title" in node}
    kinds = {re.split("[:,]| of ", title)[0] for title in here}  # Photo of Anna and Photo of Ben: each *Photo*
    titles = here | kinds | ours | templates | {"Workflows", "Open in Mask Editor"}
    assert set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", note)) <= titles | CORE_TITLES
