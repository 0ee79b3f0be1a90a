"""Two packs of other authors, where they are in custom_nodes, beside ours: both act, in either order in a graph.

One adds to the output of every cross-attention, the other reads texts of its own there: what other packs do is one of
these, or a wrapper, of which tests/every_method has imitations. Run this file alone where there are such packs: what
they change in ComfyUI stays changed in the process.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from bench import by_packs, installed, unets
from bench.figures import Applied
from bench.unets import Networks
from pack.bridge.sampling.model_conds import ConditioningLost
from torch import Tensor

OURS = ("instant_id", "id_patch", "prompt_per_person", "share_parts", "lora_per_person")
THEIRS = {by_packs.IP_ADAPTER_PLUS: "ip_adapters", by_packs.PPM: "attention_couple_and_common"}
PEOPLE = 2
REFUSED = {by_packs.PPM: ("id_patch", "prompt_per_person")}
"""By pack: ours that refuse its rows, which read texts of their own."""
VISIBLE = 1e-3
ROUNDING = 2e-5


@cache
def networks() -> Networks:
    """As deep as published: other packs count its layers."""
    return unets.for_timing(unets.tiny(unets.SDXL), torch.float32)


def with_ours(ours: str, model: Any) -> Applied:
    return unets.ON_UNETS[ours].apply(replace(networks(), model=model), PEOPLE)


def with_theirs(theirs: str, applied: Applied) -> Applied:
    model = by_packs.BY_PACKS[theirs].apply(replace(networks(), model=applied.model), PEOPLE).model
    return applied._replace(model=model)


def picture(applied: Applied) -> Tensor:
    return networks().sampled(applied, 4)


def apart(latent: Tensor, other: Tensor) -> float:
    return float((latent - other).abs().max() / other.abs().max())


@pytest.mark.thorough
@pytest.mark.parametrize("pack", THEIRS)
def test_both_act_in_either_order(pack: str) -> None:
    if not installed.loaded([pack]):
        pytest.skip(f"{pack} is not in custom_nodes")
    theirs = THEIRS[pack]
    theirs_alone = with_theirs(theirs, networks().plain())
    for ours in OURS:
        if ours in REFUSED.get(pack, ()):
            with pytest.raises(ConditioningLost, match="Prompt per Person gives each person a prompt by region"):
                picture(with_theirs(theirs, with_ours(ours, networks().model)))
            continue
        behind_ours = picture(with_theirs(theirs, with_ours(ours, networks().model)))
        before_ours = picture(with_ours(ours, theirs_alone.model))
        assert apart(behind_ours, before_ours) < ROUNDING, ours
        assert apart(behind_ours, picture(theirs_alone)) > VISIBLE, f"{ours} acts"
        assert apart(behind_ours, picture(with_ours(ours, networks().model))) > VISIBLE, f"theirs beside {ours}"
