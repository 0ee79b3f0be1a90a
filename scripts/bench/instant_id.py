"""InstantID beside diffusers doing the same work: the same weights, the same pictures, time and memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import comfy.samplers
import environment
import tiny_sdxl
import torch
from instant_id_run import DEFAULTS, person
from pack.bridge.unet import attention_layers
from pack.core.people import Cast
from pack.nodes.instant_id.nodes import ApplyInstantID, load_instant_id
from seeded import instant_id_file

from bench import networks
from bench.measure import TINY, accelerator, interleaved, named, peak_gib, report

STEPS = 4
REAL = {
    "block_out_channels": [320, 640, 1280],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "sample_size": 128,
}
"""Of SDXL in diffusers' words, where it is not as small as in the tests."""


def peers(changes: dict[str, Any], device: Any, dtype: Any) -> tuple[Any, Any]:
    """diffusers' UNet and ControlNet."""
    # Imported here, so that without it only these cases fail.
    from diffusers.models.controlnets.controlnet import ControlNetModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.device(device):
        unet = UNet2DConditionModel(**{**tiny_sdxl.diffusers_config(), **changes})
        net = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
    for module in (unet, net):
        networks.spread(module)
        module.to(dtype)
    return unet, net


def adapter(host_unet: Any, unet: Any) -> Any:
    """Of the UNet's widths, loaded on both sides."""
    file = instant_id_file([width for *_, width in attention_layers(host_unet)])
    device, dtype = unet.device, unet.dtype
    unet._load_ip_adapter_weights([file], low_cpu_mem_usage=False)
    unet.to(device, dtype).requires_grad_(False)
    # The authors' pipeline projects the face once per picture, not once per step.
    unet.encoder_hid_proj = torch.nn.Identity()
    for processor in unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [DEFAULTS["adapter_weight"]]
    with tempfile.TemporaryDirectory() as folder:
        torch.save(file, Path(folder) / "ip-adapter.bin")
        return load_instant_id(str(Path(folder) / "ip-adapter.bin"))


def pair(side: int, real: bool, device: Any, dtype: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A sampling through Apply InstantID and the host, and by diffusers, of a picture of `side` px."""
    unet, net = peers(REAL if real else {}, device, dtype)
    shape = dict(networks.SDXL.shape if real else tiny_sdxl.HOST_CONFIG)
    host_unet, host_net = tiny_sdxl.host_model(unet, shape), tiny_sdxl.host_control_net(net, shape)
    instant_id, generator = adapter(host_unet, unet), torch.Generator().manual_seed(1)
    text, pooled = (torch.randn(2, *size, generator=generator) for size in ((77, 2048), (1280,)))
    face = torch.randn(1, 512, generator=generator) * 1.5
    hint = torch.rand(1, side, side, 3, generator=generator)
    start = torch.randn(1, 4, side // 8, side // 8, generator=generator) * 14
    sampling = host_unet.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", STEPS)
    model, positive, negative = ApplyInstantID.execute(
        host_unet, *tiny_sdxl.conditioning(text, pooled), instant_id, host_net, Cast((person("her", face),)), hint,
        **DEFAULTS,
    ).args  # fmt: skip
    tokens = instant_id.tokens([torch.zeros(1, 1, 512), face[None]])
    ids = torch.tensor([[side, side, 0, 0, side, side]])
    given = (start, text, pooled, tokens, ids, hint.movedim(-1, 1))
    x, words, vectors, people, time_ids, image = (one.to(device, dtype) for one in given)
    steps, times = sigmas.to(device), sampling.timestep(sigmas[:-1]).to(device)

    @torch.inference_mode()
    def peer() -> Any:
        return tiny_sdxl.diffusers_sample(
            unet, x, steps, times, lambda _: words, vectors, time_ids, 5.0, lambda _: (net, image, 0.8, people),
            image_embeds=[people],
        ).cpu()  # fmt: skip

    return partial(tiny_sdxl.host_sample, model, start, sigmas, positive, negative, 5.0), peer


def beside_diffusers(name: str, target: float, side: int, real: bool, device: Any, dtype: Any) -> None:
    run, other = pair(side, real, device, dtype)
    ours, theirs = run().float(), other().float()
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    if not difference < (1e-4 if dtype == torch.float32 else 0.1):
        raise environment.SetupError(f"The two do not do the same work: the pictures differ by {difference:.1e}.")
    seconds = interleaved(run, other, 10)
    memory = {"peak_gib": peak_gib(run), "peer_peak_gib": peak_gib(other)} if real else {}
    report(name, *seconds, f"s for {STEPS} steps", target, named(device), relative_difference=difference, **memory)


SMALL = (False, "cpu", torch.float32)
LARGE = (128, *SMALL) if TINY else (1024, True, accelerator(), torch.float16)
CASES: dict[str, Callable[[], None]] = {
    "instant_id_beside_diffusers": partial(
        beside_diffusers, "instant_id_step_time_vs_diffusers_small", 1.0, 256, *SMALL
    ),
    "instant_id_gpu_beside_diffusers": partial(beside_diffusers, "instant_id_step_time_vs_diffusers", 0.95, *LARGE),
}
NEED_GPU = {"instant_id_gpu_beside_diffusers"}
