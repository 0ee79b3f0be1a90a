"""Help pages call inputs and outputs by the name that the node shows, with the schema's id in brackets.

`tests/golden/saved_ids.json` has the ids of every node, `locales/` their names in both languages.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
IDS = json.loads((GOLDEN / "saved_ids.json").read_text("utf-8"))
DEFAULTS = json.loads((GOLDEN / "defaults.json").read_text("utf-8"))
INPUTS = {"en": "Inputs", "zh": "输入"}
OUTPUTS = {"en": "Outputs", "zh": "输出"}

NAMED = re.compile(r"\*\*([^*]+)\*\* ?[(\uff08]`(\w+)`[)\uff09]")
"""**Name** (`id`), as an English or a Chinese page writes it."""

RANGE = re.compile(r"\*\*([^*]+?) 1\*\* … \*\*\1 8\*\* ?[(\uff08]`(\w+_)1` … `(?:\2)8`[)\uff09]")
"""**Photo 1** … **Photo 8** (`photo_1` … `photo_8`): all eight of a row of inputs."""

SET_TO = re.compile(
    r"(?:[Ss]et |把)\*\*[^*]+\*\* ?[(\uff08]`(?P<id>\w+)`[)\uff09]"
    r"(?: to |设为 ?)[`*]?(?P<value>[\w.%-]+(?: [\w.%-]+)*)[`*]?"
)
"""Advice to set an input of this node to a value. "back to" and 改回 do not fit it, nor an input of another node."""

EMPTY_ADVICE = re.compile(r"As (?:their tooltips say|its tooltip says)|[Ss]ee below|见提示|见下文")
IS_IT_NEW = (
    "tests/golden/saved_ids.json has it not, or not so. If it is new: `python scripts/test.py tests/host/"
    "test_documents.py` writes it there."
)
BARE_OUTPUT = re.compile(r"\boutputs? `\w+`|`\w+` outputs?\b|输出 ?`\w+`|`\w+` ?输出")


@dataclass(frozen=True)
class Socket:
    """An input or an output as a page names it."""

    name: str
    id: str


@dataclass(frozen=True)
class Page:
    """The help page of a node in a language, "en" or "zh"."""

    node: str
    language: str

    @property
    def text(self) -> str:
        name = f"{self.node}.md" if self.language == "en" else f"{self.node}/zh.md"
        return (ROOT / "web" / "docs" / name).read_text("utf-8")

    def part(self, heading: str) -> str:
        return self.text.split(f"## {heading}\n")[1].split("\n## ")[0]

    def rows(self, heading: str) -> list[str]:
        """First cells of the rows of a section's tables, without heads."""
        rows: list[str] = []
        lines = self.part(heading).splitlines()
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            is_head = following.startswith("|---")
            if line.startswith("|") and not line.startswith("|---") and not is_head:
                rows.append(line.split("|")[1])
        return rows


PAGES = [Page(node, language) for node in IDS for language in ("en", "zh")]


def names(language: str) -> dict[str, dict[str, list[Socket]]]:
    """Inputs and outputs of every node, by node and by "inputs" or "outputs", in the order of the schema."""
    texts = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text("utf-8"))
    sockets_of_nodes: dict[str, dict[str, list[Socket]]] = defaultdict(dict)
    for node, ids in IDS.items():
        texts_of_node = texts[node]
        sockets_of_nodes[node]["inputs"] = [
            Socket(texts_of_node["inputs"][name]["name"], name) for name in ids["inputs"]
        ]
        outputs = enumerate(ids["outputs"])
        sockets_of_nodes[node]["outputs"] = [
            Socket(texts_of_node["outputs"][str(slot)]["name"], name) for slot, name in outputs
        ]
    return sockets_of_nodes


NAMES = {language: names(language) for language in ("en", "zh")}


def sockets(text: str) -> Iterator[Socket]:
    for name, stem in RANGE.findall(text):
        for number in range(1, 9):
            yield Socket(f"{name} {number}", f"{stem}{number}")
    for name, name_id in NAMED.findall(RANGE.sub("", text)):
        yield Socket(name, name_id)


def settings_of_own_inputs(page: Page) -> Iterator[tuple[str, str]]:
    """Ids of this node's inputs with the values that the page says to set them to."""
    for match in SET_TO.finditer(page.text):
        line_after = page.text[match.end() : match.end() + 8]
        of_another_node = re.match(r"[^.|。]*?( of| in) \*\*", line_after)
        if not of_another_node and match["id"] in IDS[page.node]["inputs"]:
            yield match["id"], match["value"]


def label(page: Page) -> str:
    return f"{page.node}-{page.language}"


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_a_page_has_the_title_of_its_node(page: Page) -> None:
    texts = json.loads((ROOT / "locales" / page.language / "nodeDefs.json").read_text("utf-8"))
    assert page.text.splitlines()[0] == f"# {texts[page.node]['display_name']}"


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_output_rows_are_those_of_the_schema(page: Page) -> None:
    """All outputs, in their order, each by its name and its id."""
    rows = page.rows(OUTPUTS[page.language])
    assert list(sockets(" ".join(rows))) == NAMES[page.language][page.node]["outputs"], IS_IT_NEW
    assert [row for row in rows if re.search(r"`", NAMED.sub("", row))] == []


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_input_rows_are_inputs_of_the_schema(page: Page) -> None:
    """An input that the tooltip explains needs no row; a row names an input of this node, and no input has two."""
    sockets_of_rows: list[Socket] = []
    for row in page.rows(INPUTS[page.language]):
        sockets_of_row = list(sockets(row))
        assert sockets_of_row, row
        sockets_of_rows += sockets_of_row
    assert sorted({socket.id for socket in sockets_of_rows}) == sorted(socket.id for socket in sockets_of_rows)
    inputs = NAMES[page.language][page.node]["inputs"]
    assert [socket for socket in sockets_of_rows if socket not in inputs] == [], IS_IT_NEW


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_name_with_an_id_is_of_a_node(page: Page) -> None:
    """Also where a page speaks of another node: **Draw** (`draw`) of **Draw Skeletons**."""
    all_sockets: set[Socket] = set()
    for node in NAMES[page.language].values():
        all_sockets.update(node["inputs"], node["outputs"])
    assert [socket for socket in sockets(page.text) if socket not in all_sockets] == [], IS_IT_NEW


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_outputs_in_the_text_have_their_names(page: Page) -> None:
    """Never an id alone, which the node does not show."""
    assert BARE_OUTPUT.findall(page.text) == []


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_no_row_only_points_elsewhere(page: Page) -> None:
    assert EMPTY_ADVICE.findall(page.text) == []


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_a_default_is_set_back(page: Page) -> None:
    """Who reads "set it to" of the default looks for what else to do."""
    wrong: list[tuple[str, str]] = []
    for name, value in settings_of_own_inputs(page):
        default = DEFAULTS.get(f"{page.node}.{name}")
        if default is not None and str(default) == value:
            wrong.append((name, value))
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_pages_say_what_to_connect(page: Page) -> None:
    beginning = page.text.split("\n## ")[0]
    heading = {"en": "**Connect**", "zh": "**接线**"}[page.language]
    assert beginning.count(f"{heading}\n\n- ") == 1
