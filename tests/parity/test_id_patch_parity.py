"""Whole sampling through our nodes and the host's sampler, against diffusers and the authors' own pipeline."""

from __future__ import annotations

import folder_paths
import pytest
import tiny_sdxl
import torch
from diffusers import EulerDiscreteScheduler
from figures import relative
from pack.core.people import Identity, Person, PlacedCast, Slot
from pack.nodes.adapters import LoadAdapter
from pack.nodes.id_patch.nodes import ApplyIDPatch, IDPatchImage
from safetensors import safe_open
from safetensors.torch import load_file
from seeded import id_patch_file

TOLERANCE = 1e-5  # relative to the largest latent value


@pytest.fixture(scope="module")
def peers():
    unet = tiny_sdxl.diffusers_unet()
    return unet, tiny_sdxl.diffusers_control_net(unet)


@pytest.fixture(scope="module")
def host(peers):
    unet, control_net = peers
    return tiny_sdxl.host_model(unet), tiny_sdxl.host_control_net(control_net)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """kind -> what Load Adapter makes of a file of that kind."""
    folder = tmp_path_factory.mktemp("id_patch")
    folder_paths.add_model_folder_path("id_patch", str(folder), is_default=True)
    for kind in ("resampler", "mlp"):
        torch.save(id_patch_file(kind), folder / f"{kind}.bin")
    return {kind: LoadAdapter.execute(f"{kind}.bin")[0] for kind in ("resampler", "mlp")}


def cast_of(embeddings, centers, width, height):
    people = tuple(
        Person(
            Identity(f"person {i + 1}", {"arcface-ir-se50": row[None]}, torch.zeros(1, 112, 112, 3)), 1.0, Slot(center)
        )
        for i, (row, center) in enumerate(zip(embeddings, centers, strict=True))
    )
    return PlacedCast(people, width, height)


def run_nodes(host, id_patch, cast, control, text, pooled, id_start_percent):
    model, control_net = host
    condition = IDPatchImage.execute(id_patch, cast, "mean", control)[0]
    applied = ApplyIDPatch.execute(
        *tiny_sdxl.conditioning(text, pooled), control_net, id_patch, cast, condition,
        strength=0.8, start_percent=0.0, end_percent=1.0, id_start_percent=id_start_percent, photos="mean",
    )  # fmt: skip
    return condition, lambda start, sigmas, cfg: tiny_sdxl.host_sample(
        model, start, sigmas, applied[0], applied[1], cfg
    )


@pytest.mark.both_hosts
def test_golden_sampling_of_the_authors(host, loaded, record_property):
    golden = load_file(tiny_sdxl.GOLDEN)
    with safe_open(tiny_sdxl.GOLDEN, "pt") as file:
        init = float(file.metadata()["init"])
    projections = load_file(tiny_sdxl.GOLDEN.with_name("id_patch_projections.safetensors"))
    text = torch.randn(2, 77, 2048, generator=torch.Generator().manual_seed(141))
    cast = cast_of(golden["in.emb"][:2], [tuple(xy) for xy in golden["in.locs"][:2].tolist()], 256, 192)
    control = projections["in.control"][None] / 255.0

    condition, sample = run_nodes(host, loaded["resampler"], cast, control, text, golden["sample.pooled"], 0.25)
    assert (condition.permute(0, 3, 1, 2) - golden["sample.condition"]).abs().max() <= 1e-5
    latents = sample(golden["sample.noise"] * init, golden["sample.sigmas"], 5.0)
    difference = relative(latents, golden["sample.latents"])
    record_property("relative_difference", difference)
    assert difference <= TOLERANCE


@pytest.mark.parametrize(("people", "kind"), [(1, "resampler"), (2, "resampler"), (5, "resampler"), (2, "mlp")])
def test_sampling_equals_diffusers(host, peers, loaded, people, kind, record_property):
    """8 steps, CFG 5, text only in the first 20 % (trailing spacing: steps and percentages agree)."""
    id_patch = loaded[kind]
    width, height = 200, 136  # odd multiples of 8
    generator = torch.Generator().manual_seed(people)
    embeddings = torch.randn(people, 512, generator=generator)
    centers = [
        tuple(xy) for xy in (torch.rand(people, 2, generator=generator) * torch.tensor([width, height])).tolist()
    ]
    text, pooled = torch.randn(2, 77, 2048, generator=generator), torch.randn(2, 1280, generator=generator)
    control = torch.rand(1, height, width, 3, generator=generator)
    cast = cast_of(embeddings, centers, width, height)

    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(8)
    sigmas, timesteps = scheduler.sigmas.float(), scheduler.timesteps
    start = torch.randn(1, 4, height // 8, width // 8, generator=generator) * scheduler.init_noise_sigma

    condition, sample = run_nodes(host, id_patch, cast, control, text, pooled, 0.2)
    tokens = torch.cat([id_patch.tokens(cast.people, "mean"), id_patch.unconditional_tokens(people)]).flip(0)
    with_ids = torch.cat([text, tokens], dim=1)
    time_ids = torch.tensor([[height, width, 0, 0, height, width]])
    reference = tiny_sdxl.diffusers_sample(
        peers[0], start, sigmas, timesteps, lambda i: text if i < 8 * 0.2 else with_ids, pooled, time_ids, 5.0,
        control=lambda i: (peers[1], condition.permute(0, 3, 1, 2), 0.8, None),
    )  # fmt: skip
    difference = relative(sample(start, sigmas, 5.0), reference)
    record_property("relative_difference", difference)
    assert difference <= TOLERANCE
