"""How messages and notes name an input: beside its label, "Which face (which_face)", as the editor shows it.

By "(which_face)" web/errors.js finds the field of a box that stands for the input, and web/sentences.js its label in
the editor's language. A name of several words is found bare as well; one of a single word is a word of other
sentences too.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import translations

ROOT = translations.ROOT
LABELS: dict[str, set[str]] = {}
"""Those of each input, which nodes may call differently."""
for path, text in translations.read("en").items():
    _, *inputs = path.split("/")
    if len(inputs) == 3 and inputs[0] == "inputs" and inputs[2] == "name":
        LABELS.setdefault(inputs[1], set()).add(text)
SINGLE_WORDS = sorted(name for name in LABELS if "_" not in name and len(name) > 1)
OTHER_NODES = {"Set strength_type of that node to multiply and strength to 1, or take it out."}
"""About fields of ComfyUI's own nodes."""


def texts(path: Path) -> Iterator[str]:
    """The texts of a file that may be of a message: of several words, and no docstring. {}: what is put in."""
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    pieces = {piece for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for piece in node.values}
    for node in ast.walk(tree):
        if node in docstrings or node in pieces:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            text = "".join(map(str, parts))
        else:
            text = str(node.value) if isinstance(node, ast.Constant) else ""
        if len(re.findall(r"\w+", text)) > 2:
            yield text


FILES = [path for part in ("core", "bridge", "nodes") for path in sorted((ROOT / part).rglob("*.py"))]
TEXTS = sorted({text for path in FILES for text in texts(path)})


def set_bare(text: str) -> list[str]:
    """Inputs of one word that a text tells to set, or says the value of, without their labels."""
    bare: list[str] = []
    for name in SINGLE_WORDS:
        told = rf"\b(?:[Ss]et|[Ll]ower|[Rr]aise|[Cc]lear|[Cc]hange) {name}\b(?= (?:to|or|and|in)\b|[.,;]|$)"
        valued = rf"(?<![\w(]){name} (?:= |set to )|(?:^|[.;:] |or ){name} is (?:\{{|\d)"
        of_several = rf"\b(?:[Ss]et|[Ll]ower|[Rr]aise) [^.;]*?(?:and|or) (?:lower |raise )?{name}\b(?= (?:to|=)|[.;]|$)"
        if re.search(f"{told}|{valued}|{of_several}", text):
            bare.append(name)
    return bare


def test_an_input_of_one_word_stands_beside_its_label() -> None:
    bare = {text: names for text in TEXTS if text not in OTHER_NODES and (names := set_bare(text))}
    assert bare == {}


def test_a_label_beside_an_input_is_that_of_the_editor() -> None:
    """Of some node with such an input: which of them a text is about is not known here."""
    wrong: list[str] = []
    for text in TEXTS:
        for name in re.findall(r" \(([a-z][a-z0-9_]*)\)", text):
            labels = LABELS.get(name, set())
            if labels and not any(f"{label} ({name})" in text for label in labels):
                wrong.append(text)
    assert wrong == []


def test_no_input_stands_before_its_label() -> None:
    turned = [f"{name} ({label})" for name, labels in LABELS.items() for label in labels if name != label.lower()]
    assert [text for text in TEXTS if any(words in text for words in turned)] == []
