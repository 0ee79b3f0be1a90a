"""Methods one after the other on one MODEL and one prompt."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from attack_graphs import MODELS, ours, sampler, value
from graph_run import run
from torch import Tensor

OFF: dict[str, dict[str, float]] = {
    "LikenessApplyIDPatch": {"strength": 0.0},
    "LikenessApplyInstantID": {"adapter_weight": 0.0, "control_strength": 0.0},
    "LikenessApplyIPAdapter": {"weight": 0.0},
    "LikenessSharePartsAttention": {"strength": 0.0},
}


def drawn(off: str = "") -> Tensor:
    """With every method but the one that is switched off."""
    first, *others = OFF
    changed: dict[str, dict[str, Any]] = {kind: dict(OFF[kind]) if kind == off else {} for kind in OFF}
    changed["LikenessSharePartsAttention"] |= {"clip": value("sdxl_clip()")}
    applied = ours(first, **changed[first])
    model, positive, negative = value(MODELS[first]), applied, applied[1]
    for kind in others:
        applied = ours(kind, model=model, positive=positive, negative=negative, **changed[kind])
        model, positive, negative = applied, applied[1], applied[2]
    return run(sampler(model, positive, negative), {})[0]["samples"]


def test_each_adds_something_of_its_own_and_nothing_comes_back_from_a_run_before() -> None:
    everything = drawn()
    pictures = [everything, *map(drawn, OFF)]
    assert not [pair for pair in itertools.combinations(pictures, 2) if torch.equal(*pair)]
    assert torch.equal(drawn(), everything)
