"""The titles of the templates, which are also the names of their tabs and of the files they are saved as."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest


def titles(root: Path, language: str) -> dict[str, str]:
    """By the file's name, in the gallery's order."""
    texts = json.loads((root / "locales" / language / "main.json").read_text("utf-8"))
    return texts["templateWorkflows"]["template"]["likeness"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_template_has_a_title_of_its_own(root: Path, language: str) -> None:
    """In letters that are in no address and in no name of a file (Windows) anything else, nor in a message."""
    table = titles(root, language)
    files = {path.stem for path in (root / "workflows").glob("*.json")}
    assert sorted(files ^ table.keys()) == []
    assert list(table) == list(titles(root, "en")), "another order than in English"
    assert len(set(table.values())) == len(table)
    assert [title for title in table.values() if re.search(r'[<>:"/\\|?*#%{}@]', title)] == []


def test_people_find_the_templates_to_start_with(root: Path) -> None:
    """The first five, by the words that are typed; galleries without an index look for them as they stand."""
    words = {
        "en": ["two people", "group", "portrait", "outfit", "face swap"],
        "zh": ["two people", "合影", "肖像", "换装", "换脸"],
    }
    for language, searched in words.items():
        shown = list(titles(root, language).values())[: len(searched)]
        assert [word for word, title in zip(searched, shown, strict=True) if word not in title.lower()] == []


def test_the_page_of_templates_lists_them_as_the_gallery_does(root: Path) -> None:
    page = (root / "docs" / "templates.md").read_text("utf-8")
    listed = re.findall(r"^\| \[(.+?)\]\(\.\./workflows/(\w+)\.json\)", page, re.MULTILINE)
    assert listed == [(title, stem) for stem, title in titles(root, "en").items()]
