"""Style per Person: whole sampling against diffusers' scales per block and masks."""

from __future__ import annotations

import parts_made
import pytest
import tiny_sdxl
import torch
from diffusers import EulerDiscreteScheduler
from diffusers.loaders import IPAdapterMixin
from figures import relative
from pack.bridge import encode, unet
from pack.nodes.ip_adapter.file import load_ip_adapter
from pack.nodes.ip_adapter.style import ApplyStyle
from seeded import EMBEDS, STATES, ip_adapter_file

WIDTH, HEIGHT = 128, 192
DEFAULTS = {
    "who": "", "layers": "style", "weight": 1.0, "start_percent": 0.0, "end_percent": 1.0, "fit": "crop",
    "extent": "body", "margin": 0.25, "feather": 32,
}  # fmt: skip
STYLE, LAYOUT = {"up": {"block_0": [0.0, 1.0, 0.0]}}, {"down": {"block_2": [0.0, 1.0]}}
BOTH = {**STYLE, **LAYOUT}


class Scaled(IPAdapterMixin):
    """What diffusers' pipelines inherit."""

    unet_name = "unet"

    def __init__(self, network):
        self.unet = network


def pictures(seed, count=1):
    return torch.cat([parts_made.picture(seed + n, 28, 28) for n in range(count)])


def halves():
    """Whole tokens of the coarsest layers, where diffusers' way to shrink a mask and ours are the same."""
    left = torch.zeros(1, HEIGHT, WIDTH)
    left[..., : WIDTH // 2] = 1
    return left, 1 - left


@pytest.mark.parametrize(
    ("kind", "choices", "configs", "regional", "count"),
    [
        ("ip-adapter-plus", ("style", "layout"), (STYLE, LAYOUT), True, 1),
        ("ip-adapter", ("all", "style and layout"), (1.0, BOTH), True, 1),
        ("ip-adapter-full", ("style", "layout"), (STYLE, LAYOUT), False, 3),
    ],
)
def test_sampling_equals_diffusers(kind, choices, configs, regional, count, tmp_path, record_property):
    network = tiny_sdxl.diffusers_unet()
    model = tiny_sdxl.host_model(network)
    file = ip_adapter_file(kind, [width for *_, width in unet.attention_layers(model)], 2048)
    torch.save(file, tmp_path / "adapter.bin")
    network._load_ip_adapter_weights([file, file], low_cpu_mem_usage=False)
    network.eval().requires_grad_(False)
    weights = (0.7, 1.2)
    Scaled(network).set_ip_adapter_scale([_times(*pair) for pair in zip(configs, weights, strict=True)])

    generator = torch.Generator().manual_seed(11)
    text, pooled = torch.randn(2, 77, 2048, generator=generator), torch.randn(2, 1280, generator=generator)
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(6)
    sigmas, timesteps = scheduler.sigmas.float(), scheduler.timesteps
    start = torch.randn(1, 4, HEIGHT // 8, WIDTH // 8, generator=generator) * scheduler.init_noise_sigma

    vision, loaded = parts_made.vit_h(), load_ip_adapter(str(tmp_path / "adapter.bin"), "by the file")
    applied, masks = (model, *tiny_sdxl.conditioning(text, pooled)), halves()
    for n, (choice, weight) in enumerate(zip(choices, weights, strict=True)):
        mask = masks[n] if regional else None
        changed = {**DEFAULTS, "layers": choice, "weight": weight, "mask": mask}
        applied = ApplyStyle.execute(*applied, loaded, vision, pictures(10 * n, count), **changed).args
    ours = tiny_sdxl.host_sample(applied[0], start, sigmas, *applied[1:], 5.0)

    embeds = [_seen(kind, vision, pictures(10 * n, count)) for n in (0, 1)]
    if regional:
        given = {"ip_adapter_masks": [mask[None] for mask in masks]}
        network.register_forward_pre_hook(
            lambda _, args, named: (args, {**named, "cross_attention_kwargs": given}), with_kwargs=True
        )
    time_ids = torch.tensor([HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH], dtype=torch.float32)
    theirs = tiny_sdxl.diffusers_sample(
        network, start, sigmas, timesteps, lambda _: text, pooled, time_ids, 5.0, image_embeds=embeds
    )
    difference = relative(ours, theirs)
    record_property("relative_difference", difference)
    assert difference <= 2e-6


def _times(config, weight):
    if isinstance(config, float):
        return config * weight
    return {
        part: {name: [weight * one for one in scales] for name, scales in blocks.items()}
        for part, blocks in config.items()
    }


def _seen(kind, vision, shown):
    """(2, pictures, ...): of nothing, then of the pictures."""
    if kind == "ip-adapter":
        seen = encode.embeds(vision, shown, EMBEDS)
        return torch.stack([torch.zeros_like(seen), seen])
    seen = encode.states(vision, shown, STATES)
    return torch.stack([encode.nothing(vision, STATES).expand_as(seen), seen])
