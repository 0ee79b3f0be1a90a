"""A sampler of the host that enlarges the latent between steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from comfy.samplers import KSAMPLER
from figures import relative
from host_sampling import Applied, applied, latent_of, sampled, sigmas_of
from marks import each
from method_rows import Row, rows


@dataclass(frozen=True)
class Step:
    """x, denoised: (N, C, h, w) or (N, C, T, h, w), what the network is given and what the guider makes of it."""

    x: torch.Tensor
    sigma: torch.Tensor
    denoised: torch.Tensor


def steps_of(inputs: Applied, latent: torch.Tensor, sigmas: torch.Tensor, sampler: KSAMPLER) -> list[Step]:
    steps: list[Step] = []

    def noting(model: Any, x: torch.Tensor, sigmas: torch.Tensor, **more: Any) -> torch.Tensor:
        def note(state: dict[str, Any]) -> None:
            steps.append(Step(state["x"].clone(), state["sigma"], state["denoised"].clone()))

        return sampler.sampler_function(model, x, sigmas, **{**more, "callback": note})

    torch.manual_seed(3)  # the sampler that enlarges draws noise of its own
    sampled(inputs.guider(), latent, sigmas, KSAMPLER(noting, sampler.extra_options))
    return steps


def alone(inputs: Applied, latent: torch.Tensor, step: Step, sigmas: torch.Tensor) -> torch.Tensor:
    """What a run makes of it that has met no other size."""
    denoised: list[torch.Tensor] = []

    def one_step(model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, **_: Any) -> torch.Tensor:
        denoised.append(model(step.x, step.sigma * x.new_ones(len(x)), **extra_args))
        return x

    sampled(inputs.guider(), latent, sigmas, KSAMPLER(one_step))
    return denoised[0]


@pytest.mark.parametrize(
    "row",
    each(rows(), ["instant_id, ApplyInstantID", "pulid, ApplyPuLID, FLUX.1", "parts2whole, ApplyParts2Whole"]),
    ids=str,
)
def test_each_step_of_a_latent_that_grows_is_that_of_a_run_of_its_own(row: Row) -> None:
    nodes = pytest.importorskip(
        "comfy_extras.nodes_advanced_samplers", reason="this ComfyUI has no sampler that enlarges"
    )
    if not row.runs_here:
        pytest.skip("this ComfyUI has no MODEL for it")
    kind = nodes.SamplerLCMUpscale
    result = kind.execute(2.0, -1, "bilinear") if hasattr(kind, "execute") else kind().get_sampler(2.0, -1, "bilinear")
    sampler = result[0] if isinstance(result, tuple) else result.args[0]
    inputs = applied(row, row.node())
    sigmas = sigmas_of(inputs.model, 3)
    steps = steps_of(inputs, latent_of(row), sigmas, sampler)
    sides = [step.x.shape[-1] / latent_of(row).shape[-1] for step in steps]
    assert sides == [1, 1.5, 2]
    for step in steps:
        assert relative(alone(applied(row, row.node()), latent_of(row), step, sigmas), step.denoised) < 1e-6
