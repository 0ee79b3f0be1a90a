"""Texts for users: short sentences, and the words of the field. Names of values and code are as they are."""

import ast
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ADVISED, MOST = 20, 30
"""Words of a sentence: a longer one is named in a warning, and above MOST it is an error."""
PRIVATE = re.compile(
    r"\b(hear[ds]?|hearing|loud\w*|mend(ed|s|ing)?|told|(no|some|every|any)body('s)?|in the place of"
    r"|what (there )?is of)\b",
    re.IGNORECASE,
)
Texts = list[tuple[str, str]]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for entry in value.values():
            yield from strings(entry)
    elif isinstance(value, str):
        yield value


def pages(folder: Path) -> Texts:
    return [(path.name, path.read_text("utf-8")) for path in sorted(folder.glob("*.md"))]


def node_texts() -> Texts:
    nodes = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text("utf-8"))
    texts: Texts = []
    for name in nodes:
        texts += [(name, text) for text in strings(nodes[name])]
    return texts


def editor_texts() -> Texts:
    table = json.loads((ROOT / "locales" / "en" / "main.json").read_text("utf-8"))
    return [("main", text) for text in strings(table)]


def notes() -> Texts:
    texts: Texts = []
    for path in sorted((ROOT / "workflows").glob("*.json")):
        for node in json.loads(path.read_text("utf-8"))["nodes"]:
            if node["type"] == "MarkdownNote":
                texts.append((path.stem, node["widgets_values"][0]))
    return texts


def messages() -> Texts:
    """Strings of what is shipped, of several words and no docstrings."""
    texts: Texts = []
    for path in sorted(path for folder in ("core", "bridge", "nodes") for path in (ROOT / folder).rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        bare = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        values = (node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in bare)
        texts += [(path.name, value) for value in values if isinstance(value, str) and " " in value]
    return texts


def sentences(text: str) -> Iterator[str]:
    """Those of each line or cell, which a colon and a semicolon end as well; addresses and code blocks are none."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    for line in text.splitlines():
        for cell in line.strip("|").split("|") if line.startswith("|") else [line]:
            yield from re.split(r"(?<=[.!?:;])[\"*`)]*\s+", re.sub(r"^\s*([-*]|\d+\.)\s+", "", cell).strip())


def words(sentence: str) -> int:
    return len(re.findall(r"[\w'`.-]*\w[\w'`.-]*", sentence))


def private(text: str) -> list[str]:
    """The private words of a text, less what stands in code or is the value of a widget, in italics or as a default."""
    prose = re.sub(r"`[^`]*`|(?<!\*)\*(every|no)body\*(?!\*)|Default nobody\.$", "", text)
    return [match.group() for match in PRIVATE.finditer(prose)]


README = [("README.md", (ROOT / "README.md").read_text("utf-8"))]
OF_USERS = {
    "help pages": pages(ROOT / "web" / "docs"), "texts of nodes": node_texts(), "texts of the editor": editor_texts(),
    "notes": notes(),
}  # fmt: skip
OTHERS = {
    "README": pages(ROOT), "users": pages(ROOT / "docs"), "messages": messages(),
}  # fmt: skip


@pytest.mark.parametrize("texts", [README, *OF_USERS.values()], ids=["README", *OF_USERS])
def test_sentences_are_short(texts: Texts) -> None:
    """A sentence that is a little longer may be the clearest one: pytest only names it among its warnings."""
    assert texts
    too_long: list[tuple[str, str]] = []
    for name, text in texts:
        for sentence in sentences(text):
            if words(sentence) > MOST:
                too_long.append((name, sentence))
            elif words(sentence) > ADVISED:
                warnings.warn(f"{name}: {words(sentence)} words: {sentence}", stacklevel=1)
    assert too_long == []


@pytest.mark.parametrize("texts", [*OF_USERS.values(), *OTHERS.values()], ids=[*OF_USERS, *OTHERS])
def test_words_are_those_of_the_field(texts: Texts) -> None:
    assert texts
    private_words: list[tuple[str, str]] = []
    for name, text in texts:
        if name not in {"CHANGELOG.md", "CONTRIBUTING.md"}:
            private_words += [(name, word) for word in private(text)]
    assert private_words == []
