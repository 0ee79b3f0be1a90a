"""The table of what works on which model says what the descriptions of the families say."""

from pathlib import Path

import pytest
from pack.bridge.networks.families import TRANSFORMERS
from pack.bridge.networks.transformer_families import TransformerFamily
from pack.core import families
from pack.core.methods import methods
from shared import families_table

ROOT = Path(__file__).resolve().parents[2]
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
    described = {transformer.name for transformer in TRANSFORMERS}
    assert set(table()) == of_methods | described


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=lambda transformer: transformer.name)
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
