"""Beside other packs: the same picture whoever stands first, and both act."""

from __future__ import annotations

import pytest
import torch
from attack_graphs import DEFAULTS, MODELS, value
from figures import relative
from host_nodes import NODES
from promised import Row, in_front, latents

PACKS = ["their_layers", *(pytest.param(f"host_node:{name}", marks=pytest.mark.thorough) for name in NODES)]
WITHOUT_EFFECT = {"SLG", "SLG, negative only", "ToMe"}
"""Of ComfyUI's own, on models of this size."""


@pytest.mark.parametrize("pack", PACKS)
def test_before_or_after_nothing_is_lost(row: Row, pack: str) -> None:
    if pack.startswith("host_node") and row.method and not {"SDXL", "SD1.5"} & {*row.method.families}:
        return
    model = DEFAULTS[row.kind].get("model") or value(MODELS[row.kind])

    def theirs(model):
        return value(f"theirs(a, {pack!r})", model)

    if "model" in row.inputs:
        before = latents(row.sampled(in_front(row.node(), theirs(model)), steps=1))
        applied = row.node()
        behind = row.sampled(applied, steps=1)
        behind.inputs["model"] = theirs(applied)
        assert torch.equal(latents(behind), before)
    else:
        beside = row.sampled(row.node(), steps=1)
        beside.inputs["model"] = theirs(model)
        before = latents(beside)
    without = latents(row.plain(theirs(model), steps=1))
    assert relative(before, without) > 1e-5, "ours acts"
    if pack.removeprefix("host_node:") not in WITHOUT_EFFECT:
        assert relative(before, latents(row.sampled(row.node(), steps=1))) > 1e-5, "theirs acts"


WAYS = [
    "rows one by one",
    *(pytest.param(way, marks=pytest.mark.thorough) for way in ("the last row first", "every row twice")),
]


@pytest.mark.parametrize("around", WAYS)
def test_a_function_around_the_model_that_moves_rows(row: Row, around: str) -> None:
    graph = row.sampled(row.node(), steps=1)
    whole = latents(graph)
    graph.inputs["model"] = value(f"wrapped(a, {around!r})", graph.inputs["model"])
    assert relative(latents(graph), whole) <= 2e-5
