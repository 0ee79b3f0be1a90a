"""InstantID's whole sampling through our nodes and the host's sampler, against the authors' pipeline and diffusers."""

from __future__ import annotations

from pathlib import Path

import comfy.samplers
import pytest
import tiny_sdxl
import torch
from diffusers import EulerDiscreteScheduler
from figures import relative
from instant_id_made import DEFAULTS, person
from pack.bridge import unet
from pack.bridge.instant_id import load_instant_id
from pack.core.people import Cast
from pack.nodes.instant_id import ApplyInstantID
from safetensors import safe_open
from safetensors.torch import load_file
from seeded import instant_id_file

GOLDEN = Path(__file__).parents[1] / "golden" / "instant_id.safetensors"
TOLERANCE = 1e-5  # relative to the largest latent value
LAYOUTS = {"sdxl": (tiny_sdxl.HOST_CONFIG, {}), "ssd-1b": (tiny_sdxl.SSD_CONFIG, tiny_sdxl.SSD_CHANGES)}


class Pair:
    """The same weights in the host and in diffusers: UNet, IdentityNet and adapter."""

    def __init__(self, layout, folder):
        shape, changes = LAYOUTS[layout]
        self.unet = tiny_sdxl.diffusers_unet(151, **changes)
        # IdentityNet keeps SDXL's own layout whatever the UNet's.
        self.net = tiny_sdxl.diffusers_control_net(tiny_sdxl.diffusers_unet(151), 172)
        self.model = tiny_sdxl.host_model(self.unet, shape)
        self.control_net = tiny_sdxl.host_control_net(self.net)
        file = instant_id_file([width for *_, width in unet.attention_layers(self.model)])
        torch.save(file, folder / f"{layout}.bin")
        self.instant_id = load_instant_id(str(folder / f"{layout}.bin"))
        self.unet._load_ip_adapter_weights([file], low_cpu_mem_usage=False)
        self.unet.eval().requires_grad_(False)

    def apply(self, cast, text, pooled, hint, **changed):
        return ApplyInstantID.execute(
            self.model, *tiny_sdxl.conditioning(text, pooled), self.instant_id, self.control_net, cast, hint,
            **{**DEFAULTS, **changed},
        ).args  # fmt: skip


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("instantid")
    return {layout: Pair(layout, folder) for layout in LAYOUTS}


@pytest.mark.both_hosts
def test_golden_sampling_of_the_authors(pairs, record_property):
    golden = load_file(GOLDEN)
    with safe_open(GOLDEN, "pt") as file:
        init = float(file.metadata()["init"])
    pair = pairs["sdxl"]
    generator = torch.Generator().manual_seed(181)
    text, pooled = torch.randn(2, 77, 2048, generator=generator), torch.randn(2, 1280, generator=generator)
    assert torch.equal(pooled, golden["in.pooled"])
    face = golden["in.emb"][None, None]
    tokens = pair.instant_id.tokens([torch.zeros(1, 1, 512), face])
    assert (tokens - golden["sdxl.tokens"]).abs().max() <= 1e-5

    hint = golden["in.hint"][None] / 255.0
    model, positive, negative = pair.apply(Cast((person("her", face[0]),)), text, pooled, hint)
    latents = tiny_sdxl.host_sample(model, golden["in.noise"] * init, golden["sdxl.sigmas"], positive, negative, 5.0)
    difference = relative(latents, golden["sdxl.latents"])
    record_property("relative_difference", difference)
    assert difference <= TOLERANCE


CASES = {
    "one picture": ("sdxl", 1, {}),
    "batch of two": ("sdxl", 2, {}),
    "layout of SSD-1B": ("ssd-1b", 1, {}),
    "adapter alone": ("sdxl", 1, {"control_strength": 0.0}),
    "IdentityNet alone": ("sdxl", 1, {"adapter_weight": 0.0}),
    "IdentityNet from 0.1 to 0.5": ("sdxl", 1, {"start_percent": 0.1, "end_percent": 0.5}),
    "adapter from 0.2 to 0.7": ("sdxl", 1, {"adapter_start_percent": 0.2, "adapter_end_percent": 0.7}),
}


@pytest.mark.parametrize("case", CASES)
def test_sampling_equals_diffusers(pairs, case, record_property):
    layout, batch, changed = CASES[case]
    pair, settings = pairs[layout], {**DEFAULTS, **changed}
    width, height = 136, 104  # odd multiples of 8
    generator = torch.Generator().manual_seed(11)
    text, pooled = torch.randn(2, 77, 2048, generator=generator), torch.randn(2, 1280, generator=generator)
    face = torch.randn(1, 512, generator=generator) * 1.5
    hint = torch.rand(1, height, width, 3, generator=generator)
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(8)
    sigmas, timesteps = scheduler.sigmas.float(), scheduler.timesteps
    start = torch.randn(batch, 4, height // 8, width // 8, generator=generator) * scheduler.init_noise_sigma

    model, positive, negative = pair.apply(Cast((person("her", face),)), text, pooled, hint, **changed)
    ours = tiny_sdxl.host_sample(model, start, sigmas, positive, negative, 5.0)

    def inside(i, first, last):
        sampling = pair.model.get_model_object("model_sampling")
        return sampling.percent_to_sigma(first) >= sigmas[i] >= sampling.percent_to_sigma(last)

    tokens = pair.instant_id.tokens([torch.zeros(1, 1, 512), face[None]])
    embeds = torch.stack([torch.zeros(1, 1, 512), face[None]]).repeat_interleave(batch, dim=0)

    def control(i):
        strength = settings["control_strength"] * inside(i, settings["start_percent"], settings["end_percent"])
        return (pair.net, hint.permute(0, 3, 1, 2), strength, tokens) if strength else None

    def contexts(i):
        on = inside(i, settings["adapter_start_percent"], settings["adapter_end_percent"])
        for processor in pair.unet.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [settings["adapter_weight"] if on else 0.0]
        return text

    time_ids = torch.tensor([[height, width, 0, 0, height, width]])
    reference = tiny_sdxl.diffusers_sample(
        pair.unet, start, sigmas, timesteps, contexts, pooled, time_ids, 5.0, control, image_embeds=[embeds]
    )
    difference = relative(ours, reference)
    record_property("relative_difference", difference)
    assert difference <= TOLERANCE


def test_the_sampler_switches_at_the_same_sigmas_as_the_host(pairs):
    """The adapter's range is the host's own percentage, not a fraction of the steps."""
    sampling = pairs["sdxl"].model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", 6)
    assert sampling.percent_to_sigma(0.2) == pytest.approx(float(sigmas[1]), rel=1e-6)
