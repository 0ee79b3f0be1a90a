"""A help page of each of its nodes, in English and Chinese, that names every input."""

from __future__ import annotations

from pathlib import Path

from graph_run import OURS
from pack.core.methods import Method

PAGES = Path(__file__).parents[2] / "web" / "docs"


def test_every_node_has_its_page(method: Method) -> None:
    for kind in {method.node, *method.applies}:
        inputs = [one.id for one in OURS[kind].define_schema().inputs]
        for page in (PAGES / f"{kind}.md", PAGES / kind / "zh.md"):
            text = page.read_text("utf-8")
            assert not [name for name in inputs if name not in text], page.name
