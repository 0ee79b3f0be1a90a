"""Beside other packs: the same picture whoever stands first, and both act."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from attack_graphs import DEFAULTS, MODELS, Node, value
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

    made: dict[Node, Any] = {}
    applied = row.node()
    behind = row.sampled(applied, steps=1)
    behind.inputs["model"] = theirs(applied if "model" in row.inputs else model)
    before = latents(behind, made)
    if "model" in row.inputs:
        assert torch.equal(latents(row.sampled(in_front(applied, theirs(model)), steps=1)), before)
    without = latents(row.plain(theirs(model), steps=1))
    assert relative(before, without) > 1e-5, "ours acts"
    alone = latents(row.sampled(applied, steps=1), made)
    if pack.removeprefix("host_node:") not in WITHOUT_EFFECT:
        assert relative(before, alone) > 1e-5, "theirs acts"
    assert torch.equal(alone, latents(row.sampled(row.node(), steps=1))), "what the host has of ours is as it was"


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("kind", ["LikenessApplyInstantID", "LikenessApplyParts"])
def test_beside_the_hosts_own_nodes(kind: str, name: str) -> None:
    test_before_or_after_nothing_is_lost(Row(None, kind), f"host_node:{name}")


WAYS = [
    "rows one by one",
    *(pytest.param(way, marks=pytest.mark.thorough) for way in ("the last row first", "every row twice")),
]


@pytest.mark.parametrize("around", WAYS)
def test_a_function_around_the_model_that_moves_rows(way: Row, around: str) -> None:
    graph = way.sampled(way.node(), steps=1)
    whole = latents(graph)
    graph.inputs["model"] = value(f"wrapped(a, {around!r})", graph.inputs["model"])
    assert relative(latents(graph), whole) <= 2e-5
