"""A template with its node and a picture for each way to use it.

tests/host/test_workflows.py runs every template untouched.
"""

from pathlib import Path

from pack.core.methods import Method
from pack.core.models import workflow_nodes

WORKFLOWS = Path(__file__).parents[2] / "workflows"


def test_a_template_with_its_node_is_there(method: Method) -> None:
    assert method.uses
    for use in method.uses:
        graph = workflow_nodes.workflow((WORKFLOWS / f"{use.template}.json").read_text("utf-8"))
        assert method.used_by({kind for kind, *_ in workflow_nodes.nodes(graph)}), use.template
        assert (WORKFLOWS / f"{use.template}.jpg").is_file()
