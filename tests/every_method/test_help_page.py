"""A help page of each of its nodes, in English and Chinese, with a row for every output.

`tests/contract/test_help_pages.py` holds names and ids of inputs and outputs on all pages to the schemas.
"""

import re
from pathlib import Path

from graph_run import OURS
from pack.core.methods import Method

PAGES = Path(__file__).parents[2] / "web" / "docs"


def rows_of(page: Path) -> set[str]:
    """What the tables of a page have a row for: ids in backticks in a row's first cell."""
    named = set[str]()
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("|"):
            named |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
    return named


def test_every_node_has_its_page(method: Method) -> None:
    nodes = {method.node, *method.applies} - {""}
    assert nodes, "the record names no node"
    for node in nodes:
        outputs = {entry.id for entry in OURS[node].define_schema().outputs}
        assert outputs
        for page in (PAGES / f"{node}.md", PAGES / node / "zh.md"):
            assert outputs - rows_of(page) == set(), page
