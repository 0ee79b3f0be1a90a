"""Percentages are of the schedule of the MODEL that samples, wherever the node stands that changes it."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import host_sampling
import pytest
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_easycache import EasyCacheNode
from comfy_extras.nodes_model_advanced import (
    ModelSamplingContinuousEDM,
    ModelSamplingContinuousV,
    ModelSamplingDiscrete,
    ModelSamplingFlux,
)
from figures import relative
from host_sampling import applied, latent_of, sampled, sigmas_of
from marks import each
from method_rows import OFTEN, Row, node, rows

STARTS = ("start_percent", "adapter_start_percent", "id_start_percent", "references_start_percent")
ENDS = ("end_percent", "adapter_end_percent", "references_end_percent")


def outputs(result: Any) -> Any:
    """The first output of a node of the host, of either of its two kinds."""
    return result[0] if isinstance(result, (tuple, list)) else result.args[0]


def patched(kind: type, model: ModelPatcher, *settings: Any) -> ModelPatcher:
    if hasattr(kind, "patch"):
        return outputs(kind().patch(model, *settings))
    return outputs(kind.execute(model, *settings))


def with_zero_snr(model: ModelPatcher) -> ModelPatcher:
    return patched(ModelSamplingDiscrete, model, "v_prediction", True)


def with_lcm(model: ModelPatcher) -> ModelPatcher:
    return patched(ModelSamplingDiscrete, model, "lcm", False)


def as_playground(model: ModelPatcher) -> ModelPatcher:
    return patched(ModelSamplingContinuousEDM, model, "edm_playground_v2.5", 120.0, 0.002)


def with_continuous_v(model: ModelPatcher) -> ModelPatcher:
    return patched(ModelSamplingContinuousV, model, "v_prediction", 500.0, 0.03)


def with_flux_shift(model: ModelPatcher) -> ModelPatcher:
    return patched(ModelSamplingFlux, model, 2.5, 0.5, 1024, 1024)


SCHEDULES: dict[str, tuple[Callable[[ModelPatcher], ModelPatcher], str, str]] = {
    "zero SNR": (with_zero_snr, "euler", "sgm_uniform"),
    "Playground": (as_playground, "euler", "karras"),
    "lcm": (with_lcm, "lcm", "sgm_uniform"),
    "continuous V": (with_continuous_v, "euler", "karras"),
}
"""By name: what changes the MODEL, and with which sampler and scheduler it is drawn."""


def with_ranges(row: Row) -> dict[str, float]:
    """Every range of the node from 30 to 70 % of the schedule."""
    starts = {name: 0.3 for name in STARTS if name in row.inputs}
    ends = {name: 0.7 for name in ENDS if name in row.inputs}
    return {**starts, **ends}


def both_ways(row: Row, change: Callable[[ModelPatcher], ModelPatcher]) -> list[host_sampling.Applied]:
    """The node behind what changes the schedule, and in front of it."""
    graph = row.node(**with_ranges(row))
    behind_the_change = applied(row, graph)
    if "model" in row.inputs:
        model = change(host_sampling.plain(row).model)
        behind_the_change = applied(row, node(graph.kind, **{**graph.inputs, "model": model}))
    else:
        behind_the_change = with_changed_model(behind_the_change, change)
    return [behind_the_change, with_changed_model(applied(row, graph), change)]


def with_changed_model(
    inputs: host_sampling.Applied, change: Callable[[ModelPatcher], ModelPatcher]
) -> host_sampling.Applied:
    return host_sampling.Applied(change(inputs.model), inputs.positive, inputs.negative)


def with_a_range(row: Row) -> bool:
    return bool(with_ranges(row)) and row.runs_here


@pytest.mark.both_hosts
@pytest.mark.parametrize(
    ("row", "schedule"),
    each(
        product([row for row in rows() if row.of_unets and with_a_range(row)], SCHEDULES),
        [
            ("id_patch, ApplyIDPatch", "zero SNR"),
            ("instant_id, ApplyInstantID", "Playground"),
            ("LoRAPerPerson", "zero SNR"),
        ],
    ),
    ids=str,
)
def test_a_node_that_changes_the_schedule_may_stand_before_or_behind(row: Row, schedule: str) -> None:
    change, sampler, scheduler = SCHEDULES[schedule]
    pictures = [
        sampled(inputs.guider(2.0), latent_of(row), sigmas_of(inputs.model, 5, scheduler), sampler)
        for inputs in both_ways(row, change)
    ]
    assert pictures[0].isfinite().all()
    assert relative(*pictures) <= 1e-6


@pytest.mark.parametrize("row", each([row for row in rows() if not row.of_unets and with_a_range(row)], OFTEN), ids=str)
def test_a_shift_of_flux_may_stand_before_or_behind(row: Row) -> None:
    pictures = [
        sampled(inputs.guider(2.0), latent_of(row), sigmas_of(inputs.model, 10, "simple"))
        for inputs in both_ways(row, with_flux_shift)
    ]
    assert relative(*pictures) <= 1e-6


CHANGE_IN_THE_SCHEDULE = ("LikenessApplyIDPatch", "LikenessApplyPhotoMaker")


@pytest.mark.parametrize("row", each([row for row in rows() if row.kind in CHANGE_IN_THE_SCHEDULE], OFTEN), ids=str)
@pytest.mark.parametrize("cfg", [pytest.param(1.0, marks=pytest.mark.thorough), 4.0])
def test_easycache_saves_steps_of_a_prompt_that_changes_in_the_schedule(
    row: Row, cfg: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a threshold at which EasyCache saves more than half of the steps of a plain picture."""
    forwards: list[int] = []
    plainly = UNetModel._forward  # pyright: ignore[reportPrivateUsage]

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        forwards.append(1)
        return plainly(self, *args, **kwargs)

    monkeypatch.setattr(UNetModel, "_forward", counted)
    ours = host_sampling.applied(row, row.node())
    saving = outputs(EasyCacheNode.execute(ours.model, 3.0, 0.15, 0.95, False))
    counts: list[int] = []
    for model in (ours.model, saving):
        forwards.clear()
        sampled(replace(ours, model=model).guider(cfg), latent_of(row), sigmas_of(model, 20))
        counts.append(len(forwards))
    assert counts[1] < 0.8 * counts[0]
