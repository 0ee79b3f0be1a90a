"""Parts through the pack's own nodes and the host's sampler, on the tiny networks."""

import parts_made
import torch
from diffusers import DDIMScheduler
from drawn import picture
from pack.bridge.image_tokens.unet_tokens import UNET_IMAGE_TOKENS
from pack.bridge.parts.sharing_run import SHARED_PARTS
from pack.bridge.sampling.on_model import with_kinds
from pack.nodes.parts2whole import files as parts2whole_files
from pack.nodes.parts2whole.nodes import ApplyParts2Whole, EncodeParts
from parts_made import HEIGHT, WIDTH
from tiny import tiny_encoders, tiny_networks

LATENT_SCALE = 0.18215
STEPS = 8
POSE = picture(90, WIDTH, HEIGHT)


def denoiser(parts_networks):
    """With the schedule that Parts2Whole was trained with, as the loader makes it."""
    model = parts_networks.model.clone()
    model.add_object_patch("model_sampling", parts2whole_files._sampling(model, parts_made.SCHEDULER, ""))
    return model


def reading(model):
    """As Apply Parts2Whole gives it on."""
    return with_kinds(model, UNET_IMAGE_TOKENS, SHARED_PARTS)


def encode(parts_networks, parts, width=WIDTH, height=HEIGHT, **changed):
    inputs = {
        "clip": parts_made.clip(),
        "clip_vision": tiny_encoders.clip_vision(),
        "vae": tiny_encoders.vae(),
        **changed,
    }
    return EncodeParts.execute(parts_networks.networks, parts=parts, width=width, height=height, **inputs).args[0]


def text(seed, **options):
    return [torch.randn(1, 77, 48, generator=torch.Generator().manual_seed(seed)), options]


def apply(model, features, positive=None, negative=None, strength=1.0, start_percent=0.0, end_percent=1.0, pose=POSE):
    positive = positive or [text(1)]
    negative = negative or [text(2)]
    return ApplyParts2Whole.execute(
        model, positive, negative, features, strength, start_percent, end_percent, pose
    ).args


def schedule(steps=STEPS):
    """Sigmas and timesteps of the training schedule, from diffusers."""
    alphas = DDIMScheduler(beta_schedule="linear", beta_start=0.00085, beta_end=0.012).alphas_cumprod.double()
    timesteps = torch.arange(steps).flip(0) * (1000 // steps) + 1
    sigmas = ((1 - alphas[timesteps]) / alphas[timesteps]).sqrt().float()
    return torch.cat([sigmas, torch.zeros(1)]), timesteps


def noise(batch=1, width=WIDTH, height=HEIGHT):
    return torch.randn(batch, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(7)) * 10


def sample(model, positive, negative, cfg=3.5, batch=1, steps=STEPS, start=None, **more):
    start = noise(batch) if start is None else start
    latents = tiny_networks.host_sample(model, start, schedule(steps)[0], positive, negative, cfg, **more)
    return latents * (LATENT_SCALE / tiny_networks.LATENT_SCALE)
