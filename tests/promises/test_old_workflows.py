"""Workflows saved by earlier versions, which lack inputs that came later, give the same picture."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from attack_graphs import node
from comfy_api.latest._io import WidgetInput
from promised import Row, latents, picture

KNOWN = json.loads((Path(__file__).parents[1] / "golden" / "defaults.json").read_text("utf-8"))


def test_without_the_inputs_that_came_later_it_is_the_same_picture(row: Row) -> None:
    """These are the optional widgets: whoever saved a workflow before has none of them."""
    later = [name for name, one in row.inputs.items() if one.optional and isinstance(one, WidgetInput)]
    for name in row.inputs:
        default = row.inputs[name].default if isinstance(row.inputs[name], WidgetInput) else None
        assert default is None or KNOWN.get(f"{row.kind}.{name}", default) == default
    if later:
        applied = row.node(**{name: row.inputs[name].default for name in later})
        old = node(row.kind, **{name: given for name, given in applied.inputs.items() if name not in later})
        whole = latents(row.sampled(applied)) if applied.inputs != row.node().inputs else picture(row)
        assert torch.equal(latents(row.sampled(old)), whole)
