"""Every node has a help page, also in Chinese. That it fits the real schema is shown in tests/host."""

import re
from pathlib import Path


def pages(root: Path) -> dict[str, str]:
    return {path.stem: path.read_text("utf-8") for path in (root / "web" / "docs").glob("*.md")}


def test_every_node_has_a_page_and_every_page_a_node(root: Path, node_ids: set[str]) -> None:
    assert set(pages(root)) == node_ids == {path.parent.name for path in (root / "web" / "docs").glob("*/zh.md")}


def pictures(text: str) -> set[str]:
    """The links of its pictures, as GitHub reads them: from the folder of the page."""
    return set(re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text))


def rows_in_code(text: str) -> list[tuple[list[str], set[str]]]:
    """What stands in code in each row of the tables: in its first column, and names and values in all of it."""
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return [(re.findall(r"`([^`]+)`", row.split("|")[1]), set(re.findall(r"`([^`]+)`", row))) for row in rows]


def test_translated_pages_say_the_same(root: Path) -> None:
    """They name the same inputs, outputs, values and pictures as the English ones do."""
    for path in (root / "web" / "docs").glob("*/zh.md"):
        text, english = path.read_text("utf-8"), pages(root)[path.parent.name]
        for (first, theirs), (own_first, ours) in zip(rows_in_code(english), rows_in_code(text), strict=True):
            assert first == own_first and theirs <= ours, path
        assert pictures(text) == {f"../{picture}" for picture in pictures(english)}, path


def test_pictures_named_in_pages_exist(root: Path) -> None:
    docs = root / "web" / "docs"
    named = {image for text in pages(root).values() for image in pictures(text)}
    assert [image for image in sorted(named) if not (docs / image).is_file()] == []
    drawn = {f"img/{path.name}" for path in (docs / "img").glob("*")}
    assert drawn <= named | {"img/first_picture.jpg"}
