"""What pages, menus and messages list is what the code has: kinds of LoRA, figures of Pick Best Likeness, and
families of diffusion transformers."""

import json
import re
from pathlib import Path

import pytest
from pack.bridge.transformers.families import TRANSFORMERS
from pack.core.low_rank import LORA_KINDS
from pack.core.measure import FIGURES

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("en", "zh")
TITLES = [kind.title for kind in LORA_KINDS.values()]
FIGURE_NAMES = [figure.name for figure in FIGURES]
HELP_PAGES_OF_PICK_BEST = ("web/docs/LikenessPickBestLikeness.md", "web/docs/LikenessPickBestLikeness/zh.md")
LISTS_OF_KINDS = (
    "web/docs/LikenessLoRAPerPerson.md",
    "web/docs/LikenessLoRAPerPerson/zh.md",
    "docs/dev/glossary.md",
    "bridge/lora_files.py",
)


def tooltip(language: str, node_id: str, input_id: str) -> str:
    """The tooltip of an input in one language."""
    nodes = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text("utf-8"))
    return nodes[node_id]["inputs"][input_id]["tooltip"]


def missing(names: list[str], text: str) -> list[str]:
    """The names that do not stand in a text."""
    return [name for name in names if name not in text]


@pytest.mark.parametrize("path", LISTS_OF_KINDS)
def test_pages_and_messages_list_every_kind_of_lora(path: str) -> None:
    assert missing(TITLES, (ROOT / path).read_text("utf-8")) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tooltip_of_a_lora_file_lists_every_kind(language: str) -> None:
    assert missing(TITLES, tooltip(language, "LikenessAddLoRAToPerson", "file")) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tooltip_of_score_explains_every_choice(language: str) -> None:
    """A choice is explained behind its name and an equals sign, or with others before a colon."""
    assert missing(FIGURE_NAMES, tooltip(language, "LikenessPickBestLikeness", "score")) == []


def test_every_figure_has_a_chinese_name() -> None:
    choices = (ROOT / "locales" / "zh" / "main.json").read_text("utf-8")
    assert missing([f'"{name}": "' for name in FIGURE_NAMES], choices) == []


@pytest.mark.parametrize("path", HELP_PAGES_OF_PICK_BEST)
def test_help_pages_say_what_a_figure_needs(path: str) -> None:
    """Of those that a picture may lack although people were compared."""
    needing_more = [figure.name for figure in FIGURES if figure.no_value.reason != "no faces were compared"]
    assert missing([f"`{name}`" for name in needing_more], (ROOT / path).read_text("utf-8")) == []


def test_docs_say_how_every_figure_is_counted() -> None:
    figures_in_words = [name for name in FIGURE_NAMES if name != "weakest person"]
    rows = [f"| {name} |" for name in figures_in_words]
    assert missing(rows, (ROOT / "docs/dev/measuring.md").read_text("utf-8")) == []


LISTS_OF_FAMILIES = (
    "README.md",
    "README.zh.md",
    "docs/chains.md",
    "docs/nodes.md",
    "docs/references.md",
    "docs/speed.md",
    "docs/which_method.md",
    "locales/en/nodeDefs.json",
    "locales/zh/nodeDefs.json",
    "nodes/references/encoding.py",
    "scripts/bench/transformers.py",
    "scripts/rig/readme.json",
    "web/docs/LikenessLoRAPerPerson.md",
    "web/docs/LikenessLoRAPerPerson/zh.md",
    "web/docs/LikenessPeopleAsReferences.md",
    "web/docs/LikenessPeopleAsReferences/zh.md",
    "web/docs/LikenessPromptPerPerson.md",
    "web/docs/LikenessPromptPerPerson/zh.md",
)
FAMILY_NAMES = [transformer.name for transformer in TRANSFORMERS]
LATER_FAMILIES = [name for name in FAMILY_NAMES if name not in ("FLUX.1", "FLUX.2", "Qwen-Image")]
"""Those of which a text that names several lists all: the first three are also named alone, with methods of theirs."""


@pytest.mark.parametrize("path", LISTS_OF_FAMILIES)
def test_a_list_of_families_has_all_of_them(path: str) -> None:
    """Where the first of the later families stands in front of another, as in "Z-Image, Krea 2 or", all of them do."""
    first = re.escape(LATER_FAMILIES[0])
    names = "|".join(re.escape(name) for name in LATER_FAMILIES)
    between = r"(?:, | and | or |、| 和 | 或 )"
    lists = re.findall(rf"{first}(?:{between}(?:{names}))+", (ROOT / path).read_text("utf-8"))
    assert lists, "no list stands here: take the file out of LISTS_OF_FAMILIES"
    for list_of_families in lists:
        assert missing(LATER_FAMILIES, list_of_families) == []
