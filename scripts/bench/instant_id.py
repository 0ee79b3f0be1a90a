"""InstantID beside diffusers doing the same work: the same weights, the same pictures, time and memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import environment
import tiny_sdxl
import torch
from instant_id_run import DEFAULTS, person
from pack.bridge.unet import attention_layers
from pack.core.people import Cast
from seeded import instant_id_file

from bench import networks
from bench.measure import TINY, accelerator, clocked, interleaved, named, peak_gib, report

STEPS = 4
REAL = {
    "block_out_channels": [320, 640, 1280],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "sample_size": 128,
}
"""Of SDXL in diffusers' words, where it is not as small as in the tests."""


def pair(side: int, real: bool, device: Any, dtype: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A sampling through Apply InstantID and the host, and by diffusers, of a picture of `side` px."""
    # Imported here, so that without diffusers only these cases fail.
    import peers
    from diffusers.models.controlnets.controlnet import ControlNetModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.device(device):
        unet: Any = UNet2DConditionModel(**{**tiny_sdxl.diffusers_config(), **(REAL if real else {})})
        net = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
    for module in (unet, net):
        networks.spread(module)
        module.to(dtype)
    shape = dict(networks.SDXL.shape if real else tiny_sdxl.HOST_CONFIG)
    model, control_net = tiny_sdxl.host_model(unet, shape), tiny_sdxl.host_control_net(net, shape)
    file = instant_id_file([width for *_, width in attention_layers(model)])
    instant_id = peers.read("instant_id", file)
    peers.with_adapters(unet, file, scales=[DEFAULTS["adapter_weight"]]).to(device, dtype)
    # The authors' pipeline projects the face once per picture, not once per step.
    unet.encoder_hid_proj = torch.nn.Identity()
    sampling = peers.Sampling(side, side, STEPS)
    face, hint = sampling.normal(1, 512) * 1.5, torch.rand(1, side, side, 3, generator=sampling.generator)
    given = {"instant_id": instant_id, "control_net": control_net, "cast": Cast((person("her", face),)), "image": hint}
    applied = peers.apply("LikenessApplyInstantID", model=model, **sampling.sides, **given)
    for name in ("text", "pooled", "start", "sigmas", "timesteps", "time_ids"):
        setattr(sampling, name, getattr(sampling, name).to(device))
    people = instant_id.tokens([torch.zeros(1, 1, 512), face[None]]).to(device, dtype)
    control = net, hint.movedim(-1, 1).to(device), DEFAULTS["control_strength"], people
    theirs = partial(sampling.theirs, unet, control=lambda _: control, image_embeds=[people])
    return partial(sampling.ours, *applied), lambda: theirs().cpu()


def beside_diffusers(real: bool) -> None:
    """real: of SDXL's size in half precision on a GPU; else a small one on the CPU."""
    device, dtype, side = ("cpu", torch.float32, 256) if TINY or not real else (accelerator(), torch.float16, 1024)
    run, other = pair(side, real and not TINY, device, dtype)
    ours, theirs = run().float(), other().float()
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    if not difference < (1e-4 if dtype == torch.float32 else 0.1):
        raise environment.SetupError(f"The two do not do the same work: the pictures differ by {difference:.1e}.")
    seconds = interleaved(clocked(run), clocked(other), 10)
    memory = {"peak_gib": peak_gib(run), "peer_peak_gib": peak_gib(other)} if real else {}
    name, target = f"instant_id_step_time_vs_diffusers{'' if real else '_small'}", 0.95 if real else 1.0
    report(name, *seconds, f"s for {STEPS} steps", target, named(device), relative_difference=difference, **memory)
