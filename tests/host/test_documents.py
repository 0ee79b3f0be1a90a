"""What the host sees of our nodes: ids that saved workflows use, and help pages, notes and every language of locales/
against the schemas."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import translations
from comfy_api.latest import io
from pack.bridge.host.schema import with_texts
from pack.core.checks.records import BadRecord
from pack.nodes.extension import NODES

ROOT = Path(__file__).resolve().parents[2]
WHOLE = pytest.mark.skipif(not hasattr(io, "BoundingBoxes"), reason="a node has an editor less in this ComfyUI")
SCHEMAS = {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in NODES)}
ENGLISH = translations.of_schemas([*SCHEMAS.values()])
WORKFLOWS = {path.stem: path for path in sorted((ROOT / "workflows").glob("*.json"))}
CORE_TITLES = {
    "Upscale Image", "Load Image", "Load ControlNet Model", "KSampler", "Load Checkpoint", "Load LoRA",
    "Empty Latent Image", "Batch Images", "Batch Masks", "Invert Mask", "Detect Face Landmarks (MediaPipe)",
    "Load Face Detection Model (MediaPipe)", "ModelSamplingDiscrete",
}  # fmt: skip


GOLDEN = ROOT / "tests" / "golden"


def added(name: str, kept: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether there is more now than in a golden file: it is written into it, behind what is there."""
    if kept == now:
        return False
    text = json.dumps({**kept, **now}, indent=1, ensure_ascii=False, sort_keys=name == "defaults.json")
    in_one_line = re.sub(r"\[\s[^\[\]]*\]", lambda found: re.sub(r"\s*\n\s*", " ", found[0]), text)
    (GOLDEN / name).write_text(in_one_line.replace("[ ", "[").replace(" ]", "]") + "\n", "utf-8")
    return True


@WHOLE
def test_ids_choices_and_defaults_are_the_ones_saved_workflows_use() -> None:
    """What is new is written into the golden files, and this test fails once: look at it and commit it.

    What is there does not change, except for a default: one of the method, or one that CHANGELOG tells users of. What
    a node has no longer goes from here into core/earlier.json: tests/contract/test_earlier_versions.py. The files of
    numbers in tests/golden, from the authors' pipelines, never change at all.
    """
    ids_of_nodes: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for schema in SCHEMAS.values():
        files = ("file", "folder", "pack", "recognisers")
        listed = [entry for entry in schema.inputs if entry.id not in files]
        choices = {entry.id: list(entry.options) for entry in listed if hasattr(entry, "options")}
        inputs = [entry.id for entry in schema.inputs]
        outputs = [entry.id for entry in schema.outputs]
        ids_of_nodes[schema.node_id] = {"inputs": inputs, "outputs": outputs, "choices": choices}
        defaults_of_node = {entry.id: getattr(entry, "default", None) for entry in schema.inputs}
        defaults |= {f"{schema.node_id}.{name}": value for name, value in defaults_of_node.items() if value is not None}
    saved_ids: dict[str, Any] = json.loads((GOLDEN / "saved_ids.json").read_text("utf-8"))
    saved_defaults: dict[str, Any] = json.loads((GOLDEN / "defaults.json").read_text("utf-8"))
    for node, saved in saved_ids.items():
        ids = ids_of_nodes[node]
        for kind in ("inputs", "outputs"):
            assert ids[kind][: len(saved[kind])] == saved[kind], f"{kind} of {node}: a new one is the last one"
        for name, choices in saved["choices"].items():
            assert [choice for choice in ids["choices"][name] if choice in choices] == choices, (node, name)
    assert {name: defaults.get(name) for name in saved_defaults} == saved_defaults
    new = [added("saved_ids.json", saved_ids, ids_of_nodes), added("defaults.json", saved_defaults, defaults)]
    assert not any(new), "what is new stands in tests/golden now"


def test_names_of_inputs_and_outputs_are_of_one_style() -> None:
    """A capital at the beginning, words apart: as the host's own nodes and the boxes of our templates have them."""
    for language in ("en", "zh"):
        for schema in SCHEMAS.values():
            texts = translations.read(language)
            for kind in ("inputs", "outputs"):
                prefix = f"{schema.node_id}/{kind}/"
                names = [text for key, text in texts.items() if key.startswith(prefix) and key.endswith("/name")]
                wrong = [name for name in names if name[0].islower() or (name[0].isascii() and "_" in name)]
                assert wrong == [], (schema.node_id, language)


@pytest.mark.both_hosts
def test_nodes_explain_themselves() -> None:
    for schema in SCHEMAS.values():
        assert len(schema.description) > 40 and len(schema.search_aliases) >= 3, schema.node_id
        assert schema.category.startswith("likeness/"), schema.node_id
        silent = [entry.id for entry in schema.inputs if hasattr(entry, "default") and not entry.tooltip]
        assert silent == [], schema.node_id


def test_tooltips_of_numbers_end_with_range_and_default() -> None:
    """In English and Chinese, as the schema has them; of a seed the default alone."""
    texts = {language: translations.read(language) for language in ("en", *translations.TRANSLATED)}
    inputs = [(name, entry) for name, schema in SCHEMAS.items() for entry in schema.inputs]
    numbers = [pair for pair in inputs if isinstance(pair[1], (io.Int.Input, io.Float.Input))]
    assert len(numbers) > 90
    for name, entry in numbers:
        spans = {"en": rf"{entry.min:g} to {entry.max:g}\W+default", "zh": rf"{entry.min:g} 到 {entry.max:g}\W+默认"}
        if entry.max > 1e9:
            spans = {"en": "Default", "zh": "默认"}
        for language, span in spans.items():
            tooltip = texts[language][f"{name}/inputs/{entry.id}/tooltip"]
            assert re.search(rf"{span} {entry.default:g}\W$", tooltip), (name, entry.id, tooltip)


def default_in_words(entry: io.Input) -> dict[str, str] | None:
    """What a tooltip says last of a choice, a switch or a text, by language; None for other inputs.

    Files, packs and folders are those of a user, so a list of these has no default to name.
    """
    if isinstance(entry, io.Boolean.Input):
        return {"en": "on" if entry.default else "off", "zh": "开" if entry.default else "关"}
    if isinstance(entry, io.String.Input):
        return {"en": entry.default or "empty", "zh": entry.default or "留空"}
    of_user = entry.id in ("file", "pack", "folder") and entry.default is None
    if isinstance(entry, io.Combo.Input) and not of_user:
        chosen = entry.default or entry.options[0]
        return {"en": chosen, "zh": chosen}
    return None


def test_tooltips_of_choices_switches_and_texts_end_with_their_default() -> None:
    texts = {language: translations.read(language) for language in ("en", *translations.TRANSLATED)}
    wrong = list[tuple[str, str, str]]()
    for name, schema in SCHEMAS.items():
        for entry in schema.inputs:
            for language, default in (default_in_words(entry) or {}).items():
                tooltip = texts[language][f"{name}/inputs/{entry.id}/tooltip"]
                if default not in re.split("Default|默认", tooltip)[-1] or not re.search("Default|默认", tooltip):
                    wrong.append((name, f"{language} {entry.id} = {default}", tooltip))
    assert wrong == []


def test_notes_name_nodes_by_their_titles() -> None:
    """*Emphasis with a capital* in a note is a title: of a node there or in a box, of one of ours, or of a template."""
    titles_of_ours = {entry.display_name for entry in SCHEMAS.values()}
    titles_of_ours |= {title.split(" (")[0] for title in titles_of_ours}
    texts = translations.main_file("en")["templateWorkflows"]
    known_titles = (
        CORE_TITLES | titles_of_ours | {*texts["template"]["likeness"].values(), "Two people (toy model)", "Workflows"}
    )
    for name, path in WORKFLOWS.items():
        graph = json.loads(path.read_text("utf-8"))
        (note,) = (node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "MarkdownNote")
        nodes = [*graph["nodes"]]
        for box in graph.get("definitions", {}).get("subgraphs", []):
            nodes += box["nodes"]
        titles_in_the_graph = {node["title"] for node in nodes if "title" in node}
        # Photo of Anna and Photo of Ben: each *Photo*; Are they in it? Ctrl+B: *Are they in it?*
        kinds = {re.split(r"[:,]| of |(?<=\?) ", title)[0] for title in titles_in_the_graph}
        kinds |= {title.split(":")[0] for title in titles_in_the_graph}  # LoRA of person 2: Ctrl+B switches it on
        titles = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", note))
        assert titles - titles_in_the_graph - kinds - known_titles - {"Open in Mask Editor"} == set(), name


@pytest.fixture(params=translations.TRANSLATED)
def language(request: pytest.FixtureRequest) -> str:
    return request.param


@WHOLE
def test_english_is_what_the_nodes_say() -> None:
    """locales/en is what the others were translated from."""
    assert sorted(translations.read("en").items() ^ ENGLISH.items()) == []


@WHOLE
def test_every_text_is_translated_and_no_other(language: str) -> None:
    texts = translations.read(language)
    main_texts = translations.main_file(language)
    assert sorted(texts.keys() ^ ENGLISH.keys()) == []
    tooltips = [text for path, text in texts.items() if path.endswith("tooltip")]
    assert [text for text in tooltips if not re.search(r"[\u4e00-\u9fff]", text)] == []
    assert [text for text in texts.values() if re.search(r"[{}@|]", text)] == [], "messages give these a meaning"
    parts = {part for schema in SCHEMAS.values() for part in schema.category.split("/")}
    assert main_texts["nodeCategories"].keys() == parts


def test_words_of_a_list_keep_their_english(language: str) -> None:
    """It is shown behind the translation and names the word in tooltips, help pages and messages."""
    texts = translations.read(language)
    translated_words = translations.table(language, translations.OPTIONS)
    words: set[str] = set()
    for schema in SCHEMAS.values():
        for entry in schema.inputs:
            path = f"{schema.node_id}/inputs/{entry.id}/tooltip"
            listed = [str(word) for word in getattr(entry, "options", None) or []]
            named = [word for word in listed if f"{word}:" in ENGLISH.get(path, "")]
            assert [word for word in named if word not in texts[path]] == [], path
            words |= {word for word in listed if re.match(r"[a-z ]{2}", word)}
    # "none found" is in a list where nothing was; names are the same in every language.
    names = {"torch", "onnxruntime", "antelopev2", "arcface-ir-se50"}
    names |= {word for word in words if word.endswith(".safetensors")}
    assert sorted(translated_words.keys() ^ (words | {"none found"}) - names - WORKFLOWS.keys()) == []


def test_the_app_of_a_template_asks_for_no_input_that_is_folded_away() -> None:
    """Of an input under *Show advanced inputs* an app shows the label and no field, in frontend 1.49.6."""
    folded: list[tuple[str, str]] = []
    for stem, path in WORKFLOWS.items():
        graph = json.loads(path.read_text("utf-8"))
        nodes = {node["id"]: node for node in graph["nodes"]}
        for number, name, *_ in graph["extra"]["linearData"]["inputs"]:
            schema = SCHEMAS.get(nodes[number]["type"])
            inputs = schema.inputs if schema else []
            for node_input in inputs:
                if node_input.id == name and (node_input.extra_dict or {}).get("advanced"):
                    folded.append((stem, name))
    assert folded == []


def test_a_node_without_texts_is_told_where_they_belong() -> None:
    with pytest.raises(BadRecord, match=r"locales/en/nodeDefs.json .* no display_name for the node LikenessMine"):
        with_texts(io.Schema(node_id="LikenessMine", inputs=[], outputs=[]))
