"""In half precision our sampling errs as much as that of diffusers in the same type, and no more."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import people_made
import pytest
import tiny_sdxl
import torch
from instant_id_run import HINT, apply, face, one, text
from pack.bridge import unet
from pack.nodes.id_patch.nodes import ApplyIDPatch, IDPatchImage, load_id_patch
from pack.nodes.instant_id.nodes import load_instant_id
from seeded import id_patch_file, instant_id_file

WIDTH, HEIGHT, PICTURES = 128, 96, 8
TIMESTEPS = torch.tensor([981, 501])
"""Neither is a bfloat16: these are 4 apart above 512, 2 apart above 256. float16 has all up to 2048."""
POSITIVE, NEGATIVE = [text(11)], [text(12)]
BOTH = [*NEGATIVE, *POSITIVE]
TEXT, POOLED = torch.cat([entry[0] for entry in BOTH]), torch.cat([entry[1]["pooled_output"] for entry in BOTH])


class Networks:
    """UNet and ControlNet of one type, in diffusers and in the host, and pictures sampled by both."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.unet = tiny_sdxl.diffusers_unet().to(dtype)
        self.net = tiny_sdxl.diffusers_control_net(self.unet, 172).to(dtype)
        self.host = tiny_sdxl.host_model(self.unet), tiny_sdxl.host_control_net(self.net)
        sigmas = self.host[0].get_model_object("model_sampling").sigma(TIMESTEPS)
        noise = torch.randn(PICTURES, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(7))
        self.schedule = noise * sigmas[0], torch.cat([sigmas, torch.zeros(1)])

    def ours(self, model, positive, negative):
        return tiny_sdxl.host_sample(model, *self.schedule, positive, negative)

    def theirs(self, context, image, tokens=None, **more):
        size = torch.tensor([[HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH]])
        control = (self.net, image.movedim(-1, 1), 0.8, tokens)
        return tiny_sdxl.diffusers_sample(
            self.unet, *self.schedule, TIMESTEPS, lambda _: context, POOLED, size, 5.0, lambda _: control, **more
        )


def id_patch(networks: Networks, folder: Path):
    torch.save(id_patch_file("resampler"), folder / "id-patch.bin")
    loaded, cast = load_id_patch(str(folder / "id-patch.bin")), people_made.cast([(40.0, 50.0), (90.0, 40.0)], 128, 96)
    image = IDPatchImage.execute(loaded, cast, "mean")[0]
    model, net = networks.host
    settings = {"strength": 0.8, "start_percent": 0.0, "end_percent": 1.0, "id_start_percent": 0.0, "photos": "mean"}
    sides = ApplyIDPatch.execute(POSITIVE, NEGATIVE, net, loaded, cast, image, **settings).args
    tokens = torch.cat([loaded.unconditional_tokens(2), loaded.tokens(cast.people, "mean")])
    return networks.ours(model, *sides), networks.theirs(torch.cat([TEXT, tokens], dim=1), image)


def instant_id(networks: Networks, folder: Path):
    file = instant_id_file([width for *_, width in unet.attention_layers(networks.host[0])])
    torch.save(file, folder / "ip-adapter.bin")
    loaded = load_instant_id(str(folder / "ip-adapter.bin"))
    ours = networks.ours(*apply(networks.host, loaded, one(), POSITIVE, NEGATIVE))
    networks.unet._load_ip_adapter_weights([file], low_cpu_mem_usage=False)
    networks.unet.to(networks.unet.dtype).eval().requires_grad_(False)
    for processor in networks.unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [0.8]
    faces = torch.stack([torch.zeros(1, 1, 512), face(1)[None]]).to(networks.unet.dtype)
    tokens = networks.unet.encoder_hid_proj([faces])[0][:, 0]
    faces = faces.repeat_interleave(PICTURES, dim=0)
    return ours, networks.theirs(TEXT, HINT, tokens, image_embeds=[faces])


METHODS = {"ID-Patch": id_patch, "InstantID": instant_id}


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """(method, dtype) -> latents by us and by diffusers."""
    return cache(lambda method, dtype: METHODS[method](Networks(dtype), tmp_path_factory.mktemp("half")))


@pytest.mark.both_hosts
@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(torch.bfloat16, id="bfloat16"),
        # It has every timestep, and was never further off.
        pytest.param(torch.float16, id="float16", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_sampling_errs_as_diffusers(sampled, method, dtype, record_property):
    pairs = zip(sampled(method, dtype), sampled(method, torch.float32), strict=True)
    ours, theirs = (((half - full).norm() / full.norm()).item() for half, full in pairs)
    record_property("ours", ours)
    record_property("diffusers", theirs)
    record_property("ratio", ours / theirs)
    assert ours <= 1.05 * theirs
