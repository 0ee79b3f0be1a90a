"""In half precision our sampling errs as much as that of diffusers in the same type, and no more."""

from __future__ import annotations

from functools import cache

import attack_values
import people_made
import pytest
import tiny_sdxl
import torch
from instant_id_run import HINT, face, one
from peers import Sampling, apply, with_adapters

WIDTH, HEIGHT, PICTURES = 128, 96, 8


class Networks:
    """UNet and ControlNet of one type, in diffusers and in the host, and pictures sampled by both."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.unet = tiny_sdxl.diffusers_unet().to(dtype)
        self.net = tiny_sdxl.diffusers_control_net(self.unet, 172).to(dtype)
        self.model, self.control_net = tiny_sdxl.host_model(self.unet), tiny_sdxl.host_control_net(self.net)
        self.sampling = Sampling(WIDTH, HEIGHT, batch=PICTURES)
        # Neither is a bfloat16: these are 4 apart above 512, 2 apart above 256. float16 has all up to 2048.
        self.sampling.timesteps = torch.tensor([981, 501])
        sigmas = self.model.get_model_object("model_sampling").sigma(self.sampling.timesteps)
        self.sampling.sigmas = torch.cat([sigmas, torch.zeros(1)])
        self.sampling.start = self.sampling.normal(PICTURES, 4, HEIGHT // 8, WIDTH // 8) * sigmas[0]
        self.given = {"control_net": self.control_net, **self.sampling.sides}

    def theirs(self, contexts, image, tokens=None, **more):
        control = (self.net, image.movedim(-1, 1), 0.8, tokens)
        return self.sampling.theirs(self.unet, lambda _: contexts, control=lambda _: control, **more)


def id_patch(networks: Networks):
    loaded, cast = attack_values.loaded("id_patch"), people_made.cast([(40.0, 50.0), (90.0, 40.0)], WIDTH, HEIGHT)
    (image, *_) = apply("LikenessIDPatchImage", cast=cast)
    sides = apply("LikenessApplyIDPatch", **networks.given, cast=cast, image=image, id_start_percent=0.0)
    tokens = torch.cat([loaded.unconditional_tokens(2), loaded.tokens(cast.people, "mean")])
    ours = networks.sampling.ours(networks.model, *sides)
    return ours, networks.theirs(torch.cat([networks.sampling.text, tokens], dim=1), image)


def instant_id(networks: Networks):
    loaded, model = attack_values.loaded("instant_id", networks.model), networks.model
    given = {**networks.given, "model": model, "instant_id": loaded, "cast": one(), "image": HINT}
    ours = networks.sampling.ours(*apply("LikenessApplyInstantID", **given))
    with_adapters(networks.unet, attack_values.file_of("instant_id", model), scales=[0.8])
    faces = torch.stack([torch.zeros(1, 1, 512), face(1)[None]]).to(networks.unet.dtype)
    tokens = networks.unet.encoder_hid_proj([faces])[0][:, 0]
    faces = faces.repeat_interleave(PICTURES, dim=0)
    return ours, networks.theirs(networks.sampling.text, HINT, tokens, image_embeds=[faces])


METHODS = {"ID-Patch": id_patch, "InstantID": instant_id}
sampled = cache(lambda method, dtype: METHODS[method](Networks(dtype)))
"""(method, dtype) -> latents by us and by diffusers."""


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
def test_sampling_errs_as_diffusers(method, dtype):
    pairs = zip(sampled(method, dtype), sampled(method, torch.float32), strict=True)
    ours, theirs = (((half - full).norm() / full.norm()).item() for half, full in pairs)
    assert ours <= 1.05 * theirs
