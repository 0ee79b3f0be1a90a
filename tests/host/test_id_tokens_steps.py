"""At which step ID-Patch's tokens come, beside the authors' own rule, as the help page of Apply ID-Patch says."""

from functools import partial
from typing import Any

import comfy.model_sampling
import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingDiscreteDistilled
from pack.bridge.sampling.conditioning import JUST_BEHIND, changed_at

START = 0.2


class Plain(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    """SDXL's schedule, as the host builds it."""


def without_tokens(schedule: comfy.model_sampling.ModelSamplingDiscrete, scheduler: str, steps: int) -> int:
    """How many steps read the text alone. ddim_uniform with denoise 0.99, as KSampler computes it."""
    sigmas = comfy.samplers.calculate_sigmas(schedule, scheduler, steps)
    if scheduler == "ddim_uniform":
        sigmas = comfy.samplers.calculate_sigmas(schedule, scheduler, int(steps / 0.99))[-(steps + 1) :]
    entry = [torch.zeros(1, 1, 1), {}]
    before, _ = changed_at(entry, entry, START)
    return int((sigmas[:-1] > schedule.percent_to_sigma(before[1]["clip_end_percent"])).sum())


def authors(steps: int) -> int:
    """pipeline_idpatch_sd_xl.py:350: text alone while i < T * (1 - 0.8)."""
    return sum(step < steps * (1 - 0.8) for step in range(steps))


def late(schedule: comfy.model_sampling.ModelSamplingDiscrete, scheduler: str) -> dict[int, int]:
    """By number of steps, up to 50: how many steps after the authors' the tokens come."""
    return {steps: without_tokens(schedule, scheduler, steps) - authors(steps) for steps in range(1, 51)}


@pytest.mark.parametrize(
    "schedule, scheduler",
    [(Plain, "simple"), (Plain, "sgm_uniform"), (ModelSamplingDiscreteDistilled, "simple")],
    ids=["Euler, simple", "Euler, sgm_uniform", "LCM, simple"],
)
def test_few_steps_bring_the_tokens_at_the_authors_step(schedule: type, scheduler: str) -> None:
    assert set(late(schedule(), scheduler).values()) == {0}


def test_ddim_uniform_brings_them_at_the_authors_step_or_earlier() -> None:
    late_by_steps = late(Plain(), "ddim_uniform")
    assert [steps for steps, number in late_by_steps.items() if number == 0] == [5, 10, 20, 25, 40, 50]
    assert sum(number == -1 for number in late_by_steps.values()) == 36
    assert min(late_by_steps.values()) == -3


def shifted(shift: float) -> Any:
    """A schedule as SD3, Qwen-Image and Z-Image have it."""
    kind = type("Flow", (comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST), {})
    schedule = kind()
    schedule.set_parameters(shift=shift)
    return schedule


def of_flux(mu: float) -> Any:
    schedule = type("Flux", (comfy.model_sampling.ModelSamplingFlux, comfy.model_sampling.CONST), {})()
    schedule.set_parameters(shift=mu)
    return schedule


SHIFTED = {f"shift {shift:g}": partial(shifted, shift) for shift in (1, 1.73, 3, 3.1, 5, 6, 7, 12)}
OF_FLUX = {f"mu {mu:g}": partial(of_flux, mu) for mu in (0.5, 1.15, 2.02, 3.2)}


@pytest.mark.parametrize(
    "scheduler, name", [("sgm_uniform", "SDXL"), *(("simple", name) for name in SHIFTED | OF_FLUX)]
)
def test_steps_at_a_boundary_lie_on_its_side_of_any_schedule(scheduler: str, name: str) -> None:
    """By the host's rule, at a start and at an end that includes it, for all percentages of three decimals."""
    schedule = {"SDXL": Plain, **SHIFTED, **OF_FLUX}[name]()
    entry = [torch.zeros(1, 1, 1), {}]
    steps = torch.cat([comfy.samplers.calculate_sigmas(schedule, scheduler, n)[:-1] for n in (4, 10, 20, 25, 40)])
    found = 0
    for percent in (number / 1000 for number in range(1, 1000)):
        sigma = float(schedule.percent_to_sigma(percent))
        at_it = steps[(steps - sigma).abs() <= 4e-7 * steps].tolist()
        found += len(at_it)
        for change, is_before in ((percent, False), (percent + JUST_BEHIND, True)):
            if not at_it or change >= 1:
                continue
            before, after = (options for _, options in changed_at(entry, entry, change))
            assert before["clip_end_percent"] == after["clip_start_percent"]
            boundary = float(schedule.percent_to_sigma(before["clip_end_percent"]))
            assert [sigma >= boundary for sigma in at_it] == [is_before] * len(at_it), percent
            assert boundary not in at_it
    assert found
