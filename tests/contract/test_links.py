"""Links between the documents lead somewhere; pages name all methods and templates; nodes have help pages."""

import re
from pathlib import Path, PurePosixPath

import pytest
import translations
from pack.core.methods import methods
from pack.core.models import manifest
from pack.core.places.actions import ACTIONS, GROUP_PHOTO
from shared.workflow_files import titles

REPOSITORY = "https://github.com/likeness-nodes/likeness/blob/main/"
ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / ".github").glob("*.md")]
for folder in ("docs", "web/docs"):
    DOCUMENTS += (ROOT / folder).rglob("*.md")


def targets(document: Path) -> list[tuple[str, str]]:
    """(path in the repository, anchor) of every link to a file of ours, pictures in tables too."""
    links = []
    text = document.read_text("utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text):
        absolute = link.startswith(REPOSITORY)
        if absolute or not re.match(r"\w+:", link):
            path, _, anchor = link.removeprefix(REPOSITORY).partition("#")
            base = ROOT if absolute else document.parent
            file = (base / path).resolve() if path else document
            links.append((PurePosixPath(file.relative_to(ROOT)).as_posix(), anchor))
    return links


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_to_our_own_files(document: Path, tracked: set[str]) -> None:
    name = document.relative_to(ROOT).as_posix()
    for path, anchor in targets(document):
        assert path in tracked or any(file.startswith(f"{path}/") for file in tracked), (name, path)
        assert not anchor or anchor in anchors((ROOT / path).read_text("utf-8")), (name, path, anchor)


COUNTED = re.compile(
    r"\b(?:four|five|six|seven|eight|nine|ten|eleven|twelve|[4-9]|\d\d) (?:\w+ )?"
    r"(?:actions|blueprints|families|methods|poses|templates)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_page_counts_what_grows(document: Path) -> None:
    """Nine poses were twelve long before the page said so."""
    assert COUNTED.findall(document.read_text("utf-8")) == []


@pytest.mark.parametrize("page", ["LikenessLayoutForAGroup.md", "LikenessLayoutForAGroup/zh.md"])
def test_the_page_names_every_action_of_a_group(page: str) -> None:
    text = (ROOT / "web" / "docs" / page).read_text("utf-8")
    assert [action for action in ACTIONS if action != GROUP_PHOTO and action not in text] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_template_has_a_title_of_its_own(root: Path, language: str) -> None:
    """In letters that are in no address and in no name of a file (Windows) anything else, nor in a message."""
    table = titles(language)
    files = {path.stem for path in (root / "workflows").glob("*.json")}
    assert sorted(files ^ table.keys()) == []
    assert list(table) == list(titles("en")), "another order than in English"
    assert len(set(table.values())) == len(table)
    assert [title for title in table.values() if re.search(r'[<>:"/\\|?*#%{}@]', title)] == []
    words = translations.main_file(language)["likenessTemplateWords"]
    assert list(words) == list(table), "likenessTemplateWords: what the search finds it by"


def test_every_template_has_a_task_and_a_row(root: Path) -> None:
    """The gallery filters by tasks. One makes no picture."""
    tasks = translations.main_file("en")["likenessTemplateTasks"]
    with_a_task = {name for names in tasks.values() for name in names.split()}
    assert sorted(with_a_task ^ titles("en").keys()) == ["check_files"], "likenessTemplateTasks"
    assert translations.main_file("zh")["likenessTaskNames"].keys() <= tasks.keys()
    page = (root / "docs" / "templates.md").read_text("utf-8")
    rows = dict(
        re.findall(r"^\| <img src=\"../workflows/(\w+).jpg\".*\]\(../workflows/(\w+).json\) \|", page, re.MULTILINE)
    )
    assert rows == {name: name for name in titles("en")}, "docs/templates.md: its picture, its name with a link"


@pytest.mark.parametrize("page", [
    "docs/dev/verification.md", "docs/licences.md", "docs/nodes.md",
    "web/docs/LikenessLoadAdapter.md", "web/docs/LikenessLoadAdapter/zh.md",
])  # fmt: skip
def test_a_page_names_every_method_that_has_files(root: Path, page: str) -> None:
    """Those of Load Adapter name what it loads."""
    loaded_otherwise = {
        model.key for model in manifest.models() if any(node.startswith("LikenessLoad") for node in model.nodes)
    }
    keys = {method.key for method in methods() if method.key} - (loaded_otherwise if "LoadAdapter" in page else set())
    with_files = [method for method in methods() if method.key in keys]
    text = (root / page).read_text("utf-8")
    assert [method.title for method in with_files if method.title not in text] == []


def test_pages_call_templates_by_their_titles(root: Path) -> None:
    """What stands in italics behind "template" or "blueprint" is in the menu."""
    titles_and_names = {*titles("en").values(), *(path.stem for path in (root / "subgraphs").glob("*.json"))}
    named = re.compile(r"\b(?:[Tt]emplates?|[Bb]lueprints?):? ((?:\*[^*]+\*(?:, | and | or )?)+)")
    quoted: list[tuple[str, str]] = []
    for path in [*sorted((root / "web" / "docs").glob("*.md")), *sorted((root / "docs").rglob("*.md"))]:
        for names in named.findall(path.read_text("utf-8")):
            quoted += [(path.name, name.rstrip(".")) for name in re.findall(r"\*([^*]+)\*", names)]
    assert len(quoted) > 20
    assert [(page, name) for page, name in quoted if name not in titles_and_names] == []


# Help pages. That they fit the real schema is shown in tests/host.


def pages(root: Path) -> dict[str, str]:
    return {path.stem: path.read_text("utf-8") for path in (root / "web" / "docs").glob("*.md")}


def test_every_node_has_a_page_and_every_page_a_node(root: Path, node_ids: set[str]) -> None:
    assert set(pages(root)) == node_ids == {path.parent.name for path in (root / "web" / "docs").glob("*/zh.md")}


def pictures(text: str) -> set[str]:
    """The links of its pictures, as GitHub reads them: from the folder of the page."""
    return set(re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text))


def rows_in_code(text: str) -> list[tuple[list[str], set[str]]]:
    """What stands in code in each row of the tables: in its first column, and names and values in all of it.

    Rows with nothing in code in the first column are left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [line for line in lines if "`" in line.split("|")[1]]
    return [(re.findall(r"`([^`]+)`", row.split("|")[1]), set(re.findall(r"`([^`]+)`", row))) for row in rows]


def test_translated_pages_say_the_same(root: Path) -> None:
    """They name the same inputs, outputs, values and pictures as the English ones do."""
    for path in (root / "web" / "docs").glob("*/zh.md"):
        text = path.read_text("utf-8")
        english = pages(root)[path.parent.name]
        for row, row_translated in zip(rows_in_code(english), rows_in_code(text), strict=True):
            first_column, words = row
            first_column_translated, words_translated = row_translated
            assert first_column == first_column_translated, path
            assert words <= words_translated, path
        assert pictures(text) == {f"../{picture}" for picture in pictures(english)}, path


def emphasis_not_ended(text: str) -> list[str]:
    """What CommonMark shows with its stars, because their last ones are followed by a letter: **(x)**y."""
    lost: list[str] = []
    for stars in (r"\*\*", r"\*"):
        emphasis = re.compile(rf"{stars}([^*\n]+){stars}(?=(\w?))")
        lost += [inside for inside, letter in emphasis.findall(text) if letter and re.search(r"[^\w`]$", inside)]
        text = emphasis.sub(r"\1", text)
    return lost


def test_emphasis_in_chinese_texts_ends(root: Path) -> None:
    """A space has to stand behind it."""
    assert emphasis_not_ended("*a\n**b**c **(d)**e, *f?*g*") == ["(d)", "f?"]
    for path in (
        root / "README.zh.md",
        *(root / "web" / "docs").glob("*/zh.md"),
        *(root / "locales/zh").glob("*.json"),
    ):
        assert emphasis_not_ended(path.read_text("utf-8")) == [], path


def test_pictures_named_in_pages_exist(root: Path) -> None:
    docs = root / "web" / "docs"
    named: set[str] = set().union(*(pictures(text) for text in pages(root).values()))
    assert [image for image in sorted(named) if not (docs / image).is_file()] == []
    in_readme = pictures((root / "README.md").read_text("utf-8"))
    assert [picture for picture in in_readme if not (root / picture).is_file()] == []
    of_readme = {picture.removeprefix("web/docs/") for picture in in_readme if picture.startswith("web/docs/")}
    images = {f"img/{path.name}" for path in (docs / "img").glob("*")}
    assert of_readme <= images <= named | of_readme


def test_modules_that_are_named_are_there(tracked: set[str]) -> None:
    """By path (core/checks/text.py) or name (core.checks.text) in code and pages, or file in a docstring."""
    missing: list[tuple[str, str]] = []
    for name in sorted(tracked):
        if not name.endswith((".py", ".md")) or name.startswith("docs/dev/verification"):
            continue
        text = (ROOT / name).read_text("utf-8")
        named = re.findall(r"(?<![\w./-])((?:core|bridge|nodes)/[\w/]+\.py)\b", text)
        shipped = name.startswith(("core/", "bridge/", "nodes/"))
        dotted = re.findall(r"(?<![\w./])((?:core|bridge)(?:\.\w+)+)", text) if shipped else []
        if name.endswith("__init__.py"):
            listed = re.findall(r"^ *\w+\.py .*", text, re.MULTILINE)
            files = re.findall(r"(?<![\w./])\w+\.py\b", "\n".join(listed))
            named += [f"{PurePosixPath(name).parent}/{file}" for file in files]
        missing += [(name, path) for path in named if path not in tracked]
        for one in dotted:
            path = one.replace(".", "/")
            folder = PurePosixPath(path).parent  # of a module or of a name in one
            exports = f"{folder}/__init__.py" if len(folder.parts) > 1 else ""
            if not {f"{path}.py", f"{path}/__init__.py", f"{folder}.py", exports} & tracked:
                missing.append((name, path))
    assert not missing, "\n".join(map(str, missing))
