"""Every node has a help page of one form. That it fits the real schema is shown in tests/host."""

from __future__ import annotations

import re
from pathlib import Path

PARTS = ["## Inputs", "## Outputs", "## What can go wrong"]


def pages(root: Path) -> dict[str, str]:
    return {path.stem: path.read_text("utf-8") for path in (root / "web" / "docs").glob("*.md")}


def test_every_node_has_a_page_and_every_page_a_node(root: Path, node_ids: set[str]) -> None:
    assert set(pages(root)) == node_ids


def test_one_page_in_english_and_one_in_another_language(tracked: set[str]) -> None:
    """The copies that frontends ask for first, <NodeId>/en.md, are made for the archive (scripts/rig/archive.py)."""
    beside = {Path(name).name for name in tracked if Path(name).match("web/docs/*/*.md")}
    assert beside == {"zh.md"}


def pictures(text: str) -> set[str]:
    """The links of its pictures, as GitHub reads them: from the folder of the page."""
    return set(re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text))


def rows_in_code(text: str) -> list[tuple[list[str], set[str]]]:
    """What stands in code in each row of the tables: in its first column, and names and values in all of it."""
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return [(re.findall(r"`([^`]+)`", row.split("|")[1]), set(re.findall(r"`([^`]+)`", row))) for row in rows]


def troubles(text: str) -> list[str]:
    return re.findall(r"^- .+$", text.split("\n## ")[-1], re.MULTILINE)


def test_translated_pages_say_the_same(root: Path) -> None:
    """They name the same inputs, outputs, values, pictures and troubles, and quote messages as the English ones do.

    Messages are in English: what is bold and in Latin letters is found again in the English page.
    """
    paths = sorted((root / "web" / "docs").glob("*/zh.md"))
    assert len(paths) >= 35
    for path in paths:
        text, english = path.read_text("utf-8"), pages(root)[path.parent.name]
        for (first, theirs), (own_first, ours) in zip(rows_in_code(english), rows_in_code(text), strict=True):
            assert first == own_first and theirs <= ours, path
        assert pictures(text) == {f"../{picture}" for picture in pictures(english)}, path
        assert len(re.findall(r"^## .+$", text, re.MULTILINE)) == len(PARTS), path
        assert len(troubles(text)) == len(troubles(english)), path
        quoted = [words for words in re.findall(r"\*\*([ -~…]+)\*\*", text.split("## ")[-1]) if not words.istitle()]
        assert quoted and [words for words in quoted if words not in " ".join(english.split())] == [], path


def test_pages_have_one_form(root: Path) -> None:
    """The same parts in the same order, a picture or a graph, and graphs of 38 columns: the panel beside the canvas
    shows no more before it scrolls."""
    wrong: dict[str, list[str]] = {}
    for name, text in pages(root).items():
        graphs = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
        found = [line for graph in graphs for line in graph.splitlines() if len(line) > 38]
        found += [] if re.findall(r"^## .+$", text, re.MULTILINE) == PARTS else ["other parts"]
        found += [] if graphs or "](img/" in text else ["neither a picture nor a graph"]
        wrong |= {name: found} if found else {}
    assert wrong == {}


def test_pictures_named_in_pages_exist(root: Path) -> None:
    docs = root / "web" / "docs"
    named = {image for text in pages(root).values() for image in pictures(text)}
    assert [image for image in sorted(named) if not (docs / image).is_file()] == []
    drawn = {f"img/{path.name}" for path in (docs / "img").glob("*")}
    assert drawn <= named | {"img/first_picture.jpg"}


OF_A_PERSON = {"encode_parts", "faces_from_landmarks", "identity", "load_identity", "pick_best", "save_identity"}
"""Pictures with the photo of somebody who lives. All others are drawn."""


def test_whoever_lives_is_named_with_the_source(root: Path) -> None:
    credited = set[str]()
    for path in (root / "web" / "docs").glob("**/*.md"):
        text = path.read_text("utf-8")
        shown = {Path(picture).stem for picture in pictures(text)} & OF_A_PERSON
        assert ("Eileen Collins" in text and "NASA" in text) == bool(shown), path
        credited |= shown
    assert credited == OF_A_PERSON
