"""What people read of nodes, workflows and blueprints, and what locales/ has of it in each language.

The texts of nodes are written in locales/en/nodeDefs.json; bridge/host/schema.py puts them into the schemas. Of
workflows and blueprints web/labels.js makes Chinese.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from pack.core.families import FAMILIES
from pack.core.methods import methods
from pack.core.models import manifest

ROOT = Path(__file__).resolve().parents[2]
LOCALES = ROOT / "locales"
TRANSLATED = ("zh",)
LABELS, NOTES, OPTIONS = "likenessLabels", "likenessNotes", "likenessOptions"
SENTENCES = "likenessSentences"
"""The keys of main.json, and in the host's answer to /i18n."""
PROPER_NAMES = {
    "Canny", "CFG", "CLIP", "ControlNet", "Depth Anything", "EVA-CLIP", "FLUX.1 Kontext", "FLUX.2 klein",
    "ID-Patch ControlNet", "IdentityNet", "OpenPose", "Qwen-Image-Edit", "RT-DETR", "SAM3", "SDPose",
    "Turbo", "VAE",
}  # fmt: skip
"""Besides those of the records: `is_proper_name`."""

Texts = dict[str, str]


def of_schemas(schemas: list[Any]) -> Texts:
    """What people read of every node, by its path in nodeDefs.json."""
    texts: Texts = {}
    for schema in schemas:
        texts[f"{schema.node_id}/display_name"] = schema.display_name
        texts[f"{schema.node_id}/description"] = schema.description
        named = {"inputs": {i.id: i for i in schema.inputs}, "outputs": dict(enumerate(schema.outputs))}
        for side, slots in named.items():
            for key, slot in slots.items():
                texts[f"{schema.node_id}/{side}/{key}/name"] = slot.display_name or slot.id
                texts[f"{schema.node_id}/{side}/{key}/tooltip"] = slot.tooltip or ""
    return {path: text for path, text in texts.items() if text}


def read(language: str) -> Texts:
    """nodeDefs.json of a language, flat."""
    return _flat(json.loads((LOCALES / language / "nodeDefs.json").read_text("utf-8")))


def _flat(tree: dict[str, Any], before: str = "") -> Texts:
    texts: Texts = {}
    for key, value in tree.items():
        if key != "search_aliases":
            texts |= _flat(value, f"{before}{key}/") if isinstance(value, dict) else {before + key: value}
    return texts


def main_file(language: str) -> dict[str, Any]:
    return json.loads((LOCALES / language / "main.json").read_text("utf-8"))


@cache
def table(language: str, name: str = LABELS) -> Texts:
    """What web/labels.js puts in the place of which words."""
    return main_file(language)[name]


def notes_of(graph: dict[str, Any]) -> list[str]:
    return [node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "MarkdownNote"]


def notes_of_the_toy() -> list[str]:
    """Those that its workflows have in the place of their templates' notes."""
    return [path.read_text("utf-8") for path in (ROOT / "scripts" / "toy").glob("note*.md")]


def lines_of_notes(texts: list[str]) -> set[str]:
    """What people read of them in any language but their own: no rules of tables, no rows of files and folders."""
    lines = "\n".join(texts).split("\n")
    return {line for line in lines if re.search(r"[a-z]", line) and not re.match(r"\| [^ |]+ \| models/", line)}


def of_graph(graph: dict[str, Any]) -> set[str]:
    """What people read of a workflow or a blueprint, besides the text of its notes."""
    subgraphs = graph.get("definitions", {}).get("subgraphs", [])
    texts = set[str | None]()
    for part in (graph, *subgraphs):
        texts |= {entry.get("title") for entry in (*part["nodes"], *part.get("groups", []))}
        for node in part["nodes"]:
            texts |= {slot.get("label") for slot in _slots(node)}
    for subgraph in subgraphs:
        texts.add(subgraph["name"])
        # Without a label the slot of a subgraph is shown by its name, which no language has.
        texts |= {slot.get("label", slot["name"]) for slot in _slots(subgraph)}
    inputs_of_the_app = graph.get("extra", {}).get("linearData", {}).get("inputs", [])
    for _, _, *descriptions in inputs_of_the_app:
        texts |= {entry.get("description") for entry in descriptions}
    return {text for text in texts if text}


@cache
def _names_of_records() -> set[str]:
    """Of methods, families and files."""
    names = {method.title for method in methods()} | {family.name for family in FAMILIES}
    return names | {model.name for model in manifest.models()}


def is_proper_name(text: str) -> bool:
    """Whether a text needs no translation. A group is numbered: 5 · ID-Patch."""
    name = re.sub(r"^\d · ", "", text)
    return name in PROPER_NAMES or name in _names_of_records()


_NAME = re.compile(r"\{(\w+)\}")
ENGLISH = re.compile(r"\b[a-z]+ (?:[a-z]+|[A-Z]\w*) [a-z]+\b")
"""Three words in a row: names of files and models have fewer."""


@cache
def _sentences() -> list[tuple[re.Pattern[str], str, int]]:
    """English and Chinese of each sentence, and the letters that it has besides its names: the most first."""
    sentences: list[tuple[re.Pattern[str], str, int]] = []
    for english, chinese in table("zh", SENTENCES).items():
        parts = _NAME.split(english)
        source = ""
        for place, part in enumerate(parts):
            source += f"(?P<{part}>.+?)" if place % 2 else re.escape(part)
        sentences.append((re.compile(source, re.DOTALL), chinese, len(_NAME.sub("", english))))
    return sorted(sentences, key=lambda sentence: -sentence[2])


def sentence_in_chinese(text: str, least: int = 0) -> str:
    """As web/sentences.js does it. least: letters that the sentence has besides names."""
    if text in table("zh", SENTENCES) and not _NAME.search(text):
        return table("zh", SENTENCES)[text]
    for form, chinese, letters in _sentences():
        match = letters >= least and form.fullmatch(text)
        if match and match.groupdict():
            return _NAME.sub(lambda name, match=match: _in_list(match[name[1]]), chinese)
    return text


def _in_list(text: str) -> str:
    translation = sentence_in_chinese(text)
    if translation != text:
        return translation
    parts = re.split(r"(; | and (?=\S))", text)
    return "".join(part if place % 2 else _in_commas(sentence_in_chinese(part)) for place, part in enumerate(parts))


def _in_commas(text: str) -> str:
    return ", ".join(table("zh", SENTENCES).get(part, part) for part in text.split(", "))


def message_in_chinese(message: str) -> str:
    """As web/sentences.js does it, but for the labels in sentences that stay English."""
    return " ".join(sentence_in_chinese(sentence, 6) for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", message))


def with_labels(message: str, kind: str) -> str:
    """An English message as web/sentences.js shows it: names of several words beside their labels, first those of the
    node that it is of."""
    labels: Texts = {}
    of_all = read("en").items()
    for path, text in sorted(of_all, key=lambda entry: not entry[0].startswith(f"{kind}/")):
        match = re.fullmatch(r"\w+/inputs/(\w*_\w*)/name", path)
        if match:
            labels.setdefault(match[1], text)
    for name, label in labels.items():
        message = re.sub(rf"(?<![\w(/\\.-]){name}(?![\w)/\\-]|\.\w)", f"{label} ({name})", message)
    return message


def _slots(owner: dict[str, Any]) -> list[dict[str, Any]]:
    return [*owner.get("inputs", []), *owner.get("outputs", [])]
