"""Links between the documents lead somewhere, also for people who have the archive only; templates have titles."""

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


def titles(root: Path, language: str) -> dict[str, str]:
    """Of templates, which are also the names of their tabs and files: by file, in the gallery's order."""
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
