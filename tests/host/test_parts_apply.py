"""Parts2Whole from pictures to latents: whole sampling against the published algorithm, and every way to misuse it."""

from __future__ import annotations

import gc

import comfy.k_diffusion.sampling
import comfy.model_management
import comfy.sample
import comfy.samplers
import parts_made
import parts_oracle
import pytest
import torch
from diffusers import DDIMScheduler
from pack.bridge import parts2whole, sharing
from pack.core import errors
from pack.core.parts2whole.features import Share, keep, token_mask
from pack.core.parts2whole.parts import LABELS, Parts, make_part, prepared
from pack.nodes.parts import ApplyParts, EncodeParts
from parts_made import HEIGHT, WIDTH, picture

LATENT_SCALE = 0.18215
STEPS = 8
POSE = picture(90, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def made():
    return parts_made.made()


@pytest.fixture(scope="module")
def model(made):
    """The denoiser with the schedule that Parts2Whole was trained with, as the loader makes it."""
    model = made.model.clone()
    model.add_object_patch("model_sampling", parts2whole._sampling(model, parts_made.SCHEDULER, ""))
    return model


def encode(made, parts, width=WIDTH, height=HEIGHT, **changed):
    inputs = {"clip": parts_made.clip(), "clip_vision": parts_made.clip_vision(), "vae": parts_made.vae(), **changed}
    return EncodeParts.execute(made.networks, parts, width=width, height=height, **inputs).args[0]


@pytest.fixture(scope="module")
def features(made):
    return {count: encode(made, parts_made.parts(count)) for count in (1, 3, 6)}


def text(seed, **options):
    return [torch.randn(1, 77, 48, generator=torch.Generator().manual_seed(seed)), options]


def apply(model, features, positive=None, negative=None, strength=1.0, start_percent=0.0, end_percent=1.0, pose=POSE):
    positive, negative = positive or [text(1)], negative or [text(2)]
    return ApplyParts.execute(model, positive, negative, features, strength, start_percent, end_percent, pose).args


def schedule(steps=STEPS):
    """Sigmas and timesteps of the training schedule, from diffusers."""
    alphas = DDIMScheduler(beta_schedule="linear", beta_start=0.00085, beta_end=0.012).alphas_cumprod.double()
    timesteps = torch.arange(steps).flip(0) * (1000 // steps) + 1
    sigmas = ((1 - alphas[timesteps]) / alphas[timesteps]).sqrt().float()
    return torch.cat([sigmas, torch.zeros(1)]), timesteps


def noise(batch=1, width=WIDTH, height=HEIGHT):
    return torch.randn(batch, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(7)) * 10


def sample(model, positive, negative, cfg=3.5, batch=1, steps=STEPS, start=None, callback=None):
    start, (sigmas, _) = noise(batch) if start is None else start, schedule(steps)

    def euler(wrapped, _noisy, sigmas, **rest):
        return comfy.k_diffusion.sampling.sample_euler(wrapped, start, sigmas, **rest)

    zeros = torch.zeros_like(start)
    with torch.no_grad():
        out = comfy.sample.sample_custom(
            model, zeros, cfg, comfy.samplers.KSAMPLER(euler), sigmas, positive, negative, zeros,
            seed=0, disable_pbar=True, callback=callback,
        )  # fmt: skip
    return out * LATENT_SCALE


def oracle_inputs(parts):
    """What the networks before the UNets make of the parts, called one by one."""
    ready = [prepared(part, WIDTH, HEIGHT) for part in parts.parts]
    latents = [parts_made.vae().encode(part.picture[None]) * LATENT_SCALE for part in ready]
    clip = parts_made.clip()
    labels = [clip.encode_from_tokens(clip.tokenize(part.label)) for part in parts.parts]
    embeds = [parts_made.clip_vision().encode_image(part.picture[None])["image_embeds"] for part in parts.parts]
    return latents, labels, [part.mask for part in ready], embeds


def expected(made, parts, cfg=3.5, batch=1, pose=POSE):
    with torch.no_grad():
        latents, labels, masks, embeds = oracle_inputs(parts)
        bank = parts_oracle.write_bank(made.reference, latents, labels, masks)
        parts_oracle.read_with(made.denoiser, bank, made.decoupled)
        posed = None if pose is None else parts_oracle.PoseNet(made.pose_guider)(pose.movedim(-1, 1))
        sigmas, timesteps = schedule()
        texts = (text(2)[0], text(1)[0])
        return parts_oracle.sample(made.denoiser, noise(batch), sigmas, timesteps, texts, embeds, posed, cfg)


def relative(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


# Against the published algorithm


@pytest.mark.parametrize("count", [1, 3, 6])
def test_whole_sampling_equals_the_published_algorithm(made, model, features, count, record_property):
    difference = relative(sample(*apply(model, features[count])), expected(made, parts_made.parts(count)))
    record_property("relative_difference", difference)
    assert difference <= 1e-5


def test_a_batch_without_a_pose_equals_the_published_algorithm(made, model, features):
    ours = sample(*apply(model, features[3], pose=None), batch=2)
    assert relative(ours, expected(made, parts_made.parts(3), batch=2, pose=None)) <= 1e-5
