"""Each workflow's own sampler settings against the authors' schedulers as published (diffusers)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import comfy.model_sampling
import comfy.sample
import comfy.samplers
import pytest
import tiny_sd15
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, ModelSamplingFlux
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)
from pack.nodes.parts2whole import files as parts2whole_files
from parts_made import SCHEDULER
from rig.workflow import nodes_in

ROOT = Path(__file__).resolve().parents[2]
GRAPHS = {
    path.stem: json.loads(path.read_text("utf-8"))
    for folder in ("workflows", "subgraphs")
    for path in sorted((ROOT / folder).glob("*.json"))
}
SAMPLING = [
    name
    for name, graph in GRAPHS.items()
    for kinds in [{node["type"] for node in nodes_in(graph)}]
    # Other transformers are sampled as ComfyUI's own workflows do it, FLUX.1 with a shift: see below.
    if "KSampler" in kinds and "ModelSamplingFlux" not in kinds and not name.startswith("references_")
]
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
TOLERANCE = 2e-6  # of a sigma
SAMPLERS = {"Parts2Whole": "ddim", "IP-Adapter": "ddim", "StoryMaker": "uni_pc"}
"""Of which the others have euler."""


class Settings(NamedTuple):
    """Of one KSampler."""

    method: str
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    denoise: float


def settings_in(graph: dict[str, Any]) -> Iterator[Settings]:
    nodes = list(nodes_in(graph))
    checkpoints = [node["widgets_values"][0] for node in nodes if node["type"] == "CheckpointLoaderSimple"]
    few = any("lightning" in name for name in checkpoints)
    kinds = {node["type"] for node in nodes}
    own = {
        "LikenessLoadParts2Whole": "Parts2Whole",
        "LikenessApplyIPAdapter": "IP-Adapter",
        "LikenessApplyStoryMaker": "StoryMaker",
    }
    method = next((name for kind, name in own.items() if kind in kinds), "Lightning" if few else "SDXL")
    for node in nodes:
        if node["type"] == "KSampler":
            yield Settings(method, *node["widgets_values"][2:])


def published(settings: Settings) -> Any:
    """The authors' scheduler, set to as many steps as leave settings.steps of them."""
    if settings.method in ("Parts2Whole", "IP-Adapter"):
        # The demos of IP-Adapter leave the noise of timestep 0 in the latent (set_alpha_to_one=False), no host does.
        betas = SCHEDULER if settings.method == "Parts2Whole" else BETAS
        scheduler = DDIMScheduler(**betas, steps_offset=1, clip_sample=False)
    elif settings.method == "StoryMaker":
        scheduler = UniPCMultistepScheduler(**BETAS, steps_offset=1, timestep_spacing="leading")
    else:
        spacing = "trailing" if settings.method == "Lightning" else "leading"
        scheduler = EulerDiscreteScheduler(**BETAS, steps_offset=1, timestep_spacing=spacing)
    steps = int(settings.steps / settings.denoise)
    scheduler.set_timesteps(steps)
    if isinstance(scheduler, EulerDiscreteScheduler):
        scheduler.set_begin_index(steps - settings.steps)
    return scheduler


@cache
def model(method: str) -> Any:
    made = tiny_sd15.host_model(tiny_sd15.diffusers_unet(111))
    if method == "Parts2Whole":
        made.add_object_patch("model_sampling", parts2whole_files._sampling(made, SCHEDULER, ""))
    return made


def sigmas_of(settings: Settings) -> torch.Tensor:
    method, steps, _, sampler, scheduler, denoise = settings
    return comfy.samplers.KSampler(model(method), steps, torch.device("cpu"), sampler, scheduler, denoise).sigmas


def levels(scheduler: Any, timesteps: torch.Tensor) -> torch.Tensor:
    """Of the published betas, without the rounding of diffusers' products."""
    alphas = (1 - scheduler.betas.double()).cumprod(0)[timesteps.long()]
    return ((1 - alphas) / alphas).sqrt().float()


@pytest.mark.parametrize("name", SAMPLING)
def test_a_workflow_samples_as_the_authors_do(name):
    """With their sigmas; that the host's samplers compute what diffusers' do is the host's."""
    found = set(settings_in(GRAPHS[name]))
    assert found
    for settings in found:
        sigmas, scheduler = sigmas_of(settings), published(settings)
        timesteps = scheduler.timesteps[-settings.steps :]
        assert len(sigmas) == len(timesteps) + 1 and sigmas[-1] == 0
        assert (sigmas[:-1] / levels(scheduler, timesteps) - 1).abs().max() <= TOLERANCE, settings
        assert settings.sampler == SAMPLERS.get(settings.method, "euler"), settings
        if settings.scheduler == "ddim_uniform":  # people set the steps, and get as many
            assert len(sigmas_of(settings._replace(steps=30))) == 31, settings


@pytest.mark.both_hosts
def test_any_number_of_steps_is_that_of_the_authors():
    """Whoever changes the steps of a workflow keeps the spacing: leading below 99, trailing where they divide 1000."""

    def apart(steps, spacing, scheduler, denoise):
        told = DDIMScheduler(**BETAS, steps_offset=1, timestep_spacing=spacing)
        told.set_timesteps(steps)
        found = sigmas_of(Settings("SDXL", steps, 5.0, "euler", scheduler, denoise))
        assert len(found) == steps + 1
        return (found[:-1] / levels(told, told.timesteps) - 1).abs().max()

    for steps in range(1, 99):
        assert apart(steps, "leading", "ddim_uniform", 0.99) <= TOLERANCE, steps
    for steps in (2, 4, 5, 8, 10):
        assert apart(steps, "trailing", "simple", 1.0) <= TOLERANCE, steps


def test_lcm_takes_the_steps_of_its_authors():
    """With few steps by an LCM-LoRA: ModelSamplingDiscrete, lcm, with the scheduler simple."""
    (lcm,) = ModelSamplingDiscrete().patch(model("SDXL"), "lcm", False)
    for steps in (4, 6, 8):
        scheduler = LCMScheduler(**BETAS, original_inference_steps=50)
        scheduler.set_timesteps(steps)
        sigmas = comfy.samplers.calculate_sigmas(lcm.get_model_object("model_sampling"), "simple", steps)
        assert (sigmas[:-1] / levels(scheduler, scheduler.timesteps) - 1).abs().max() <= TOLERANCE


def of_with_anyone(steps: int, width: int, height: int) -> torch.Tensor:
    """get_schedule of its withanyone/flux/sampling.py, which pipeline.py tells 64 times fewer tokens than there are."""
    length = (width // 8) * (height // 8) // 256
    mu = 0.5 + (length - 256) * (1.15 - 0.5) / (4096 - 256)
    evenly = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return (math.exp(mu) / (math.exp(mu) + 1 / evenly - 1)).float()


def of_infinite_you(steps: int, width: int, height: int) -> torch.Tensor:
    """Its pipelines/pipeline_flux_infusenet.py, with the scheduler of FLUX.1 dev."""
    length = (width // 16) * (height // 16)
    mu = 0.5 + (length - 256) * (1.15 - 0.5) / (4096 - 256)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    scheduler.set_timesteps(sigmas=[1 - step / steps for step in range(steps)], mu=mu)
    return scheduler.sigmas


@pytest.mark.both_hosts
@pytest.mark.parametrize(
    ("published", "scale", "steps", "size", "apart"),
    [
        # ModelSamplingFlux is told an eighth of the picture's sides, which makes the same short length.
        (of_with_anyone, 8, 25, (768, 768), 2e-6),
        (of_with_anyone, 8, 25, (512, 512), 2e-6),
        (of_with_anyone, 8, 50, (1024, 768), 2e-6),
        # 30 steps do not divide the host's 10000.
        (of_infinite_you, 1, 30, (864, 1152), 0.0021),
        (of_infinite_you, 1, 25, (864, 1152), 2e-6),
        (of_infinite_you, 1, 50, (1024, 1024), 2e-6),
    ],
)
def test_flux_has_the_shift_of_the_authors(published, scale, steps, size, apart, record_property):
    """With ModelSamplingFlux as it comes (1.15 and 0.5) and the scheduler simple, in parts of each sigma."""
    difference = from_authors(published, (1.15, 0.5, *(side // scale for side in size)), steps, size)
    record_property("relative_difference", difference)
    assert difference <= apart


@pytest.mark.parametrize(
    ("name", "published", "apart"),
    # Shifts of 0.46 at any size, in place of 0.463.
    [("with_anyone_two_people", of_with_anyone, 0.003), ("infinite_you_portrait", of_infinite_you, 0.0021)],
)
def test_a_template_of_flux_has_it_too(name, published, apart):
    values = {node["type"]: node.get("widgets_values") for node in nodes_in(GRAPHS[name])}
    _, _, steps, *sampled_with = values["KSampler"]
    size = tuple(values["LikenessGroupLayout"][3:5])
    assert sampled_with == [1.0, "euler", "simple", 1.0]
    assert from_authors(published, (*values["ModelSamplingFlux"][:2], *size), steps, size) <= apart


def from_authors(published, flux, steps, size):
    """flux: what ModelSamplingFlux is given. How far the sigmas of the scheduler simple are apart, in parts of each."""
    (shifted,) = ModelSamplingFlux().patch(model("SDXL"), *flux)
    ours = comfy.samplers.calculate_sigmas(shifted.get_model_object("model_sampling"), "simple", steps)
    theirs = published(steps, *size)
    assert len(ours) == len(theirs) == steps + 1 and ours[-1] == theirs[-1] == 0
    return (ours[:-1] / theirs[:-1] - 1).abs().max().item()
