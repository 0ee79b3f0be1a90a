"""Links between the documents lead somewhere, also for people who have the archive only; things have their names."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath

import pytest

REPOSITORY = "https://github.com/likeness-nodes/likeness/blob/main/"
ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def targets(document: Path) -> list[tuple[bool, str, str]]:
    """(absolute?, path in the repository, anchor) of every link to a file of ours."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        absolute = link.startswith(REPOSITORY)
        if absolute or not re.match(r"\w+:", link):
            path, _, anchor = link.removeprefix(REPOSITORY).partition("#")
            base = ROOT if absolute else document.parent
            whole = (base / path).resolve() if path else document
            found.append((absolute, PurePosixPath(whole.relative_to(ROOT)).as_posix(), anchor))
    return found


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_our_own_files(document: Path, tracked: set[str], shipped: set[str]) -> None:
    """Relative ones in what is published lead to what is published: docs/ is not."""
    name = document.relative_to(ROOT).as_posix()
    for absolute, path, anchor in targets(document):
        assert path in (shipped if name in shipped and not absolute else tracked), (name, path)
        assert not anchor or anchor in anchors((ROOT / path).read_text("utf-8")), (name, path, anchor)


OTHER_NAMES = (
    r"Open in MaskEditor",  # in ComfyUI: Open in Mask Editor
    r"Image From Batch",  # Get Image from Batch
    r"(?<!\*)\*Apply InstantID\*(?!\*)",  # ... (Likeness)
    r"pip install (?!--no-deps)[^\n`]*insightface",  # that puts onnxruntime and OpenCV over those that are there
)


def test_things_are_called_as_they_are(tracked: set[str]) -> None:
    texts = (name for name in tracked if PurePosixPath(name).suffix in {".md", ".py", ".json"})
    others = {name for name in texts if name != "CHANGELOG.md" and (ROOT / name) != Path(__file__)}
    wrong = [
        (name, found.group())
        for name in sorted(others)
        for other in OTHER_NAMES
        for found in re.finditer(other, (ROOT / name).read_text("utf-8"))
    ]
    assert wrong == []


def titles(root: Path, language: str) -> dict[str, str]:
    """Of templates, which are also the names of their tabs and files: by file, in the gallery's order."""
    texts = json.loads((root / "locales" / language / "main.json").read_text("utf-8"))
    return texts["templateWorkflows"]["template"]["likeness"]


FIRST = {
    "en": ["two people", "group", "portrait", "outfit", "face swap"],
    "zh": ["two people", "合影", "肖像", "换装", "换脸"],
}
"""Words by which people find the first five; galleries without an index look for them as they stand."""


@pytest.mark.parametrize("language", FIRST)
def test_every_template_has_a_title_of_its_own(root: Path, language: str) -> None:
    """In letters that are in no address and in no name of a file (Windows) anything else, nor in a message."""
    table = titles(root, language)
    files = {path.stem for path in (root / "workflows").glob("*.json")}
    assert sorted(files ^ table.keys()) == []
    assert list(table) == list(titles(root, "en")), "another order than in English"
    assert len(set(table.values())) == len(table)
    assert [title for title in table.values() if re.search(r'[<>:"/\\|?*#%{}@]', title)] == []
    shown = zip(FIRST[language], table.values(), strict=False)
    assert [word for word, title in shown if word not in title.lower()] == []


def test_the_page_of_templates_lists_them_as_the_gallery_does(root: Path) -> None:
    """And names every blueprint."""
    page = (root / "docs" / "templates.md").read_text("utf-8")
    listed = re.findall(r"^\| \[(.+?)\]\(\.\./workflows/(\w+)\.json\)", page, re.MULTILINE)
    assert listed == [(title, stem) for stem, title in titles(root, "en").items()]
    (line,) = (line for line in page.splitlines() if "**blueprints**" in line)
    named = re.findall(r"(?<!\*)\*([A-Z][^*]+)\*", line)
    assert {path.stem for path in (root / "subgraphs").glob("*.json")} == set(named)
