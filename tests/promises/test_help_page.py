"""A help page of each of its nodes, or of the one that replaced it, in English and Chinese, that names every input."""

from pathlib import Path

from graph_run import OURS
from pack.core.methods import Method
from pack.nodes.replaced import OLD_CLASS_MAPPINGS

PAGES = Path(__file__).parents[2] / "web" / "docs"


def test_every_node_has_its_page(method: Method) -> None:
    for known in {method.node, *method.applies}:
        schema = OURS[known].define_schema()
        kind = OLD_CLASS_MAPPINGS[known].by if schema.is_deprecated else known
        inputs = [one.id for one in schema.inputs]
        for page in (PAGES / f"{kind}.md", PAGES / kind / "zh.md"):
            text = page.read_text("utf-8")
            assert not [name for name in inputs if name not in text], page.name
