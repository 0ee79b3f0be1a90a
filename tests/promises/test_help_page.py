"""A help page of each of its nodes, in English and Chinese.

Its table has a row for every input.
"""

import re
from pathlib import Path

from graph_run import OURS
from pack.core.methods import Method

PAGES = Path(__file__).parents[2] / "web" / "docs"


def rows_of(page: Path) -> set[str]:
    """The inputs that the tables of a page have a row for: what stands in backticks in a row's first cell."""
    named = set[str]()
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("|"):
            named |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
    return named


def test_every_node_has_its_page(method: Method) -> None:
    nodes = {method.node, *method.applies} - {""}
    assert nodes, "the record names no node"
    for known in nodes:
        inputs = {entry.id for entry in OURS[known].define_schema().inputs}
        assert inputs
        for page in (PAGES / f"{known}.md", PAGES / known / "zh.md"):
            assert inputs - rows_of(page) == set(), page
