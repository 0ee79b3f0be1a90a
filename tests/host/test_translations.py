"""Every text of a node in every language of locales/, none of them of a node's older words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import translations
from comfy_api.latest import io
from pack.nodes.extension import NODES

ROOT = Path(__file__).resolve().parents[2]
WHOLE = pytest.mark.skipif(not hasattr(io, "BoundingBoxes"), reason="a node has an editor less in this ComfyUI")
SCHEMAS = [node.GET_SCHEMA() for node in NODES]
ENGLISH = translations.of_schemas(SCHEMAS)
WORKFLOWS = {path.stem for path in (ROOT / "workflows").glob("*.json")}


@pytest.fixture(params=translations.TRANSLATED)
def language(request: pytest.FixtureRequest) -> str:
    return request.param


def main_file(language: str) -> dict[str, Any]:
    return json.loads((ROOT / "locales" / language / "main.json").read_text("utf-8"))


@WHOLE
def test_english_is_what_the_nodes_say() -> None:
    """locales/en is what the others were translated from."""
    assert sorted(translations.read("en").items() ^ ENGLISH.items()) == []


@WHOLE
def test_every_text_is_translated_and_no_other(language: str) -> None:
    texts = translations.read(language)
    assert sorted(texts.keys() ^ ENGLISH.keys()) == []
    latin = {
        text for path, text in texts.items() if path.endswith("tooltip") and not re.search(r"[\u4e00-\u9fff]", text)
    }
    assert not latin


def test_words_of_a_list_keep_their_english(language: str) -> None:
    """It is shown behind the translation and names the word in tooltips, help pages and messages."""
    texts, shown = translations.read(language), translations.table(language, translations.OPTIONS)
    words: set[str] = set()
    for schema in SCHEMAS:
        for entry in schema.inputs:
            path = f"{schema.node_id}/inputs/{entry.id}/tooltip"
            listed = [str(word) for word in getattr(entry, "options", None) or []]
            named = [word for word in listed if f"{word}:" in ENGLISH.get(path, "")]
            assert [word for word in named if word not in texts[path]] == [], path
            words |= {word for word in listed if re.match(r"[a-z ]{2}", word)}
    # "none found" is in a list where nothing was; names are the same in every language.
    names = {"torch", "insightface (onnxruntime)", "antelopev2", "arcface-ir-se50"} | {
        word for word in words if ".torchscript" in word
    }
    assert sorted(shown.keys() ^ (words | {"none found"}) - names - WORKFLOWS) == []


def test_nothing_is_taken_for_a_message_with_places(language: str) -> None:
    """The frontend's messages give these a meaning."""
    assert not [text for text in translations.read(language).values() if re.search(r"[{}@|]", text)]


def test_categories_have_a_name(language: str) -> None:
    known = main_file(language)
    parts = {part for schema in SCHEMAS for part in schema.category.split("/")}
    assert known["nodeCategories"].keys() == parts
