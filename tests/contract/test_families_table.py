"""The table of what works on which model says what the descriptions of the families say, and each model of it can be
started: its files are in the manifest, and a template draws by them."""

import json
from pathlib import Path
from typing import Any

import pytest
from pack.bridge.networks.families import DESCRIBED
from pack.bridge.networks.transformer_families import TransformerFamily
from pack.core import families
from pack.core.methods import methods
from pack.core.models import manifest
from pack.core.models.workflow_needs import LOADERS, loaded
from shared import families_table, workflow
from shared.choices import as_prompt

ROOT = Path(__file__).resolve().parents[2]
DRAWN_BY = json.loads(Path(__file__).with_name("workflows.json").read_text("utf-8"))["drawn by"]
"""A family, the ids of all files that one of its models needs, and what draws by them: a template as it opens, or a
template and the name of a switch that its note offers and that tests/host/test_workflows.py draws by."""
DRAWN = json.loads((ROOT / "tests" / "host" / "workflows.json").read_text("utf-8"))
FILES = {model.id: model for model in manifest.models()}
PAGE = "docs/which_method.md"
BEGIN = "<!-- models families: from the descriptions of the families -->\n"
END = "<!-- models families end -->"


def table() -> dict[str, list[str]]:
    """The cells behind the name of each family."""
    text = (ROOT / PAGE).read_text("utf-8")
    lines = text.split(BEGIN)[1].split(END)[0].splitlines()[2:]
    rows: dict[str, list[str]] = {}
    for line in lines:
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows[name] = cells
    return rows


def test_every_family_that_something_is_for_has_a_row() -> None:
    of_methods = set().union(*(record.families for record in methods()))
    described = {transformer.name for transformer in DESCRIBED}
    assert set(table()) == of_methods | described


@pytest.mark.parametrize("transformer", DESCRIBED, ids=lambda transformer: transformer.name)
def test_a_row_says_what_the_description_says(transformer: TransformerFamily) -> None:
    photos, loras, words, second_pass, control_net, host = table()[transformer.name]
    readers = [record.title for record in methods() if transformer.name in record.families]
    assert photos == ", ".join(readers)
    assert loras == families_table.YES
    assert transformer.streams
    assert words == families_table.YES
    assert second_pass == (families_table.YES if readers else "")
    assert control_net.strip("*") == transformer.control_net
    assert host == transformer.least_host


def test_on_unets_everything_works_and_parts_are_no_photos_of_a_person() -> None:
    rows = table()
    for family in (families.SD15.name, families.SDXL.name):
        photos, *other_cells = rows[family]
        assert "IP-Adapter" in photos
        assert "Parts" not in photos
        assert other_cells == ["●", "●", "●", "*Apply ControlNet*", families_table.OLDEST]
    assert "SD2" not in rows, "nothing is made for it"


def opened(template: str, all_on: bool) -> dict[str, Any]:
    """A template. all_on: what Ctrl+B has switched off is on."""
    graph = workflow.load(ROOT / "workflows" / f"{template}.json")
    for node in workflow.all_nodes(graph):
        node["mode"] = 0 if all_on else node["mode"]
    return graph


def test_every_family_of_the_table_can_be_drawn_by_and_no_other() -> None:
    assert {family for family, *_ in DRAWN_BY} == set(table())


@pytest.mark.parametrize(("family", "ids", "by"), DRAWN_BY, ids=lambda value: value if isinstance(value, str) else "")
def test_a_template_or_its_switch_draws_by_all_files_of_a_family(family: str, ids: list[str], by: str) -> None:
    files = [FILES[model_id] for model_id in ids]
    assert files[0].family == family
    needed = {"checkpoints"} if files[0].key == "checkpoints" else {"diffusion_models", "text_encoders", "vae"}
    assert {file.key for file in files} == needed

    template, _, switch = by.partition(", ")
    graph = opened(template, all_on=bool(switch))
    chosen = {file.name for file in loaded(as_prompt(graph))}
    keys_set: set[str] = set()
    if switch:
        (note,) = (node for node in graph["nodes"] if node["type"] == "MarkdownNote")
        assert switch.lower() in note["widgets_values"][0].lower()
        values = DRAWN["loaders"][by][0] if by in DRAWN["loaders"] else DRAWN["instead"][by][1]
        menus = [name.partition("=")[0].partition(".") for name in values]
        keys_set = {LOADERS[kind][menu] for kind, _, menu in menus if menu in LOADERS.get(kind, {})}
    assert [file.id for file in files if file.name not in chosen and file.key not in keys_set] == []


def test_every_file_of_the_manifest_is_of_a_family_that_can_be_drawn_by() -> None:
    assert {model.family for model in FILES.values()} <= {"", *(family for family, *_ in DRAWN_BY)}
