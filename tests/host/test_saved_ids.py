"""What saved workflows and API prompts know a node by: ids of inputs and outputs, in their order, and choices."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from pack.nodes.extension import Likeness

SAVED = Path(__file__).resolve().parents[1] / "golden" / "saved_ids.json"


def ids() -> dict[str, Any]:
    """Without choices that are files."""
    found: dict[str, Any] = {}
    for node in asyncio.run(Likeness().get_node_list()):
        schema = node.GET_SCHEMA()
        choices = {
            one.id: list(one.options)
            for one in schema.inputs
            if hasattr(one, "options") and one.id not in ("file", "folder", "pack", "recognisers")
        }
        inputs, outputs = ([one.id for one in some] for some in (schema.inputs, schema.outputs))
        found[schema.node_id] = {"inputs": inputs, "outputs": outputs, "choices": choices}
    return found


def test_ids_and_choices_are_the_ones_saved_workflows_use() -> None:
    """A new input at the end, a new choice or a new node is added to the file; nothing else in it ever changes."""
    assert ids() == json.loads(SAVED.read_text("utf-8"))
