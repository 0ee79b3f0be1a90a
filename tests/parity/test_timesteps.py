"""Each workflow's own sampler settings against the authors' schedulers as published (diffusers)."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import authors_settings
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import diffusers
import pytest
import tiny_sd15
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from pack.nodes.parts2whole import files as parts2whole_files
from parts_made import SCHEDULER
from peers import BETAS
from shared.workflow import nodes_in

ROOT = Path(__file__).resolve().parents[2]
FILES = [*sorted((ROOT / "workflows").glob("*.json")), *sorted((ROOT / "subgraphs").glob("*.json"))]
GRAPHS = {path.stem: json.loads(path.read_text("utf-8")) for path in FILES}


def samples_as_a_unet(name: str) -> bool:
    """Other transformers are sampled as ComfyUI's own workflows do it, FLUX.1 with a shift: see below."""
    kinds = {node["type"] for node in nodes_in(GRAPHS[name])}
    return "KSampler" in kinds and "ModelSamplingFlux" not in kinds and not name.startswith(("references_", "prompts_"))


SAMPLING = [name for name in GRAPHS if samples_as_a_unet(name)]
"""Workflows whose own model is of the SD1.5 or SDXL kind."""
TOLERANCE = 2e-6  # of a sigma
CPU = torch.device("cpu")
LEADING = {"steps_offset": 1, "timestep_spacing": "leading"}
SCHEDULERS = {
    # The demos of IP-Adapter leave the noise of timestep 0 in the latent (set_alpha_to_one=False), no host does.
    "ddim": diffusers.DDIMScheduler(**BETAS, steps_offset=1),
    "dpmpp_2m": diffusers.EulerDiscreteScheduler(**BETAS, use_karras_sigmas=True),
    "euler": diffusers.EulerDiscreteScheduler(**BETAS, **LEADING),
    "uni_pc": diffusers.UniPCMultistepScheduler(**BETAS, **LEADING),
}
"""The authors', by what the host calls their sampler."""
OF_PARTS2WHOLE = diffusers.DDIMScheduler(**SCHEDULER, steps_offset=1)


@cache
def model(of_parts2whole: bool = False) -> Any:
    patcher = tiny_sd15.host_model(tiny_sd15.diffusers_unet(111))
    if of_parts2whole:
        patcher.add_object_patch("model_sampling", parts2whole_files._sampling(patcher, SCHEDULER, ""))
    return patcher


@dataclass(frozen=True)
class Sampler:
    """A KSampler of a workflow. widgets_values: its own. kinds: types of the nodes that decide how it samples, those of
    its box where a method is applied in it, else of the whole workflow."""

    widgets_values: list[Any]
    kinds: set[str]


def samplers_of(graph: dict[str, Any]) -> list[Sampler]:
    """The KSamplers of a workflow, but for those in a box that loads a transformer to draw instead."""
    kinds_of_workflow = {node["type"] for node in nodes_in(graph)}
    samplers: list[Sampler] = []
    for level in (graph, *graph.get("definitions", {}).get("subgraphs", [])):
        kinds_of_level = {node["type"] for node in level["nodes"]}
        if "UNETLoader" in kinds_of_level:
            continue
        applies_a_method = any(kind.startswith("LikenessApply") for kind in kinds_of_level)
        kinds = kinds_of_level if applies_a_method else kinds_of_workflow
        for node in level["nodes"]:
            if node["type"] == "KSampler":
                samplers.append(Sampler(node["widgets_values"], kinds))
    return samplers


def levels(scheduler: Any, timesteps: torch.Tensor) -> torch.Tensor:
    """Of the published betas, without the rounding of diffusers' products."""
    alphas = (1 - scheduler.betas.double()).cumprod(0)
    of_all = ((1 - alphas) / alphas).sqrt()
    if scheduler.config.get("use_karras_sigmas"):
        # Equation 5 of Karras et al. 2022, from the largest to the least.
        return torch.linspace(of_all[-1] ** (1 / 7), of_all[0] ** (1 / 7), len(timesteps)).pow(7)
    return of_all[timesteps.long()].float()


@pytest.mark.parametrize("name", SAMPLING)
def test_a_workflow_samples_as_the_authors_do(name):
    """With their sigmas; that the host's samplers compute what diffusers' do is the host's."""
    samplers = samplers_of(GRAPHS[name])
    assert samplers
    for node in samplers:
        of_parts2whole = "LikenessLoadParts2Whole" in node.kinds
        patcher = model(of_parts2whole)
        steps, _, used, scheduler, denoise = node.widgets_values[2:]
        assert used in (authors_settings.values(node.kinds, "sampler") or {"euler"})
        authors = OF_PARTS2WHOLE if of_parts2whole else SCHEDULERS[used]
        authors.set_timesteps(int(steps / denoise))
        timesteps = authors.timesteps[-steps:]
        sigmas = comfy.samplers.KSampler(patcher, steps, CPU, used, scheduler, denoise).sigmas
        assert len(sigmas) == len(timesteps) + 1
        assert sigmas[-1] == 0
        assert (sigmas[:-1] / levels(authors, timesteps) - 1).abs().max() <= TOLERANCE
        # People set the steps, and get as many.
        assert len(comfy.samplers.KSampler(patcher, 30, CPU, used, scheduler, denoise).sigmas) == 31


FEW_STEPS = {
    "lcm": diffusers.LCMScheduler(**BETAS, original_inference_steps=50),
    "eps": diffusers.EulerDiscreteScheduler(**BETAS, timestep_spacing="trailing"),
}
"""By the sampling of ModelSamplingDiscrete: LCM-LoRA, and SDXL-Lightning, which needs no such node."""


@pytest.mark.parametrize(("sampling", "steps"), [("lcm", 4), ("lcm", 6), ("lcm", 8), ("eps", 4), ("eps", 8)])
def test_few_steps_are_the_published_ones(sampling, steps):
    """With the scheduler simple and a denoise of 1, as docs/speed.md says."""
    (sampled,) = ModelSamplingDiscrete().patch(model(), sampling, False)
    sigmas = comfy.samplers.KSampler(sampled, steps, CPU, "euler", "simple", 1.0).sigmas
    authors = FEW_STEPS[sampling]
    authors.set_timesteps(steps)
    timesteps = authors.timesteps.round()
    assert len(sigmas) == steps + 1
    assert sigmas[-1] == 0
    assert (sigmas[:-1] / levels(authors, timesteps) - 1).abs().max() <= TOLERANCE
